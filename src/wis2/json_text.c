/* What strings stand for, and where in a text an offset lies: the slow side of the reader. */
#include "wis2/json.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* raw has passed the reader, so these are digits. */
static uint32_t hex4(const char *p)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++) {
		uint32_t c = (unsigned char)p[i];

		value = value << 4 | ((c & 0xf) + (c > '9' ? 9 : 0));
	}
	return value;
}

static size_t put_utf8(uint32_t point, char *out)
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

static char short_escape(char c)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *at = strchr(from, c);

	return at ? to[at - from] : c;
}

/* Resolves the escape at the front of raw into out; gives how many bytes were written. */
static size_t decode_escape(struct view *raw, char *out)
{
	uint32_t point;

	if (raw->p[1] != 'u') {
		out[0] = short_escape(raw->p[1]);
		*raw = view_skip(*raw, 2);
		return 1;
	}
	point = hex4(raw->p + 2);
	*raw = view_skip(*raw, 6);
	if (point >= 0xd800 && point < 0xdc00 && raw->n >= 6 && raw->p[0] == '\\' &&
		raw->p[1] == 'u') {
		uint32_t low = hex4(raw->p + 2);

		if (low >= 0xdc00 && low < 0xe000) {
			point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
			*raw = view_skip(*raw, 6);
		}
	}
	return put_utf8(point, out);
}

size_t json_decode(struct view raw, char *out)
{
	size_t n = 0;

	while (raw.n) {
		const char *escape = memchr(raw.p, '\\', raw.n);
		size_t plain = escape ? (size_t)(escape - raw.p) : raw.n;

		memcpy(out + n, raw.p, plain);
		n += plain;
		raw = view_skip(raw, plain);
		if (raw.n)
			n += decode_escape(&raw, out + n);
	}
	return n;
}

/* One step on the way to the offset: a member's name or an element's number. */
struct step {
	struct view name; /* {NULL, 0}: an element */
	uint32_t number;
};

struct pointer {
	char *out;
	size_t size;
	size_t n;
};

static void put(struct pointer *p, const char *bytes, size_t n)
{
	if (p->n + n < p->size) {
		memcpy(p->out + p->n, bytes, n);
		p->n += n;
	} else {
		p->size = p->n + 1; /* full: nothing behind a gap */
	}
	p->out[p->n] = '\0';
}

static void put_name(struct pointer *p, struct view raw)
{
	char name[JSON_LARGEST];
	size_t n = json_decode(raw, name);

	for (size_t i = 0; i < n;) {
		size_t length = utf8_sequence(name + i, n - i);

		if (name[i] == '~' || name[i] == '/')
			put(p, name[i] == '~' ? "~0" : "~1", 2);
		else
			put(p, name + i, length ? length : 1);
		i += length ? length : 1;
	}
}

static void put_step(struct pointer *p, const struct step *s)
{
	char number[12];

	put(p, "/", 1);
	if (s->name.p)
		put_name(p, s->name);
	else
		put(p, number, (size_t)snprintf(number, sizeof(number), "%u", s->number));
}

/* A walk from the start of the text towards an offset. */
struct walk {
	struct json json;
	const char *goal;
	uint32_t known;                /* steps that lead to where the walk is */
	struct step steps[JSON_DEPTH]; /* one for each open container */
};

/* Goes to the next element or member of the innermost container; false when it closed. */
static bool walk_within(struct walk *w)
{
	struct step *step = &w->steps[w->json.depth - 1];
	struct json_value name;

	w->known = w->json.depth - 1;
	if (w->json.start[w->json.frames[w->json.depth - 1]] == '[') {
		step->number++;
		return json_element(&w->json);
	}
	if (!json_member(&w->json, &name))
		return false;
	step->name = name.raw;
	return true;
}

/* Goes to where the next value is due; false at the end, at a fault, at the goal. */
static bool walk_on(struct walk *w)
{
	while (w->json.depth > 0) {
		if (walk_within(w)) {
			w->known = w->json.depth;
			return w->json.at <= w->goal;
		}
		if (w->json.fault)
			return false;
	}
	w->known = 0;
	return false;
}

/* Reads the value due; false when the goal is in it, or beyond the depth that is followed. */
static bool walk_value(struct walk *w)
{
	struct json_value v;

	if (!json_value(&w->json, &v) || w->json.start + v.offset >= w->goal)
		return false;
	if (v.kind < KIND_ARRAY)
		return w->json.at <= w->goal;
	if (w->json.depth == JSON_DEPTH)
		return false;
	json_open(&w->json);
	w->steps[w->json.depth - 1] = (struct step){{NULL, 0}, UINT32_MAX};
	return true;
}

void json_pointer(struct view text, size_t offset, char *out, size_t size)
{
	struct pointer pointer = {out, size, 0};
	struct walk w;

	out[0] = '\0';
	w.known = 0;
	w.goal = text.p + offset;
	json_init(&w.json, text);
	w.json.keys_checked = false;
	while (walk_value(&w) && walk_on(&w))
		continue;
	for (uint32_t i = 0; i < w.known; i++)
		put_step(&pointer, &w.steps[i]);
}
