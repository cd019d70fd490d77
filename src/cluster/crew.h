/* cluster/crew.h - one node's part in a group of shared subscriptions, or in feeding a target
 *
 *	table (Redis), nodes --> share_decide() each shard --> crew_say(): what is to change in Redis
 *	table that came back ----------------------------> crew_take(): parts, as the host is told
 *
 *	new --where it begins here, CREW_GATHER_MS for others to say so--> NONE
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
#define CREW_GATHER_MS 250u   /* others with whom a group is new at the same time */
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
	uint64_t named_ms;          /* Redis has heard where the group began here; 0: not yet */
	bool is_naming;             /* what was said last is that */
	/* as the host said */
	uint64_t heard_ms;
	struct vector acked;
	struct vector dealt;
	bool is_seated;
	uint64_t seated_ms; /* it is so, or is not, since */
	bool reaches;       /* a target's: the journal has all behind the places */
};

/* As share_decide(); a group's shards end on a node that is about to leave, even if they are to stay its own:
 * nothing is dealt behind the last place written. */
enum share_step crew_step(
	const struct crew *c, const struct crew_terms *t, uint32_t shard, const char **to);

/* Which seat to tell the others of. */
enum share_seat crew_seat(const struct crew *c, const struct crew_terms *t);

/* Appends the changes that are to be made in Redis; gives how many. *is_other: parts have changed. */
uint32_t crew_say(struct crew *c, const struct crew_terms *t, struct buf *b, bool *is_other);

/* The same when nothing is dealt here any more: last places, and shards go at once. */
uint32_t crew_say_last(struct crew *c, const struct crew_terms *t, struct buf *b);

/* Other nodes may still say where the group began. */
bool crew_gathers(const struct crew *c, const struct crew_terms *t);

/* After the table was read: a shard that it does not know stays as it is. True: parts have changed. */
bool crew_take(struct crew *c, const struct crew_terms *t);

/* Has this node shards that another is to have, or whose last place it has yet to write? */
bool crew_owes(const struct crew *c, const struct crew_terms *t);

#endif
