/* cluster/tail.h - one shard's stream, read to its end over and over, confirmed by replicas
 *
 *	GREET: which process is it --> LOOK: how is the stream --> READ ----> CONFIRM --> on_batch
 *	   ^                             ^      (once a second)      |  ^         |          |
 *	   |                             +---------------------------+  |         |   tail_took()
 *	   +---- connection lost, master changed                        +---------+----------+
 *
 * **Confirmed.** An entry is given on only when as many replicas have it as census.h asks for.
 * A read that waits (BLOCK) is followed by PING and WAIT on the same connection: WAIT looks at the
 * replication offset as of the connection's last command, which for a read that waited was before the
 * entry existed. One that does not wait has its WAIT right behind it.
 *
 * **From where.** On the same Redis process it goes on behind what was read. On another one (a master
 * that changed or was started again, a slot that moved) it goes back to the smaller of that and the
 * stream's newest entry, and a minute further: a master that fell back, and whose clock is late, may
 * give places that have been passed. What is known already is dropped where the journal is written.
 *
 * **What Redis has lost.** Another process may have less than was read: all of Redis lost power before
 * its files were on disk. So it is asked for the newest entry up to what the journal has (KEPT); what
 * the journal has behind that is claimed once more (mend.h), before what is retained is compared.
 *
 * **Gaps** are counted by ordinals (ordinal.h).
 *
 * **Retained messages** of the shard are compared with Redis (retaining.h) at the start, after a gap and when
 * asked for: between two reads, while nothing is read.
 *
 * **How often.** Few entries: the read waits in Redis, and gives each on at once. Many: reads are some
 * milliseconds apart and take many each. Behind: one after the other.
 *
 * Bounds: one batch in memory, a reply of at most REDIS_REPLY_LARGEST; how many entries are asked for
 * follows the largest seen.
 *
 * Threads: the cluster's loop; figures are read by any.
 */
#ifndef CLUSTER_TAIL_H
#define CLUSTER_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "base/log.h"
#include "cluster/core.h"
#include "cluster/ordinal.h"
#include "cluster/retaining.h"
#include "cluster/stream.h"
#include "commit/follow.h"

enum tail_step {
	TAIL_GREET,
	TAIL_LOOK,
	TAIL_KEPT,
	TAIL_COMPARE,
	TAIL_READ,
	TAIL_CONFIRM,
	TAIL_STEPS
};

struct tail_figures {
	count state;       /* enum follow_state */
	count entries;     /* read and confirmed */
	count lag_entries; /* in the stream, not yet in the journal, when last asked */
	count lag_ms;      /* by the clock of the stream's places */
	count missed;      /* trimmed before they were read */
	count malformed;   /* entries that are no records: passed over */
	count unsafe;      /* batches that had to wait for replicas */
};

struct tail {
	struct cluster_core *core;
	uint32_t shard;
	/* Records are there: tail->records[at] to [n - 1]. May call tail_took(). */
	void (*on_batch)(struct tail *t);
	void *context;
	struct tail_figures figures;

	/* The batch: confirmed when `is_ready`. */
	struct commit_record *records; /* borrow from bytes */
	uint64_t *ordinals;            /* of each in the batch: 1 ... */
	uint32_t size;                 /* of both */
	uint32_t n;
	uint32_t at; /* taken so far */
	bool is_ready;
	uint64_t ready_ms;
	struct buf bytes;
	struct mark done; /* the last one taken */

	/* The reading. */
	struct redis_lane *lane;
	struct redis_request request;
	enum tail_step step;
	bool is_under_way;
	bool was_refused;    /* the reply was of no use */
	bool is_full;        /* the last read gave as many as it asked for */
	bool is_newer;       /* stands still for good */
	bool is_changed;     /* greeted by another process than before */
	bool wants_kept;     /* to ask what of the journal's it still has */
	bool wants_round;    /* to compare what is retained, before it reads on */
	bool is_compared;    /* it has been, since the start */
	uint32_t connection; /* that greeted; 0: none */
	uint64_t greeted_ms; /* then, and what Redis' clock was */
	uint64_t greeted_clock;
	struct retaining_round round;
	char run_id[RUN_ID_BYTES];
	uint32_t ask_for;    /* entries a read */
	uint32_t largest;    /* bytes of an entry, lately */
	uint32_t count;      /* entries of the batch, also those that are no records */
	uint64_t after;      /* read and confirmed up to here */
	uint64_t read_to;    /* read */
	struct ordinal read; /* the same, counted */
	uint64_t *places;    /* of the batch's entries */
	uint64_t looked_ms;
	uint64_t read_ms; /* the last read was sent */
	uint32_t load;    /* entries in about the last 100 ms */
	uint64_t load_ms;
	struct timer pause;
	struct log_limit complaints;
};

/* Caller's memory, zero-initialised; `from` is where it goes on, run_id of whom, zeros: unknown. Nothing is asked yet. */
void tail_init(struct tail *t, struct cluster_core *core, uint32_t shard, struct mark from,
	const char run_id[RUN_ID_BYTES]);
/* On the loop, once: opens its lane and begins. */
void tail_begin(struct tail *t);
/* After the client has been freed. */
void tail_fini(struct tail *t);

/* So many more records of the batch are in the journal; with the last one it reads on. Not inside
 * any other function of a tail but on_batch. */
void tail_took(struct tail *t, uint32_t n);
/* What is retained is to be compared with Redis once more. */
void tail_compare(struct tail *t);
/* The journal takes nothing, or does again. */
void tail_hold(struct tail *t, bool is_held);
/* Might it bring something that belongs before the place? It is behind and reading, or asks replicas
 * about what it read, or compares what is retained before it reads on. */
bool tail_may_bring(const struct tail *t, uint64_t place);

#endif
