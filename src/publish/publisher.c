/* publish/publisher.c - the set of targets: what is configured, sent to the workers
 *
 * The applying thread compares configurations with the texts of those it gave before, makes whatever
 * may block (TLS contexts), and posts orders, which a worker's loop runs in the order they were posted.
 * A target that was taken out stays in `gone` until it is stopped and nothing counts for it any more.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "mqtt/filter.h"
#include "publish/internal.h"
#include "uplink/pause.h"

#define TICK_MS 1000u

static const char *const default_filters[] = {
	"origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#"};

static const char *const loss_texts[PUBLISH_LOSS_COUNT] = {
	[PUBLISH_REMOVED] = "removed",
	[PUBLISH_OVERSIZE] = "oversize",
	[PUBLISH_CLOSED] = "closed",
};

const char *publish_loss_text(enum publish_loss loss)
{
	return loss_texts[loss];
}

uint64_t publish_lost(const struct publish_figures *f, enum publish_loss loss)
{
	return count_read(&f->lost[loss]) + (loss == PUBLISH_REMOVED ? count_read(&f->removed) : 0);
}

/* --- configuration ------------------------------------------------------- */

void publish_config_fini(struct publish_config *c)
{
	for (uint32_t i = 0; i < c->topic_count; i++)
		free(c->topics[i]);
	free(c->topics);
	free(c->name);
	free(c->url);
	free(c->username);
	free(c->password);
	free(c->tls_ca);
	free(c->tls_max);
	*c = (struct publish_config){0};
}

bool publish_name(const struct publish_config *c, char out[URL_TEXT_BYTES])
{
	struct url url;
	const char *why;

	if (c->url == NULL || url_parse(view_of(c->url), &url, &why) < 0)
		return false;
	if (c->name)
		snprintf(out, URL_TEXT_BYTES, "%s", c->name);
	else
		url_format(&url, out);
	return true;
}

static void put_text(struct buf *b, const char *text)
{
	buf_printf(b, "%zu:%s\n", text ? strlen(text) : 0, text ? text : "-");
}

/* All of it as one text, to see whether it has changed. The caller frees. */
static char *config_text(const struct publish_config *c)
{
	struct buf b = {0};
	char *text;

	put_text(&b, c->url);
	put_text(&b, c->username);
	put_text(&b, c->password);
	put_text(&b, c->tls_ca);
	put_text(&b, c->tls_max);
	buf_printf(&b, "%d %d\n", c->tls_verify, c->tls_legacy);
	for (uint32_t i = 0; i < c->topic_count; i++)
		put_text(&b, c->topics[i]);
	text = mem_text_of(buf_view(&b));
	buf_fini(&b);
	return text;
}

static void make_filters(struct publish_setup *setup, const struct publish_config *c)
{
	const char *const *from = c->topic_count ? (const char *const *)c->topics : default_filters;
	size_t defaults = sizeof(default_filters) / sizeof(default_filters[0]);

	setup->filter_count = c->topic_count ? c->topic_count : (uint32_t)defaults;
	setup->filters = mem_new(setup->filter_count * sizeof(*setup->filters));
	for (uint32_t i = 0; i < setup->filter_count; i++)
		setup->filters[i] = mem_text(from[i]);
}

bool publish_setup_wants(const struct publish_setup *setup, struct view topic)
{
	for (uint32_t i = 0; i < setup->filter_count; i++) {
		if (filter_match(view_of(setup->filters[i]), topic))
			return true;
	}
	return false;
}

static void make_tls(struct publish_setup *setup, const struct publish_config *c, const char *name)
{
	struct tls_client_settings settings = {.verify = c->tls_verify,
		.ca = c->tls_ca,
		.max = c->tls_max,
		.legacy = c->tls_legacy};

	if (!uplink_needs_tls(&setup->endpoint))
		return;
	if (tls_client_new(&setup->tls.context, &settings, &setup->tls.why) < 0)
		log_error("publish", "tls", "target=%s why=\"%s\"", name, setup->tls.why);
}

static struct publish_setup *make_setup(
	const struct publisher *p, const struct publish_config *c, const char *name)
{
	struct publish_setup *setup = mem_new(sizeof(*setup));

	setup->endpoint = (struct uplink_endpoint){.url = mem_text(c->url),
		.username = mem_text(c->username),
		.password = mem_text(c->password)};
	setup->plan = (struct uplink_plan){.endpoints = &setup->endpoint,
		.endpoint_count = 1,
		.tls = &setup->tls,
		.bind = p->bind,
		.bind_count = p->bind_count,
		.protocol = MQTT_5};
	make_tls(setup, c, name);
	make_filters(setup, c);
	return setup;
}

void publish_setup_free(struct publish_setup *setup)
{
	for (uint32_t i = 0; i < setup->filter_count; i++)
		free(setup->filters[i]);
	free(setup->filters);
	if (setup->tls.context)
		tls_unref(setup->tls.context);
	free(setup->tls.why);
	uplink_endpoint_fini(&setup->endpoint);
	free(setup);
}

/* --- orders ---------------------------------------------------------------- */

struct order {
	struct task task;
	void (*run)(struct target *t, void *argument);
	struct target *target;
	void *argument;
};

static void run_order(struct task *task)
{
	struct order *o = container_of(task, struct order, task);

	o->run(o->target, o->argument);
	free(o);
}

void publisher_order(
	struct target *t, void (*run)(struct target *t, void *argument), void *argument)
{
	struct order *o = mem_new(sizeof(*o));

	*o = (struct order){.task.run = run_order, .run = run, .target = t, .argument = argument};
	loop_post(t->worker->loop, &o->task);
}

static void order_begin(struct target *t, void *argument)
{
	(void)argument;
	target_begin(t);
}

static void order_change(struct target *t, void *argument)
{
	target_change(t, argument);
}

static void order_quit(struct target *t, void *argument)
{
	(void)argument;
	target_quit(t);
}

/* --- workers ------------------------------------------------------------------ */

static bool has_work(struct turn_hook *h)
{
	struct publish_worker *w = container_of(h, struct publish_worker, hook);

	for (struct list *at = w->all.next; at != &w->all; at = at->next) {
		if (feeding_is_due(container_of(at, struct target, link)))
			return true;
	}
	return false;
}

static bool on_turn(struct turn_hook *h)
{
	struct publish_worker *w = container_of(h, struct publish_worker, hook);
	bool has_more = false;

	if (!has_work(h))
		return false;
	journal_reader_enter(&w->reader);
	for (struct list *at = w->all.next; at != &w->all; at = at->next) {
		struct target *t = container_of(at, struct target, link);

		if (feeding_is_due(t))
			has_more = feeding_turn(t) || has_more;
	}
	journal_reader_leave(&w->reader);
	return has_more;
}

static void on_tick(struct timer *timer)
{
	struct publish_worker *w = container_of(timer, struct publish_worker, tick);

	journal_reader_enter(&w->reader);
	for (struct list *at = w->all.next; at != &w->all; at = at->next)
		target_tick(container_of(at, struct target, link));
	journal_reader_leave(&w->reader);
	timer_start(w->loop, &w->tick, TICK_MS);
}

static void worker_init(struct publish_worker *w, struct publisher *p, struct loop *loop)
{
	w->set = p;
	w->loop = loop;
	w->hook.on_turn = on_turn;
	w->hook.has_work = has_work;
	w->tick.on_time = on_tick;
	list_init(&w->hook.link);
	list_init(&w->all);
	journal_reader_open(p->journal, &w->reader);
	loop_add_hook(loop, &w->hook);
	timer_start(loop, &w->tick, TICK_MS);
}

static void worker_fini(struct publish_worker *w)
{
	timer_stop(w->loop, &w->tick);
	loop_remove_hook(w->loop, &w->hook);
	journal_reader_close(&w->reader);
	buf_fini(&w->properties);
}

/* --- the set ------------------------------------------------------------------ */

struct publisher *publisher_new(const struct publisher_settings *settings)
{
	struct publisher *p = mem_new(sizeof(*p));

	p->journal = settings->journal;
	if (settings->node) {
		p->node = mem_text(settings->node);
		p->commit = settings->commit;
		journal_reader_open(p->journal, &p->reader);
	}
	p->centre_id = mem_text(settings->centre_id);
	p->bind = uplink_read_bind(settings->bind, settings->bind_count, &p->bind_count);
	uplink_means_init(&p->uplinks, settings->resolver);
	p->times = (struct publish_times){
		.drain_ms = 2000, .stall_ms = 60000, .patience_ms = PAUSE_FIRST_MS};
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->stop_lock, NULL);
	pthread_cond_init(&p->stopped, NULL);
	p->worker_count = settings->loop_count;
	p->workers = mem_new(settings->loop_count * sizeof(*p->workers));
	for (unsigned i = 0; i < settings->loop_count; i++)
		worker_init(&p->workers[i], p, settings->loops[i]);
	p->ledger = ledger_new(p, settings->file);
	return p;
}

void publisher_target_stopped(struct target *t)
{
	struct publisher *p = t->set;

	pthread_mutex_lock(&p->stop_lock);
	t->is_stopped = true;
	pthread_cond_signal(&p->stopped);
	pthread_mutex_unlock(&p->stop_lock);
}

static void await_stopped(struct publisher *p, struct target *const *list, uint32_t n)
{
	pthread_mutex_lock(&p->stop_lock);
	for (uint32_t i = 0; i < n; i++) {
		while (!list[i]->is_stopped)
			pthread_cond_wait(&p->stopped, &p->stop_lock);
	}
	pthread_mutex_unlock(&p->stop_lock);
}

void publisher_stop(struct publisher *p)
{
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < p->count; i++)
		publisher_order(p->list[i], order_quit, NULL);
	await_stopped(p, p->list, p->count);
	await_stopped(p, p->gone, p->gone_count);
}

bool publisher_is_stopped(struct publisher *p, const struct target *t)
{
	bool stopped;

	pthread_mutex_lock(&p->stop_lock);
	stopped = t->is_stopped;
	pthread_mutex_unlock(&p->stop_lock);
	return stopped;
}

/* Frees those of `gone` that are done with. */
static void sweep(struct publisher *p)
{
	uint32_t kept = 0;

	if (p->gone_count)
		ledger_await(p->ledger);
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->gone_count; i++) {
		struct target *t = p->gone[i];

		if (publisher_is_stopped(p, t) && (p->commit == NULL || t->is_over))
			target_free(t);
		else
			p->gone[kept++] = t;
	}
	p->gone_count = kept;
	pthread_mutex_unlock(&p->lock);
}

void publisher_free(struct publisher *p)
{
	if (p == NULL)
		return;
	ledger_free(p->ledger);
	p->ledger = NULL;
	for (unsigned i = 0; i < p->worker_count; i++)
		worker_fini(&p->workers[i]);
	for (uint32_t i = 0; i < p->count; i++)
		target_free(p->list[i]);
	for (uint32_t i = 0; i < p->gone_count; i++)
		target_free(p->gone[i]);
	free(p->list);
	free(p->gone);
	free(p->workers);
	free(p->bind);
	free(p->centre_id);
	if (p->node)
		journal_reader_close(&p->reader);
	free(p->node);
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->stop_lock);
	pthread_cond_destroy(&p->stopped);
	free(p);
}

/* --- applying a configuration --------------------------------------------------- */

static struct target *find(struct target *const *list, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(list[i]->name, name) == 0)
			return list[i];
	}
	return NULL;
}

/* Where a target begins: as an earlier run left it, else with what comes from now on. What that run sent
 * of a journal whose end a crash has taken is not there again. When positions cannot be read it is better
 * to repeat than to lose. */
static uint64_t first_position(struct publisher *p, const char *name)
{
	uint64_t tail = journal_tail(p->journal);
	uint64_t seq;

	if (!p->has_begun && !ledger_is_whole(p->ledger))
		return journal_head(p->journal);
	return ledger_take(p->ledger, name, &seq) && seq < tail ? seq : tail;
}

static struct publish_worker *least_loaded(
	struct publisher *p, struct target *const *list, uint32_t n)
{
	struct publish_worker *best = NULL;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < p->worker_count; i++) {
		uint32_t load = 0;

		for (uint32_t k = 0; k < n; k++)
			load += list[k]->worker == &p->workers[i];
		if (load < least) {
			least = load;
			best = &p->workers[i];
		}
	}
	return best;
}

static struct target *apply_new(struct publisher *p, struct publish_worker *w,
	const struct publish_config *c, const char *name)
{
	uint64_t position = first_position(p, name);
	struct target *t = target_new(p, w, name, make_setup(p, c, name), position);

	t->number = ++p->made;
	t->known = config_text(c);
	log_info("publish", "target", "target=%s behind=%llu", name,
		(unsigned long long)(journal_tail(p->journal) - position));
	publisher_order(t, order_begin, NULL);
	return t;
}

static void apply_changed(struct publisher *p, struct target *t, const struct publish_config *c)
{
	char *text = config_text(c);

	if (strcmp(text, t->known) == 0) {
		free(text);
		return;
	}
	free(t->known);
	t->known = text;
	publisher_order(t, order_change, make_setup(p, c, t->name));
}

/* Those of the old list that are not in the new one go. */
static void replace_list(struct publisher *p, struct target **list, uint32_t n)
{
	struct target **old;
	uint32_t old_count;

	pthread_mutex_lock(&p->lock);
	old = p->list;
	old_count = p->count;
	p->list = list;
	p->count = n;
	p->gone = mem_resize(p->gone, (p->gone_count + old_count + 1) * sizeof(struct target *));
	for (uint32_t i = 0; i < old_count; i++) {
		if (find(list, n, old[i]->name) == NULL)
			p->gone[p->gone_count++] = old[i];
	}
	pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < old_count; i++) {
		if (find(list, n, old[i]->name))
			continue;
		log_info("publish", "target-removed", "target=%s", old[i]->name);
		publisher_order(old[i], order_quit, NULL);
	}
	free(old);
}

void publisher_apply(struct publisher *p, const struct publish_config *configs, uint32_t n)
{
	struct target **list = mem_new((n + 1) * sizeof(*list));
	uint32_t made = 0;

	sweep(p);
	for (uint32_t i = 0; i < n; i++) {
		char name[URL_TEXT_BYTES];
		struct target *t;

		if (!publish_name(&configs[i], name) || find(list, made, name))
			continue;
		t = find(p->list, p->count, name);
		if (t)
			apply_changed(p, t, &configs[i]);
		else
			t = apply_new(p, least_loaded(p, list, made), &configs[i], name);
		list[made++] = t;
	}
	replace_list(p, list, made);
	p->has_begun = true;
	if (made || ledger_has_found(p->ledger))
		ledger_start(p->ledger);
}

/* --- walks ------------------------------------------------------------------------ */

void publisher_each(struct publisher *p,
	void (*on_target)(void *context, const struct publish_view *v), void *context)
{
	uint64_t tail = journal_tail(p->journal);

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < p->count; i++) {
		struct target *t = p->list[i];
		uint64_t position = count_read(&t->figures.position);
		struct uplink_shown shown;

		uplink_look(&t->uplink, &shown);
		on_target(context,
			&(struct publish_view){
				.name = t->name,
				.state = uplink_state_text((unsigned)count_read(&t->figures.state)),
				.last_error = shown.error,
				.protocol = shown.protocol,
				.lag_messages = tail > position ? tail - position : 0,
				.lag_ms = count_read(&t->figures.lag_ms),
				.figures = &t->figures,
			});
	}
	pthread_mutex_unlock(&p->lock);
}
