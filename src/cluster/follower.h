/* cluster/follower.h - the shared log on its way into this node's journal
 *
 *     stream of shard 0 --> tail --+
 *     stream of shard 1 --> tail --+--> merge: one lock a turn --> commit_follow() --> journal
 *            ...          (tail.h) +         ^
 *                                            +-- what waits for the record before it, PATIENCE_MS
 *
 * **Order.** What one source connection delivered in order, and was first with, stays in order per
 * topic: a record names the one before it and is kept back until that is known, at most
 * FOLLOWER_PATIENCE_MS after it could be written; while another shard is behind, or asks replicas
 * about what it read, and so may still bring it, longer. What stands behind it in its shard waits as well, so that a place says how far a shard got.
 *
 * **Where it goes on.** The last place of each shard in the journal's index; bookmark.h for what the
 * index does not know. A node without either begins with the oldest entry that Redis has.
 *
 * While the journal takes nothing (a full disk) batches wait, and Redis keeps what comes after them.
 *
 * Threads: the cluster's loop; figures any.
 */
#ifndef CLUSTER_FOLLOWER_H
#define CLUSTER_FOLLOWER_H

#include "cluster/core.h"
#include "cluster/tail.h"

#define FOLLOWER_PATIENCE_MS 100u

struct follower;

/* As every module (core.h). */
struct follower *follower_new(struct cluster_core *core);
void follower_begin(struct follower *f);
void follower_free(struct follower *f);

/* What is retained is to be compared with Redis, in every shard. */
void follower_compare(struct follower *f);

/* Written by the loop, read by any thread. */
struct follower_figures {
	count appended;  /* records written to the journal */
	count known;     /* dropped: the journal had them */
	count unordered; /* records that stand before the one they name: it did not come in time */
	count held;      /* times that the journal took nothing */
};
const struct follower_figures *follower_figures(const struct follower *f);
/* Of a shard. */
const struct tail_figures *follower_tail(const struct follower *f, uint32_t shard);

/* Why what others publish does not come in, or late; static. NULL: it does. On the loop. */
const char *follower_degraded(const struct follower *f);

/* All shards together. */
struct follower_sum {
	uint64_t shards[FOLLOW_STATES]; /* how many are in each state */
	uint64_t lag_entries;
	uint64_t lag_ms; /* the largest */
	uint64_t entries;
	uint64_t missed;
	uint64_t malformed;
	uint64_t unsafe;
};
void follower_sum(const struct follower *f, struct follower_sum *out);

#endif
