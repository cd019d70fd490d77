/* commit/internal.h - of the room alone: ports, their tickets, the process's commit
 *
 *     port                                   commit (shared)
 *     tickets  [owner token outcome upto]    journal: tail, safe
 *     answers  of the shared log             log: NULL on one machine
 *     waiting  list of struct commit_waiter  held: the last submission was refused
 *
 * commit.c opens and submits on one machine, log.c submits to a shared log, port.c tells owners.
 */
#ifndef COMMIT_INTERNAL_H
#define COMMIT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "commit/commit.h"
#include "commit/vector.h"
#include "seen/seen.h"

#define PORTS_MOST 256u
#define TICKET_OPEN UINT64_MAX /* upto: the shared log has not answered */

struct ticket {
	struct commit_owner *owner; /* NULL: went away */
	uint64_t upto;              /* due when journal_safe() has reached this */
	uint32_t token;
	enum commit_outcome outcome;
};

struct answer_list {
	struct commit_answer *list;
	uint32_t count;
	uint32_t size;
};

struct commit_port {
	struct commit *commit;
	struct loop *loop;
	unsigned number;
	struct turn_hook hook;
	struct timer retry;
	bool retry_now;
	struct list waiting;
	/* A ring; size is a power of two or 0. head and tail only grow: a ticket keeps its number. */
	struct ticket *tickets;
	uint32_t size;
	uint32_t head;
	uint32_t tail;
	uint32_t batch_size; /* of the arrays below, reused by every submission */
	const struct uuid **ids;
	uint32_t *prints;
	struct journal_message *records;
	const struct journal_message **firsts;
	struct commit_offer *offers;
	/* from the shared log */
	pthread_mutex_t answers_lock;
	struct answer_list answers; /* under it */
	struct answer_list taken;   /* the port's own, empty between turns */
	atomic_bool is_answered;
};

struct commit {
	struct journal *journal;
	struct commit_log log; /* offer NULL: one machine */
	struct seen *seen;     /* under the journal's lock */
	uint64_t seed;         /* of prints */
	uint64_t expire_ms;    /* under the lock as well: next seen_expire() */
	uint64_t first;
	uint64_t repeats;
	uint64_t held_since_ms;
	uint64_t held_ms;
	bool is_refused; /* the last submission was */
	bool log_holds;
	_Atomic uint64_t log_first; /* by the shared log's word */
	_Atomic uint64_t log_repeats;
	atomic_bool held;
	void (*on_retain)(void *context, const struct journal_message *m, uint64_t seq);
	void *on_retain_context;
	/* what follows the shared log, follow.c */
	struct vector_log *vectors; /* under the journal's lock; NULL: no record of a shared log */
	const struct journal_message **followed;
	uint32_t followed_count;
	uint32_t followed_size;
	atomic_bool is_retaining;   /* appending what on_retain() is to be told */
	pthread_mutex_t ports_lock; /* the keeper's walk, and ports that come and go */
	unsigned port_count;
	struct commit_port *ports[PORTS_MOST]; /* fixed while loops run: no lock there */
};

static inline struct ticket *ticket_at(const struct commit_port *p, uint32_t number)
{
	return &p->tickets[number & (p->size - 1)];
}

static inline enum commit_outcome commit_outcome_of(enum seen_answer answer)
{
	static const enum commit_outcome outcomes[] = {[SEEN_FIRST] = COMMIT_FIRST,
		[SEEN_REPEAT] = COMMIT_REPEAT,
		[SEEN_CONFLICT] = COMMIT_CONFLICT};

	return outcomes[answer];
}

/* --- port.c ------------------------------------------------------------- */

void port_wake_all(const struct commit *c);
/* Room for n more tickets and a batch of n. */
void port_make_room(struct commit_port *p, uint32_t n);

/* --- commit.c ----------------------------------------------------------- */

/* With the journal's lock. */
void commit_expire_sometimes(struct commit *c);
void commit_note_held(struct commit *c, bool held);
/* Counts the time held from now on, or no more. */
void commit_count_held(struct commit *c);
/* Appends, and tells what is retained. 0 or negative with nothing done. With the lock, after
 * journal_reserve(). */
int commit_append_and_tell(struct commit *c, const struct journal_message *const *messages,
	uint32_t n, bool may_retain);
/* What journal_reserve() wants for a message. */
uint64_t commit_bytes_of(const struct journal_message *m);
/* What tells it from another message under the same id, for seen_claim(). Any thread, no lock. */
uint32_t commit_print_of(const struct commit *c, const struct journal_message *m);
/* Fills in the port's ids and prints. */
void commit_note_ids(struct commit_port *p, const struct commit_request *requests, uint32_t n);

/* --- follow.c ----------------------------------------------------------- */

/* A record of the shared log stands at seq. With the journal's lock, or while it opens. */
void follow_note(struct commit *c, uint64_t seq, uint32_t shard, uint64_t place);

/* --- log.c -------------------------------------------------------------- */

/* commit_submit() with a shared log. */
int log_submit(struct commit_port *p, struct commit_owner *owner,
	const struct commit_request *requests, uint32_t n);
/* Notes on their tickets what the log has answered. */
void log_take_answers(struct commit_port *p);
void log_port_init(struct commit_port *p);
void log_port_fini(struct commit_port *p);

#endif
