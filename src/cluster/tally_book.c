#include "cluster/tally_book.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cluster/holders.h"

#define HELD "* " /* no centre-id has a '*' */
#define SOURCE_MOST 256u

/* A source as it was at the last look. */
struct counted {
	char *name;
	char *centre;
	uint64_t figures[TALLY_SUMS];
	bool here; /* in this look */
	bool is_held;
	bool is_voice;
	bool connected;
	uint32_t slot;
};

/* A centre in this run. */
struct line {
	char *centre;
	uint64_t figures[TALLY_FIGURES];
	uint64_t confirmed[TALLY_FIGURES];
	uint64_t sent[TALLY_FIGURES];
	uint64_t repeats_then; /* of the cluster, when duplicates were worked out before */
	bool connected;
	bool here;
	bool was_sent;
	bool was_told; /* ever */
};

struct tally_book {
	struct map sources;
	struct map lines;
};

/* --- counting ----------------------------------------------------------- */

struct tally_book *tally_book_new(void)
{
	return mem_new(sizeof(struct tally_book));
}

static void counted_free(struct counted *c)
{
	free(c->name);
	free(c->centre);
	free(c);
}

void tally_book_free(struct tally_book *b)
{
	struct counted *c;
	struct line *l;

	for (size_t at = 0; (c = map_next(&b->sources, &at)) != NULL;)
		counted_free(c);
	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;) {
		free(l->centre);
		free(l);
	}
	map_fini(&b->sources);
	map_fini(&b->lines);
	free(b);
}

void tally_book_begin(struct tally_book *b)
{
	struct counted *c;
	struct line *l;

	for (size_t at = 0; (c = map_next(&b->sources, &at)) != NULL;)
		c->here = false;
	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;)
		l->here = l->connected = false;
}

static struct line *line_of(struct tally_book *b, const char *centre)
{
	struct line *l = map_get(&b->lines, view_of(centre));

	if (l)
		return l;
	l = mem_new(sizeof(*l));
	l->centre = mem_text(centre);
	map_put(&b->lines, view_of(l->centre), l);
	return l;
}

static struct counted *counted_of(struct tally_book *b, const struct tally *source)
{
	struct counted *c = map_get(&b->sources, view_of(source->source));

	if (c == NULL) {
		c = mem_new(sizeof(*c));
		c->name = mem_text(source->source);
		c->centre = mem_text(source->centre);
		map_put(&b->sources, view_of(c->name), c);
	}
	return c;
}

/* It was replaced by another of its name since the look before. */
static bool is_another(const struct counted *c, const struct tally *source)
{
	for (unsigned i = 0; i < TALLY_SUMS; i++)
		if (source->figures[i] < c->figures[i])
			return true;
	return strcmp(c->centre, source->centre) != 0;
}

void tally_book_add(struct tally_book *b, const struct tally *source)
{
	struct counted *c;
	struct line *l;

	if (strlen(source->centre) > TALLY_NAME_MOST)
		return;
	c = counted_of(b, source);
	l = line_of(b, source->centre);
	if (is_another(c, source)) {
		memset(c->figures, 0, sizeof(c->figures));
		free(c->centre);
		c->centre = mem_text(source->centre);
	}
	for (unsigned i = 0; i < TALLY_SUMS; i++) {
		l->figures[i] += source->figures[i] - c->figures[i];
		c->figures[i] = source->figures[i];
	}
	if (source->figures[TALLY_LAST_MS] > l->figures[TALLY_LAST_MS])
		l->figures[TALLY_LAST_MS] = source->figures[TALLY_LAST_MS];
	c->is_held = source->is_held;
	c->is_voice = source->is_voice;
	c->connected = source->connected;
	c->slot = source->slot;
	c->here = l->here = true;
	l->connected |= source->connected;
}

/* One that is gone is forgotten, so that another of its name counts from 0; its line stays. */
void tally_book_end(struct tally_book *b)
{
	struct counted *c = NULL;

	do {
		size_t at = 0;

		while ((c = map_next(&b->sources, &at)) != NULL && c->here)
			;
		if (c) {
			map_remove(&b->sources, view_of(c->name));
			counted_free(c);
		}
	} while (c);
}

/* --- what is told ------------------------------------------------------- */

void tally_book_list(const struct tally_book *b, uint64_t run, struct buf *out)
{
	const struct counted *c;
	const struct line *l;

	buf_printf(out, "%" PRIu64 "\n", run);
	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;)
		if (l->here)
			buf_printf(out, "%s %d\n", l->centre, l->connected);
	for (size_t at = 0; (c = map_next(&b->sources, &at)) != NULL;)
		if (c->here && c->is_held)
			buf_printf(out, "%s%" PRIu32 " %d %d %s\n", HELD, c->slot, c->is_voice,
				c->connected, c->name);
}

static void put_line(struct line *l, struct buf *arguments)
{
	struct buf text = {0};

	for (unsigned i = 0; i < TALLY_FIGURES; i++)
		buf_printf(&text, "%s%" PRIu64, i ? " " : "", l->figures[i]);
	resp_bytes(arguments, view_of(l->centre));
	resp_bytes(arguments, buf_view(&text));
	buf_fini(&text);
	memcpy(l->sent, l->figures, sizeof(l->sent));
	l->was_sent = true;
}

uint32_t tally_book_changes(struct tally_book *b, bool all, struct buf *arguments)
{
	struct line *l;
	uint32_t n = 0;

	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;) {
		bool differs =
			!l->was_told || memcmp(l->figures, l->confirmed, sizeof(l->figures)) != 0;

		l->was_sent = false;
		if ((!all && !differs) || n == TALLY_CHANGES_MOST)
			continue;
		put_line(l, arguments);
		n++;
	}
	return n;
}

void tally_book_confirm(struct tally_book *b)
{
	struct line *l;

	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;) {
		if (!l->was_sent)
			continue;
		memcpy(l->confirmed, l->sent, sizeof(l->sent));
		l->was_told = true;
		l->was_sent = false;
	}
}

void tally_book_judge(struct tally_book *b, const struct tally_sheet *s)
{
	struct line *l;

	for (size_t at = 0; (l = map_next(&b->lines, &at)) != NULL;) {
		const struct tally *all = map_get(&s->by_centre, view_of(l->centre));
		uint64_t ahead = all ? all->figures[TALLY_AHEAD] : 0;
		uint64_t most = l->figures[TALLY_DUPLICATES];

		if (all == NULL)
			continue;
		if (all->figures[TALLY_DUPLICATES] > most)
			most = all->figures[TALLY_DUPLICATES];
		if (l->repeats_then > ahead && l->repeats_then - ahead > most)
			most = l->repeats_then - ahead;
		l->figures[TALLY_DUPLICATES] = most;
		l->repeats_then = all->figures[TALLY_REPEATS];
	}
}

/* --- what all have counted ---------------------------------------------- */

void tally_sheet_fini(struct tally_sheet *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		free((char *)(uintptr_t)s->lines[i].centre);
	free(s->lines);
	map_fini(&s->by_centre);
	for (uint32_t i = 0; i < s->holding_count; i++) {
		free((char *)(uintptr_t)s->holdings[i].source);
		free((char *)(uintptr_t)s->holdings[i].node);
	}
	free(s->holdings);
	*s = (struct tally_sheet){0};
}

/* False: no number, or one that does not fit. */
static bool parse_number(struct view text, uint64_t *out)
{
	uint64_t value = 0;

	if (text.n == 0 || text.n > 19)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text.p[i] - '0');
	}
	*out = value;
	return true;
}

/* Lines are in a map by their centre, so they do not move while the sheet is made. */
struct listing {
	struct map by_centre;
	uint32_t count;
	struct holding *holdings;
	uint32_t holding_count;
	uint32_t holding_room;
};

static void list_holding(struct listing *to, struct view node, struct view line)
{
	uint64_t numbers[3]; /* slot, voice, connected */

	for (unsigned i = 0; i < 3; i++)
		if (!parse_number(view_cut(&line, ' '), &numbers[i]))
			return;
	if (line.n == 0 || line.n > SOURCE_MOST || numbers[0] >= HOLDERS_MOST ||
		to->holding_count == TALLY_HOLDINGS_MOST)
		return;
	if (to->holding_count == to->holding_room) {
		to->holding_room = to->holding_room ? 2 * to->holding_room : 64;
		to->holdings = mem_resize(to->holdings, to->holding_room * sizeof(*to->holdings));
	}
	to->holdings[to->holding_count++] = (struct holding){.source = mem_text_of(line),
		.node = mem_text_of(node),
		.slot = (uint32_t)numbers[0],
		.is_voice = numbers[1] != 0,
		.connected = numbers[2] != 0};
}

static void list_centre(struct listing *to, struct view line)
{
	struct view centre = view_cut(&line, ' ');
	struct tally *t;

	if (centre.n == 0 || centre.n > TALLY_NAME_MOST || line.n != 1 || centre.p == NULL)
		return;
	t = map_get(&to->by_centre, centre);
	if (t == NULL && to->count < TALLY_LINES_MOST) {
		t = mem_new(sizeof(*t));
		t->centre = mem_text_of(centre);
		map_put(&to->by_centre, view_of(t->centre), t);
		to->count++;
	}
	if (t && line.p[0] == '1')
		t->connected = true;
}

static void list_one(struct listing *to, struct view node, struct view line)
{
	if (view_starts_with(line, VIEW(HELD)))
		list_holding(to, node, view_skip(line, sizeof(HELD) - 1));
	else
		list_centre(to, line);
}

static bool counts(struct view name, uint64_t run, const struct nodes *nodes, const char *own,
	uint64_t own_run)
{
	const struct node *node;

	if (view_equal(name, view_of(own)))
		return run == own_run;
	node = nodes_find(nodes, name);
	return node && node->alive && node->start == run;
}

static void take_lists(struct listing *to, const struct resp *lists, const struct nodes *nodes,
	const char *node, uint64_t own_run)
{
	for (uint32_t i = 0; i + 1 < lists->count; i += 2) {
		const struct resp *name = resp_item(lists, i, RESP_STRING);
		const struct resp *list = resp_item(lists, i + 1, RESP_STRING);
		struct view rest = list ? list->text : (struct view){NULL, 0};
		uint64_t run;

		if (name == NULL || !parse_number(view_cut(&rest, '\n'), &run) ||
			!counts(name->text, run, nodes, node, own_run))
			continue;
		while (rest.p)
			list_one(to, name->text, view_cut(&rest, '\n'));
	}
}

static void take_total(struct tally *t, struct view text)
{
	for (unsigned i = 0; i < TALLY_FIGURES && text.p; i++)
		if (!parse_number(view_cut(&text, ' '), &t->figures[i]))
			return;
}

static void take_totals(struct listing *to, const struct resp *totals)
{
	for (uint32_t i = 0; i + 1 < totals->count; i += 2) {
		const struct resp *centre = resp_item(totals, i, RESP_STRING);
		const struct resp *figures = resp_item(totals, i + 1, RESP_STRING);
		struct tally *t = centre ? map_get(&to->by_centre, centre->text) : NULL;

		if (t && figures)
			take_total(t, figures->text);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct tally *)a)->centre, ((const struct tally *)b)->centre);
}

static int by_source(const void *a, const void *b)
{
	const struct holding *x = a, *y = b;
	int order = strcmp(x->source, y->source);

	if (order == 0)
		order = (x->slot > y->slot) - (x->slot < y->slot);
	return order ? order : strcmp(x->node, y->node);
}

/* Moves the lines into the sheet, in order of centre. */
static void lay_out(struct listing *from, struct tally_sheet *s)
{
	struct tally *t;

	tally_sheet_fini(s);
	s->lines = mem_new((from->count + 1) * sizeof(*s->lines));
	for (size_t at = 0; (t = map_next(&from->by_centre, &at)) != NULL;) {
		s->lines[s->count++] = *t;
		free(t);
	}
	map_fini(&from->by_centre);
	qsort(s->lines, s->count, sizeof(*s->lines), by_name);
	for (uint32_t i = 0; i < s->count; i++)
		map_put(&s->by_centre, view_of(s->lines[i].centre), &s->lines[i]);
	s->holdings = from->holdings;
	s->holding_count = from->holding_count;
	if (s->holding_count)
		qsort(s->holdings, s->holding_count, sizeof(*s->holdings), by_source);
}

bool tally_sheet_take(struct tally_sheet *s, const struct resp *reply, const struct nodes *nodes,
	const char *node, uint64_t run)
{
	const struct resp *totals = resp_item(reply, 0, RESP_ARRAY);
	const struct resp *lists = resp_item(reply, 1, RESP_ARRAY);
	struct listing listing = {0};

	if (totals == NULL || lists == NULL)
		return false;
	take_lists(&listing, lists, nodes, node, run);
	take_totals(&listing, totals);
	lay_out(&listing, s);
	return true;
}
