/* commit/log.c - several machines: submissions go to a shared log
 *
 *     worker: known here? --yes--> ticket decided: repeat or conflict
 *                         --no---> ticket open --> log.offer() ... the log's thread ...
 *     log's thread: commit_port_answer() --> answers --wake--> worker: tickets decided --> on_done
 *
 * An id that this machine has followed is a repeat that is safe: what is followed counts in the log.
 * All else is for the log to say, also whether an id submitted twice at once is a repeat.
 *
 * **Invariant:** the answers' lock is held for a copy only, by the log's thread once a batch and by
 * the port once a turn.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "commit/internal.h"

void commit_set_log(struct commit *c, const struct commit_log *log)
{
	c->log = *log;
}

/* --- answers ----------------------------------------------------------- */

void log_port_init(struct commit_port *p)
{
	pthread_mutex_init(&p->answers_lock, NULL);
}

void log_port_fini(struct commit_port *p)
{
	pthread_mutex_destroy(&p->answers_lock);
	free(p->answers.list);
	free(p->taken.list);
}

static void add_answers(struct answer_list *a, const struct commit_answer *answers, uint32_t n)
{
	if (a->size - a->count < n) {
		a->size = a->size * 2 > a->count + n ? a->size * 2 : a->count + n;
		a->list = mem_resize(a->list, a->size * sizeof(*a->list));
	}
	memcpy(a->list + a->count, answers, n * sizeof(*answers));
	a->count += n;
}

void commit_port_answer(struct commit_port *p, const struct commit_answer *answers, uint32_t n)
{
	pthread_mutex_lock(&p->answers_lock);
	add_answers(&p->answers, answers, n);
	atomic_store(&p->is_answered, true);
	pthread_mutex_unlock(&p->answers_lock);
	loop_wake(p->loop);
}

void log_take_answers(struct commit_port *p)
{
	struct answer_list empty = p->taken;
	uint32_t repeats = 0;

	if (!atomic_load(&p->is_answered))
		return;
	pthread_mutex_lock(&p->answers_lock);
	p->taken = p->answers;
	p->answers = empty;
	atomic_store(&p->is_answered, false);
	pthread_mutex_unlock(&p->answers_lock);
	for (uint32_t i = 0; i < p->taken.count; i++) {
		struct ticket *t = ticket_at(p, p->taken.list[i].ticket);

		t->outcome = p->taken.list[i].outcome;
		t->upto = 0;
		repeats += t->outcome != COMMIT_FIRST;
	}
	atomic_fetch_add(&p->commit->log_first, p->taken.count - repeats);
	atomic_fetch_add(&p->commit->log_repeats, repeats);
	p->taken.count = 0;
}

static void note_held(struct commit *c, bool held)
{
	journal_lock(c->journal);
	commit_note_held(c, held);
	journal_unlock(c->journal);
}

void commit_log_ready(struct commit *c)
{
	note_held(c, false);
	port_wake_all(c);
}

/* --- submission -------------------------------------------------------- */

/* Decides what is known here; gives the number of messages to offer. */
static uint32_t look_up(struct commit_port *p, struct commit_owner *owner,
	const struct commit_request *requests, uint32_t n)
{
	struct commit *c = p->commit;
	uint32_t count = 0;

	journal_lock(c->journal);
	commit_expire_sometimes(c);
	seen_prefetch(c->seen, p->ids, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct commit_request *r = &requests[i];
		enum seen_answer answer =
			r->claim ? seen_ask(c->seen, &r->message.id, p->prints[i]) : SEEN_FIRST;

		*ticket_at(p, p->tail + i) = (struct ticket){.owner = owner,
			.token = r->token,
			.upto = answer == SEEN_FIRST ? TICKET_OPEN : 0,
			.outcome = commit_outcome_of(answer)};
		if (answer == SEEN_FIRST)
			p->offers[count++] = (struct commit_offer){r, p->tail + i};
	}
	journal_unlock(c->journal);
	return count;
}

static int offer(struct commit_port *p, struct commit_owner *owner, uint32_t n)
{
	const struct commit_log *log = &p->commit->log;

	return n ? log->offer(log->context, p, owner, p->offers, n) : 0;
}

int log_submit(struct commit_port *p, struct commit_owner *owner,
	const struct commit_request *requests, uint32_t n)
{
	struct commit *c = p->commit;
	uint32_t count = look_up(p, owner, requests, n);
	int err = offer(p, owner, count);

	if (err == ERR_HELD) {
		/* Once more, as the sign that it is ready may have come before the note. */
		note_held(c, true);
		err = offer(p, owner, count);
		if (err == 0)
			note_held(c, false);
	}
	if (err < 0)
		return err;
	atomic_fetch_add(&c->log_repeats, n - count);
	p->tail += n;
	return 0;
}

void commit_log_holds(struct commit *c, bool holds)
{
	journal_lock(c->journal);
	c->log_holds = holds;
	commit_count_held(c);
	journal_unlock(c->journal);
}

/* --- without the log ------------------------------------------------------ */

/* With the lock and room reserved. */
static int append_unknown(struct commit *c, const struct journal_message *messages, uint32_t n)
{
	const struct journal_message **firsts = mem_new(n * sizeof(*firsts));
	uint64_t now = journal_now(c->journal);
	uint32_t count = 0;
	int err = 0;

	commit_expire_sometimes(c);
	for (uint32_t i = 0; i < n; i++)
		if (seen_claim(c->seen, &messages[i].id, commit_print_of(c, &messages[i]), now) ==
			SEEN_FIRST)
			firsts[count++] = &messages[i];
	if (count)
		err = commit_append_and_tell(c, firsts, count, true);
	if (err)
		seen_forget_newest(c->seen, count);
	free(firsts);
	return err;
}

int commit_publish(struct commit *c, const struct journal_message *messages, uint32_t n)
{
	uint64_t bytes = 0;
	int err;

	for (uint32_t i = 0; i < n; i++)
		bytes += commit_bytes_of(&messages[i]);
	journal_lock(c->journal);
	err = journal_reserve(c->journal, bytes, n);
	if (err == 0)
		err = append_unknown(c, messages, n);
	journal_unlock(c->journal);
	if (err)
		return err == ERR_TOO_LARGE ? err : ERR_HELD;
	port_wake_all(c);
	return 0;
}
