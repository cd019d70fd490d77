/* cluster/followed.h - a record of the shared log as a message of this node's journal
 *
 * Pure.
 */
#ifndef CLUSTER_FOLLOWED_H
#define CLUSTER_FOLLOWED_H

#include "cluster/core.h"
#include "cluster/record.h"
#include "journal/journal.h"

/* record_decode(), and its topic is one. ERR_VERSION: only a newer version can read it; any other error:
 * no node wrote it. */
int followed_decode(struct view bytes, struct record *out);

/* At this place (packed) of the shard; borrows what r borrows. */
struct journal_message followed_message(
	const struct cluster_core *core, uint32_t shard, uint64_t place, const struct record *r);

/* It has been in the shared log for so long: takes that from its message expiry. False: its time was
 * over before. */
bool followed_is_timely(struct journal_message *m, uint64_t age_ms);

#endif
