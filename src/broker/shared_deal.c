/* Which message goes to whom. */
#include <stdlib.h>

#include "base/mem.h"
#include "broker/lost.h"
#include "broker/shared_part.h"

#define DEAL_RECORDS 8192u /* index entries looked at per turn */

/* --- positions ---------------------------------------------------------- */

static int by_position(const void *a, const void *b)
{
	uint64_t x;
	uint64_t y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

void positions_sort(struct buf *b)
{
	uint32_t n = positions_count(b);
	struct buf kept = {0};

	if (n < 2)
		return;
	qsort(b->data + b->start, n, sizeof(uint64_t), by_position);
	for (uint32_t i = 0; i < n; i++) {
		if (i == 0 || positions_at(b, i) != positions_at(b, i - 1))
			positions_add(&kept, positions_at(b, i));
	}
	buf_fini(b);
	*b = kept;
}

/* --- turns -------------------------------------------------------------- */

void shared_set_credit(struct shared_member *m, uint32_t credit)
{
	m->credit = credit;
	if (credit == 0)
		list_remove(&m->in_turn);
	else if (list_is_empty(&m->in_turn))
		list_append(&m->group->turn, &m->in_turn);
}

static void call(struct shared_desk *d)
{
	atomic_store(&d->is_called, true);
	atomic_store(&d->to_wake, true);
}

void shared_call_all(struct shared *g)
{
	for (unsigned i = 0; i < g->broker->worker_count; i++)
		if (!list_is_empty(&g->desks[i].members))
			call(&g->desks[i]);
}

void shared_wake(struct shared *g)
{
	for (unsigned i = 0; i < g->broker->worker_count; i++) {
		struct broker_worker *w = g->desks[i].worker;

		if (!atomic_load_explicit(&g->desks[i].to_wake, memory_order_relaxed))
			continue;
		atomic_store(&g->desks[i].to_wake, false);
		atomic_store(&w->shared.is_called, true);
		loop_wake(w->loop);
	}
}

void shared_give_back(struct shared *g, struct buf *positions)
{
	if (buf_length(positions) == 0)
		return;
	buf_append(&g->returned, buf_bytes(positions), buf_length(positions));
	positions_sort(&g->returned);
	buf_clear(positions);
}

/* The next in turn gets it and goes to the end. */
static void deal_to(struct shared_member *m, uint64_t seq)
{
	struct shared_desk *d = &m->group->desks[m->session->worker->number];

	positions_add(&m->hand, seq);
	shared_set_credit(m, m->credit - 1);
	if (m->credit) {
		list_remove(&m->in_turn);
		list_append(&m->group->turn, &m->in_turn);
	}
	if (list_is_empty(&m->called))
		list_append(&d->called, &m->called);
	call(d);
}

/* --- cold packets ------------------------------------------------------- */

/* The group is gone when `group` is NULL: the lock of struct shareds. */
struct shared_prefetch {
	struct journal_prefetch ticket;
	struct task task;
	struct broker_worker *worker;
	struct shared *group;
};

static void on_warm_task(struct task *task)
{
	struct shared_prefetch *p = container_of(task, struct shared_prefetch, task);
	struct shareds *all = &p->worker->broker->shareds;
	struct shared *g;

	pthread_mutex_lock(&all->lock);
	g = p->group;
	if (g) {
		pthread_mutex_lock(&g->lock);
		g->prefetch = NULL;
		g->warm_from = p->ticket.from;
		g->warm_to = p->ticket.warm_to;
		shared_call_all(g);
		pthread_mutex_unlock(&g->lock);
		shared_wake(g);
	}
	pthread_mutex_unlock(&all->lock);
	free(p);
}

static void on_warm(struct journal_prefetch *ticket)
{
	struct shared_prefetch *p = container_of(ticket, struct shared_prefetch, ticket);

	loop_post(p->worker->loop, &p->task);
}

void shared_forget_prefetch(struct shared *g)
{
	struct shared_prefetch *p = g->prefetch;

	if (p == NULL)
		return;
	g->prefetch = NULL;
	p->group = NULL;
	if (journal_prefetch_cancel(g->broker->journal, &p->ticket))
		free(p);
}

static void prefetch(struct shared *g, struct broker_worker *w, uint64_t seq)
{
	struct shared_prefetch *p = mem_new(sizeof(*p));

	p->worker = w;
	p->group = g;
	p->task.run = on_warm_task;
	p->ticket.from = seq;
	p->ticket.on_warm = on_warm;
	list_init(&p->ticket.link);
	g->prefetch = p;
	journal_prefetch(w->journal, &p->ticket);
}

/* Packets of [seq, this) are in memory. seq: not even the first, which is being fetched; the group
 * waits. */
static uint64_t warm_to(struct shared *g, struct broker_worker *w, uint64_t seq)
{
	uint64_t to = journal_warm_to(w->journal, seq);

	if (seq >= g->warm_from && g->warm_to > to)
		return g->warm_to;
	if (to == seq && g->prefetch == NULL)
		prefetch(g, w, seq);
	return to;
}

/* --- dealing ------------------------------------------------------------ */

/* What was removed from the journal before anybody could take it. */
static void skip_removed(struct shared *g, struct broker_worker *w)
{
	uint64_t head = journal_head(w->journal);
	uint64_t gone = 0;

	while (positions_count(&g->returned) && positions_at(&g->returned, 0) < head) {
		buf_consume(&g->returned, sizeof(uint64_t));
		gone++;
	}
	if (gone)
		atomic_fetch_add_explicit(&w->broker->lost, gone, memory_order_relaxed);
	if (g->cursor < head) {
		lost_count(w->broker, &(struct lost_range){.accounts = g->accounts,
					      .account = g->account,
					      .subscriptions = &g->filters,
					      .who = buf_view(&g->key),
					      .from = g->cursor,
					      .head = head});
		gone += head - g->cursor;
		g->cursor = head;
	}
	count_add(&w->counts.skipped_records, gone);
}

/* All of it is dealt by other machines, or will be: when a shard comes to be owned the cursor goes back to
 * where it was left. */
static void pass_over(struct shared *g, uint64_t tail)
{
	buf_clear(&g->returned);
	atomic_store_explicit(&g->cursor, tail, memory_order_relaxed);
}

/* First what was given back. */
static enum deal_answer deal_returned(struct shared *g, struct broker_worker *w)
{
	while (positions_count(&g->returned)) {
		uint64_t seq = positions_at(&g->returned, 0);

		if (g->part && shared_part_is_others(g->part, w, seq)) {
			buf_consume(&g->returned, sizeof(seq));
			continue;
		}
		if (list_is_empty(&g->turn) || warm_to(g, w, seq) == seq)
			return DEAL_BLOCKED;
		buf_consume(&g->returned, sizeof(seq));
		if (w->broker->store)
			positions_add(&g->redealt[0], seq);
		deal_to(container_of(g->turn.next, struct shared_member, in_turn), seq);
	}
	return DEAL_DONE;
}

/* Then what is new, from the cursor to `end`, of which all is warm. */
static enum deal_answer deal_new(struct shared *g, struct broker_worker *w, uint64_t end)
{
	const struct journal_segment *segment = NULL;
	uint64_t seq = g->cursor;

	for (; seq < end; seq++) {
		const struct journal_entry *e;

		if (segment == NULL || seq >= segment->end)
			segment = journal_find(w->journal, seq);
		if (segment == NULL)
			continue;
		e = &segment->entries[seq - segment->base];
		if (g->part && !shared_part_wants(g->part, e, seq))
			continue;
		if (wants_ask(&g->wants, &g->filters, g->account, segment, e) >= 0) {
			if (list_is_empty(&g->turn))
				break;
			deal_to(container_of(g->turn.next, struct shared_member, in_turn), seq);
		}
		if (g->part)
			shared_part_note(g->part, e, seq);
	}
	atomic_store_explicit(&g->cursor, seq, memory_order_relaxed);
	return seq < end ? DEAL_BLOCKED : DEAL_DONE;
}

enum deal_answer shared_deal(struct shared *g, struct broker_worker *w)
{
	uint64_t tail = journal_tail(w->journal);
	uint64_t end = tail;
	uint64_t warm;
	enum deal_answer answer;

	if (g->part && g->part->owned == 0)
		pass_over(g, tail);
	skip_removed(g, w);
	g->is_live = false;
	answer = deal_returned(g, w);
	if (answer != DEAL_DONE)
		return answer;
	warm = warm_to(g, w, g->cursor);
	if (g->cursor < tail && warm == g->cursor)
		return DEAL_BLOCKED;
	if (end - g->cursor > DEAL_RECORDS)
		end = g->cursor + DEAL_RECORDS;
	if (end > warm)
		end = warm;
	answer = deal_new(g, w, end);
	if (answer != DEAL_DONE)
		return answer;
	g->is_live = end == tail;
	return g->is_live ? DEAL_DONE : DEAL_MORE;
}
