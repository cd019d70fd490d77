/* cluster/crew.c - from what Redis says to what is to be said, shard by shard */
#include "cluster/crew.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_leaving(const struct crew_terms *t)
{
	const struct node *me = nodes_by_run(t->nodes, view_of(t->me));

	return me && me->draining;
}

enum share_step crew_step(
	const struct crew *c, const struct crew_terms *t, uint32_t shard, const char **to)
{
	const char *owner = c->table.shards[shard].run;
	enum share_step step =
		share_decide(&c->table, t->nodes, c->key, t->whole, shard, t->me, to);

	if (step == SHARE_STAY && !t->whole && strcmp(owner, t->me) == 0 && is_leaving(t))
		return SHARE_HAND_OVER;
	return step;
}

enum share_seat crew_seat(const struct crew *c, const struct crew_terms *t)
{
	if (!t->whole)
		return c->is_seated ? SHARE_SEATED : SHARE_HELD;
	if (!c->table.is_read)
		return SHARE_HELD;
	if (c->reaches)
		return c->is_seated ? SHARE_SEATED : SHARE_AWAY;
	/* Others may have more, and be back soon. */
	if (c->is_seated && (t->now_ms - c->seated_ms >= CREW_SHORT_MS ||
				    !share_has_others(&c->table, t->nodes, t->me)))
		return SHARE_SHORT;
	return SHARE_HELD;
}

/* --- saying ------------------------------------------------------------------- */

static void add_change(
	struct buf *b, uint32_t shard, const char *from, const char *to, const uint64_t *place)
{
	char text[24] = "";

	if (place)
		snprintf(text, sizeof(text), "%016" PRIx64, *place);
	resp_number(b, shard);
	resp_bytes(b, view_of(from));
	resp_bytes(b, view_of(to));
	resp_bytes(b, view_of(text));
}

/* Nothing of the shard is under way any more, or has been for too long. */
static bool has_ended(const struct crew *c, const struct crew_terms *t, uint32_t shard)
{
	return !c->is_seated || c->acked.place[shard] >= c->dealt.place[shard] ||
	       t->now_ms - c->ending_ms[shard] >= CREW_END_MS;
}

/* A target's shards go together, so that it has one feeder at any time. */
static bool have_all_ended(const struct crew *c, const struct crew_terms *t)
{
	for (uint32_t k = 0; k < t->shards; k++) {
		if (c->parts.state[k] != SHARE_NONE &&
			(c->parts.state[k] != SHARE_ENDING || !has_ended(c, t, k)))
			return false;
	}
	return true;
}

/* Where a shard that nobody has begins: here, or where Redis said before it forgot. */
static void add_claim(struct crew *c, uint32_t shard, const char *to, struct buf *b)
{
	uint64_t own = c->acked.place[shard], known = c->parts.place.place[shard];

	add_change(b, shard, "", to, own > known ? &own : &known);
}

/* What is said of a shard of this node's; true: a change was added. */
static bool say_own(struct crew *c, uint32_t shard, const char *to, struct buf *b)
{
	const struct share_row *row = &c->table.shards[shard];
	const uint64_t *acked = &c->acked.place[shard];

	if (c->parts.state[shard] == SHARE_NONE)
		return false;
	if (strcmp(to, row->run) == 0 && *acked <= row->place)
		return false;
	add_change(b, shard, row->run, to, *acked > row->place ? acked : NULL);
	return true;
}

/* The next state of a shard that this node owns. True: it has become another. */
static bool turn_shard(
	struct crew *c, const struct crew_terms *t, uint32_t shard, enum share_step step)
{
	uint8_t *state = &c->parts.state[shard];
	uint8_t was = *state;

	if (step == SHARE_HAND_OVER && was == SHARE_OWNED) {
		*state = SHARE_ENDING;
		c->ending_ms[shard] = t->now_ms;
	} else if (step == SHARE_STAY && was == SHARE_ENDING) {
		*state = SHARE_OWNED;
	}
	return *state != was;
}

bool crew_gathers(const struct crew *c, const struct crew_terms *t)
{
	return !t->whole && (c->named_ms == 0 || t->now_ms - c->named_ms < CREW_GATHER_MS);
}

/* Where the group began here: of a shard that nobody has Redis keeps the least. */
static uint32_t say_beginning(struct crew *c, const struct crew_terms *t, struct buf *b)
{
	for (uint32_t k = 0; k < t->shards; k++)
		add_change(b, k, "", "", &c->acked.place[k]);
	c->is_naming = true;
	return t->shards;
}

uint32_t crew_say(struct crew *c, const struct crew_terms *t, struct buf *b, bool *is_other)
{
	bool may_go = t->whole && have_all_ended(c, t);
	uint32_t n = 0;

	*is_other = false;
	if (!t->whole && c->named_ms == 0)
		return say_beginning(c, t, b);
	if (!c->table.is_read || nodes_by_run(t->nodes, view_of(t->me)) == NULL)
		return 0;
	for (uint32_t k = 0; k < t->shards; k++) {
		const char *owner = c->table.shards[k].run;
		const char *to;
		enum share_step step = crew_step(c, t, k, &to);

		if (step == SHARE_CLAIM && !crew_gathers(c, t)) {
			add_claim(c, k, to, b);
			n++;
		} else if (step == SHARE_TAKE) {
			add_change(b, k, owner, t->me, NULL);
			n++;
		} else if (strcmp(owner, t->me) == 0) {
			bool is_turned = turn_shard(c, t, k, step);
			bool goes = step == SHARE_HAND_OVER && !is_turned &&
				    (t->whole ? may_go : has_ended(c, t, k));

			*is_other |= is_turned;
			n += say_own(c, k, goes ? to : t->me, b);
		}
	}
	return n;
}

uint32_t crew_say_last(struct crew *c, const struct crew_terms *t, struct buf *b)
{
	uint32_t n = 0;

	for (uint32_t k = 0; c->table.is_read && k < t->shards; k++) {
		const char *to;

		if (strcmp(c->table.shards[k].run, t->me) != 0)
			continue;
		if (crew_step(c, t, k, &to) != SHARE_HAND_OVER)
			to = t->me;
		n += say_own(c, k, to, b);
	}
	return n;
}

/* --- hearing -------------------------------------------------------------------- */

bool crew_take(struct crew *c, const struct crew_terms *t)
{
	bool is_other = false;

	if (c->is_naming)
		c->named_ms = t->now_ms;
	c->is_naming = false;
	for (uint32_t k = 0; k < t->shards; k++) {
		const struct share_row *row = &c->table.shards[k];
		uint8_t *state = &c->parts.state[k];
		bool is_mine = strcmp(row->run, t->me) == 0;

		if (row->run[0] == '\0')
			continue;
		c->parts.place.place[k] = row->place;
		if (is_mine != (*state != SHARE_NONE)) {
			*state = is_mine ? SHARE_OWNED : SHARE_NONE;
			c->acked.place[k] = c->dealt.place[k] =
				row->place; /* as the host will say */
			is_other = true;
		}
	}
	return is_other;
}

/* What is kept for want of another needs its last place, as the host says since nothing is dealt. */
static bool owes_shard(const struct crew *c, const struct crew_terms *t, uint32_t shard)
{
	const char *to;

	if (c->parts.state[shard] == SHARE_NONE || crew_step(c, t, shard, &to) != SHARE_HAND_OVER)
		return false;
	return strcmp(to, t->me) != 0 || c->parts.state[shard] != SHARE_ENDING ||
	       c->heard_ms <= c->ending_ms[shard] || !has_ended(c, t, shard) ||
	       c->acked.place[shard] > c->table.shards[shard].place;
}

bool crew_owes(const struct crew *c, const struct crew_terms *t)
{
	for (uint32_t k = 0; k < t->shards; k++) {
		if (owes_shard(c, t, k))
			return true;
	}
	return false;
}
