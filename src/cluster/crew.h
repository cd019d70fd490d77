/* cluster/crew.h - one node's part in a group of shared subscriptions, or in feeding a target
 *
 *	table (Redis), nodes --> share_decide() each shard --> crew_say(): what is to change in Redis
 *	table that came back ----------------------------> crew_take(): parts, as the host is told
 *
 *	NONE --claim, take--> OWNED --wanted elsewhere--> ENDING --nothing open, or late--> NONE
 *
 * Pure: tables and times in, arguments of group.lua and parts out.
 */
#ifndef CLUSTER_CREW_H
#define CLUSTER_CREW_H

#include "base/buf.h"
#include "cluster/shares.h"
#include "commit/sharing.h"

#define CREW_END_MS 3000u     /* what members have open for longer comes twice */
#define CREW_SHORT_MS 120000u /* so long who falls short waits for others */
#define CREW_CHANGE_WORDS 4u  /* arguments of a change */

struct crew_terms {
	const struct nodes *nodes;
	const char *me; /* a run */
	uint64_t now_ms;
	uint32_t shards;
	bool whole; /* all shards are at one node: a target */
};

/* Zero-initialised is new. */
struct crew {
	struct view key;
	struct share_table table;   /* owned */
	struct sharing_parts parts; /* as the host was told; places as Redis said last */
	uint64_t ending_ms[SHARDS]; /* since when a shard is ENDING */
	/* as the host said */
	struct vector acked;
	struct vector dealt;
	bool is_seated;
	uint64_t seated_ms; /* it is so, or is not, since */
	bool reaches;       /* a target's: the journal has all behind the places */
};

enum share_step crew_step(
	const struct crew *c, const struct crew_terms *t, uint32_t shard, const char **to);

/* Which seat to tell the others of. */
enum share_seat crew_seat(const struct crew *c, const struct crew_terms *t);

/* Appends the changes that are to be made in Redis; gives how many. *is_other: parts have changed. */
uint32_t crew_say(struct crew *c, const struct crew_terms *t, struct buf *b, bool *is_other);

/* After the table was read: a shard that it does not know stays as it is. True: parts have changed. */
bool crew_take(struct crew *c, const struct crew_terms *t);

/* Has this node shards that another is to have? */
bool crew_owes(const struct crew *c, const struct crew_terms *t);

#endif
