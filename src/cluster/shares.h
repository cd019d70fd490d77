/* cluster/shares.h - which node deals which shard of a group of shared subscriptions, or to a target
 *
 *	NODE      "START seated"        it has connected members; or "held": offline sessions only
 *	#SHARD    "NODE/START PLACE"    who deals the shard, and up to where all is acknowledged
 *
 * Each shard is wanted at the living node with connected members that comes first in the order of
 * hash(group and shard, node). Who has one that is wanted elsewhere hands it over; what a dead node,
 * or one without any session of the group, has is taken. While nobody is connected all stays.
 *
 * Who has just started may have shards before others have read that he lives: a run that they do not know
 * is dead only when he who has his name now is a later one, or when the nodes have been read for NODE_SILENT_MS
 * without it. No run stands in a group before its first beat.
 *
 * A target (publish/publish.h) is a group with one member on each node, our connection: "seated". All its
 * shards are wanted at one node, by the hash of its name, as order within a topic goes over shards. A node
 * whose journal does not reach back to the places is "short": it comes behind all that are seated. Without
 * any of these, what a dead node has goes to a living one, best to one that is "away", not connected
 * with a journal that reaches back: somebody has to answer for what waits.
 *
 * Pure: replies in, steps out.
 */
#ifndef CLUSTER_SHARES_H
#define CLUSTER_SHARES_H

#include "cluster/core.h"
#include "cluster/nodes.h"

#define SHARE_RUN_BYTES (NODE_NAME_MOST + 18u) /* "NODE/START" and a NUL */

struct share_row {
	char run[SHARE_RUN_BYTES]; /* "": nobody's yet */
	uint64_t place;
	uint64_t since_ms; /* this run was first read here, by our monotonic clock */
};

/* The better, the higher. A target knows all four, a group the first and the last. */
enum share_seat {
	SHARE_HELD,   /* nobody is connected there */
	SHARE_AWAY,   /* not connected, and the journal reaches back to the places */
	SHARE_SHORT,  /* connected, and it does not */
	SHARE_SEATED, /* connected */
	SHARE_SEATS
};
const char *share_seat_text(enum share_seat seat);

struct share_member {
	char run[SHARE_RUN_BYTES];
	enum share_seat seat;
};

/* A group as it was last read. */
struct share_table {
	struct share_row shards[SHARDS];
	struct share_member *members;
	uint32_t member_count;
	bool is_read;
};
void share_table_fini(struct share_table *t);

/* Takes the reply of group.lua at this time; what is not well-formed is passed over. */
void share_table_take(struct share_table *t, const struct resp *reply, uint64_t now_ms);

enum share_step {
	SHARE_STAY,
	SHARE_AWAIT,     /* it is wanted here: its owner is to hand it over */
	SHARE_CLAIM,     /* nobody has it */
	SHARE_TAKE,      /* from one that deals no more; it goes on at the place written */
	SHARE_HAND_OVER, /* it is mine and wanted elsewhere */
};

/* whole: all shards are wanted at one node (a target). me: a run. For CLAIM and HAND_OVER *to is who is
 * to have it; borrowed from t or me. */
enum share_step share_decide(const struct share_table *t, const struct nodes *nodes,
	struct view group, bool whole, uint32_t shard, const char *me, const char **to);

/* Is another living node, that is not about to leave, among the members? */
bool share_has_others(const struct share_table *t, const struct nodes *nodes, const char *me);

/* This run has sessions of the group, but none is connected: it asks Redis only once a minute. */
bool share_is_resting(const struct share_table *t, const char *run);

#endif
