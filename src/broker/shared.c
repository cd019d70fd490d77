/* Who is in which group. */
#include "broker/shared.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "broker/client.h"
#include "broker/shared_part.h"
#include "broker/store.h"
#include "mqtt/filter.h"

void shareds_init(struct shareds *all)
{
	*all = (struct shareds){0};
	list_init(&all->ended);
	pthread_mutex_init(&all->lock, NULL);
}

/* --- groups ------------------------------------------------------------- */

static void group_init(struct shared *g, struct broker *b, struct view key, uint64_t from)
{
	struct view rest = view_skip(key, session_key_bytes(key) + 1);

	view_cut(&rest, '/');
	pthread_mutex_init(&g->lock, NULL);
	g->broker = b;
	buf_append(&g->key, key.p, key.n);
	subscriptions_put(&g->filters, &(struct subscription){.filter = rest, .qos = 2});
	g->wants.segment = UINT32_MAX;
	g->cursor = g->safe = g->noted = from;
	list_init(&g->turn);
	for (unsigned i = 0; i < b->worker_count; i++) {
		struct shared_desk *d = &g->desks[i];

		d->group = g;
		d->worker = &b->workers[i];
		list_init(&d->link);
		list_init(&d->waking);
		list_init(&d->called);
		list_init(&d->members);
	}
}

struct shared *shared_find(struct broker *b, struct view key, uint64_t from)
{
	struct shareds *all = &b->shareds;
	struct shared *g = map_get(&all->groups, key);

	if (g)
		return g;
	g = mem_new(sizeof(*g) + b->worker_count * sizeof(g->desks[0]));
	group_init(g, b, key, from);
	g->part = shared_part_new(b, from);
	map_put(&all->groups, buf_view(&g->key), g);
	all->count = all->groups.count;
	shared_tell(g);
	return g;
}

static void group_free(struct shared *g)
{
	pthread_mutex_destroy(&g->lock);
	buf_fini(&g->key);
	subscriptions_fini(&g->filters);
	accounts_unref(g->accounts);
	wants_fini(&g->wants);
	buf_fini(&g->returned);
	buf_fini(&g->redealt[0]);
	buf_fini(&g->redealt[1]);
	free(g->part);
	free(g);
}

void shareds_fini(struct shareds *all)
{
	struct shared *g;

	for (size_t at = 0; (g = map_next(&all->groups, &at)) != NULL;) {
		shared_forget_prefetch(g);
		group_free(g);
	}
	map_fini(&all->groups);
	shared_part_forget_ends(all);
	if (all->reader.journal)
		journal_reader_close(&all->reader);
	pthread_mutex_destroy(&all->lock);
}

void shared_end_unheld(struct shared *g)
{
	struct broker *b = g->broker;

	if (g->holders)
		return;
	map_remove(&b->shareds.groups, buf_view(&g->key));
	b->shareds.count = b->shareds.groups.count;
	if (b->store && g->saved_hash)
		store_remove(b->store, buf_view(&g->key));
	shared_forget_prefetch(g);
	shared_part_end(g);
	shared_tell(g);
	group_free(g);
}

/* --- members ------------------------------------------------------------ */

struct view shared_filter(const struct subscription *one)
{
	struct view group;
	struct view filter = one->filter;

	if (one->share)
		filter_cut_share(one->filter, &group, &filter);
	return filter;
}

uint16_t shared_next_number(const struct session *s)
{
	struct subscription one;
	uint16_t most = 0;
	uint32_t at = 0;

	while (subscriptions_next(&s->subscriptions, &at, &one)) {
		if (one.share > most)
			most = one.share;
	}
	for (uint16_t i = 0; i < s->window.count; i++) {
		if (inflight_share(&s->window, i) > most)
			most = inflight_share(&s->window, i);
	}
	return (uint16_t)(most < INFLIGHT_SHARE_MOST ? most + 1 : 0);
}

/* The group begins where a plain subscription made now does. */
static uint64_t first_position(const struct session *s)
{
	return s->client ? journal_tail(s->worker->journal) : s->position;
}

static void join(struct session *s, const struct subscription *one)
{
	struct shareds *all = &s->worker->broker->shareds;
	struct shared_member *m = mem_new(sizeof(*m));
	struct view named = view_skip(one->filter, VIEW("$share/").n);
	struct buf key = {0};

	/* No client identifier begins with NUL, so no session has this key. */
	buf_append(&key, s->key, session_key_bytes(session_key(s)));
	buf_append(&key, "", 1);
	buf_append(&key, named.p, named.n);
	m->session = s;
	m->number = one->share;
	list_init(&m->waking);
	list_init(&m->in_turn);
	list_init(&m->called);
	list_init(&m->round);
	list_init(&m->seat);
	m->next = s->shared;
	s->shared = m;
	pthread_mutex_lock(&all->lock);
	m->group = shared_find(s->worker->broker, buf_view(&key), first_position(s));
	m->group->holders++;
	if (s->client) {
		pthread_mutex_lock(&m->group->lock);
		shared_save(m->group);
		pthread_mutex_unlock(&m->group->lock);
	}
	pthread_mutex_unlock(&all->lock);
	buf_fini(&key);
}

static struct shared_desk *desk_of(const struct shared_member *m)
{
	return &m->group->desks[m->session->worker->number];
}

/* Rights of the group are those of its account as it is now. */
static void take_account(struct shared *g, const struct client *c)
{
	if (g->account == c->account)
		return;
	accounts_unref(g->accounts);
	g->accounts = accounts_ref(c->accounts);
	g->account = c->account;
	wants_clear(&g->wants);
}

/* With the group's lock. */
static void take_seat(struct shared_member *m)
{
	struct shared_desk *d = desk_of(m);

	uint32_t room = shared_room(m, 0);

	m->is_seated = true;
	m->is_starved = room == 0;
	shared_set_credit(m, room);
	if (list_is_empty(&d->members)) {
		list_append(&d->worker->shared.desks, &d->link);
		shared_tell(m->group);
	}
	list_append(&d->members, &m->seat);
	shared_come_by(d); /* something may wait */
}

/* What was dealt to it goes back. With the group's lock. */
static void leave_seat(struct shared_member *m)
{
	struct shared_desk *d = desk_of(m);

	m->is_seated = false;
	list_remove(&m->waking);
	list_remove(&m->called);
	shared_set_credit(m, 0);
	shared_give_back(m->group, &m->hand);
	buf_clear(&m->open);
	list_remove(&m->seat);
	if (list_is_empty(&d->members)) {
		list_remove(&d->link);
		shared_tell(m->group);
	}
}

/* What it has in flight at QoS 1 is its no more and goes back. With the group's lock. */
static void take_from_window(struct shared *g, struct shared_member *m)
{
	struct inflight *w = &m->session->window;
	struct buf back = {0};

	for (uint16_t i = 0; i < w->count; i++) {
		if (inflight_share(w, i) != m->number || inflight_qos(w, i) != 1)
			continue; /* QoS 2 stays [MQTT-4.8.2-4], [MQTT-4.8.2-5] */
		positions_add(&back, inflight_seq(w, i));
		inflight_forget(w, i);
	}
	shared_give_back(g, &back);
	buf_fini(&back);
}

static void discard_member(struct shared_member *m)
{
	subscriptions_fini(&m->own);
	buf_fini(&m->out);
	buf_fini(&m->hand);
	buf_fini(&m->open);
	free(m);
}

static void leave_group(struct shared_member *m)
{
	struct shared *g = m->group;
	struct shareds *all = &g->broker->shareds;

	if (m->is_seated) {
		pthread_mutex_lock(&g->lock);
		leave_seat(m);
		shared_call_all(g);
		pthread_mutex_unlock(&g->lock);
		shared_wake(g);
	}
	pthread_mutex_lock(&all->lock);
	g->holders--;
	shared_end_unheld(g);
	pthread_mutex_unlock(&all->lock);
	discard_member(m);
}

/* --- what becomes of a session ------------------------------------------ */

static bool find_subscription(const struct session *s, uint16_t number, struct subscription *one)
{
	uint32_t at = 0;

	while (number && subscriptions_next(&s->subscriptions, &at, one)) {
		if (one->share == number)
			return true;
	}
	return false;
}

static struct shared_member *find_member(const struct session *s, uint16_t number)
{
	struct shared_member *m = s->shared;

	while (m && m->number != number)
		m = m->next;
	return m;
}

/* Options may have changed; the client may be a new one. */
static void refresh(struct shared_member *m, const struct subscription *one)
{
	struct subscription own = *one;

	own.filter = shared_filter(one);
	own.share = 0;
	subscriptions_fini(&m->own);
	subscriptions_put(&m->own, &own);
	m->qos = one->qos;
	if (m->session->client == NULL)
		return;
	pthread_mutex_lock(&m->group->lock);
	take_account(m->group, m->session->client);
	if (!m->is_seated)
		take_seat(m);
	pthread_mutex_unlock(&m->group->lock);
}

bool shared_holds(const struct session *s, uint16_t number)
{
	return number && find_member(s, number);
}

void shared_fit(struct session *s)
{
	struct subscription one;
	uint32_t at = 0;

	for (struct shared_member **m = &s->shared; *m;) {
		struct shared_member *here = *m;

		if (find_subscription(s, here->number, &one)) {
			m = &here->next;
			continue;
		}
		*m = here->next;
		leave_group(here);
	}
	while (s->subscriptions.shared && subscriptions_next(&s->subscriptions, &at, &one)) {
		if (one.share == 0)
			continue;
		if (find_member(s, one.share) == NULL)
			join(s, &one);
		refresh(find_member(s, one.share), &one);
	}
	shared_go_on(s);
}

void shared_pause(struct session *s)
{
	for (struct shared_member *m = s->shared; m; m = m->next) {
		struct shared *g = m->group;

		if (!m->is_seated)
			continue;
		pthread_mutex_lock(&g->lock);
		leave_seat(m);
		take_from_window(g, m);
		shared_call_all(g);
		shared_save(g);
		pthread_mutex_unlock(&g->lock);
		shared_wake(g);
	}
	if (s->shared)
		inflight_set_sent(&s->window, s->window.count);
}

void shared_leave(struct session *s)
{
	struct shared_member *next;

	for (struct shared_member *m = s->shared; m; m = next) {
		next = m->next;
		leave_group(m);
	}
	s->shared = NULL;
}

void shared_discard(struct session *s)
{
	struct shared_member *next;

	for (struct shared_member *m = s->shared; m; m = next) {
		next = m->next;
		discard_member(m);
	}
	s->shared = NULL;
}

uint64_t shared_position(const struct session *s)
{
	uint64_t least = UINT64_MAX;

	for (const struct shared_member *m = s->shared; m; m = m->next) {
		uint64_t cursor = atomic_load_explicit(&m->group->cursor, memory_order_relaxed);

		if (cursor < least)
			least = cursor;
	}
	return least;
}
