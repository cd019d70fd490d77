/* cluster/retaining.h - what a shard has retained in Redis, and this node compared with it
 *
 *	{k}:retained   topic -> "<place> <record>"      "" -> place from which on it knows them all
 *	{k}:expiring   topics that expire, by when      (claim.lua keeps both)
 *
 * Who has followed the shard from the beginning knows as much. Who joins, or missed entries that were
 * trimmed, does not: so a node goes through the hash in a round at each start, after each gap, and when
 * what it delivered without Redis (`local`) has been committed.
 *
 *	ask: HSCAN --> read --(enough replicas have it)--> confirm --> take: has? else take --+
 *	 ^                                                                                    |
 *	 +------------------------------ next page <------------------------------------------+
 *	                                 no more --> drop what was not in it --> over
 *
 * Nothing of the shard is followed during a round (tail.h), so that what is cleared meanwhile is not
 * brought back: it is read behind the round. A round that lost its connection begins anew, as
 * another process' cursor means nothing here.
 *
 * **What is dropped** stands at a place from which on the hash knows everything, and is not there: it
 * was cleared, or has expired. A Redis that lost its data knows from a later place on.
 *
 * Bounds: one page in memory, of a reply that is at most REDIS_REPLY_LARGEST; asks for fewer when one was
 * too large, and for more again when one is small. One page, or some thousand topics to drop, in a turn of the loop.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_RETAINING_H
#define CLUSTER_RETAINING_H

#include "base/log.h"
#include "cluster/core.h"

enum retaining_step { RETAINING_IDLE, RETAINING_ASK, RETAINING_TAKE, RETAINING_DROP };

struct retaining_round {
	const struct cluster_core *core;
	uint32_t shard;
	enum retaining_step step;
	uint32_t number; /* another one for every round of the process */
	uint32_t ask_for;
	uint64_t from;     /* the hash knows everything from this place on; UINT64_MAX: unknown */
	struct buf cursor; /* of the page that is asked for */
	struct buf next;   /* of the one behind it */
	struct buf page;   /* fields and values, each with its length before it */
	size_t at;         /* so much of it was taken */
	struct buf dropped;
	uint32_t taken;
	uint32_t refused; /* for want of room */
	struct log_limit complaints;
};

/* Caller's memory, zero-initialised. */
void retaining_init(struct retaining_round *r, const struct cluster_core *core, uint32_t shard);
void retaining_fini(struct retaining_round *r);

/* A round is to be made; one under way begins anew. Nothing when nobody keeps retained messages. */
void retaining_begin(struct retaining_round *r);

/* RETAINING_ASK: appends the command for the next page. */
void retaining_ask(struct retaining_round *r, struct buf *command);
/* Copies the page. 0; ERR_MALFORMED: it is none. A refusal by Redis is logged and ends the round. */
int retaining_read(struct retaining_round *r, const struct resp *reply);
/* Replicas have what was read. */
void retaining_confirm(struct retaining_round *r);
/* The reply was lost, perhaps as it was too large. */
void retaining_ask_for_less(struct retaining_round *r);

/* RETAINING_TAKE, RETAINING_DROP: goes on by a page or a piece; clock_ms: Redis'. 0, or ERR_HELD: the
 * journal takes nothing, come again. */
int retaining_go_on(struct retaining_round *r, uint64_t clock_ms);

#endif
