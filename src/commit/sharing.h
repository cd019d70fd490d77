/* commit/sharing.h - shared subscriptions over several machines: who deals what
 *
 * What the cluster asks of the broker and tells it; neither knows the other. A group with members on
 * several machines is dealt shard by shard of the shared log: each shard has one machine at a time.
 *
 *     machine A             cluster                       machine B
 *     changed ----------->  group has members on A
 *     each: acked, dealt
 *     set: OWNED from place
 *                           and on B  <-----------------  changed
 *     set: ENDING           shard 3 is to be B's
 *     each: all dealt is acked
 *     set: NONE  ---------  place of shard 3 --------->   set: OWNED from there
 *
 * A shard that nobody has had begins at the least place at which the group began on a machine.
 *
 * Records without a place in the shared log are dealt by the machine that has them.
 *
 * Threads: changed on any; struct sharing_host's on the cluster's.
 */
#ifndef COMMIT_SHARING_H
#define COMMIT_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "commit/vector.h"

struct sharing {
	/* A group has come or gone, or the first or last of its members here has. */
	void (*changed)(void *context);
	void *context;
};

enum share_state {
	SHARE_NONE,   /* another machine's, or nobody's yet: passed over */
	SHARE_ENDING, /* nothing new is dealt; what was dealt is seen through */
	SHARE_OWNED,
};

struct sharing_group {
	struct view key;
	uint64_t number;     /* of this group object: one that came again has another */
	bool is_seated;      /* it has connected members here */
	bool is_over;        /* it has ended; told once, with how far it got */
	struct vector acked; /* of each shard: what is at or below was dealt and acknowledged */
	struct vector dealt; /* or at least dealt */
};

struct sharing_parts {
	uint8_t state[VECTOR_SHARDS]; /* enum share_state */
	struct vector place;          /* where a shard that comes to be owned was left */
};

struct sharing_host {
	/* Groups that have ended since the last call, then all with sessions on this machine; borrowed. */
	void (*each)(void *context, void (*on_group)(void *asker, const struct sharing_group *g),
		void *asker);
	void (*set)(void *context, struct view key, const struct sharing_parts *parts);
	void *context;
};

#endif
