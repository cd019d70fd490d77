/* publish/feed.h - which records of the journal a target is fed, and where to look next
 *
 * On one machine: all that its filters want, from one position on. In a cluster the node feeds a target
 * with the shards of the shared log that it owns, each behind its own place; records of other shards are
 * some other node's, and those without a place, which only this journal has, always its own. Shards come
 * and go while it runs (commit/sharing.h). One that comes may lie further back than the target already
 * is: then the journal is looked through again from there, and what was passed is passed over, so that
 * nothing is sent twice.
 *
 *	shard 1, owned    1 . 1 . . 1 . |            after[1]: the last one passed
 *	shard 2, gained   . 2 . . 2 . 2 |            after[2]: where its last owner left it
 *	next                ^ <---------+
 *
 * **Invariant:** of a shard, log ids rise along the journal.
 *
 * Pure. Threads: the caller's.
 */
#ifndef PUBLISH_FEED_H
#define PUBLISH_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "commit/sharing.h"
#include "journal/journal.h"

struct feed {
	uint64_t next; /* sequence number to look at next */
	bool by_shard; /* false: all records, one machine */
	/* by_shard: */
	uint32_t owned; /* shards that are not SHARE_NONE */
	uint64_t local; /* records without a place are done below this */
	uint8_t state[VECTOR_SHARDS];
	struct vector after; /* log id of the last record passed while the shard was owned */
};

/* From here on by shards, of which none is owned yet; upto: what stands before `next`. */
void feed_by_shard(struct feed *f, const struct vector *upto);

/* Shards that are not OWNED in parts are fed no more; their places stay. */
void feed_give(struct feed *f, const struct sharing_parts *parts);

/* Does parts bring shards that are not fed? *behind: what of the journal need not be looked at for them:
 * nothing behind the place of each, and all of the others. */
bool feed_gains(const struct feed *f, const struct sharing_parts *parts, struct vector *behind);

/* After feed_give(): these are fed from now on. from: the first record beyond `behind`. */
void feed_take(struct feed *f, const struct sharing_parts *parts, uint64_t from);

/* Is the record at `next` to be looked at here? */
static inline bool feed_wants(const struct feed *f, const struct journal_entry *e)
{
	if (e->flags & JOURNAL_HIDDEN)
		return false;
	if (!f->by_shard)
		return true;
	if (e->log_id == 0)
		return f->next >= f->local;
	return f->state[e->shard] == SHARE_OWNED && e->log_id > f->after.place[e->shard];
}

/* It is dealt with: sent, or not wanted. */
static inline void feed_pass(struct feed *f, const struct journal_entry *e)
{
	if (f->by_shard && feed_wants(f, e)) {
		if (e->log_id)
			f->after.place[e->shard] = e->log_id;
		else
			f->local = f->next + 1;
	}
	f->next++;
}

/* Was the record given away, to be sent by another node? */
static inline bool feed_is_others(const struct feed *f, const struct journal_entry *e)
{
	return f->by_shard && e->log_id && f->state[e->shard] == SHARE_NONE;
}

#endif
