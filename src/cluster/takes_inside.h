/* cluster/takes_inside.h - what takes.c and takes_claims.c share: one struct a take or a claim
 *
 *     takes.c         the script, the letter, what is read behind it, the answer
 *     takes_claims.c  when a claim is sent, to whom it yields, what the broker is told
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_TAKES_INSIDE_H
#define CLUSTER_TAKES_INSIDE_H

#include "base/map.h"
#include "cluster/takes.h"

struct taking {
	struct redis_request q;
	struct list all;  /* in takes->all */
	struct list link; /* in takes->expecting; a claim that is not under way: ->waiting */
	struct takes *takes;
	struct roaming_take *take; /* NULL: answered, or a claim */
	struct timer patience;
	struct buf key;
	struct buf run; /* who had it */
	struct buf by;  /* who wrote the row */
	uint64_t number;
	uint64_t address;   /* of the client; 0: not known */
	uint64_t since_ms;  /* its CONNECT came then */
	uint64_t yields_ms; /* a claim: another has the session, for so long; 0: not so */
	uint32_t owner;
	unsigned flags;     /* enum roaming_flag */
	bool is_claim : 1;  /* and in takes->claims */
	bool is_scoped : 1; /* a session of another address is left to that */
	bool is_busy : 1;   /* q is under way */
	bool is_done : 1;   /* the script has answered */
	bool is_told : 1;   /* a letter went to who had it */
	bool is_given : 1;  /* and was answered */
	bool is_ended : 1;  /* a claim that is not wanted any more: its session has ended */
	bool is_moved : 1;  /* the same: has gone to another node */
	bool is_anew : 1;   /* another CONNECT came meanwhile */
};

struct takes {
	struct takes_config config;
	char sha[REDIS_SHA_BYTES];
	bool has_begun;
	uint64_t last; /* number given */
	struct list all;
	struct list expecting;
	struct map claims;
	struct map lates; /* takes that are still to be undone; the claims of their keys wait */
	struct list waiting;
	uint32_t busy; /* claims under way */
	struct timer again;
};

struct taking *taking_new(struct takes *t, struct view key);
void taking_free(struct taking *g);

/* The call of take.lua: "take", "claim" or "undo"; gives the slot. */
uint16_t taking_put(struct taking *g, const char *what);
/* False: the client takes nothing now. */
bool taking_submit(struct taking *g, uint16_t slot,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err));
/* The script's answer; tells who had the session. */
void taking_on_reply(struct redis_request *q, const struct resp *reply);
/* Another run had it. */
bool taking_has_other(const struct taking *g);
/* Nobody else says it before its client is back, or takes it away. Frees g afterwards, unless it is a take
 * that is to be answered. */
void taking_read_will(struct taking *g);

void claims_init(struct takes *t);
void claims_begin(struct takes *t);
/* After the takings, of which they are some. */
void claims_fini(struct takes *t);

#endif
