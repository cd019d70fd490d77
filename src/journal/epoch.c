/* When may a map be unmapped?
 *
 * A reader writes the epoch it entered in into its own struct and 0 when it leaves. Whatever is
 * taken out of the published set is retired with the epoch of that moment, and the epoch moves on:
 * who enters later cannot find it. It is freed when no reader stands in that epoch or an older
 * one. All of it is sequentially consistent: a reader missed by the look round has stored its
 * epoch after that look, hence loads the set after it was replaced.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "journal/guard.h"
#include "journal/internal.h"

void journal_reader_open(struct journal *j, struct journal_reader *r)
{
	atomic_init(&r->epoch, 0);
	r->journal = j;
	pthread_mutex_lock(&j->readers_lock);
	list_append(&j->readers, &r->link);
	pthread_mutex_unlock(&j->readers_lock);
}

void journal_reader_close(struct journal_reader *r)
{
	pthread_mutex_lock(&r->journal->readers_lock);
	list_remove(&r->link);
	pthread_mutex_unlock(&r->journal->readers_lock);
}

void journal_reader_enter(struct journal_reader *r)
{
	atomic_store(&r->epoch, atomic_load(&r->journal->epoch));
}

void journal_reader_leave(struct journal_reader *r)
{
	atomic_store(&r->epoch, 0);
}

static void retire(struct journal *j, struct retired *r)
{
	r->epoch = atomic_fetch_add(&j->epoch, 1);
	list_append(&j->retired, &r->link);
}

void retire_maps(struct journal *j, struct segment *s)
{
	struct retired *r = mem_new(sizeof(*r));

	r->maps[0] = s->packets;
	r->maps[1] = s->index;
	r->sizes[0] = s->packets_map;
	r->sizes[1] = s->index_map;
	s->packets = s->index = NULL;
	s->packets_map = s->index_map = 0;
	retire(j, r);
}

/* The oldest segment from which on packets follow each other without a gap. */
static struct list *first_readable(const struct journal *j)
{
	struct list *at = j->segments.prev;
	uint64_t base = UINT64_MAX;

	for (; at != &j->segments; at = at->prev) {
		const struct segment *s = container_of(at, struct segment, link);

		if (!s->has_packets || (base != UINT64_MAX && s->end != base))
			break;
		base = s->base;
	}
	return at->next;
}

static size_t distance(const struct list *from, const struct list *to)
{
	size_t n = 0;

	for (; from != to; from = from->next)
		n++;
	return n;
}

void publish(struct journal *j)
{
	struct list *at = first_readable(j);
	size_t n = distance(at, &j->segments);
	struct segment_set *set = mem_new(sizeof(*set) + n * sizeof(set->at[0]));
	struct segment_set *old;

	for (; at != &j->segments; at = at->next) {
		const struct segment *s = container_of(at, struct segment, link);

		set->at[set->n++] = (struct journal_segment){
			.base = s->base,
			.end = s->end,
			.number = s->number,
			.entries = s->index ? segment_entries(s) : NULL,
			.packets = s->packets,
		};
	}
	old = atomic_exchange(&j->set, set);
	atomic_store(&j->head, set->n ? set->at[0].base : atomic_load(&j->tail));
	if (old) {
		struct retired *r = mem_new(sizeof(*r));

		r->set = old;
		retire(j, r);
	}
}

/* The oldest epoch a reader stands in. */
static uint64_t oldest_epoch(struct journal *j)
{
	uint64_t oldest = UINT64_MAX;

	pthread_mutex_lock(&j->readers_lock);
	for (struct list *at = j->readers.next; at != &j->readers; at = at->next) {
		struct journal_reader *r = container_of(at, struct journal_reader, link);
		uint64_t epoch = atomic_load(&r->epoch);

		if (epoch && epoch < oldest)
			oldest = epoch;
	}
	pthread_mutex_unlock(&j->readers_lock);
	return oldest;
}

/* Moves what may go from the retired to *out. True when something has to wait. */
static bool take_free(struct journal *j, uint64_t oldest, struct list *out)
{
	while (!list_is_empty(&j->retired)) {
		struct list *first = j->retired.next;

		if (container_of(first, struct retired, link)->epoch >= oldest)
			return true;
		list_remove(first);
		list_append(out, first);
	}
	return false;
}

bool reclaim(struct journal *j, bool all)
{
	struct list out;
	bool waiting;

	list_init(&out);
	pthread_mutex_lock(&j->lock);
	waiting = take_free(j, all ? UINT64_MAX : oldest_epoch(j), &out);
	pthread_mutex_unlock(&j->lock);
	while (!list_is_empty(&out)) {
		struct retired *r = container_of(out.next, struct retired, link);

		list_remove(&r->link);
		guard_unmap(r->maps[0], r->sizes[0]);
		guard_unmap(r->maps[1], r->sizes[1]);
		free(r->set);
		free(r);
	}
	return waiting;
}
