/* Bringing cold packets into memory off the workers.
 *
 * What was appended within the last WARM_MARKS MiB counts as warm, and so does what one of the last
 * PREFETCH_RANGES answers brought in: together at most some 300 MiB, which a page cache of any
 * machine that runs a Global Broker keeps. "Warm" is advice for the latency of a turn; a page that
 * was given back all the same is read again, only slower.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "journal/internal.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

/* A range as one word: the low 40 bits of its first seq, then the number of its records. */
#define COUNT_BITS 24
#define COUNT_LARGEST ((UINT64_C(1) << COUNT_BITS) - 1)
#define SEQ_MASK ((UINT64_C(1) << (64 - COUNT_BITS)) - 1)

uint64_t journal_warm_to(const struct journal *j, uint64_t from)
{
	uint64_t most = 0; /* records from there on */

	if (from >= atomic_load_explicit(&j->warm_from, memory_order_relaxed))
		return UINT64_MAX;
	for (size_t i = 0; i < PREFETCH_RANGES; i++) {
		uint64_t range = atomic_load_explicit(&j->ranges[i], memory_order_relaxed);
		uint64_t into = (from - (range >> COUNT_BITS)) & SEQ_MASK;
		uint64_t count = range & COUNT_LARGEST;

		if (into < count && count - into > most)
			most = count - into;
	}
	return from + most;
}

static void remember(struct journal *j, uint64_t from, uint64_t to)
{
	uint64_t count = to - from < COUNT_LARGEST ? to - from : COUNT_LARGEST;

	atomic_store_explicit(&j->ranges[j->range_next++ % PREFETCH_RANGES],
		(from & SEQ_MASK) << COUNT_BITS | count, memory_order_relaxed);
}

/* Pages of [p, p + n) into memory; a kernel without the advice has each touched. */
static void populate(const uint8_t *p, size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)p & ~(uintptr_t)(page - 1);
	uintptr_t end = (uintptr_t)p + n;

	if (n == 0 || madvise((void *)start, end - start, MADV_POPULATE_READ) == 0)
		return;
	for (uintptr_t at = start; at < end; at += page)
		(void)*(const volatile uint8_t *)at;
}

/* Brings in records from `from` on and gives the first one not brought in. */
static uint64_t bring_in(const struct journal *j, uint64_t from)
{
	uint64_t tail = journal_tail(j);
	const struct journal_segment *s = journal_find(j, from);
	const struct journal_entry *first;
	uint64_t end;
	uint64_t to;

	if (s == NULL)
		return from;
	end = s->end < tail ? s->end : tail;
	first = &s->entries[from - s->base];
	for (to = from; to < end; to++) {
		const struct journal_entry *e = &s->entries[to - s->base];

		if (e->offset - first->offset >= PREFETCH_BYTES)
			break;
	}
	if (to > from) {
		const struct journal_entry *last = &s->entries[to - 1 - s->base];

		populate(s->packets + first->offset,
			last->offset - first->offset + last->packet_bytes + last->property_bytes);
	}
	return to;
}

/* Sessions that come back together ask for the same: only the first has to wait for the disk. */
static uint64_t answer(struct journal *j, struct journal_reader *reader, uint64_t from)
{
	uint64_t to = journal_warm_to(j, from);

	if (to == UINT64_MAX)
		return from + (from < journal_tail(j)); /* of others it may change */
	if (to > from)
		return to;
	journal_reader_enter(reader);
	to = bring_in(j, from);
	journal_reader_leave(reader);
	remember(j, from, to);
	return to;
}

static struct journal_prefetch *next_question(struct journal *j)
{
	struct journal_prefetch *p = NULL;

	pthread_mutex_lock(&j->prefetch_lock);
	while (!j->prefetch_stopping && list_is_empty(&j->questions))
		pthread_cond_wait(&j->prefetch_wake, &j->prefetch_lock);
	if (!j->prefetch_stopping) {
		p = container_of(j->questions.next, struct journal_prefetch, link);
		list_remove(&p->link);
	}
	pthread_mutex_unlock(&j->prefetch_lock);
	return p;
}

static void *prefetch_main(void *argument)
{
	struct journal *j = argument;
	struct journal_reader reader;
	struct journal_prefetch *p;

	journal_reader_open(j, &reader);
	while ((p = next_question(j)) != NULL) {
		p->warm_to = answer(j, &reader, p->from);
		p->on_warm(p);
	}
	journal_reader_close(&reader);
	return NULL;
}

void journal_prefetch(struct journal *j, struct journal_prefetch *p)
{
	pthread_mutex_lock(&j->prefetch_lock);
	list_append(&j->questions, &p->link);
	pthread_cond_signal(&j->prefetch_wake);
	pthread_mutex_unlock(&j->prefetch_lock);
}

bool journal_prefetch_cancel(struct journal *j, struct journal_prefetch *p)
{
	bool waiting = false;

	pthread_mutex_lock(&j->prefetch_lock);
	for (struct list *at = j->questions.next; at != &j->questions; at = at->next)
		waiting = waiting || at == &p->link;
	if (waiting)
		list_remove(&p->link);
	pthread_mutex_unlock(&j->prefetch_lock);
	return waiting;
}

void prefetch_start(struct journal *j)
{
	pthread_create(&j->prefetcher, NULL, prefetch_main, j);
}

void prefetch_stop(struct journal *j)
{
	pthread_mutex_lock(&j->prefetch_lock);
	j->prefetch_stopping = true;
	pthread_cond_signal(&j->prefetch_wake);
	pthread_mutex_unlock(&j->prefetch_lock);
	pthread_join(j->prefetcher, NULL);
}
