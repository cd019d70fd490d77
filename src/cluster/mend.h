/* cluster/mend.h - what Redis has lost of the shared log, put back from this node's journal
 *
 * A message is acknowledged when a master and its replicas have it in memory. Where all of them lose
 * power before their files are on disk (`appendfsync everysec`), the stream ends earlier when they are
 * back, and the claims of what is missing are gone with it:
 *
 *	stream before   ... 17 18 19 20
 *	stream after    ... 17                    found: 17
 *	this journal    ... 17 18 19 20           18 19 20 are claimed once more
 *	stream then     ... 17 21=18 22=19 23=20  by whichever node comes first
 *
 * So machines that were away, machines that join, and what Redis has retained miss nothing that any
 * living node's journal has. Who has them already drops them by their ids. A shard that ends where the
 * journal does, as after any fail-over to a replica that has everything, costs one question.
 *
 * Bounds: nothing that the stream would not keep any more (cluster.stream.keep); where nothing is
 * left at or before the journal's last place, it was trimmed or all of it was lost, and only what is
 * young enough for its claim to be remembered, so that what was trimmed is not appended again. One call
 * of a shard at a time, and none while messages of the shard wait.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_MEND_H
#define CLUSTER_MEND_H

#include "cluster/core.h"

struct mend;
struct writer;

/* As every module (core.h). */
struct mend *mend_new(struct cluster_core *core, struct writer *writer);
void mend_free(struct mend *m);

/* The shard's stream has nothing between `found` (0: nothing at all before it) and `upto`, the last that
 * this node's journal has of it; clock_ms: Redis'. Begins anew when it was under way. */
void mend_shard(struct mend *m, uint32_t shard, uint64_t found, uint64_t upto, uint64_t clock_ms);
/* That is under way. */
bool mend_is_busy(const struct mend *m, uint32_t shard);

#endif
