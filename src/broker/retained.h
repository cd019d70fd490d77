/* broker/retained.h - the retained messages of all topics outside origin/, cache/ and monitor/
 *
 * A retained message is a record of the journal like any other, with a flag. What is kept here is
 * which record is the last one of its topic, in the order of the journal: the set is a view of the
 * journal, and the rows in the store are what the view needs once the journal has let go.
 *
 *     append --hook--> set: topic -> position        every second: changed topics --rows--> store
 *                        ^      |                    "set below P is in rows" --mark--> store
 *       walks of new     |      v record no longer in memory or in the journal
 *       subscriptions ---+   revival: appended again as a hidden record (JOURNAL_HIDDEN)
 *
 * So a message is as safe as its record: a start reads the rows, then the journal from the mark on.
 * And whoever delivers has one kind of reference, a journal position, for resends as well.
 *
 * In a cluster each message has its place in the shared log, by which the newer of two is known; what a
 * machine did not follow is taken over (retained_adopt.c, commit/retaining.h).
 *
 * The set is bounded: what would exceed RETAINED_COUNT_MOST topics or RETAINED_BYTES_MOST bytes is
 * refused (0x97) and counted; a worker's batch under way (1024 messages of one read) may exceed it.
 *
 * Threads: retained_open(), _start() and _free() on one thread while no loop runs; the others any. The
 * lock is taken when a retained message is published, and by walks for at most RETAINED_LOOK topics;
 * never by other traffic.
 */
#ifndef BROKER_RETAINED_H
#define BROKER_RETAINED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "broker/store.h"
#include "commit/commit.h"
#include "net/loop.h"

#define RETAINED_COUNT_MOST 100000u
#define RETAINED_BYTES_MOST (128u << 20) /* of topics, payloads and properties */
#define RETAINED_HITS 64u                /* of one question */
#define RETAINED_LOOK 256u               /* topics looked at for them */
#define RETAINED_AWAY UINT64_MAX         /* position: only the store has it */

struct retained;

/* Opens the store in `dir` (NULL: memory only), takes in what it and the journal have. 0, or negative
 * after the cause was logged. */
int retained_open(struct retained **out, struct commit *c, const char *dir);
/* Begins to write; l: the loop of a worker. */
void retained_start(struct retained *r, struct loop *l);
/* Loops run, nobody publishes any more: writes the rest. */
void retained_stop(struct retained *r);
void retained_free(struct retained *r);

/* May a message of this topic and these bytes (topic, payload, properties) be retained? 0 or ERR_QUOTA,
 * counted. */
int retained_check(struct retained *r, struct view topic, size_t bytes);

/* Can the filter match a topic that has a retained message? False for those of the WIS2 trees. */
bool retained_may_match(struct retained *r, struct view filter);

struct retained_hit {
	uint64_t set_at;   /* behind the record it was published in; 0: no visible one */
	uint64_t position; /* or RETAINED_AWAY */
};

/* The next topics behind *cursor (empty: from the first on) that the filter matches, at most
 * RETAINED_HITS; gives how many, and moves *cursor behind the last topic looked at, so 0 is not the
 * end. *is_end: there are no more. Expired ones are left out. */
uint32_t retained_next(struct retained *r, struct view filter, struct buf *cursor,
	struct retained_hit *hits, bool *is_end);

/* Brings what the filter matches behind the cursor into the journal's newest part, off the workers, as far
 * as is good for one turn. */
struct retained_revival {
	struct store_job job;
	struct task task; /* set .run: called on `loop`; may free this */
	struct loop *loop;
	struct retained *retained;
	struct buf filter; /* copies */
	struct buf cursor;
};
void retained_revive(struct retained *r, struct retained_revival *revival);

struct retained_figures {
	uint64_t count; /* without $SYS */
	uint64_t bytes;
	uint64_t refused; /* publications, for want of room */
};
void retained_figures(struct retained *r, struct retained_figures *out);

#endif
