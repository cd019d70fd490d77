/* commit/commit.h - claim the id, append the message, say when it is safe
 *
 * One face for one machine and for a cluster: messages are submitted in batches; what became
 * of each is told later, on the submitting worker's loop, when it counts (in the sense of
 * journal.sync and cluster.acknowledge). Nobody is acknowledged before.
 *
 *     commit_submit() --> claim (seen) --> append (journal) --> wake workers
 *                                              |
 *     on_done(token, first|repeat) <-- safe ---+      a repeat counts when its first does
 *
 * A port is a worker's way in and its handle: it carries the worker's loop and journal reader.
 *
 * Threads: a port is used on its loop's thread only.
 * **Invariant:** per owner, on_done comes in the order of submission.
 */
#ifndef COMMIT_COMMIT_H
#define COMMIT_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "journal/journal.h"
#include "net/loop.h"

struct commit;      /* one per process */
struct commit_port; /* one per worker */

struct commit_config {
	struct journal_config journal; /* on_index, context are commit's own */
	uint64_t window_ms;            /* antiloop.window */
	uint64_t ids;                  /* antiloop.ids */
};

/* Opens the journal, rebuilds the antiloop set. Errors as journal_open(); *why to free(). */
int commit_open(struct commit **out, const struct commit_config *config, char **why);
/* After all ports are gone. */
void commit_close(struct commit *c);
struct journal *commit_journal(struct commit *c);

/* number: 0, 1, 2 ...; all ports are made before any loop runs. */
struct commit_port *commit_port_new(struct commit *c, struct loop *l, unsigned number);
void commit_port_free(struct commit_port *p); /* no loop of any port runs any more */
struct loop *commit_port_loop(struct commit_port *p);
unsigned commit_port_number(const struct commit_port *p);

enum commit_outcome {
	COMMIT_FIRST,  /* published, and safe */
	COMMIT_REPEAT, /* published before, and that is safe */
	COMMIT_CONFLICT, /* a repeat by its id, but what was published under it is another message: other
	                  * payload or topic. Not told where the id is known from before the start, nor
	                  * where a shared log alone knows it. */
};

/* Whoever submits embeds one. */
struct commit_owner {
	/* Never called inside commit_submit(). */
	void (*on_done)(struct commit_owner *o, uint32_t token, enum commit_outcome outcome);
};

struct commit_request {
	struct journal_message message; /* borrowed during commit_submit() */
	struct view publisher;          /* name of the source or account; "" this broker's own */
	bool claim;                     /* false: no antiloop (topics outside the WIS2 trees) */
	bool is_changed; /* bytes are not what they were at others': never in conflict */
	uint32_t token;  /* the owner's */
};

/* Takes a batch. 0: taken whole, on_done comes for each. ERR_HELD: nothing was taken (journal or
 * shared log cannot take it now); wait with commit_wait() and submit again. ERR_TOO_LARGE: more
 * than journal_batch_bytes() or journal_batch_records() allow, nothing was taken; make two. */
int commit_submit(struct commit_port *p, struct commit_owner *owner,
	const struct commit_request *requests, uint32_t n);

/* A message of this process's own, of which nobody waits to hear: no claim, no figure counts it, no
 * worker is woken for it. 0 with its place in *seq, or ERR_HELD / ERR_TOO_LARGE. Any thread. */
int commit_append(struct commit *c, const struct journal_message *m, uint64_t *seq);

/* The journal's tail; commit_on_retain()'s call has been made for what lies below it. Any thread. */
uint64_t commit_tail(struct commit *c);

/* Called for every message appended with JOURNAL_RETAIN, but not for copies (JOURNAL_HIDDEN; with a place in
 * the shared log such a one is no copy but had expired before), in the order of the journal and under its
 * lock, before anybody hears that the message counts. Set before the first
 * submission; m is borrowed. */
void commit_on_retain(struct commit *c,
	void (*call)(void *context, const struct journal_message *m, uint64_t seq), void *context);

/* The owner goes away: no on_done any more for what it has under way. */
void commit_forget(struct commit_port *p, struct commit_owner *owner);

/* --- a shared log: several machines --------------------------------------- */

/* With a shared log a message does not go to the journal from here: it is offered to the log, which
 * answers its ticket when it counts there; the journal is written by who follows the log. What this
 * machine has followed already is a repeat without asking.
 *
 *     commit_submit() --> known here? --> offer() ... commit_port_answer() --> on_done
 */
struct commit_offer {
	const struct commit_request *request;
	uint32_t ticket;
};

struct commit_log {
	/* Takes all, and then each ticket is answered once; or nothing: ERR_HELD (commit_log_ready()
	 * follows) or ERR_TOO_LARGE. Everything is borrowed for the call. On the port's thread, never
	 * under a lock. connection: who delivered them, in this order. */
	int (*offer)(void *context, struct commit_port *p, const void *connection,
		const struct commit_offer *offers, uint32_t n);
	void *context;
};

/* Before there are ports. Copies. */
void commit_set_log(struct commit *c, const struct commit_log *log);

struct commit_answer {
	uint32_t ticket;
	enum commit_outcome outcome;
};

/* Answers tickets of offers that were taken; the port is woken once. Any one thread. */
void commit_port_answer(struct commit_port *p, const struct commit_answer *answers, uint32_t n);
/* Appends these here and now, though the log does not have them yet: what is known already is left
 * out, and what the log gives later under the same id will be. 0, ERR_HELD or ERR_TOO_LARGE with
 * nothing done. Any one thread. */
int commit_publish(struct commit *c, const struct journal_message *messages, uint32_t n);
/* Acknowledgements are withheld because the log is out of reach: counted as time held. Any thread. */
void commit_log_holds(struct commit *c, bool holds);
/* An offer may be taken again. Any thread. */
void commit_log_ready(struct commit *c);

/* --- waiting ---------------------------------------------------------------- */

/* Called once when a submission may succeed again; zero-initialised, list_init() the link. */
struct commit_waiter {
	void (*on_ready)(struct commit_waiter *w);
	struct list link;
};
void commit_wait(struct commit_port *p, struct commit_waiter *w);
void commit_wait_cancel(struct commit_waiter *w);
/* False while the last submission of any port was refused. */
bool commit_is_ready(const struct commit_port *p);

/* Is the id in the antiloop's memory now? Any thread; takes the journal's lock. */
bool commit_knows(struct commit *c, const struct uuid *id);

struct commit_figures {
	uint64_t first; /* messages published */
	uint64_t repeats;
	uint64_t ids;      /* in the antiloop set */
	uint64_t span_ms;  /* age of the oldest */
	uint64_t id_bytes; /* its memory */
	uint64_t held_ms;
	bool held;
};
void commit_figures(struct commit *c, struct commit_figures *out);

#endif
