/* broker/walk.h - the retained messages that a new subscription still has to get
 *
 * They are not listed anywhere: a walk is the filter, the last topic sent, and the place in the journal
 * at which the subscription was made. A session comes to that place like to any record, stands still
 * there, and goes through the retained topics as window and socket allow; then it goes on:
 *
 *     records ... | walk: a/1 a/2 a/3 ... | records ...
 *                at                      at
 *
 * So a SUBSCRIBE is a point in the order of all messages: no retained message comes before a record
 * published earlier, nor behind one published later. What was retained only after that point is left
 * out, as it comes as a record.
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_WALK_H
#define BROKER_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/session.h"

struct walk_ticket;

struct walk {
	struct walk *next;
	struct walk_ticket *ticket; /* messages are being brought in; NULL: none */
	uint64_t at;
	struct buf cursor;  /* the last topic sent or passed; empty: none */
	struct buf reached; /* the same at the end of the batch being made */
	struct buf ahead;   /* and of what was asked for last */
	bool is_end;        /* nothing comes behind `reached` */
	uint16_t filter_bytes;
	char filter[];
};

/* The subscription with this filter is to get what is retained; it was made at `at`, no earlier than
 * that of any other walk of the session. */
void walk_add(struct session *s, struct view filter, uint64_t at);
/* Harmless when there is none. */
void walk_remove(struct session *s, struct view filter);
bool walk_is_pending(const struct session *s, struct view filter);
void walks_free(struct session *s);
/* The session leaves its worker. */
void walks_pause(struct session *s);
/* After a start: anew for every subscription marked SUBSCRIPTION_WALKS. */
void walks_restore(struct session *s);

/* Is it time for the first walk? */
static inline bool walk_is_due(const struct session *s)
{
	return s->walks && s->walks->at <= s->position;
}

/* How far the session may look through the journal before it is. */
static inline uint64_t walk_limit(const struct session *s, uint64_t end)
{
	return s->walks && s->walks->at < end ? s->walks->at : end;
}

/* Fills the worker's batch for the first walk (due); form: as for other messages of this client. False: it
 * waits for messages to be brought in. Between journal_reader_enter() and _leave(). */
bool walk_fill(struct broker_worker *w, struct session *s, const struct batch_form *form);
/* So many of the batch have left; the last walk but this may be over. */
void walk_sent(struct broker_worker *w, struct session *s, uint32_t sent);

#endif
