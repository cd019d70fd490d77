/* A worker's turn: what its members were dealt goes to their sockets, what does not fit goes back. */
#include "broker/client.h"
#include "broker/outgoing.h"
#include "broker/shared_group.h"

#define RATE_MS 50u /* until one that its account's rate kept back is asked again */

void shared_worker_init(struct broker_worker *w)
{
	list_init(&w->shared.desks);
	list_init(&w->shared.throttled);
}

void shared_worker_fini(struct broker_worker *w)
{
	timer_stop(w->loop, &w->shared.rate);
}

bool shared_has_work(const struct broker_worker *w)
{
	return !list_is_empty(&w->shared.desks) &&
	       (atomic_load(&w->shared.is_called) || w->shared.seen != journal_tail(w->journal));
}

void shared_come_by(struct shared_desk *d)
{
	atomic_store(&d->is_called, true);
	atomic_store(&d->worker->shared.is_called, true);
}

/* --- room --------------------------------------------------------------- */

uint32_t shared_room(const struct shared_member *m, uint32_t dealt)
{
	const struct session *s = m->session;
	uint32_t room;

	if (!conn_is_open(&s->client->conn) || s->window.sent < s->window.count)
		return 0;
	if (m->qos == 0)
		return SHARED_HAND;
	room = inflight_room(&s->window, client_window(s->client));
	room = room > dealt ? room - dealt : 0;
	return room < SHARED_HAND ? room : SHARED_HAND;
}

void shared_go_on(struct session *s)
{
	for (struct shared_member *m = s->shared; m; m = m->next) {
		struct shared_desk *d = &m->group->desks[s->worker->number];

		if (!m->is_seated || !m->is_starved || !list_is_empty(&m->waking) ||
			conn_pending(&s->client->conn) || shared_room(m, 0) == 0)
			continue;
		list_append(&d->waking, &m->waking);
		shared_come_by(d);
	}
}

/* --- sending ------------------------------------------------------------ */

/* Makes a batch of the positions dealt; gives how many were looked at. */
static uint32_t fill(struct broker_worker *w, const struct shared_member *m)
{
	struct client *c = m->session->client;
	struct batch_form form = {
		.ids = &m->own, /* [MQTT-3.3.4-5] */
		.as_published = &m->own,
		.aliases = client_aliases(c),
		.now_ms = w->now_ms,
		.largest = c->largest,
		.version = c->version,
		.is_direct = c->version != MQTT_5 && m->qos == 0,
	};
	uint32_t i = 0;

	batch_clear(w->batch);
	w->batch->share = m->number;
	for (; i < positions_count(&m->out); i++) {
		uint64_t seq = positions_at(&m->out, i);
		const struct journal_segment *segment = journal_find(w->journal, seq);
		const struct journal_entry *entry;
		enum batch_answer answer;

		if (segment == NULL) {
			count_add(&w->counts.skipped_records, 1);
			continue;
		}
		entry = &segment->entries[seq - segment->base];
		/* [MQTT-4.8.2-3] */
		answer = batch_add(w->batch, &form, segment, entry, seq,
			qos_least(m->qos, journal_entry_qos(entry)));
		if (answer == BATCH_IS_FULL)
			break;
		/* Too large for this client: dropped, as MQTT 5, 3.1.2.11.4 allows. */
		worker_count_dropped(w, answer);
	}
	return i;
}

static void count_delays(struct broker_worker *w, int sent)
{
	for (int i = 0; i < sent; i++)
		histogram_add(
			&w->counts.delivery, (w->now_ms - w->batch->records[i].time_ms) * 1000, 1);
}

/* Others of the account can take no more either: all wait until its rate has room. */
static void on_rate(struct timer *t)
{
	struct shared_worker *shared = container_of(t, struct shared_worker, rate);

	while (!list_is_empty(&shared->throttled)) {
		struct shared_member *m =
			container_of(shared->throttled.next, struct shared_member, waking);

		list_remove(&m->waking);
		shared_go_on(m->session);
	}
}

static void wait_for_rate(struct broker_worker *w, struct shared_member *m)
{
	list_remove(&m->waking);
	list_append(&w->shared.throttled, &m->waking);
	w->shared.rate.on_time = on_rate;
	if (w->shared.rate.place == 0)
		timer_start(w->loop, &w->shared.rate, RATE_MS);
}

/* Sends the batch and takes what has gone from the positions dealt, of which the batch is the first
 * `looked`. False: the connection takes no more. */
static bool send_batch(
	struct broker_worker *w, struct shared_member *m, uint32_t looked, bool is_live)
{
	struct batch *b = w->batch;
	bool is_throttled;
	int sent = outgoing_send(w, m->session, &is_throttled);

	if (is_live)
		count_delays(w, sent);
	if (is_throttled)
		wait_for_rate(w, m);
	if (sent < (int)b->count) {
		uint64_t next = b->records[sent > 0 ? sent : 0].seq;

		for (looked = 0; positions_at(&m->out, looked) != next;)
			looked++;
	}
	buf_consume(&m->out, looked * sizeof(uint64_t));
	return sent == (int)b->count;
}

/* True: all is sent and there is room for more. */
static bool send_out(struct broker_worker *w, struct shared_member *m, bool is_live)
{
	struct session *s = m->session;
	struct conn *conn = &s->client->conn;

	if (!conn_is_open(conn) || s->window.sent < s->window.count)
		return false;
	if (conn_pending(conn) && (conn_flush(conn) < 0 || conn_pending(conn)))
		return false;
	while (buf_length(&m->out)) {
		uint32_t looked = fill(w, m);

		if (!send_batch(w, m, looked, is_live))
			return false;
	}
	return conn_pending(conn) == 0;
}

/* --- the turn ----------------------------------------------------------- */

/* Members that said so may be dealt to again. With the group's lock, as what follows. */
static void let_in(struct shared_desk *d)
{
	while (!list_is_empty(&d->waking)) {
		struct shared_member *m =
			container_of(d->waking.next, struct shared_member, waking);
		uint32_t room = shared_room(m, positions_count(&m->hand));

		list_remove(&m->waking);
		m->is_starved = room == 0;
		shared_set_credit(m, room);
	}
}

static void take_hands(struct shared_desk *d, struct list *round)
{
	while (!list_is_empty(&d->called)) {
		struct shared_member *m =
			container_of(d->called.next, struct shared_member, called);
		struct buf empty = m->out;
		uint32_t room = shared_room(m, positions_count(&m->hand));

		list_remove(&m->called);
		list_append(round, &m->round);
		m->out = m->hand;
		m->hand = empty;
		m->is_starved = room == 0;
		shared_set_credit(m, room);
	}
}

/* What these could not send goes to others first; they say when they have room. */
static void give_back(struct shared_desk *d, struct list *failed)
{
	struct shared *g = d->group;

	pthread_mutex_lock(&g->lock);
	while (!list_is_empty(failed)) {
		struct shared_member *m = container_of(failed->next, struct shared_member, round);

		list_remove(&m->round);
		list_remove(&m->called); /* dealt to meanwhile */
		m->is_starved = true;
		shared_set_credit(m, 0);
		shared_give_back(g, &m->out);
		shared_give_back(g, &m->hand);
	}
	pthread_mutex_unlock(&g->lock);
	shared_come_by(d);
}

static void send_round(struct shared_desk *d, struct list *round, bool is_live)
{
	struct broker_worker *w = d->worker;
	struct list failed;

	list_init(&failed);
	while (!list_is_empty(round)) {
		struct shared_member *m = container_of(round->next, struct shared_member, round);

		list_remove(&m->round);
		if (!send_out(w, m, is_live))
			list_append(&failed, &m->round);
		if (m->session->window.count)
			persist_touch(m->session);
	}
	if (!list_is_empty(&failed))
		give_back(d, &failed);
}

static void serve(struct shared_desk *d)
{
	struct shared *g = d->group;
	enum deal_answer answer;
	struct list round;
	bool was_live;

	list_init(&round);
	pthread_mutex_lock(&g->lock);
	was_live = g->is_live && buf_length(&g->returned) == 0;
	let_in(d);
	answer = shared_deal(g, d->worker);
	take_hands(d, &round);
	atomic_store(&d->is_called, false);
	atomic_store(&d->to_wake, false);
	pthread_mutex_unlock(&g->lock);
	shared_wake(g);
	if (answer == DEAL_MORE || (answer == DEAL_BLOCKED && !list_is_empty(&round)))
		shared_come_by(d);
	send_round(d, &round, was_live);
}

void shared_turn(struct broker_worker *w)
{
	uint64_t tail = journal_tail(w->journal);
	bool is_called = atomic_exchange(&w->shared.is_called, false);
	struct list *link = w->shared.desks.next;

	if (!is_called && tail == w->shared.seen)
		return;
	w->shared.seen = tail;
	for (; link != &w->shared.desks; link = link->next) {
		struct shared_desk *d = container_of(link, struct shared_desk, link);

		if (atomic_load(&d->is_called) ||
			atomic_load_explicit(&d->group->cursor, memory_order_relaxed) < tail)
			serve(d);
	}
}
