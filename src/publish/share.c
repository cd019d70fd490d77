/* publish/share.c - a cluster asks how far targets are, and says which shards are fed from here
 *
 *     worker   target --look--> each()            the cluster's thread
 *              target <--parts-- set()
 *
 * What is given away is not fed from the moment the worker hears of it; what comes is fed once nothing is
 * open, so that the window stays in the journal's order and its first is the oldest not done. Until the
 * worker has heard, what it may have sent is not known, and each() says so: dealt is beyond everything.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "commit/commit.h"
#include "commit/follow.h"
#include "publish/internal.h"

#define GRACE_MS \
	5000u /* who has lost the connection is counted as connected: no target moves for that */
#define PLACE_MS_BITS 24 /* of a place, behind its milliseconds */

/* --- on the worker --------------------------------------------------------- */

static bool is_seated(const struct target *t)
{
	uint64_t now = loop_now_ms(t->worker->loop);

	if (t->draining)
		return false;
	return t->uplink.state == UPLINK_CONNECTED || (t->lost_ms && now - t->lost_ms < GRACE_MS);
}

void share_show(struct target *t)
{
	if (!t->feed.by_shard)
		return;
	count_set(&t->figures.owned, t->feed.owned);
	pthread_mutex_lock(&t->look_lock);
	t->look.is_there = true;
	t->look.taken = t->taken;
	t->look.position = target_position(t);
	t->look.next = t->feed.next;
	t->look.is_seated = is_seated(t);
	t->look.owned = t->feed.owned;
	t->look.after = t->feed.after;
	pthread_mutex_unlock(&t->look_lock);
}

void share_changed(struct target *t)
{
	const struct sharing *sharing = &t->set->sharing;

	share_show(t);
	if (sharing->changed)
		sharing->changed(sharing->context);
}

void share_ended(struct target *t)
{
	if (t->is_ending)
		share_changed(t);
}

void share_begin(struct target *t)
{
	struct journal_reader *r = &t->worker->reader;
	struct vector upto;

	if (t->set->commit == NULL)
		return;
	journal_reader_enter(r);
	commit_vector_at(t->set->commit, r, t->feed.next, &upto);
	journal_reader_leave(r);
	feed_by_shard(&t->feed, &upto);
	share_changed(t);
}

static void drop_parts(struct target *t)
{
	free(t->parts);
	t->parts = NULL;
}

void share_parts(struct target *t, struct target_parts *parts)
{
	struct vector behind;

	drop_parts(t);
	t->parts = parts;
	t->taken = parts->number;
	t->is_ending = memchr(parts->parts.state, SHARE_ENDING, VECTOR_SHARDS) != NULL;
	t->stuck_at = UINT64_MAX;
	feed_give(&t->feed, &parts->parts);
	if (t->uplink.state != UPLINK_CONNECTED)
		feeding_forget_others(t);
	if (!feed_gains(&t->feed, &parts->parts, &behind))
		drop_parts(t);
	share_show(t);
}

/* What lies between the place and the journal's beginning is not sent from here. */
static void note_gap(struct target *t, uint32_t shard, uint64_t place)
{
	uint64_t first;

	if (commit_reaches(t->set->commit, &t->worker->reader, shard, place, &first))
		return;
	count_add(&t->figures.gaps, 1);
	log_error("publish", "gap",
		"target=%s shard=%" PRIu32 " ms=%" PRIu64
		" why=\"the journal of this node begins behind the place up to which the target "
		"has all\"",
		t->name, shard,
		first > place ? (first >> PLACE_MS_BITS) - (place >> PLACE_MS_BITS) : 0);
}

void share_take(struct target *t)
{
	const struct sharing_parts *parts = &t->parts->parts;
	struct vector behind;
	uint64_t from;

	if (feed_gains(&t->feed, parts, &behind)) {
		for (uint32_t i = 0; i < VECTOR_SHARDS; i++) {
			if (t->feed.state[i] == SHARE_NONE && parts->state[i] == SHARE_OWNED)
				note_gap(t, i, behind.place[i]);
		}
		from = commit_first_beyond(t->set->commit, &t->worker->reader, &behind);
		feed_take(&t->feed, parts, from);
		log_info("publish", "shards", "target=%s owned=%" PRIu32 " behind=%" PRIu64,
			t->name, t->feed.owned, journal_tail(t->set->journal) - t->feed.next);
	}
	drop_parts(t);
	t->warm_to = 0;
	t->stuck_at = UINT64_MAX;
	share_show(t);
}

/* --- on the cluster's thread -------------------------------------------------- */

static void vector_at(struct publisher *p, uint64_t seq, struct vector *out)
{
	journal_reader_enter(&p->reader);
	commit_vector_at(p->commit, &p->reader, seq, out);
	journal_reader_leave(&p->reader);
}

static void add_least(struct vector *v, const struct vector *bound)
{
	for (uint32_t i = 0; i < VECTOR_SHARDS; i++) {
		if (v->place[i] > bound->place[i])
			v->place[i] = bound->place[i];
	}
}

/* What is passed is done as far as the position goes: in between lies what is open. */
static void tell_places(struct target *t, const struct target_look *look, struct sharing_group *out)
{
	out->acked = out->dealt = look->after;
	if (look->owned == 0)
		return;
	if (look->position != t->upto_at) {
		vector_at(t->set, look->position, &t->upto);
		t->upto_at = look->position;
	}
	add_least(&out->acked, &t->upto);
	if (look->taken != t->asked)
		memset(&out->dealt, 0xff, sizeof(out->dealt));
	else if (look->position == look->next)
		out->dealt = out->acked;
}

/* False: the worker has not begun it yet. */
static bool look_at(struct target *t, struct sharing_group *out)
{
	struct target_look look;

	pthread_mutex_lock(&t->look_lock);
	look = t->look;
	pthread_mutex_unlock(&t->look_lock);
	*out = (struct sharing_group){
		.key = view_of(t->name), .number = t->number, .is_seated = look.is_seated};
	if (look.is_there)
		tell_places(t, &look, out);
	return look.is_there;
}

static bool is_listed(const struct publisher *p, const char *name)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (strcmp(p->list[i]->name, name) == 0)
			return true;
	}
	return false;
}

/* One that was taken out: it keeps its shards until what is open has been acknowledged, so that who goes on
 * finds the last place; unless it is there again already. */
static bool look_at_gone(struct publisher *p, struct target *t, struct sharing_group *out)
{
	bool is_stopped = publisher_is_stopped(p, t);

	if (t->is_over || (!is_stopped && is_listed(p, t->name)))
		return false;
	t->is_over = is_stopped;
	if (!look_at(t, out))
		return false;
	out->is_seated = true;
	out->is_over = is_stopped;
	return true;
}

/* The lock is held over the walks through the index: no worker takes it. */
static void each(
	void *context, void (*on_group)(void *asker, const struct sharing_group *g), void *asker)
{
	struct publisher *p = context;
	struct sharing_group group;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->gone_count; i++) {
		if (look_at_gone(p, p->gone[i], &group))
			on_group(asker, &group);
	}
	for (uint32_t i = 0; i < p->count; i++) {
		if (look_at(p->list[i], &group))
			on_group(asker, &group);
	}
	pthread_mutex_unlock(&p->lock);
}

static void order_parts(struct target *t, void *argument)
{
	share_parts(t, argument);
}

static void set(void *context, struct view key, const struct sharing_parts *parts)
{
	struct publisher *p = context;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->count && !p->is_stopping; i++) {
		struct target *t = p->list[i];
		struct target_parts *copy;

		if (!view_equal(view_of(t->name), key))
			continue;
		copy = mem_new(sizeof(*copy));
		*copy = (struct target_parts){++t->asked, *parts};
		publisher_order(t, order_parts, copy);
	}
	pthread_mutex_unlock(&p->lock);
}

struct sharing_host publisher_sharing_host(struct publisher *p)
{
	return (struct sharing_host){each, set, p};
}

void publisher_set_sharing(struct publisher *p, const struct sharing *sharing)
{
	p->sharing = *sharing;
}
