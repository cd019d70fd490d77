/* cluster/rows.h - what Redis is to have of sessions, until it has it
 *
 * Rows of one session are written one after the other, the latest only; a mark when all rows that came
 * before it are there, since it speaks for them. What cannot be written now is kept, two rows a session at
 * most, and written when it can.
 *
 *     rows_put() --> kept, by key --> put.lua --> gone       a later one for the same key waits
 *     rows_mark() ---------------------------> SET           when no earlier row is left
 *     rows_confirm() --> told when the latest is there, and `acknowledge` replicas have it
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_ROWS_H
#define CLUSTER_ROWS_H

#include "base/list.h"
#include "cluster/core.h"
#include "commit/receipt.h"

#define SESSION_KEY "isobar:session:"
#define MARK_KEY "isobar:mark:"

struct rows;

enum row_kind {
	ROW_PUT,  /* by who has the session */
	ROW_GIVE, /* the last one, by who has just lost it */
	ROW_BARE, /* it lasts no longer than its connection: no row */
	ROW_DROP, /* it has ended */
};

struct row_order {
	enum row_kind kind;
	uint32_t owner;
	uint64_t ttl_ms; /* after how long it may go; 0: never */
	struct buf key;  /* owned, as the next */
	struct buf row;
	/* The room's: */
	uint64_t number; /* in the order of their coming */
	struct list receipts;
};

#define ROWS_SCRIPTS 2
void rows_scripts(const char *out[ROWS_SCRIPTS]);

/* A ROW_GIVE is in Redis; a ROW_PUT is not, as another has the session. */
typedef void rows_told(void *context, struct view key, uint32_t owner);

/* run: this one's, "NODE/START"; borrowed. */
struct rows *rows_new(struct cluster_core *core, const char *run, rows_told *on_given,
	rows_told *on_refused, void *context);
/* Before that nothing is written. */
void rows_begin(struct rows *r);
/* Receipts that wait are not told (commit/receipt.h). */
void rows_free(struct rows *r);

/* Takes o. */
void rows_put(struct rows *r, struct row_order *o);
void rows_mark(struct rows *r, struct view mark);
void rows_confirm(struct rows *r, struct receipt *receipt);
/* A session is to stay as long from now on as its last row said, ROAMING_KEEP_MS without. Not more than some
 * hundred at once: what exceeds that is left to the next time. */
void rows_touch(struct rows *r, struct view key);

/* key becomes front and rest; gives its slot. */
uint16_t rows_key(struct buf *key, const char *front, struct view rest);

#endif
