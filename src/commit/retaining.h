/* commit/retaining.h - retained messages over several machines: what one has is made what all have
 *
 * What the cluster asks of the broker; neither knows the other. A machine that follows the shared log
 * has what is retained as it follows. One that has not followed it from the beginning, or missed a part,
 * compares shard by shard, in rounds:
 *
 *     cluster: all that a shard has retained          broker
 *     has(topic, place)    ------------------------>  older, or none: take(message)
 *      ... and at the end
 *     drop(shard, from)    ------------------------>  what was not asked for goes
 *
 * What does not come from the shared log (place 0) is left alone.
 *
 * Threads: one, the cluster's.
 */
#ifndef COMMIT_RETAINING_H
#define COMMIT_RETAINING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "journal/journal.h"

struct retaining_host {
	/* Has this machine the topic's message that stands at this place, or a newer one? Whatever it has
	 * of the topic stays at the end of this round. */
	bool (*has)(void *context, struct view topic, uint64_t place, uint32_t round);
	/* It is retained from now on: log_id and shard say where it stands, expiry_s what is left of its
	 * time. 0; ERR_HELD: not now, come again; ERR_QUOTA: there is no room. */
	int (*take)(void *context, const struct journal_message *m, uint32_t round);
	/* Drops what stands at `from` or later in this shard and was neither asked for nor taken in this
	 * round, some topics behind the cursor (empty: from the first on); empty afterwards: that was all,
	 * else come again. */
	void (*drop)(
		void *context, uint32_t shard, uint64_t from, uint32_t round, struct buf *cursor);
	void *context;
};

#endif
