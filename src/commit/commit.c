/* commit/commit.c - one machine: the antiloop set in memory, the journal on disk
 *
 * A submission is one critical section under the journal's lock: room is reserved first, so that
 * no id is claimed for a message that cannot be written; then the whole batch is claimed in its
 * order (an id may stand in it twice) and the firsts are appended with one write. If that fails
 * the claims are taken back and nothing has happened.
 *
 * Each message leaves a ticket in its port's ring. A ticket is due when the journal is safe up to
 * where its tail stood after the batch: for a repeat as well, whose first lies below that.
 */
#include "commit/commit.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "commit/internal.h"

#define RECORD_OVERHEAD 16u /* journal_reserve() wants this per record */
#define EXPIRE_EVERY_MS 100u

/* --- opening ---------------------------------------------------------- */

static void on_index(void *context, uint64_t seq, const struct journal_entry *e)
{
	struct commit *c = context;

	if ((e->flags & JOURNAL_CLAIMED) || e->log_id)
		seen_claim(c->seen, &e->id, SEEN_NO_PRINT, e->time_ms);
	if (e->log_id)
		follow_note(c, seq, e->shard, e->log_id);
}

/* The keeper thread's: there is room again, or a sync is done. */
static void on_progress(void *context)
{
	struct commit *c = context;

	atomic_store(&c->held, false);
	pthread_mutex_lock(&c->ports_lock);
	for (unsigned i = 0; i < c->port_count; i++)
		loop_wake(c->ports[i]->loop);
	pthread_mutex_unlock(&c->ports_lock);
}

int commit_open(struct commit **out, const struct commit_config *config, char **why)
{
	struct journal_config journal = config->journal;
	struct commit *c = mem_new(sizeof(*c));
	int err;

	c->seen = seen_open(config->ids, config->window_ms);
	if (c->seen == NULL) {
		*why = mem_printf(
			"no address space for %llu identifiers", (unsigned long long)config->ids);
		free(c);
		return ERR_MEMORY;
	}
	c->seed = map_seed();
	pthread_mutex_init(&c->ports_lock, NULL);
	journal.on_index = on_index;
	journal.context = c;
	err = journal_open(&c->journal, &journal, why);
	if (err < 0) {
		pthread_mutex_destroy(&c->ports_lock);
		vector_log_free(c->vectors);
		seen_close(c->seen);
		free(c);
		return err;
	}
	journal_on_progress(c->journal, on_progress, c);
	*out = c;
	return 0;
}

void commit_close(struct commit *c)
{
	if (c == NULL)
		return;
	check(c->port_count == 0);
	journal_close(c->journal);
	seen_close(c->seen);
	vector_log_free(c->vectors);
	free(c->followed);
	pthread_mutex_destroy(&c->ports_lock);
	free(c);
}

struct journal *commit_journal(struct commit *c)
{
	return c->journal;
}

/* --- submission ------------------------------------------------------- */

uint64_t commit_bytes_of(const struct journal_message *m)
{
	return m->topic.n + m->payload.n + m->properties.n + RECORD_OVERHEAD;
}

static uint64_t bytes_of(const struct commit_request *requests, uint32_t n)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++)
		bytes += commit_bytes_of(&requests[i].message);
	return bytes;
}

uint32_t commit_print_of(const struct commit *c, const struct journal_message *m)
{
	uint64_t hash =
		map_hash(m->payload.p, m->payload.n, map_hash(m->topic.p, m->topic.n, c->seed));

	return (uint32_t)hash | 1; /* never SEEN_NO_PRINT */
}

void commit_note_ids(struct commit_port *p, const struct commit_request *requests, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct commit_request *r = &requests[i];

		p->ids[i] = &r->message.id;
		p->prints[i] = r->claim && !r->is_changed ? commit_print_of(p->commit, &r->message)
							  : SEEN_NO_PRINT;
	}
}

static enum commit_outcome claim_one(
	struct commit_port *p, const struct commit_request *r, uint32_t i, uint64_t now)
{
	if (!r->claim)
		return COMMIT_FIRST;
	return commit_outcome_of(seen_claim(p->commit->seen, &r->message.id, p->prints[i], now));
}

/* Claims in batch order. Gives the number of messages to append; *claimed of them hold an id. The
 * outcomes stand in the port's ring, behind its tail, until they count. */
static uint32_t claim_batch(
	struct commit_port *p, const struct commit_request *requests, uint32_t n, uint32_t *claimed)
{
	uint64_t now = journal_now(p->commit->journal);
	uint32_t count = 0;

	seen_prefetch(p->commit->seen, p->ids, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct commit_request *r = &requests[i];
		struct ticket *t = ticket_at(p, p->tail + i);

		t->outcome = claim_one(p, r, i, now);
		if (t->outcome != COMMIT_FIRST)
			continue;
		p->records[count] = r->message;
		if (r->claim) {
			p->records[count].flags |= JOURNAL_CLAIMED;
			++*claimed;
		}
		p->firsts[count] = &p->records[count];
		count++;
	}
	return count;
}

/* A hidden record that is not of the shared log is a copy; one that is had expired when it came. */
static bool is_retained(const struct journal_message *m)
{
	return m->flags & JOURNAL_RETAIN && (!(m->flags & JOURNAL_HIDDEN) || m->log_id);
}

/* With the lock: these have just been appended. */
static void tell_retained(
	struct commit *c, const struct journal_message *const *messages, uint32_t n)
{
	uint64_t base = journal_tail(c->journal) - n;

	for (uint32_t i = 0; i < n; i++) {
		if (is_retained(messages[i]) && c->on_retain)
			c->on_retain(c->on_retain_context, messages[i], base + i);
	}
}

/* With the lock. */
int commit_append_and_tell(struct commit *c, const struct journal_message *const *messages,
	uint32_t n, bool may_retain)
{
	int err;

	if (may_retain)
		atomic_store(&c->is_retaining, true);
	err = journal_append(c->journal, messages, n);
	if (!may_retain)
		return err;
	if (err == 0)
		tell_retained(c, messages, n);
	atomic_store(&c->is_retaining, false);
	return err;
}

uint64_t commit_tail(struct commit *c)
{
	uint64_t tail = journal_tail(c->journal);

	if (atomic_load(&c->is_retaining)) {
		journal_lock(c->journal);
		journal_unlock(c->journal);
	}
	return tail;
}

void commit_count_held(struct commit *c)
{
	bool held = c->is_refused || c->log_holds;
	uint64_t now = clock_mono_ms();

	if (c->held_since_ms && !held) {
		c->held_ms += now - c->held_since_ms;
		c->held_since_ms = 0;
	} else if (!c->held_since_ms && held) {
		c->held_since_ms = now;
	}
}

/* Under the journal's lock, so that the keeper's sign that there is room comes after it. */
void commit_note_held(struct commit *c, bool held)
{
	c->is_refused = held;
	commit_count_held(c);
	if (atomic_load_explicit(&c->held, memory_order_relaxed) != held)
		atomic_store(&c->held, held);
}

void commit_expire_sometimes(struct commit *c)
{
	uint64_t now = journal_now(c->journal);

	if (now < c->expire_ms)
		return;
	seen_expire(c->seen, now);
	c->expire_ms = now + EXPIRE_EVERY_MS;
}

/* With the lock: claims and appends. 0 or negative with nothing done. */
static int append_batch(struct commit_port *p, const struct commit_request *requests, uint32_t n)
{
	struct commit *c = p->commit;
	uint32_t claimed = 0;
	uint32_t count;
	int err;

	err = journal_reserve(c->journal, bytes_of(requests, n), n);
	if (err < 0)
		return err;
	commit_expire_sometimes(c);
	count = claim_batch(p, requests, n, &claimed);
	if (count) {
		/* What passed the antiloop is never retained. */
		err = commit_append_and_tell(c, p->firsts, count, claimed < count);
		if (err < 0) {
			seen_forget_newest(c->seen, claimed);
			return err;
		}
	}
	c->first += count;
	c->repeats += n - count;
	return 0;
}

static void wake_others(const struct commit_port *p)
{
	const struct commit *c = p->commit;

	for (unsigned i = 0; i < c->port_count; i++) {
		if (c->ports[i] != p)
			loop_wake(c->ports[i]->loop);
	}
}

int commit_submit(struct commit_port *p, struct commit_owner *owner,
	const struct commit_request *requests, uint32_t n)
{
	struct commit *c = p->commit;
	uint64_t upto;
	int err;

	if (n == 0)
		return 0;
	port_make_room(p, n);
	commit_note_ids(p, requests, n);
	if (c->log.offer)
		return log_submit(p, owner, requests, n);
	journal_lock(c->journal);
	err = append_batch(p, requests, n);
	if (err != ERR_TOO_LARGE)
		commit_note_held(c, err < 0);
	upto = journal_tail(c->journal);
	journal_unlock(c->journal);
	if (err < 0)
		return err == ERR_TOO_LARGE ? err : ERR_HELD;
	for (uint32_t i = 0; i < n; i++) {
		struct ticket *t = ticket_at(p, p->tail + i);

		t->owner = owner;
		t->token = requests[i].token;
		t->upto = upto;
	}
	p->tail += n;
	wake_others(p);
	return 0;
}

int commit_append(struct commit *c, const struct journal_message *m, uint64_t *seq)
{
	const struct commit_request r = {.message = *m};
	int err;

	journal_lock(c->journal);
	err = journal_reserve(c->journal, bytes_of(&r, 1), 1);
	if (err == 0)
		err = commit_append_and_tell(c, &m, 1, true);
	if (err == 0)
		*seq = journal_tail(c->journal) - 1;
	journal_unlock(c->journal);
	return err == 0 || err == ERR_TOO_LARGE ? err : ERR_HELD;
}

void commit_on_retain(struct commit *c,
	void (*call)(void *context, const struct journal_message *m, uint64_t seq), void *context)
{
	c->on_retain = call;
	c->on_retain_context = context;
}

/* --- figures ---------------------------------------------------------- */

bool commit_knows(struct commit *c, const struct uuid *id)
{
	bool is_known;

	journal_lock(c->journal);
	is_known = seen_has(c->seen, id);
	journal_unlock(c->journal);
	return is_known;
}

void commit_figures(struct commit *c, struct commit_figures *out)
{
	uint64_t now;

	journal_lock(c->journal);
	commit_expire_sometimes(c);
	now = journal_now(c->journal);
	*out = (struct commit_figures){
		.first = c->first + atomic_load(&c->log_first),
		.repeats = c->repeats + atomic_load(&c->log_repeats),
		.ids = seen_count(c->seen),
		.span_ms = seen_span_ms(c->seen, now),
		.id_bytes = seen_bytes(c->seen),
		.held_ms = c->held_ms,
		.held = atomic_load(&c->held),
	};
	if (c->held_since_ms)
		out->held_ms += clock_mono_ms() - c->held_since_ms;
	journal_unlock(c->journal);
}
