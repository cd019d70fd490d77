/* broker/persist.h - sessions that outlive the process
 *
 * A session whose expiry is not 0 has a row in the store (broker/store.h). What changes rarely is
 * written at once: that it exists, its subscriptions, that its connection has ended. What moves with
 * every message is left to a checkpoint, twice in a second and a bit:
 *
 *     time        ...... T(k) ................. T(k+1) ....................
 *     live              mark = L(k)             store: "live sessions are at L(k)"
 *                                               + rows of touched sessions that this does not fit
 *
 * It fits a live session when what it has in flight lies at or behind L(k): a crash sends that again
 * from L(k) on. A row of its own is written for a session behind (position and all in flight) and
 * for a live one with something older in flight (these slots only). A session is looked at only if it
 * was touched since the last checkpoint or has something in flight, and written only if its row
 * differs from the last one.
 *
 * So after a crash at most what the last two checkpoints cover is sent again, nothing is skipped;
 * after broker_stop() rows are exact. A new session and its subscriptions are safe
 * from a kill before CONNACK and SUBACK leave (broker/store_recent.h).
 *
 * Threads: a session's functions on its worker; the rest on the thread of broker_new().
 */
#ifndef BROKER_PERSIST_H
#define BROKER_PERSIST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "broker/store.h"
#include "net/loop.h"

struct broker;
struct broker_worker;
struct session;

/* Part of struct broker_worker. */
struct persist {
	struct timer timer;
	struct list touched; /* connected sessions to look at in the next checkpoint */
	struct list round;   /* in the one under way */
	uint64_t begun_ms;   /* since then; 0: none is */
	uint64_t mark;       /* the worker's position at the last checkpoint */
	struct buf row;      /* reused */
	struct buf slots;
	struct buf will;
};

/* What its rows are. */
extern const struct store_kind persist_kind;

/* Opens the store of `dir`, NULL: sessions live in memory only. 0, or negative after the cause was
 * logged. */
int persist_open(struct broker *b, const char *dir);
/* Makes the stored sessions (offline; workers are there, their loops do not run yet), drops expired
 * ones and what exceeds the limit, and begins to write. */
void persist_start(struct broker *b, uint32_t sessions_most);
/* No session is connected any more: writes the rest, marked as complete. */
void persist_stop(struct broker *b);
void persist_close(struct broker *b);

void persist_worker_init(struct broker_worker *w);
void persist_worker_fini(struct broker_worker *w);

/* Position or flight changed, or will: looked at in the next checkpoint. */
void persist_touch(struct session *s);
/* Writes its row if it differs from the last one, so that a kill finds it; removes it when the session
 * is not to last. */
void persist_save(struct session *s);
/* Its row as it is now; parts are valid until the next row of the worker is made. */
struct row;
void persist_row(struct session *s, struct row *row);
/* The session ends. */
void persist_drop(struct session *s);

#endif
