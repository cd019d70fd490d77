/* cluster/rows.h - what Redis is to have of sessions, until it has it
 *
 * Rows of one session are written one after the other, the latest only; a mark when all rows that came
 * before it are there, since it speaks for them. What cannot be written now is kept, two rows a session at
 * most, and written when it can.
 *
 *     row_put() --> kept, by key --> put.lua --> gone        a later one for the same key waits
 *     rows_mark() ---------------------------> SET           when no earlier row is left
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_ROWS_H
#define CLUSTER_ROWS_H

#include "base/list.h"
#include "cluster/core.h"

#define SESSION_KEY "isobar:session:"
#define MARK_KEY "isobar:mark:"

struct rows;

enum row_kind {
	ROW_PUT,  /* by who has the session */
	ROW_GIVE, /* the last one, by who has just lost it */
	ROW_DROP, /* it has ended */
};

struct row_order {
	enum row_kind kind;
	uint32_t owner;
	uint64_t ttl_ms; /* after how long it may go; 0: never */
	uint64_t number; /* the room's: in the order of their coming */
	struct buf key;  /* owned, as the next */
	struct buf row;
};
void row_order_free(struct row_order *o); /* NULL: nothing */

const char *rows_script(void);

/* run: this one's, "NODE/START"; borrowed. on_given: a ROW_GIVE is in Redis. */
struct rows *rows_new(struct cluster_core *core, const char *run,
	void (*on_given)(void *context, struct view key, uint32_t owner), void *context);
void rows_free(struct rows *r);

/* Takes o. */
void rows_put(struct rows *r, struct row_order *o);
void rows_mark(struct rows *r, struct view mark);

/* key becomes front and rest; gives its slot. */
uint16_t rows_key(struct buf *key, const char *front, struct view rest);

#endif
