/* commit/port.c - a worker's way in: tickets, who is told, who waits
 *
 * The port's turn hook hands out what is due from the front of its ring of tickets, and asks for a
 * sync when something waits for one.
 *
 * **Invariant:** on one machine `upto` never falls along a ring, and with a shared log only the front
 * counts as well, so only the front has to be looked at.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "commit/internal.h"

#define RETRY_MS 2000u /* a refused submission is tried again without a sign, too */

/* --- what is due ------------------------------------------------------ */

static bool has_due(const struct commit_port *p)
{
	return p->head != p->tail &&
	       ticket_at(p, p->head)->upto <= journal_safe(p->commit->journal);
}

static void hand_out(struct commit_port *p)
{
	uint64_t safe;

	if (p->head == p->tail)
		return;
	safe = journal_safe(p->commit->journal);
	while (p->head != p->tail) {
		struct ticket t = *ticket_at(p, p->head);

		if (t.upto > safe) {
			if (t.upto != TICKET_OPEN)
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

	log_take_answers(p);
	hand_out(p);
	if (may_retry(p))
		call_waiters(p);
	return has_due(p);
}

static bool has_work(struct turn_hook *h)
{
	struct commit_port *p = container_of(h, struct commit_port, hook);

	return has_due(p) || may_retry(p) || atomic_load(&p->is_answered);
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
	log_port_init(p);
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
	log_port_fini(p);
	free(p->tickets);
	free(p->ids);
	free(p->prints);
	free(p->records);
	free(p->firsts);
	free(p->offers);
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

void port_wake_all(const struct commit *c)
{
	for (unsigned i = 0; i < c->port_count; i++)
		loop_wake(c->ports[i]->loop);
}

/* --- tickets ---------------------------------------------------------- */

void port_make_room(struct commit_port *p, uint32_t n)
{
	uint32_t used = p->tail - p->head;
	uint32_t size = p->size ? p->size : 256;
	struct ticket *grown;

	if (n > p->batch_size) {
		p->ids = mem_resize(p->ids, n * sizeof(*p->ids));
		p->prints = mem_resize(p->prints, n * sizeof(*p->prints));
		p->records = mem_resize(p->records, n * sizeof(*p->records));
		p->firsts = mem_resize(p->firsts, n * sizeof(*p->firsts));
		p->offers = mem_resize(p->offers, n * sizeof(*p->offers));
		p->batch_size = n;
	}
	if (p->size - used >= n)
		return;
	while (size - used < n)
		size *= 2;
	grown = mem_new(size * sizeof(*grown));
	for (uint32_t i = p->head; i != p->tail; i++)
		grown[i & (size - 1)] = *ticket_at(p, i);
	free(p->tickets);
	p->tickets = grown;
	p->size = size;
}

void commit_forget(struct commit_port *p, struct commit_owner *owner)
{
	for (uint32_t i = p->head; i != p->tail; i++) {
		struct ticket *t = ticket_at(p, i);

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
