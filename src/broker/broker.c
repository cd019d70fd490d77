#include "broker/broker.h"

#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/bans.h"
#include "broker/client.h"
#include "broker/deliver.h"
#include "broker/retained.h"
#include "broker/roam.h"
#include "broker/worker.h"

void broker_limits_default(struct broker_limits *l)
{
	*l = (struct broker_limits){
		.connections = 100000,
		.sessions = 1000000,
		.sessions_per_address = 100,
		.loopback_leaves_any = true,
		.packet_bytes = 256u << 10,
		.subscriptions_per_session = 1000,
		.subscription_bytes_per_session = 64u << 10,
		.send_buffer_bytes = 256u << 10,
		.in_flight = 1024,
		.receive_maximum = 100,
		.session_expiry_ms = 24u * 3600u * 1000u,
		.keep_alive_s = 600,
	};
}

/* --- turns ------------------------------------------------------------ */

static bool has_work(struct turn_hook *h)
{
	return deliver_has_work(container_of(h, struct broker_worker, hook));
}

static void tell_stopped(struct broker_worker *w)
{
	struct broker *b = w->broker;

	w->has_stopped = true;
	pthread_mutex_lock(&b->stop_lock);
	b->workers_stopped++;
	pthread_cond_signal(&b->stopped);
	pthread_mutex_unlock(&b->stop_lock);
}

static bool on_turn(struct turn_hook *h)
{
	struct broker_worker *w = container_of(h, struct broker_worker, hook);

	if (w->is_stopping && !w->has_stopped && list_is_empty(&w->clients))
		tell_stopped(w);
	return deliver_turn(w);
}

/* --- life ------------------------------------------------------------- */

static void worker_init(struct broker_worker *w, struct broker *b, struct commit_port *port,
	const struct broker_settings *settings)
{
	w->broker = b;
	w->port = port;
	w->loop = commit_port_loop(port);
	w->number = commit_port_number(port);
	w->journal = b->journal;
	w->limits = settings->limits;
	w->accounts = accounts_ref(settings->accounts);
	w->hierarchy = hierarchy_ref(settings->hierarchy);
	w->live = journal_tail(b->journal);
	w->batch = mem_new(sizeof(*w->batch));
	w->hook.on_turn = on_turn;
	w->hook.has_work = has_work;
	list_init(&w->ready);
	list_init(&w->patient);
	throttle_queue_init(w);
	list_init(&w->clients);
	list_init(&w->roster.walks);
	groups_init(&w->groups);
	journal_reader_open(b->journal, &w->reader);
	loop_add_hook(w->loop, &w->hook);
	lag_start(w);
	sys_watch_start(w);
	persist_worker_init(w);
	roam_worker_init(w);
	wills_init(w);
	shared_worker_init(w);
}

static void worker_fini(struct broker_worker *w)
{
	lag_stop(w);
	sys_watch_stop(w);
	timer_stop(w->loop, &w->patience);
	shared_worker_fini(w);
	throttle_queue_fini(w);
	persist_worker_fini(w);
	roam_worker_fini(w);
	wills_fini(w);
	loop_remove_hook(w->loop, &w->hook);
	journal_reader_close(&w->reader);
	groups_fini(&w->groups);
	hierarchy_unref(w->hierarchy);
	accounts_unref(w->accounts);
	buf_fini(&w->batch->properties);
	buf_fini(&w->properties);
	free(w->batch);
	free(w->requests);
}

/* False, after the cause was logged: nothing is open. */
static bool open_stored(struct broker *b, const struct broker_settings *settings)
{
	char *why = NULL;

	b->bans = bans_open(settings->bans_file, &why);
	if (b->bans == NULL) {
		log_error("broker", "cannot_read_bans", "why=\"%s\"", why);
		free(why);
		return false;
	}
	if (persist_open(b, settings->dir) == 0) {
		if (retained_open(&b->retained, b->commit, settings->retained_dir) == 0)
			return true;
		persist_close(b);
	}
	bans_free(b->bans);
	return false;
}

struct broker *broker_new(struct commit *c, struct commit_port *const *ports, unsigned port_count,
	const struct broker_settings *settings)
{
	struct broker *b = mem_new(sizeof(*b));

	b->commit = c;
	if (!open_stored(b, settings)) {
		free(b);
		return NULL;
	}
	b->journal = commit_journal(c);
	b->shadow = settings->shadow;
	b->roams = settings->roams;
	b->shelf = settings->shelf;
	b->passwords = passwords_new();
	b->workers = mem_new(port_count * sizeof(*b->workers));
	b->worker_count = port_count;
	registry_init(&b->registry);
	shareds_init(&b->shareds);
	users_init(&b->users);
	addresses_init(&b->addresses);
	errands_init(&b->errands);
	pthread_mutex_init(&b->stop_lock, NULL);
	pthread_cond_init(&b->stopped, NULL);
	for (unsigned i = 0; i < port_count; i++)
		worker_init(&b->workers[i], b, ports[i], settings);
	persist_start(b, settings->limits.sessions);
	b->sys = sys_new(b);
	retained_start(b->retained, b->workers[0].loop);
	return b;
}

static void stop_worker(struct task *task)
{
	struct broker_worker *w = container_of(task, struct broker_worker, stop);
	struct list *link = w->clients.next;

	w->is_stopping = true;
	while (link != &w->clients) {
		struct client *c = container_of(link, struct client, link);

		link = link->next;
		if (w->broker->elsewhere)
			client_fault(c, ERR_ELSEWHERE, "this server is about to stop");
		else
			client_fault(c, ERR_SHUTDOWN, "server shutting down");
	}
}

void broker_send_elsewhere(struct broker *b, const char *reference)
{
	free(b->elsewhere);
	b->elsewhere = mem_text(reference);
}

void broker_stop(struct broker *b)
{
	for (unsigned i = 0; i < b->worker_count; i++) {
		b->workers[i].stop.run = stop_worker;
		loop_post(b->workers[i].loop, &b->workers[i].stop);
	}
	pthread_mutex_lock(&b->stop_lock);
	while (b->workers_stopped < b->worker_count)
		pthread_cond_wait(&b->stopped, &b->stop_lock);
	pthread_mutex_unlock(&b->stop_lock);
	persist_stop(b);
	retained_stop(b->retained);
}

void broker_free(struct broker *b)
{
	passwords_free(b->passwords);
	touch_stop(b);
	errands_fini(&b->errands);
	for (unsigned i = 0; i < b->worker_count; i++)
		worker_fini(&b->workers[i]);
	retained_free(b->retained);
	persist_close(b);
	shareds_fini(&b->shareds);
	sys_free(b->sys);
	registry_fini(&b->registry);
	users_fini(&b->users);
	addresses_fini(&b->addresses);
	bans_free(b->bans);
	pthread_cond_destroy(&b->stopped);
	pthread_mutex_destroy(&b->stop_lock);
	free(b->elsewhere);
	free(b->workers);
	free(b);
}

struct broker_worker *broker_worker(struct broker *b, unsigned port_number)
{
	check(port_number < b->worker_count);
	return &b->workers[port_number];
}

struct bans *broker_bans(struct broker *b)
{
	return b->bans;
}

/* --- reload ----------------------------------------------------------- */

struct apply {
	struct task task;
	struct broker_worker *worker;
	struct broker_settings settings;
};

/* Does everything the client has subscribed to stay allowed? */
static bool may_keep(const struct client *c, const struct account *account)
{
	struct subscription one;
	uint32_t at = 0;

	while (subscriptions_next(&c->session->subscriptions, &at, &one)) {
		if (!account_may_read(account, session_client_id(c->session), shared_filter(&one)))
			return false;
	}
	return true;
}

/* A client whose account is gone or may read less than it subscribed to is told and closed; it may come
 * back and gets what it still may have. */
static void judge_again(struct client *c, struct accounts *accounts)
{
	bool has_user = c->account && c->account->user;
	const struct account *account =
		accounts_find(accounts, has_user, has_user ? view_of(c->account->user) : VIEW(""));

	if (!c->is_connected || c->session == NULL)
		return; /* CONNECT is judged by the accounts it came with */
	if (account == NULL || !may_keep(c, account)) {
		client_fault(c, ERR_ADMIN, "the account or its rights have changed");
		return;
	}
	throttle_end_wait(c->session); /* in the old account's */
	accounts_ref(accounts);
	accounts_unref(c->accounts);
	c->accounts = accounts;
	c->account = account;
	session_regroup(c->session);
}

static void apply_worker(struct task *task)
{
	struct apply *a = container_of(task, struct apply, task);
	struct broker_worker *w = a->worker;
	struct list *link = w->clients.next;

	accounts_unref(w->accounts);
	hierarchy_unref(w->hierarchy);
	w->accounts = a->settings.accounts;
	w->hierarchy = a->settings.hierarchy;
	w->limits = a->settings.limits;
	while (link != &w->clients) {
		struct client *c = container_of(link, struct client, link);

		link = link->next;
		judge_again(c, w->accounts);
	}
	free(a);
}

void broker_apply(struct broker *b, const struct broker_settings *settings)
{
	b->shadow = settings->shadow;
	for (unsigned i = 0; i < b->worker_count; i++) {
		struct apply *a = mem_new(sizeof(*a));

		a->task.run = apply_worker;
		a->worker = &b->workers[i];
		a->settings = *settings;
		accounts_ref(settings->accounts);
		hierarchy_ref(settings->hierarchy);
		loop_post(b->workers[i].loop, &a->task);
	}
}

/* --- figures ---------------------------------------------------------- */

static void add_histogram(struct histogram *to, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		count_add(&to->buckets[i], count_read(&from->buckets[i]));
	count_add(&to->sum_us, count_read(&from->sum_us));
}

static void add_counts(struct broker_figures *to, const struct worker_counts *from)
{
	to->connections += count_read(&from->connections);
	to->live += count_read(&from->live);
	to->packets_received += count_read(&from->packets_received);
	to->packets_sent += count_read(&from->answers_sent) + count_read(&from->delivered);
	to->delivered += count_read(&from->delivered);
	to->delivered_bytes += count_read(&from->delivered_bytes);
	to->acknowledged += count_read(&from->acknowledged);
	to->resent += count_read(&from->resent);
	to->received += count_read(&from->received);
	to->published += count_read(&from->published);
	to->refused += count_read(&from->refused);
	to->connects += count_read(&from->connects);
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		to->connects_refused[i] += count_read(&from->connects_refused[i]);
	to->dropped_expired += count_read(&from->dropped_expired);
	to->dropped_backlog += count_read(&from->dropped_backlog);
	to->dropped_oversize += count_read(&from->dropped_oversize);
	to->skipped_records += count_read(&from->skipped_records);
	add_histogram(&to->delivery, &from->delivery);
}

static uint64_t gauge(const _Atomic int64_t *g)
{
	int64_t value = atomic_load_explicit(g, memory_order_relaxed);

	return value > 0 ? (uint64_t)value : 0;
}

static void add_retained(struct broker_figures *to, struct retained *retained)
{
	struct retained_figures r;

	retained_figures(retained, &r);
	to->retained = r.count;
	to->retained_bytes = r.bytes;
	to->retained_refused = r.refused;
}

void broker_figures(struct broker *b, struct broker_figures *out)
{
	*out = (struct broker_figures){0};
	for (unsigned i = 0; i < b->worker_count; i++)
		add_counts(out, &b->workers[i].counts);
	add_retained(out, b->retained);
	out->sessions = gauge(&b->sessions);
	out->sessions_offline = gauge(&b->sessions_offline);
	out->subscriptions = gauge(&b->subscriptions);
	out->shared_groups = atomic_load_explicit(&b->shareds.count, memory_order_relaxed);
	out->dropped_removed = atomic_load_explicit(&b->lost, memory_order_relaxed);
	if (out->sessions > out->sessions_offline + out->live)
		out->behind = out->sessions - out->sessions_offline - out->live;
}
