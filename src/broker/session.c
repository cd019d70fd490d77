#include "broker/session.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "broker/backlog.h"
#include "broker/client.h"
#include "broker/persist.h"
#include "broker/roam.h"
#include "broker/own.h"
#include "broker/shared.h"
#include "broker/walk.h"
#include "broker/will.h"
#include "broker/worker.h"

#define PATIENCE_MS 5u
#define WARM_S 10u /* what was prefetched for a session stays in memory at least so long */
#define WARM_S_MASK 0xffffffu /* of struct session */
#define WARM_TO_MASK ((UINT64_C(1) << 40) - 1)

/* --- registry --------------------------------------------------------- */

void registry_init(struct registry *r)
{
	pthread_mutex_init(&r->lock, NULL);
	r->sessions = (struct map){0};
}

static void session_free(struct session *s)
{
	walks_free(s);
	subscriptions_fini(&s->subscriptions);
	inflight_fini(&s->window);
	received_fini(&s->received);
	shared_discard(s);
	will_pause(s);
	will_free(&s->will);
	free(s->had);
	free(s);
}

void registry_fini(struct registry *r)
{
	struct session *s;

	for (size_t at = 0; (s = map_next(&r->sessions, &at)) != NULL;)
		session_free(s);
	map_fini(&r->sessions);
	pthread_mutex_destroy(&r->lock);
}

void session_put_key(struct buf *out, const char *user, struct view client_id)
{
	if (user)
		buf_text(out, user);
	buf_append(out, "", 1);
	buf_append(out, client_id.p, client_id.n);
}

size_t session_key_bytes(struct view key)
{
	struct view rest = key;

	view_cut(&rest, '\0');
	return key.n - rest.n;
}

struct view session_client_id(const struct session *s)
{
	return view_skip(session_key(s), session_key_bytes(session_key(s)));
}

struct session *session_find(struct broker_worker *w, struct view key, struct broker_worker **owner)
{
	struct registry *r = &w->broker->registry;
	struct session *s;

	pthread_mutex_lock(&r->lock);
	s = map_get(&r->sessions, key);
	*owner = s ? s->worker : NULL;
	pthread_mutex_unlock(&r->lock);
	return s && *owner == w ? s : NULL;
}

/* --- life ------------------------------------------------------------- */

static void on_expired(struct timer *t)
{
	session_end(container_of(t, struct session, expiry));
}

struct session *session_new(struct broker_worker *w, struct view key)
{
	struct session *s = mem_new(offsetof(struct session, key) + key.n);

	check(key.n <= SESSION_KEY_MOST);
	memcpy(s->key, key.p, key.n);
	s->key_bytes = (uint16_t)key.n;
	s->worker = w;
	s->state = SESSION_OFFLINE;
	s->expiry.on_time = on_expired;
	list_init(&s->link);
	list_init(&s->touched);
	w->broker->sessions++;
	w->broker->sessions_offline++;
	return s;
}

static void on_warm_task(struct task *task)
{
	struct session_prefetch *p = container_of(task, struct session_prefetch, task);
	struct session *s = p->session;

	if (s) {
		s->prefetch = NULL;
		s->warm_to = p->ticket.warm_to & WARM_TO_MASK;
		s->warm_s = loop_now_ms(p->worker->loop) / 1000 & WARM_S_MASK;
		if (s->state == SESSION_BEHIND)
			session_ready(s);
	}
	free(p);
}

static void on_warm(struct journal_prefetch *ticket)
{
	struct session_prefetch *p = container_of(ticket, struct session_prefetch, ticket);

	loop_post(p->worker->loop, &p->task);
}

static void prefetch(struct session *s, uint64_t seq)
{
	struct broker_worker *w = s->worker;
	struct session_prefetch *p = mem_new(sizeof(*p));

	p->session = s;
	p->worker = w;
	p->task.run = on_warm_task;
	p->ticket.from = seq;
	p->ticket.on_warm = on_warm;
	list_init(&p->ticket.link);
	s->prefetch = p;
	journal_prefetch(w->journal, &p->ticket);
}

/* One that stopped reading finds again cold what was fetched for it. */
static bool is_fetched(const struct session *s, uint64_t seq)
{
	uint64_t now_s = loop_now_ms(s->worker->loop) / 1000;

	return seq < s->warm_to && ((now_s - s->warm_s) & WARM_S_MASK) <= WARM_S;
}

uint64_t session_warm_to(struct session *s, uint64_t seq)
{
	uint64_t to = journal_warm_to(s->worker->journal, seq);

	if (to < s->warm_to && is_fetched(s, seq))
		return s->warm_to;
	if (to == seq && s->prefetch == NULL)
		prefetch(s, seq);
	return to;
}

static void drop_prefetch(struct session *s)
{
	struct session_prefetch *p = s->prefetch;

	if (p == NULL)
		return;
	s->prefetch = NULL;
	p->session = NULL;
	if (journal_prefetch_cancel(s->worker->journal, &p->ticket))
		free(p);
}

static void leave_group(struct session *s)
{
	list_remove(&s->link);
	s->is_ready = false;
	throttle_end_wait(s);
	backlog_end(s);
	if (s->state == SESSION_LIVE) {
		s->position = s->worker->live;
		count_drop(&s->worker->counts.live, 1);
	}
	if (s->group) {
		group_leave(&s->worker->groups, s->group);
		s->group = NULL;
	}
}

void session_discard(struct session *s)
{
	s->worker->broker->sessions--;
	s->worker->broker->sessions_offline--;
	session_free(s);
}

void session_end(struct session *s)
{
	struct broker_worker *w = s->worker;
	struct registry *r = &w->broker->registry;

	check(s->state == SESSION_OFFLINE);
	will_session_ended(s);
	shared_leave(s);
	timer_stop(w->loop, &s->expiry);
	addresses_take_back(&w->broker->addresses, s->address, &s->link, loop_now_ms(w->loop));
	if (s->is_kept)
		users_drop(&w->broker->users, s->key);
	pthread_mutex_lock(&r->lock);
	map_remove(&r->sessions, session_key(s));
	pthread_mutex_unlock(&r->lock);
	persist_drop(s);
	roam_ended(s);
	w->broker->subscriptions -= s->subscriptions.count;
	session_discard(s);
}

void session_detach(struct session *s)
{
	struct broker_worker *w = s->worker;

	shared_pause(s);
	leave_group(s);
	drop_prefetch(s);
	walks_pause(s);
	s->warm_to = 0;
	s->client = NULL;
	s->state = SESSION_OFFLINE;
	inflight_set_sent(&s->window, 0); /* [MQTT-4.4.0-1] */
	if (s->expiry_ms == 0) {          /* [MQTT-4.1.0-2], [MQTT3-3.1.2-6] */
		w->broker->sessions_offline++;
		session_end(s);
		return;
	}
	inflight_shrink(&s->window);
	s->offline_ms = loop_wall_ms(w->loop);
	will_disconnected(s);
	list_remove(&s->touched);
	persist_save(s);
	w->broker->sessions_offline++; /* who sees it there finds it after a kill, too */
	session_leave_behind(s);
	if (s->expiry_ms != UINT64_MAX) /* [MQTT-4.1.0-2] */
		timer_start(w->loop, &s->expiry, s->expiry_ms);
}

void session_reset(struct session *s)
{
	will_session_ended(s); /* what the client left behind ends here (MQTT 5, 3.1.2.5) */
	shared_leave(s);
	s->worker->broker->subscriptions -= s->subscriptions.count;
	walks_free(s);
	subscriptions_fini(&s->subscriptions);
	inflight_fini(&s->window);
	received_fini(&s->received);
	s->position = s->worker->live;
}

void session_regroup(struct session *s)
{
	struct broker_worker *w = s->worker;
	struct group *group = NULL;
	enum session_state was = s->state;

	shared_fit(s);
	if (s->subscriptions.count > s->subscriptions.shared)
		group = group_join(&w->groups, &s->subscriptions, s->client->version,
			s->client->accounts, s->client->account, session_alone(s));
	leave_group(s);
	s->group = group;
	s->state = SESSION_BEHIND;
	persist_save(s);
	persist_touch(s);
	if (was == SESSION_LIVE && s->position >= s->subscriptions.youngest && s->walks == NULL) {
		s->state = SESSION_LIVE;
		count_add(&w->counts.live, 1);
		if (group)
			list_append(&group->live, &s->link);
		return;
	}
	session_ready(s);
}

void session_attach(struct session *s, struct client *c)
{
	struct broker *b = s->worker->broker;
	struct subscription one;
	uint32_t at = 0;

	timer_stop(s->worker->loop, &s->expiry);
	addresses_take_back(&b->addresses, s->address, &s->link, loop_now_ms(s->worker->loop));
	s->address = address_key(&c->conn.peer);
	b->sessions_offline--;
	s->client = c;
	s->offline_ms = 0;
	s->state = SESSION_BEHIND;
	/* Rights may have changed since the filters were granted. */
	while (subscriptions_next(&s->subscriptions, &at, &one)) {
		if (account_may_read(c->account, session_client_id(s), shared_filter(&one)))
			continue;
		at = 0;
		b->subscriptions--;
		subscriptions_remove(&s->subscriptions, one.filter);
	}
	session_regroup(s);
}

void session_rewind(struct session *s, uint64_t position)
{
	if (s->state == SESSION_LIVE && position < s->worker->live)
		session_fall_behind(s, position);
	else if (position < s->position)
		s->position = position;
	s->warm_to = 0; /* fetched further on */
	persist_save(s);
	session_ready(s);
}

uint64_t session_position(const struct session *s)
{
	return s->state == SESSION_LIVE ? s->worker->live : s->position;
}

void session_ready(struct session *s)
{
	if (s->is_ready || s->state != SESSION_BEHIND)
		return;
	s->is_ready = true;
	list_remove(&s->link);
	list_append(&s->worker->ready, &s->link);
}

static void on_patience_over(struct timer *t)
{
	struct broker_worker *w = container_of(t, struct broker_worker, patience);

	while (!list_is_empty(&w->patient)) {
		struct session *s = container_of(w->patient.next, struct session, link);

		list_remove(&s->link);
		session_ready(s);
	}
}

void session_ready_soon(struct session *s)
{
	struct broker_worker *w = s->worker;

	if (s->is_ready || s->state != SESSION_BEHIND)
		return;
	if (list_is_empty(&w->patient)) {
		w->patience.on_time = on_patience_over;
		timer_start(w->loop, &w->patience, PATIENCE_MS);
	}
	list_remove(&s->link);
	list_append(&w->patient, &s->link);
}

void session_fall_behind(struct session *s, uint64_t position)
{
	check(s->state == SESSION_LIVE);
	list_remove(&s->link);
	s->state = SESSION_BEHIND;
	s->position = position;
	persist_touch(s);
	count_drop(&s->worker->counts.live, 1);
}
