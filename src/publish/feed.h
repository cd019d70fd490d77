/* publish/feed.h - which records of the journal a target is fed, and where to look next
 *
 * On one machine: all that its filters want, from one position on. In a cluster the node feeds a target
 * with some shards of the shared log only, each behind its own place; records of other shards are some
 * other node's. Shards come and go while it runs. A shard that comes may lie further back than the
 * target already is: then the journal is looked through again from there, and what a shard has behind
 * it is passed over, so that nothing is sent twice.
 *
 * **Invariant:** of a shard, log ids rise along the journal.
 *
 * Pure. Threads: the caller's.
 */
#ifndef PUBLISH_FEED_H
#define PUBLISH_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "journal/journal.h"

#define FEED_SHARDS 256u        /* what an entry's `shard` can say */
#define FEED_NOTHING UINT64_MAX /* as `after`: not fed from here */

struct feed_share {
	uint8_t shard;
	uint64_t after; /* only records of a greater log id */
};

struct feed {
	uint64_t next; /* sequence number to look at next */
	bool by_shard; /* false: all records, one machine */
	uint64_t after
		[FEED_SHARDS]; /* by_shard: log id of the last record passed, or FEED_NOTHING */
};

/* Only these shards from now on; those fed before and still go on where they are. */
void feed_share(struct feed *f, uint64_t from, const struct feed_share *shares, uint32_t n);

/* Is this record to be looked at here? */
static inline bool feed_wants(const struct feed *f, const struct journal_entry *e)
{
	return !(e->flags & JOURNAL_HIDDEN) &&
	       (!f->by_shard ||
		       (f->after[e->shard] != FEED_NOTHING && e->log_id > f->after[e->shard]));
}

/* The record at `next` is dealt with: sent, or not wanted. */
static inline void feed_pass(struct feed *f, const struct journal_entry *e)
{
	f->next++;
	if (f->by_shard && f->after[e->shard] != FEED_NOTHING && e->log_id > f->after[e->shard])
		f->after[e->shard] = e->log_id;
}

#endif
