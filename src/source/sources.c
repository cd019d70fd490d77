/* source/sources.c - the set of sources: what is configured, sent to the workers
 *
 *     applying thread                      worker (loop)
 *     list, in order of name   command     all sources that live here
 *     what each was given    ---------->   inbox -> task -> begin, change, quit
 *
 * The applying thread never waits for a worker and never touches what is a worker's: it compares
 * configurations with its own copy (struct source.known), makes whatever may block (TLS contexts),
 * and sends commands, which a worker runs in the order they were sent. A source that was taken out
 * of the list is freed by its worker when its connection is closed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "source/internal.h"

#define RECORD_ROOM 1024u
#define PUBLIC_ACCOUNT "everyone"

enum order { BEGIN, CHANGE, HOLD, REMOVE, HIERARCHY, STOP };

/* Zero-initialised but for what the order needs; command() sends a copy. */
struct command {
	struct list link;
	enum order order;
	struct source *source;
	struct source_setup *setup;  /* CHANGE */
	struct hierarchy *hierarchy; /* HIERARCHY: a reference */
	uint32_t slot;               /* HOLD, the next as well */
	bool is_voice;
};

/* --- commands ---------------------------------------------------------- */

static void command(struct source_worker *w, struct command what)
{
	struct command *copy = mem_new(sizeof(*copy));
	bool post;

	*copy = what;
	list_init(&copy->link);
	pthread_mutex_lock(&w->lock);
	list_append(&w->inbox, &copy->link);
	post = !w->posted;
	w->posted = true;
	pthread_mutex_unlock(&w->lock);
	if (post)
		loop_post(w->loop, &w->task);
}

static void stop_all(struct source_worker *w)
{
	struct list *next;

	w->stopping = true;
	for (struct list *at = w->all.next; at != &w->all; at = next) {
		next = at->next;
		source_quit(container_of(at, struct source, link), false);
	}
	source_worker_check_stopped(w);
}

static void obey(struct source_worker *w, const struct command *c)
{
	switch (c->order) {
	case BEGIN:
		source_begin(c->source);
		return;
	case CHANGE:
		source_change(c->source, c->setup);
		return;
	case HOLD:
		source_hold(c->source, c->slot, c->is_voice);
		return;
	case REMOVE:
		source_quit(c->source, true);
		return;
	case HIERARCHY:
		hierarchy_unref(w->hierarchy);
		w->hierarchy = c->hierarchy;
		return;
	case STOP:
		stop_all(w);
	}
}

static void run_inbox(struct task *t)
{
	struct source_worker *w = container_of(t, struct source_worker, task);
	struct list commands;

	list_init(&commands);
	pthread_mutex_lock(&w->lock);
	list_splice(&commands, &w->inbox);
	w->posted = false;
	pthread_mutex_unlock(&w->lock);
	while (!list_is_empty(&commands)) {
		struct command *c = container_of(commands.next, struct command, link);

		list_remove(&c->link);
		obey(w, c);
		free(c);
	}
}

/* All that lived here are closed: sources_stop() is told, once. */
void source_worker_check_stopped(struct source_worker *w)
{
	if (!w->stopping)
		return;
	for (struct list *at = w->all.next; at != &w->all; at = at->next) {
		if (container_of(at, struct source, link)->uplink.state != UPLINK_STOPPED)
			return;
	}
	w->stopping = false;
	pthread_mutex_lock(&w->set->stop_lock);
	w->set->running--;
	pthread_cond_signal(&w->set->stopped);
	pthread_mutex_unlock(&w->set->stop_lock);
}

/* Behind commit's hook, which says what is done: acknowledgements leave in the same turn. */
static bool on_turn(struct turn_hook *h)
{
	struct source_worker *w = container_of(h, struct source_worker, hook);

	while (!list_is_empty(&w->dirty)) {
		struct source *s = container_of(w->dirty.next, struct source, dirty);

		list_remove(&s->dirty);
		source_acknowledge(s);
	}
	return false;
}

/* --- the set ------------------------------------------------------------ */

static void worker_init(struct source_worker *w, struct sources *set, struct commit_port *port)
{
	w->set = set;
	w->port = port;
	w->loop = commit_port_loop(port);
	w->hierarchy = hierarchy_ref(set->hierarchy);
	w->batch = mem_new(sizeof(*w->batch));
	w->hook.on_turn = on_turn;
	w->task.run = run_inbox;
	list_init(&w->hook.link);
	list_init(&w->all);
	list_init(&w->dirty);
	list_init(&w->inbox);
	pthread_mutex_init(&w->lock, NULL);
	loop_add_hook(w->loop, &w->hook);
}

struct sources *sources_new(struct commit_port *const *ports, unsigned port_count,
	struct resolver *resolver, const struct sources_settings *settings)
{
	struct sources *set = mem_new(sizeof(*set));
	uint32_t most = JOURNAL_PACKET_LARGEST - RECORD_ROOM;

	set->centre_id = mem_text(settings->centre_id);
	set->hierarchy = hierarchy_ref(settings->hierarchy);
	set->reports = settings->reports;
	set->is_shared = settings->is_shared;
	set->shelf = settings->shelf;
	set->packet_size = settings->packet_size && settings->packet_size < most
				   ? settings->packet_size
				   : most;
	uplink_means_init(&set->uplinks, resolver);
	set->bind = uplink_read_bind(settings->bind, settings->bind_count, &set->bind_count);
	pthread_mutex_init(&set->lock, NULL);
	pthread_mutex_init(&set->text_lock, NULL);
	pthread_mutex_init(&set->stop_lock, NULL);
	pthread_cond_init(&set->stopped, NULL);
	set->worker_count = port_count;
	set->workers = mem_new(port_count * sizeof(*set->workers));
	for (unsigned i = 0; i < port_count; i++)
		worker_init(&set->workers[i], set, ports[i]);
	return set;
}

void sources_stop(struct sources *set)
{
	pthread_mutex_lock(&set->stop_lock);
	set->running = set->worker_count;
	pthread_mutex_unlock(&set->stop_lock);
	for (unsigned i = 0; i < set->worker_count; i++)
		command(&set->workers[i], (struct command){.order = STOP});
	pthread_mutex_lock(&set->stop_lock);
	while (set->running)
		pthread_cond_wait(&set->stopped, &set->stop_lock);
	pthread_mutex_unlock(&set->stop_lock);
}

/* What a loop that never ran, or runs no more, has left. */
static void drop_inbox(struct source_worker *w)
{
	while (!list_is_empty(&w->inbox)) {
		struct command *c = container_of(w->inbox.next, struct command, link);

		list_remove(&c->link);
		if (c->order == REMOVE)
			source_free(c->source);
		source_setup_free(c->setup);
		hierarchy_unref(c->hierarchy);
		free(c);
	}
}

void sources_free(struct sources *set)
{
	if (set == NULL)
		return;
	for (unsigned i = 0; i < set->worker_count; i++) {
		struct source_worker *w = &set->workers[i];

		drop_inbox(w);
		loop_remove_hook(w->loop, &w->hook);
		hierarchy_unref(w->hierarchy);
		buf_fini(&w->batch->bytes);
		free(w->batch);
		pthread_mutex_destroy(&w->lock);
	}
	for (uint32_t i = 0; i < set->count; i++)
		source_free(set->list[i]);
	free(set->list);
	free(set->workers);
	free(set->bind);
	free(set->centre_id);
	hierarchy_unref(set->hierarchy);
	pthread_mutex_destroy(&set->lock);
	pthread_mutex_destroy(&set->text_lock);
	pthread_mutex_destroy(&set->stop_lock);
	pthread_cond_destroy(&set->stopped);
	free(set);
}

/* --- applying a configuration ------------------------------------------- */

/* TLS contexts made by one sources_apply(), shared by addresses with the same settings. */
struct tls_made {
	struct tls_client_settings settings; /* its texts are the configuration's */
	struct uplink_tls tls;
};

struct applying {
	struct sources *set;
	struct tls_made *made;
	uint32_t made_count;
	struct source **list;
	uint32_t count;
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_tls(const struct tls_client_settings *a, const struct tls_client_settings *b)
{
	return a->verify == b->verify && a->legacy == b->legacy && same_text(a->ca, b->ca) &&
	       same_text(a->max, b->max);
}

/* The address's own settings, or the source's. */
static struct tls_client_settings tls_settings(
	const struct source_config *c, const struct uplink_endpoint *e)
{
	return (struct tls_client_settings){.verify = e->has_tls ? e->tls_verify : c->tls_verify,
		.ca = e->has_tls ? e->tls_ca : c->tls_ca,
		.max = e->has_tls ? e->tls_max : c->tls_max,
		.legacy = e->has_tls ? e->tls_legacy : c->tls_legacy};
}

static const struct uplink_tls *make_tls(
	struct applying *a, const struct source_config *c, const struct uplink_endpoint *e)
{
	struct tls_client_settings settings = tls_settings(c, e);
	struct tls_made *made;

	for (uint32_t i = 0; i < a->made_count; i++) {
		if (same_tls(&a->made[i].settings, &settings))
			return &a->made[i].tls;
	}
	a->made = mem_resize(a->made, (a->made_count + 1) * sizeof(*a->made));
	made = &a->made[a->made_count++];
	*made = (struct tls_made){.settings = settings};
	if (tls_client_new(&made->tls.context, &settings, &made->tls.why) < 0)
		log_error("source", "tls", "name=%s why=\"%s\"", c->name, made->tls.why);
	return &made->tls;
}

static struct uplink_tls *make_all_tls(struct applying *a, const struct source_config *c)
{
	struct uplink_tls *all = mem_new((c->endpoint_count + 1) * sizeof(*all));

	for (uint32_t i = 0; i < c->endpoint_count; i++) {
		const struct uplink_tls *made;

		if (!uplink_needs_tls(&c->endpoints[i]))
			continue;
		made = make_tls(a, c, &c->endpoints[i]);
		all[i].context = made->context ? tls_ref(made->context) : NULL;
		all[i].why = mem_text(made->why);
	}
	return all;
}

/* User and password that are no secret (GB-41), where none are given. */
static const char *or_public(const char *text)
{
	return text ? text : PUBLIC_ACCOUNT;
}

static void make_plan(struct applying *a, struct source_setup *setup)
{
	const struct source_config *c = &setup->config;
	struct uplink_plan *p = &setup->plan;

	*p = (struct uplink_plan){.endpoints = c->endpoints,
		.endpoint_count = c->endpoint_count,
		.username = or_public(c->username),
		.password = or_public(c->password),
		.bind = a->set->bind,
		.bind_count = a->set->bind_count,
		.protocol = c->protocol};
	if (c->bind_count)
		p->bind = setup->bind = uplink_read_bind(c->bind, c->bind_count, &p->bind_count);
}

static struct source_setup *make_setup(struct applying *a, const struct source_config *c)
{
	struct source_setup *setup = mem_new(sizeof(*setup));

	source_config_copy(&setup->config, c);
	if (c->strip_content)
		atomic_store(&a->set->cuts_content, true);
	source_policy_for(&setup->policy, c);
	source_filters_for(&setup->filters, c);
	make_plan(a, setup);
	setup->plan.tls = setup->tls = make_all_tls(a, c);
	return setup;
}

void source_setup_free(struct source_setup *setup)
{
	if (setup == NULL)
		return;
	for (uint32_t i = 0; i < setup->config.endpoint_count; i++) {
		if (setup->tls[i].context)
			tls_unref(setup->tls[i].context);
		free(setup->tls[i].why);
	}
	free(setup->tls);
	source_config_fini(&setup->config);
	gate_policy_fini(&setup->policy);
	source_filters_fini(&setup->filters);
	free(setup->bind);
	free(setup);
}

/* Every configured centre counts as known (topics.md, section 3). */
static void send_hierarchy(struct sources *set, const struct source_config *configs, uint32_t n)
{
	struct hierarchy *known;
	struct view *names;
	size_t at = 0, most = n;

	for (uint32_t i = 0; i < n; i++)
		most += configs[i].centre_count;
	names = mem_new(most * sizeof(*names));
	for (uint32_t i = 0; i < n; i++) {
		names[at++] = view_of(configs[i].centre_id);
		for (uint32_t k = 0; k < configs[i].centre_count; k++)
			names[at++] = view_of(configs[i].centres[k]);
	}
	known = hierarchy_with_centres(set->hierarchy, names, at);
	for (unsigned i = 0; i < set->worker_count; i++)
		command(&set->workers[i],
			(struct command){.order = HIERARCHY, .hierarchy = hierarchy_ref(known)});
	hierarchy_unref(known);
	free(names);
}

static struct source_worker *least_loaded(const struct applying *a)
{
	struct source_worker *best = NULL;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < a->set->worker_count; i++) {
		uint32_t load = 0;

		for (uint32_t k = 0; k < a->count; k++)
			load += a->list[k]->worker == &a->set->workers[i];
		if (load < least) {
			least = load;
			best = &a->set->workers[i];
		}
	}
	return best;
}

static struct source *find(const struct sources *set, const char *name)
{
	for (uint32_t i = 0; i < set->count; i++) {
		if (strcmp(set->list[i]->name, name) == 0)
			return set->list[i];
	}
	return NULL;
}

static bool is_listed(const struct applying *a, const struct source *s)
{
	for (uint32_t i = 0; i < a->count; i++) {
		if (a->list[i] == s)
			return true;
	}
	return false;
}

/* Numbers of publishers under 0x8000 are sources'. */
static uint16_t next_number(struct sources *set)
{
	set->next_number = (uint16_t)(set->next_number % 0x7fff + 1);
	return set->next_number;
}

static struct source *apply_new(struct applying *a, const struct source_config *c)
{
	struct source_worker *w = least_loaded(a);
	struct source *s = source_new(a->set, w, next_number(a->set), make_setup(a, c));

	command(w, (struct command){.order = BEGIN, .source = s});
	return s;
}

static void apply_changed(struct applying *a, struct source *s, const struct source_config *c)
{
	if (source_config_equal(&s->known, c))
		return;
	source_config_fini(&s->known);
	source_config_copy(&s->known, c);
	command(s->worker,
		(struct command){.order = CHANGE, .source = s, .setup = make_setup(a, &s->known)});
}

static int by_name(const void *a, const void *b)
{
	const struct source *const *x = a;
	const struct source *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Shows the new list and sends home who is not in it. */
static void replace_list(struct applying *a)
{
	struct sources *set = a->set;
	struct source **old;
	uint32_t old_count;

	qsort(a->list, a->count, sizeof(struct source *), by_name);
	pthread_mutex_lock(&set->lock);
	old = set->list;
	old_count = set->count;
	set->list = a->list;
	set->count = a->count;
	pthread_mutex_unlock(&set->lock);
	for (uint32_t i = 0; i < old_count; i++) {
		if (!is_listed(a, old[i]))
			command(old[i]->worker,
				(struct command){.order = REMOVE, .source = old[i]});
	}
	free(old);
}

void sources_set_hierarchy(struct sources *set, struct hierarchy *hierarchy)
{
	hierarchy_ref(hierarchy);
	hierarchy_unref(set->hierarchy);
	set->hierarchy = hierarchy;
}

void sources_apply(struct sources *set, const struct source_config *configs, uint32_t n)
{
	struct applying a = {.set = set};

	a.list = mem_new(n * sizeof(struct source *));
	send_hierarchy(set, configs, n);
	for (uint32_t i = 0; i < n; i++) {
		struct source *s = find(set, configs[i].name);

		if (s)
			apply_changed(&a, s, &configs[i]);
		else
			s = apply_new(&a, &configs[i]);
		a.list[a.count++] = s;
	}
	replace_list(&a);
	for (uint32_t i = 0; i < a.made_count; i++) {
		if (a.made[i].tls.context)
			tls_unref(a.made[i].tls.context);
		free(a.made[i].tls.why);
	}
	free(a.made);
}

/* --- holding ------------------------------------------------------------- */

/* The command is sent under the lock: once a source is out of the list its worker frees it. */
void sources_hold(struct sources *set, struct view name, uint32_t slot, bool is_voice)
{
	pthread_mutex_lock(&set->lock);
	for (uint32_t i = 0; i < set->count; i++) {
		struct source *s = set->list[i];

		if (view_equal(view_of(s->name), name))
			command(s->worker, (struct command){.order = HOLD,
						   .source = s,
						   .slot = slot,
						   .is_voice = is_voice});
	}
	pthread_mutex_unlock(&set->lock);
}

/* --- walks --------------------------------------------------------------- */

static const char *state_text(const struct source_figures *f)
{
	uint64_t state = count_read(&f->state);

	if (state == UPLINK_DISABLED && count_read(&f->holder) == 0)
		return "held by other nodes";
	return uplink_state_text((unsigned)state);
}

void sources_each(struct sources *set,
	void (*on_source)(void *context, const struct source_view *v), void *context)
{
	pthread_mutex_lock(&set->lock);
	for (uint32_t i = 0; i < set->count; i++) {
		struct source *s = set->list[i];
		struct source_shown shown;
		struct uplink_shown uplink;

		uplink_look(&s->uplink, &uplink);
		pthread_mutex_lock(&set->text_lock);
		shown = s->shown;
		pthread_mutex_unlock(&set->text_lock);
		on_source(context, &(struct source_view){
					   .name = s->name,
					   .centre_id = shown.centre_id,
					   .kind = source_kind_text(shown.kind),
					   .url = uplink.url,
					   .state = state_text(&s->figures),
					   .last_error = uplink.error,
					   .enabled = shown.enabled,
					   .protocol = uplink.protocol,
					   .figures = &s->figures,
					   .firsts = &s->firsts,
				   });
	}
	pthread_mutex_unlock(&set->lock);
}
