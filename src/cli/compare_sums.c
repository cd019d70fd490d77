#include <stdlib.h>

#include "base/mem.h"
#include "cli/compare.h"

#define OTHERS "(others)"
#define NO_CENTRE "(none)"
#define NAME_LONGEST 64u

const uint64_t compare_edges[COMPARE_BUCKETS] = {10, 100, 1000, 10000, 60000, UINT64_MAX};

/* An id of which at least one thing is known. The map's key is its id. */
struct entry {
	struct list link;
	struct uuid id;
	struct compare_centre *centre; /* NULL: neither side had it yet */
	uint64_t heard_ms;
	uint64_t at_ms[2];
	bool has[2];
	enum rule rule;    /* theirs came with it */
	enum rule refused; /* by us */
	bool known;        /* to us, from before */
};

void compare_init(struct compare *c, uint64_t within_ms, uint64_t now_ms)
{
	*c = (struct compare){.within_ms = within_ms,
		.untold_until_ms = now_ms + within_ms,
		.most = COMPARE_ENTRIES};
	list_init(&c->order);
	c->asked = &c->order;
}

/* --- centres ---------------------------------------------------------- */

static struct compare_centre *centre_of(struct compare *c, struct view name)
{
	struct compare_centre *centre;

	if (name.n == 0)
		name = VIEW(NO_CENTRE);
	name.n = name.n < NAME_LONGEST ? name.n : NAME_LONGEST;
	centre = map_get(&c->centres, name);
	if (centre)
		return centre;
	if (c->centres.count >= COMPARE_CENTRES && !view_equal(name, VIEW(OTHERS)))
		return centre_of(c, VIEW(OTHERS));
	centre = mem_new(sizeof(*centre));
	centre->name = mem_text_of(name);
	map_put(&c->centres, view_of(centre->name), centre);
	return centre;
}

static void tally(struct compare_tally *t, const struct uuid *id)
{
	if (t->count < COMPARE_EXAMPLES)
		t->examples[t->count] = *id;
	t->count++;
}

/* --- entries ---------------------------------------------------------- */

static struct view key_of(const struct uuid *id)
{
	return (struct view){(const char *)id->b, sizeof(id->b)};
}

static void forget(struct compare *c, struct entry *e)
{
	if (c->asked == &e->link)
		c->asked = e->link.prev;
	map_remove(&c->entries, key_of(&e->id));
	list_remove(&e->link);
	c->count--;
	free(e);
}

static unsigned reason_of(const struct entry *e)
{
	if (e->refused)
		return e->refused;
	return e->known ? COMPARE_BEFORE : e->rule;
}

/* Which sides had it has become final. */
static void count_one_sided(struct compare *c, struct entry *e)
{
	if (e->has[COMPARE_OURS] == e->has[COMPARE_THEIRS])
		return; /* both: counted when the second came; neither: refused, and nobody else had it */
	if (e->heard_ms >= c->untold_from_ms && e->heard_ms < c->untold_until_ms)
		c->untold_begin++;
	else if (e->has[COMPARE_OURS])
		tally(&e->centre->only_ours, &e->id);
	else
		tally(&e->centre->only_theirs[reason_of(e)], &e->id);
}

static struct entry *oldest(const struct compare *c)
{
	return list_is_empty(&c->order) ? NULL : container_of(c->order.next, struct entry, link);
}

static void make_room(struct compare *c)
{
	struct entry *e = oldest(c);

	if (c->count < c->most || e == NULL)
		return;
	c->early += e->has[COMPARE_OURS] != e->has[COMPARE_THEIRS];
	count_one_sided(c, e);
	forget(c, e);
}

static struct entry *entry_of(struct compare *c, const struct uuid *id, uint64_t now_ms)
{
	struct entry *e = map_get(&c->entries, key_of(id));

	if (e)
		return e;
	make_room(c);
	e = mem_new(sizeof(*e));
	e->id = *id;
	e->heard_ms = now_ms;
	map_put(&c->entries, key_of(&e->id), e);
	list_append(&c->order, &e->link);
	c->count++;
	return e;
}

static void count_both(const struct entry *e)
{
	uint64_t ours = e->at_ms[COMPARE_OURS], theirs = e->at_ms[COMPARE_THEIRS];
	enum compare_side first = theirs < ours ? COMPARE_THEIRS : COMPARE_OURS;
	uint64_t earlier = theirs < ours ? ours - theirs : theirs - ours;
	unsigned bucket = 0;

	e->centre->both++;
	if (earlier == 0) {
		e->centre->together++;
		return;
	}
	while (earlier >= compare_edges[bucket])
		bucket++;
	e->centre->earlier[first][bucket]++;
}

void compare_take(
	struct compare *c, enum compare_side side, const struct compare_message *m, uint64_t now_ms)
{
	struct entry *e;

	compare_settle(c, now_ms);
	e = entry_of(c, &m->id, now_ms);
	if (e->has[side])
		return;
	e->has[side] = true;
	e->at_ms[side] = m->at_ms;
	if (e->centre == NULL)
		e->centre = centre_of(c, m->centre);
	if (side == COMPARE_THEIRS)
		e->rule = m->rule;
	if (e->has[COMPARE_OURS] && e->has[COMPARE_THEIRS])
		count_both(e);
}

void compare_refused(struct compare *c, const struct uuid *id, enum rule rule, uint64_t now_ms)
{
	compare_settle(c, now_ms);
	entry_of(c, id, now_ms)->refused = rule;
}

void compare_gap(struct compare *c, uint64_t now_ms)
{
	compare_settle(c, now_ms);
	if (now_ms - c->within_ms >= c->untold_until_ms) /* else it joins the one before */
		c->untold_from_ms = now_ms - c->within_ms;
	c->untold_until_ms = UINT64_MAX;
	c->gaps++;
}

void compare_gap_ends(struct compare *c, uint64_t now_ms)
{
	c->untold_until_ms = now_ms + c->within_ms;
}

uint32_t compare_ask(struct compare *c, struct uuid *ids, uint32_t n)
{
	uint32_t found = 0;

	while (found < n && c->asked->next != &c->order) {
		const struct entry *e;

		c->asked = c->asked->next;
		e = container_of(c->asked, struct entry, link);
		if (e->has[COMPARE_THEIRS] && !e->has[COMPARE_OURS] && !e->refused)
			ids[found++] = e->id;
	}
	return found;
}

void compare_known(struct compare *c, const struct uuid *id)
{
	struct entry *e = map_get(&c->entries, key_of(id));

	if (e)
		e->known = true;
}

void compare_settle(struct compare *c, uint64_t now_ms)
{
	struct entry *e;

	while ((e = oldest(c)) != NULL && now_ms - e->heard_ms >= c->within_ms) {
		count_one_sided(c, e);
		forget(c, e);
	}
}

void compare_end(struct compare *c, uint64_t now_ms)
{
	struct entry *e;

	compare_settle(c, now_ms);
	while ((e = oldest(c)) != NULL) {
		c->untold_end += e->has[COMPARE_OURS] != e->has[COMPARE_THEIRS];
		forget(c, e);
	}
}

void compare_fini(struct compare *c)
{
	struct compare_centre *centre;
	struct entry *e;

	while ((e = oldest(c)) != NULL)
		forget(c, e);
	for (size_t at = 0; (centre = map_next(&c->centres, &at)) != NULL;) {
		free(centre->name);
		free(centre);
	}
	map_fini(&c->entries);
	map_fini(&c->centres);
}
