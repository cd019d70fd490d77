/* wis2/record_list.c - which form it is, and the simplest of the three: channels */
#include "wis2/record_list.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "wis2/record_form.h"

int record_list_fail(struct record_list *l, int err, const char *why)
{
	if (l->fault == NULL)
		l->fault = why;
	return err;
}

void record_list_take(struct record_list *l, struct view json)
{
	if (record_read(json, l->on_pair, l->context) < 0)
		l->figures.refused++;
	else
		l->figures.records++;
}

/* --- channels --------------------------------------------------------- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct view trimmed(struct view v)
{
	while (v.n && is_blank(v.p[0]))
		v = view_skip(v, 1);
	while (v.n && is_blank(v.p[v.n - 1]))
		v.n--;
	return v;
}

static const char *find(struct view line, const char *text)
{
	return memmem(line.p, line.n, text, strlen(text));
}

/* A local id may hold commas: the tail's beginning tells where it ends. */
static const char *separator(struct view line)
{
	const char *at = find(line, ",data/");

	if (at == NULL)
		at = find(line, ",metadata");
	return at ? at : memrchr(line.p, ',', line.n);
}

static void take_line(struct record_list *l, struct view line)
{
	const char *comma;
	struct view id, tail;

	line = trimmed(line);
	if (line.n == 0)
		return;
	comma = separator(line);
	id = trimmed((struct view){line.p, comma ? (size_t)(comma - line.p) : 0});
	tail = comma ? trimmed(view_skip(line, id.n + 1)) : (struct view){NULL, 0};
	if (id.n > RECORD_ID_MOST || metadata_id_centre(id).p == NULL) {
		l->figures.refused++;
		return;
	}
	if (view_starts_with(tail, VIEW("origin/")) || view_starts_with(tail, VIEW("cache/")))
		tail = record_tail(tail);
	if (record_tail_is_valid(tail))
		l->on_pair(l->context, id, tail);
	else if (!view_starts_with(tail, VIEW("metadata"))) {
		l->figures.refused++;
		return;
	}
	l->figures.records++;
}

static int channels_feed(struct record_list *l, const char *bytes, size_t n)
{
	struct view rest = {bytes, n};

	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t length = end ? (size_t)(end - rest.p) : rest.n;

		if (buf_length(&l->kept) + length > CHANNEL_LINE_MOST)
			return record_list_fail(l, ERR_TOO_LARGE, "a line of more than 2048 bytes");
		buf_append(&l->kept, rest.p, length);
		if (end == NULL)
			return 0;
		take_line(l, buf_view(&l->kept));
		buf_clear(&l->kept);
		rest = view_skip(rest, length + 1);
	}
	return 0;
}

static int channels_finish(struct record_list *l)
{
	take_line(l, buf_view(&l->kept));
	if (l->figures.refused > l->figures.records)
		return record_list_fail(l, ERR_MALFORMED,
			"neither records, nor an archive, nor a list of channels");
	return 0;
}

/* --- which form ------------------------------------------------------- */

static const struct record_form items = {items_feed, items_finish};
static const struct record_form archive = {archive_feed, archive_finish};
static const struct record_form channels = {channels_feed, channels_finish};

/* Passes over white space and a byte-order mark. */
static struct view skip_blank(struct view text)
{
	while (text.n && (is_blank(text.p[0]) || memchr("\xef\xbb\xbf", text.p[0], 3)))
		text = view_skip(text, 1);
	return text;
}

static const struct record_form *form_of(char first)
{
	return first == '{' ? &items : first == 'P' ? &archive : &channels;
}

struct record_list *record_list_new(record_on_pair *on_pair, void *context)
{
	struct record_list *l = mem_new(sizeof(*l));

	l->on_pair = on_pair;
	l->context = context;
	return l;
}

void record_list_free(struct record_list *l)
{
	if (l == NULL)
		return;
	buf_fini(&l->kept);
	free(l->next);
	free(l);
}

int record_list_feed(struct record_list *l, const char *bytes, size_t n)
{
	struct view text = {bytes, n};

	if (l->fault)
		return ERR_MALFORMED;
	if (l->form == NULL) {
		text = skip_blank(text);
		if (text.n == 0)
			return 0;
		if (text.p[0] == '<')
			return record_list_fail(
				l, ERR_MALFORMED, "a web page, not a list of records");
		l->form = form_of(text.p[0]);
	}
	return l->form->feed(l, text.p, text.n);
}

int record_list_finish(struct record_list *l)
{
	if (l->fault)
		return ERR_MALFORMED;
	if (l->form == NULL)
		return record_list_fail(l, ERR_MALFORMED, "nothing came");
	return l->form->finish(l);
}

const char *record_list_fault(const struct record_list *l)
{
	return l->fault ? l->fault : "";
}

struct view record_list_next(const struct record_list *l)
{
	return view_of(l->next);
}

struct record_list_figures record_list_figures(const struct record_list *l)
{
	return l->figures;
}
