/* wis2/record_items.c - a page of records, cut into records while it arrives
 *
 *     {"type": "FeatureCollection", "features": [{...}, {...}], "links": [{"rel": "next", ...}]}
 *                                                ^^^^^  ^^^^^            ^^^^^^^^^^^^^^^^^^^^^^^
 *
 * Only brackets, strings and the names on the first level are looked at here; what is underlined is
 * kept until its closing bracket and judged by jansson. So a page of any length takes the memory of
 * one record, and what is not kept need not be sound beyond its brackets and strings.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "wis2/record_form.h"

#define DEPTH_MOST 64u
#define NEXT_MOST 4096u /* of the address of a page */

static bool is_array(const struct items *at, unsigned depth)
{
	return at->arrays >> (depth - 1) & 1;
}

static bool name_is(const struct items *at, struct view name)
{
	return view_equal((struct view){at->name, at->name_length}, name);
}

/* --- parts ------------------------------------------------------------ */

static void keep(struct record_list *l, const char *bytes, size_t n)
{
	if (l->items.part_too_long)
		return;
	if (buf_length(&l->kept) + n > RECORD_BYTES_MOST) {
		l->items.part_too_long = true;
		buf_clear(&l->kept);
		return;
	}
	buf_append(&l->kept, bytes, n);
}

static void take_links(struct record_list *l, struct view text)
{
	json_t *links = json_loadb(text.p, text.n, 0, NULL);
	json_t *link;
	size_t at;

	json_array_foreach(links, at, link)
	{
		const char *rel = json_string_value(json_object_get(link, "rel"));
		const char *href = json_string_value(json_object_get(link, "href"));

		if (rel && href && strcmp(rel, "next") == 0 && strlen(href) <= NEXT_MOST &&
			l->next == NULL)
			l->next = mem_text(href);
	}
	json_decref(links);
}

static void end_part(struct record_list *l)
{
	struct items *at = &l->items;

	if (at->part_too_long)
		l->figures.refused += at->part_depth > 1;
	else if (at->part_depth > 1)
		record_list_take(l, buf_view(&l->kept));
	else
		take_links(l, buf_view(&l->kept));
	buf_clear(&l->kept);
	at->part_depth = 0;
	at->part_too_long = false;
}

/* Does a part begin with the bracket just opened? `part_depth` is the depth around it. */
static bool begins_part(const struct items *at, char bracket)
{
	if (at->part_depth)
		return false;
	if (at->depth == 2 && bracket == '[')
		return name_is(at, VIEW("links"));
	return at->depth == 3 && bracket == '{' && is_array(at, 2) && name_is(at, VIEW("features"));
}

/* --- bytes ------------------------------------------------------------ */

static int open_bracket(struct record_list *l, char c)
{
	struct items *at = &l->items;

	if (at->depth >= DEPTH_MOST)
		return record_list_fail(l, ERR_MALFORMED, "nested too deep");
	at->depth++;
	at->arrays &= ~(1ull << (at->depth - 1));
	at->arrays |= (uint64_t)(c == '[') << (at->depth - 1);
	at->name_next = at->depth == 1;
	if (at->depth == 2 && c == '[' && name_is(at, VIEW("features")))
		at->has_features = true;
	return 0;
}

static int close_bracket(struct record_list *l, char c)
{
	struct items *at = &l->items;

	if (at->depth == 0 || is_array(at, at->depth) != (c == ']'))
		return record_list_fail(l, ERR_MALFORMED, "a bracket that does not fit");
	at->depth--;
	at->is_done = at->depth == 0;
	return 0;
}

static void read_string(struct items *at, char c)
{
	if (at->escaped)
		at->escaped = false;
	else if (c == '\\')
		at->escaped = true;
	else if (c == '"')
		at->in_string = false;
	if (!at->in_string || !at->in_name)
		return;
	if (at->name_length < sizeof(at->name))
		at->name[at->name_length++] = c;
}

static void begin_string(struct items *at)
{
	at->in_string = true;
	at->in_name = at->depth == 1 && at->name_next;
	if (at->in_name)
		at->name_length = 0;
	at->name_next = false;
}

/* One byte outside strings. */
static int read_byte(struct record_list *l, char c)
{
	struct items *at = &l->items;

	if (at->is_done && c != ' ' && c != '\n' && c != '\r' && c != '\t')
		return record_list_fail(l, ERR_MALFORMED, "text behind the list");
	switch (c) {
	case '"':
		begin_string(at);
		return 0;
	case '{':
	case '[':
		return open_bracket(l, c);
	case '}':
	case ']':
		return close_bracket(l, c);
	case ',':
		at->name_next = at->depth == 1;
		return 0;
	default:
		return 0;
	}
}

int items_feed(struct record_list *l, const char *bytes, size_t n)
{
	struct items *at = &l->items;
	const char *from = bytes; /* of the part kept, in these bytes */
	int err;

	for (const char *p = bytes; p < bytes + n; p++) {
		if (at->in_string) {
			read_string(at, *p);
			continue;
		}
		err = read_byte(l, *p);
		if (err < 0)
			return err;
		if ((*p == '{' || *p == '[') && begins_part(at, *p)) {
			at->part_depth = at->depth - 1;
			from = p;
		} else if (at->part_depth && at->depth == at->part_depth) {
			keep(l, from, (size_t)(p + 1 - from));
			end_part(l);
		}
	}
	if (at->part_depth)
		keep(l, from, (size_t)(bytes + n - from));
	return 0;
}

int items_finish(struct record_list *l)
{
	if (!l->items.is_done)
		return record_list_fail(l, ERR_MALFORMED, "the list ends in the middle");
	if (!l->items.has_features)
		return record_list_fail(
			l, ERR_MALFORMED, "JSON without \"features\": no list of records");
	if (l->figures.refused && l->figures.records == 0)
		return record_list_fail(l, ERR_MALFORMED, "no record that can be read");
	return 0;
}
