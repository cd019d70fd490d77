/* broker/shared_part.h - what of a group is dealt on this machine of a cluster (inside shared*.c)
 *
 * Only shards that this machine owns are dealt (commit/sharing.h). When one comes to be owned, the
 * group's cursor goes back to the first record behind the place where its last owner left it; what
 * the others of its shards had behind there is passed over by `had`:
 *
 *     shard 1, ours   1 . 1 . . 1 . |             had[1]: the last one before the cursor
 *     shard 2, gained . 2 . . 2 . 2 |             had[2]: where its last owner left it
 *     cursor            ^ <---------+
 *
 * Locks: the group's, but for what is marked C, the cluster's thread alone.
 */
#ifndef BROKER_SHARED_PART_H
#define BROKER_SHARED_PART_H

#include "broker/shared_group.h"

struct shared_part {
	uint64_t number; /* of this object */
	uint64_t from;   /* where the group began on this machine */
	bool is_placed;  /* C vectors begin at `from` */
	uint32_t owned;  /* shards not SHARE_NONE */
	uint64_t known;  /* C `acked` was brought up to this position */
	uint64_t had_local;
	struct vector had;
	struct vector acked;
	uint8_t state[VECTOR_SHARDS];
};

/* NULL on one machine. Lock of struct shareds. */
struct shared_part *shared_part_new(struct broker *b, uint64_t from);

/* The group ends: the cluster is still to hear how far it got. Lock of struct shareds. */
void shared_part_end(struct shared *g);
void shared_part_forget_ends(struct shareds *all);

/* Is the record at seq to be dealt here for the first time? */
static inline bool shared_part_wants(
	const struct shared_part *p, const struct journal_entry *e, uint64_t seq)
{
	if (e->log_id == 0)
		return seq >= p->had_local;
	return p->state[e->shard] == SHARE_OWNED && e->log_id > p->had.place[e->shard];
}

/* It was dealt, or nobody wants it. */
static inline void shared_part_note(
	struct shared_part *p, const struct journal_entry *e, uint64_t seq)
{
	if (e->log_id == 0)
		p->had_local = seq + 1;
	else
		p->had.place[e->shard] = e->log_id;
}

/* What was given back is another machine's to deal. */
bool shared_part_is_others(
	const struct shared_part *p, const struct broker_worker *w, uint64_t seq);

/* The group, or its having members, has changed. Any lock may be held. */
void shared_tell(const struct shared *g);

#endif
