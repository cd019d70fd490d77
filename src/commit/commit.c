/* commit/commit.c - one machine: the antiloop set in memory, the journal on disk
 *
 * A submission is one critical section under the journal's lock: room is reserved first, so that
 * no id is claimed for a message that cannot be written; then the whole batch is claimed in its
 * order (an id may stand in it twice) and the firsts are appended with one write. If that fails
 * the claims are taken back and nothing has happened.
 *
 *     port                                   commit (shared)
 *     tickets  [owner token outcome upto]    journal: tail, safe
 *     waiting  list of struct commit_waiter  held: the last submission was refused
 *
 * Each message leaves a ticket in its port's ring. A ticket is due when the journal is safe up to
 * where its tail stood after the batch: for a repeat as well, whose first lies below that. The
 * port's turn hook hands out what is due and asks for a sync when something is not.
 *
 * **Invariant:** `upto` never falls along a ring, so only its front has to be looked at.
 */
#include "commit/commit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "seen/seen.h"

#define PORTS_MOST 256u
#define RECORD_OVERHEAD 16u /* journal_reserve() wants this per record */
#define EXPIRE_EVERY_MS 100u
#define RETRY_MS 2000u /* a refused submission is tried again without a sign, too */

struct ticket {
	struct commit_owner *owner; /* NULL: went away */
	uint64_t upto;              /* due when journal_safe() has reached this */
	uint32_t token;
	enum commit_outcome outcome;
};

struct commit_port {
	struct commit *commit;
	struct loop *loop;
	unsigned number;
	struct turn_hook hook;
	struct timer retry;
	bool retry_now;
	struct list waiting;
	struct ticket *tickets; /* a ring; size is a power of two or 0 */
	uint32_t size;
	uint32_t head;
	uint32_t tail;
	uint32_t batch_size; /* of the arrays below, reused by every submission */
	const struct uuid **ids;
	struct journal_message *records;
	const struct journal_message **firsts;
};

struct commit {
	struct journal *journal;
	struct seen *seen;  /* under the journal's lock */
	uint64_t expire_ms; /* under it as well: next seen_expire() */
	uint64_t first;
	uint64_t repeats;
	uint64_t held_since_ms;
	uint64_t held_ms;
	atomic_bool held;
	void (*on_retain)(void *context, const struct journal_message *m, uint64_t seq);
	void *on_retain_context;
	atomic_bool is_retaining;   /* appending what on_retain() is to be told */
	pthread_mutex_t ports_lock; /* the keeper's walk, and ports that come and go */
	unsigned port_count;
	struct commit_port *ports[PORTS_MOST]; /* fixed while loops run: no lock there */
};

/* --- opening ---------------------------------------------------------- */

static void on_index(void *context, uint64_t seq, const struct journal_entry *e)
{
	struct commit *c = context;

	(void)seq;
	if (e->flags & JOURNAL_CLAIMED)
		seen_claim(c->seen, &e->id, e->time_ms);
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
	pthread_mutex_init(&c->ports_lock, NULL);
	journal.on_index = on_index;
	journal.context = c;
	err = journal_open(&c->journal, &journal, why);
	if (err < 0) {
		pthread_mutex_destroy(&c->ports_lock);
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
	pthread_mutex_destroy(&c->ports_lock);
	free(c);
}

struct journal *commit_journal(struct commit *c)
{
	return c->journal;
}

/* --- what is due ------------------------------------------------------ */

static bool has_due(const struct commit_port *p)
{
	return p->head != p->tail &&
	       p->tickets[p->head & (p->size - 1)].upto <= journal_safe(p->commit->journal);
}

static void hand_out(struct commit_port *p)
{
	uint64_t safe;

	if (p->head == p->tail)
		return;
	safe = journal_safe(p->commit->journal);
	while (p->head != p->tail) {
		struct ticket t = p->tickets[p->head & (p->size - 1)];

		if (t.upto > safe) {
			journal_want_sync(p->commit->journal);
			return;
		}
		p->head++;
		if (t.owner)
			t.owner->on_done(t.owner, t.token, t.outcome);
	}
}

static bool may_retry(const struct commit_port *p)
{
	return !list_is_empty(&p->waiting) && (p->retry_now || !atomic_load(&p->commit->held));
}

/* A waiter may wait again, or cancel another, from on_ready(). */
static void call_waiters(struct commit_port *p)
{
	struct list ready;

	list_init(&ready);
	p->retry_now = false;
	timer_stop(p->loop, &p->retry);
	list_splice(&ready, &p->waiting);
	while (!list_is_empty(&ready)) {
		struct commit_waiter *w = container_of(ready.next, struct commit_waiter, link);

		list_remove(&w->link);
		w->on_ready(w);
	}
}

static bool on_turn(struct turn_hook *h)
{
	struct commit_port *p = container_of(h, struct commit_port, hook);

	hand_out(p);
	if (may_retry(p))
		call_waiters(p);
	return has_due(p);
}

static bool has_work(struct turn_hook *h)
{
	struct commit_port *p = container_of(h, struct commit_port, hook);

	return has_due(p) || may_retry(p);
}

static void on_retry(struct timer *t)
{
	container_of(t, struct commit_port, retry)->retry_now = true;
}

/* --- ports ------------------------------------------------------------ */

struct commit_port *commit_port_new(struct commit *c, struct loop *l, unsigned number)
{
	struct commit_port *p = mem_new(sizeof(*p));

	p->commit = c;
	p->loop = l;
	p->number = number;
	p->hook.on_turn = on_turn;
	p->hook.has_work = has_work;
	p->retry.on_time = on_retry;
	list_init(&p->hook.link);
	list_init(&p->waiting);
	loop_add_hook(l, &p->hook);
	pthread_mutex_lock(&c->ports_lock);
	check(c->port_count < PORTS_MOST);
	c->ports[c->port_count++] = p;
	pthread_mutex_unlock(&c->ports_lock);
	return p;
}

void commit_port_free(struct commit_port *p)
{
	struct commit *c;

	if (p == NULL)
		return;
	c = p->commit;
	timer_stop(p->loop, &p->retry);
	loop_remove_hook(p->loop, &p->hook);
	pthread_mutex_lock(&c->ports_lock);
	for (unsigned i = 0; i < c->port_count; i++) {
		if (c->ports[i] == p) {
			c->ports[i] = c->ports[--c->port_count];
			break;
		}
	}
	pthread_mutex_unlock(&c->ports_lock);
	free(p->tickets);
	free(p->ids);
	free(p->records);
	free(p->firsts);
	free(p);
}

struct loop *commit_port_loop(struct commit_port *p)
{
	return p->loop;
}

unsigned commit_port_number(const struct commit_port *p)
{
	return p->number;
}

/* --- submission ------------------------------------------------------- */

static void make_room(struct commit_port *p, uint32_t n)
{
	uint32_t used = p->tail - p->head;
	uint32_t size = p->size ? p->size : 256;
	struct ticket *grown;

	if (n > p->batch_size) {
		p->ids = mem_resize(p->ids, n * sizeof(*p->ids));
		p->records = mem_resize(p->records, n * sizeof(*p->records));
		p->firsts = mem_resize(p->firsts, n * sizeof(*p->firsts));
		p->batch_size = n;
	}
	if (p->size - used >= n)
		return;
	while (size - used < n)
		size *= 2;
	grown = mem_new(size * sizeof(*grown));
	for (uint32_t i = 0; i < used; i++)
		grown[i] = p->tickets[(p->head + i) & (p->size - 1)];
	free(p->tickets);
	p->tickets = grown;
	p->size = size;
	p->head = 0;
	p->tail = used;
}

static uint64_t bytes_of(const struct commit_request *requests, uint32_t n)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct journal_message *m = &requests[i].message;

		bytes += m->topic.n + m->payload.n + m->properties.n + RECORD_OVERHEAD;
	}
	return bytes;
}

/* Claims in batch order. Gives the number of messages to append; *claimed of them hold an id. The
 * outcomes stand in the port's ring, behind its tail, until they count. */
static uint32_t claim_batch(
	struct commit_port *p, const struct commit_request *requests, uint32_t n, uint32_t *claimed)
{
	struct seen *seen = p->commit->seen;
	uint64_t now = journal_now(p->commit->journal);
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		p->ids[i] = &requests[i].message.id;
	seen_prefetch(seen, p->ids, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct commit_request *r = &requests[i];
		struct ticket *t = &p->tickets[(p->tail + i) & (p->size - 1)];

		t->outcome = COMMIT_FIRST;
		if (r->claim && seen_claim(seen, &r->message.id, now) == SEEN_REPEAT) {
			t->outcome = COMMIT_REPEAT;
			continue;
		}
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

/* With the lock: these have just been appended. */
static void tell_retained(
	struct commit *c, const struct journal_message *const *messages, uint32_t n)
{
	uint64_t base = journal_tail(c->journal) - n;

	for (uint32_t i = 0; i < n; i++) {
		unsigned flags = messages[i]->flags & (JOURNAL_RETAIN | JOURNAL_HIDDEN);

		if (flags == JOURNAL_RETAIN && c->on_retain)
			c->on_retain(c->on_retain_context, messages[i], base + i);
	}
}

/* With the lock. */
static int append_and_tell(struct commit *c, const struct journal_message *const *messages,
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

/* Under the journal's lock, so that the keeper's sign that there is room comes after it. */
static void note_held(struct commit *c, bool held)
{
	uint64_t now = clock_mono_ms();

	if (c->held_since_ms && !held) {
		c->held_ms += now - c->held_since_ms;
		c->held_since_ms = 0;
	} else if (!c->held_since_ms && held) {
		c->held_since_ms = now;
	}
	if (atomic_load_explicit(&c->held, memory_order_relaxed) != held)
		atomic_store(&c->held, held);
}

static void expire_sometimes(struct commit *c)
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
	expire_sometimes(c);
	count = claim_batch(p, requests, n, &claimed);
	if (count) {
		/* What passed the antiloop is never retained. */
		err = append_and_tell(c, p->firsts, count, claimed < count);
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
	make_room(p, n);
	journal_lock(c->journal);
	err = append_batch(p, requests, n);
	if (err != ERR_TOO_LARGE)
		note_held(c, err < 0);
	upto = journal_tail(c->journal);
	journal_unlock(c->journal);
	if (err < 0)
		return err == ERR_TOO_LARGE ? err : ERR_HELD;
	for (uint32_t i = 0; i < n; i++) {
		struct ticket *t = &p->tickets[(p->tail + i) & (p->size - 1)];

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
		err = append_and_tell(c, &m, 1, true);
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

void commit_forget(struct commit_port *p, struct commit_owner *owner)
{
	for (uint32_t i = p->head; i != p->tail; i++) {
		struct ticket *t = &p->tickets[i & (p->size - 1)];

		if (t->owner == owner)
			t->owner = NULL;
	}
}

/* --- waiting ---------------------------------------------------------- */

void commit_wait(struct commit_port *p, struct commit_waiter *w)
{
	list_remove(&w->link);
	list_append(&p->waiting, &w->link);
	if (p->retry.place == 0)
		timer_start(p->loop, &p->retry, RETRY_MS);
}

void commit_wait_cancel(struct commit_waiter *w)
{
	list_remove(&w->link);
}

bool commit_is_ready(const struct commit_port *p)
{
	return !atomic_load(&p->commit->held);
}

/* --- figures ---------------------------------------------------------- */

void commit_figures(struct commit *c, struct commit_figures *out)
{
	uint64_t now;

	journal_lock(c->journal);
	expire_sometimes(c);
	now = journal_now(c->journal);
	*out = (struct commit_figures){
		.first = c->first,
		.repeats = c->repeats,
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
