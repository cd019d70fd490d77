#include "cli/verdict.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "cli/hierarchy_files.h"

#define SHOWN_BEFORE 40u /* characters of a long line shown before the caret, and behind it */
#define SHOWN_BEHIND 36u

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static unsigned count_characters(const char *p, const char *end)
{
	unsigned n = 0;

	for (; p < end; p++)
		n += !is_continuation(*p);
	return n;
}

struct text_place text_place(struct view text, size_t offset)
{
	const char *at = text.p + (offset < text.n ? offset : text.n);
	const char *begin = text.p, *end = text.p + text.n;
	const char *newline;
	struct text_place place = {.line = 1};

	while ((newline = memchr(begin, '\n', (size_t)(at - begin))) != NULL) {
		begin = newline + 1;
		place.line++;
	}
	newline = memchr(at, '\n', (size_t)(end - at));
	if (newline)
		end = newline;
	place.text = (struct view){begin, (size_t)(end - begin)};
	place.column = count_characters(begin, at) + 1;
	return place;
}

bool verdict_is_valid(const struct verdict *v)
{
	return !(v->topic_findings && v->topic_findings->count) &&
	       !(v->message_findings && v->message_findings->count);
}

/* Appends text with control characters and bytes that are not UTF-8 as one question mark each, so
 * that a caret below stays in place. */
static void append_plain(struct buf *b, const char *p, const char *end)
{
	while (p < end) {
		size_t length = utf8_sequence(p, (size_t)(end - p));
		bool odd = length == 0 || (unsigned char)*p < ' ' || *p == 0x7f;

		if (*p == '\t')
			buf_text(b, " ");
		else if (odd)
			buf_text(b, "?");
		else
			buf_append(b, p, length);
		p += length ? length : 1;
	}
}

/* The characters round `at` of the line, and a caret under it. */
static void print_caret(struct view line, const char *at)
{
	const char *begin = at, *end = at;
	struct buf out = {0};
	unsigned before = 0;

	while (begin > line.p && before < SHOWN_BEFORE)
		before += !is_continuation(*--begin);
	while (end < line.p + line.n && count_characters(at, end) <= SHOWN_BEHIND)
		end++;
	while (end > at && end < line.p + line.n && is_continuation(*end))
		end--;
	buf_text(&out, begin > line.p ? "    ..." : "    ");
	append_plain(&out, begin, end);
	buf_text(&out, end < line.p + line.n ? "...\n" : "\n");
	buf_printf(&out, "%*s^\n", (int)before + (begin > line.p ? 7 : 4), "");
	fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	buf_fini(&out);
}

static void print_finding(const struct verdict *v, const struct finding *f, struct view text)
{
	struct text_place place = text_place(text, f->offset);
	size_t offset = f->offset < text.n ? f->offset : text.n;

	printf("%s: invalid %s: %s", v->source, rule_id(f->rule), f->reason);
	if (f->level)
		printf(" (level %u", f->level);
	else
		printf(" (line %u, column %u", place.line, place.column);
	if (f->path[0])
		printf(", %s", f->path);
	if (f->nearest.p)
		printf(", nearest is %.*s", VIEW_ARG(f->nearest));
	printf(")\n");
	if (text.n)
		print_caret(place.text, text.p + offset);
}

static void print_findings(const struct verdict *v, const struct findings *found, struct view text)
{
	for (uint32_t i = 0; found && i < found->count; i++)
		print_finding(v, &found->at[i], text);
}

void verdict_print_text(const struct verdict *v)
{
	if (verdict_is_valid(v))
		printf("%s: valid\n", v->source);
	print_findings(v, v->topic_findings, v->topic);
	print_findings(v, v->message_findings, v->payload);
}

static void append_finding(struct buf *b, const struct finding *f, struct view text)
{
	struct text_place place = text_place(text, f->offset);

	buf_printf(b, "{\"rule\":\"%s\",", rule_id(f->rule));
	if (f->level) {
		buf_printf(b, "\"level\":%u,", f->level);
	} else {
		buf_text(b, "\"path\":");
		buf_json_string(b, view_of(f->path));
		buf_printf(b, ",\"line\":%u,\"column\":%u,", place.line, place.column);
	}
	buf_text(b, "\"reason\":");
	buf_json_string(b, view_of(f->reason));
	if (f->nearest.p) {
		buf_text(b, ",\"nearest\":");
		buf_json_string(b, f->nearest);
	}
	buf_text(b, "}");
}

static void append_findings(
	struct buf *b, const struct findings *found, struct view text, bool *first)
{
	for (uint32_t i = 0; found && i < found->count; i++) {
		if (!*first)
			buf_text(b, ",");
		*first = false;
		append_finding(b, &found->at[i], text);
	}
}

void verdict_print_json(const struct verdict *v, const struct buf *head)
{
	struct buf out = {0};
	bool first = true;

	buf_text(&out, "{");
	buf_append(&out, buf_bytes(head), buf_length(head));
	buf_printf(&out, "\"valid\":%s,", verdict_is_valid(v) ? "true" : "false");
	if (v->payload.p) {
		buf_text(&out, "\"id\":");
		if (v->id.p)
			buf_json_string(&out, v->id);
		else
			buf_text(&out, "null");
		buf_text(&out, ",");
	}
	buf_text(&out, "\"broken\":[");
	append_findings(&out, v->topic_findings, v->topic, &first);
	append_findings(&out, v->message_findings, v->payload, &first);
	buf_text(&out, "]}\n");
	fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	buf_fini(&out);
}

bool verdict_read_choice(const char *command, const char *option, const char *text,
	const char *const *choice, unsigned *out)
{
	for (unsigned i = 0; choice[i]; i++) {
		if (strcmp(text, choice[i]) == 0) {
			*out = i;
			return true;
		}
	}
	fprintf(stderr, "isobar %s: --%s is one of", command, option);
	for (unsigned i = 0; choice[i]; i++)
		fprintf(stderr, " %s", choice[i]);
	fprintf(stderr, "\n");
	return false;
}

bool verdict_load_hierarchy(const char *command, struct verdict_hierarchy *v)
{
	struct buf why = {0};
	struct view rest = v->centres ? view_of(v->centres) : (struct view){0};

	v->hierarchy = hierarchy_read(v->path, &why);
	if (v->hierarchy == NULL)
		fprintf(stderr, "isobar %s: --hierarchy %s: %.*s\n", command, v->path,
			VIEW_ARG(buf_view(&why)));
	while (v->hierarchy && rest.p) {
		struct view name = view_cut(&rest, ',');
		struct hierarchy *more = hierarchy_with_centres(v->hierarchy, &name, 1);

		hierarchy_unref(v->hierarchy);
		v->hierarchy = more;
	}
	buf_fini(&why);
	return v->hierarchy != NULL;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

size_t verdict_unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in;) {
		if (in[0] == '\\' && in[1] == 'x' && is_hex(in[2]) && is_hex(in[3])) {
			char digits[3] = {in[2], in[3], '\0'};

			*out++ = (char)strtol(digits, NULL, 16);
			in += 4;
		} else {
			*out++ = *in++;
		}
	}
	return (size_t)(out - text);
}
