/* cli/server.c - puts the rooms together in order, and takes them apart in the opposite one
 *
 *     journal -> loops -> listeners -> broker, sources, admin -> threads -> sources connect
 *
 * Listeners are bound before anything connects anywhere, so that a second start on the same
 * addresses ends at once; what arrives meanwhile waits in the kernel until the threads run.
 */
#include "cli/server.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/control.h"
#include "cli/everywhere.h"
#include "cli/quantity.h"

#define LEAST_MS (3600u * 1000u)       /* a full disk removes messages down to one hour */
#define LEAVE_MS 3000u                 /* others have so long to take over the sources */
#define SOURCE_PACKET_BYTES (1u << 20) /* more is read past, counted, acknowledged (GB-46) */

/* --- calls on a loop -------------------------------------------------- */

struct loop_call {
	struct task task;
	struct worker *worker;
	void (*call)(struct worker *w, void *argument);
	void *argument;
	sem_t done;
};

static void run_call(struct task *t)
{
	struct loop_call *c = container_of(t, struct loop_call, task);

	c->call(c->worker, c->argument);
	sem_post(&c->done);
}

void server_on_loop(
	struct worker *w, void (*call)(struct worker *w, void *argument), void *argument)
{
	struct loop_call c = {
		.task.run = run_call, .worker = w, .call = call, .argument = argument};

	if (!w->is_running) {
		call(w, argument);
		return;
	}
	sem_init(&c.done, 0, 0);
	loop_post(w->loop, &c.task);
	while (sem_wait(&c.done) < 0 && errno == EINTR)
		;
	sem_destroy(&c.done);
}

/* --- journal ---------------------------------------------------------- */

/* Hours that journal.size holds at the rate of what is there; 0 when too little is there to tell.
 * The newest segment counts as empty: its space is taken from the disk in advance. */
static double hours_of_reach(const struct journal_figures *f, uint64_t size_bytes)
{
	double full;

	if (f->segments < 3)
		return 0;
	full = (double)f->bytes * (f->segments - 1) / f->segments;
	return (double)f->oldest_ms / 3.6e6 * (double)size_bytes / full;
}

static void log_journal(const struct server *s)
{
	const struct config *c = s->config;
	struct journal_figures f;
	char keep[QUANTITY_TEXT_BYTES];
	char size[QUANTITY_TEXT_BYTES];
	double reach;

	journal_figures(commit_journal(s->commit), &f);
	reach = hours_of_reach(&f, c->journal_size_bytes);
	log_info("cli", "journal", "dir=%s keep=%s size=%s holds_hours=%.2f segments=%u",
		c->data_dir, quantity_format_duration(c->journal_keep_ms, keep),
		quantity_format_size(c->journal_size_bytes, size), (double)f.oldest_ms / 3.6e6,
		f.segments);
	if (reach > 0)
		log_info("cli", "journal_reach", "hours_at_present_rate=%.1f", reach);
	if (reach > 0 && reach * 3.6e6 < (double)c->journal_keep_ms)
		log_warn("cli", "journal_is_small", "hours=%.1f keep=%s: raise journal.size", reach,
			keep);
}

static int open_journal(struct server *s)
{
	const struct config *c = s->config;
	char *dir = mem_printf("%s/journal", c->data_dir);
	struct commit_config settings = {
		.journal = {.dir = dir,
			.keep_ms = c->journal_keep_ms,
			.size_bytes = c->journal_size_bytes,
			.index_keep_ms = c->window_ms,
			.least_ms = LEAST_MS,
			.sync = c->journal_sync,
			.sync_ms = c->journal_sync_ms},
		.window_ms = c->window_ms,
		.ids = c->ids,
	};
	char *why = NULL;
	int err = file_make_folder(c->data_dir);

	if (err < 0)
		why = mem_text(strerror(errno));
	else
		err = commit_open(&s->commit, &settings, &why);
	if (err < 0)
		log_error("cli", "cannot_open_journal", "dir=%s why=\"%s\"", c->data_dir,
			why ? why : err_text(err));
	else
		log_journal(s);
	free(why);
	free(dir);
	return err;
}

/* --- workers ---------------------------------------------------------- */

static int make_workers(struct server *s)
{
	s->workers = mem_new(s->config->workers * sizeof(*s->workers));
	s->porch_counts = mem_new(s->config->workers * sizeof(*s->porch_counts));
	for (uint32_t i = 0; i < s->config->workers; i++) {
		struct worker *w = &s->workers[i];

		w->server = s;
		w->loop = loop_new();
		if (w->loop == NULL) {
			log_error("cli", "cannot_make_loop", "why=\"%s\"", strerror(errno));
			return ERR_SYSTEM;
		}
		w->port = commit_port_new(s->commit, w->loop, i);
		s->worker_count = i + 1;
	}
	return 0;
}

static void *run_worker(void *argument)
{
	struct worker *w = argument;

	loop_run(w->loop);
	return NULL;
}

static int start_threads(struct server *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++) {
		struct worker *w = &s->workers[i];
		char name[24];
		int err = pthread_create(&w->thread, NULL, run_worker, w);

		if (err) {
			log_error("cli", "cannot_start_thread", "why=\"%s\"", strerror(err));
			return ERR_SYSTEM;
		}
		w->is_running = true;
		snprintf(name, sizeof(name), "worker-%u", i % 1000); /* 15 characters at most */
		pthread_setname_np(w->thread, name);
	}
	return 0;
}

static void stop_threads(struct server *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++)
		if (s->workers[i].is_running)
			loop_stop(s->workers[i].loop);
	for (uint32_t i = 0; i < s->worker_count; i++) {
		if (s->workers[i].is_running)
			pthread_join(s->workers[i].thread, NULL);
		s->workers[i].is_running = false;
	}
}

/* --- rooms ------------------------------------------------------------ */

static int open_listeners(struct server *s)
{
	s->served = mem_new((s->config->listener_count + 1) * sizeof(*s->served));
	for (uint32_t i = 0; i < s->config->listener_count; i++) {
		if (served_open(s, s->config, &s->config->listeners[i], &s->served[i]) < 0)
			return ERR_SYSTEM;
		s->served_count++;
	}
	return 0;
}

/* A configured source counts as known (topics.md, section 3), and so does this broker. */
struct hierarchy *server_hierarchy(const struct config *c)
{
	struct hierarchy *all;
	struct view *names;
	size_t n = 0;
	size_t room = 1;

	for (uint32_t i = 0; i < c->source_count; i++)
		room += 1 + c->sources[i].centre_count;
	names = mem_new(room * sizeof(*names));
	names[n++] = view_of(c->centre_id);
	for (uint32_t i = 0; i < c->source_count; i++) {
		names[n++] = view_of(c->sources[i].centre_id);
		for (uint32_t j = 0; j < c->sources[i].centre_count; j++)
			names[n++] = view_of(c->sources[i].centres[j]);
	}
	all = hierarchy_with_centres(c->hierarchy, names, n);
	free(names);
	return all;
}

struct broker_settings server_broker_settings(const struct config *c, struct hierarchy *h)
{
	return (struct broker_settings){
		.limits = c->limits,
		.hierarchy = h,
		.accounts = c->accounts,
		.shadow = c->shadow,
	};
}

static struct publisher *make_publisher(struct server *s)
{
	const struct config *c = s->config;
	char *file = mem_printf("%s/publish", c->data_dir);
	struct loop **loops = mem_new(s->worker_count * sizeof(struct loop *));
	struct publisher *p;

	for (uint32_t i = 0; i < s->worker_count; i++)
		loops[i] = s->workers[i].loop;
	p = publisher_new(&(struct publisher_settings){.centre_id = s->centre_id,
		.file = file,
		.bind = c->bind,
		.bind_count = c->bind_count,
		.node = s->cluster ? c->cluster.node : NULL,
		.commit = s->commit,
		.journal = commit_journal(s->commit),
		.loops = loops,
		.loop_count = s->worker_count,
		.resolver = s->resolver});
	free(loops);
	free(file);
	return p;
}

/* In shadow nobody is fed. */
void server_publish(struct server *s)
{
	const struct config *c = s->config;

	if (c->shadow && c->publish_count)
		log_warn("cli", "shadow", "why=\"publish names %u brokers, and none is fed\"",
			c->publish_count);
	publisher_apply(s->publisher, c->publish, c->shadow ? 0 : c->publish_count);
}

void server_tell_admin(struct server *s)
{
	char **shown = mem_new((s->served_count + 1) * sizeof(*shown));

	for (uint32_t i = 0; i < s->served_count; i++)
		shown[i] = s->served[i].shown;
	admin_apply(s->admin, &(struct admin_change){.listeners = shown,
				      .listener_count = s->served_count,
				      .public_pages = s->config->http_public,
				      .public_page_count = s->config->http_public_count,
				      .connections = s->config->limits.connections,
				      .sessions = s->config->limits.sessions});
	free(shown);
}

struct librarian_rules server_librarian_rules(const struct config *c)
{
	return (struct librarian_rules){
		.urls = c->catalogues,
		.url_count = c->catalogue_count,
		.refresh_ms = c->metadata_refresh_ms,
		.grace_ms = c->metadata_grace_ms,
	};
}

static void pass_by(struct worker *w, void *argument)
{
	(void)w;
	(void)argument;
}

/* A loop that has made a turn holds nothing of the turn before. */
void server_await_turns(struct server *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++)
		server_on_loop(&s->workers[i], pass_by, NULL);
}

static void settle(void *context)
{
	server_await_turns(context);
}

static struct librarian *make_librarian(struct server *s)
{
	char *dir = mem_printf("%s/catalogue", s->config->data_dir);
	struct librarian *k;

	shelf_init(&s->shelf);
	k = librarian_new(&(struct librarian_settings){.dir = dir,
		.shelf = &s->shelf,
		.limits = &fetch_limits_default,
		.rules = server_librarian_rules(s->config),
		.settle = settle,
		.context = s});
	free(dir);
	return k;
}

static int make_rooms(struct server *s)
{
	const struct config *c = s->config;
	struct commit_port **ports = mem_new(s->worker_count * sizeof(struct commit_port *));
	char *dir = mem_printf("%s/sessions", c->data_dir);
	char *retained_dir = mem_printf("%s/retained", c->data_dir);
	char *bans_file = mem_printf("%s/bans", c->data_dir);
	struct broker_settings broker;

	for (uint32_t i = 0; i < s->worker_count; i++)
		ports[i] = s->workers[i].port;
	s->hierarchy = server_hierarchy(c);
	s->librarian = make_librarian(s);
	broker = server_broker_settings(c, s->hierarchy);
	broker.dir = dir;
	broker.retained_dir = retained_dir;
	broker.bans_file = bans_file;
	broker.shelf = &s->shelf;
	broker.roams = s->cluster != NULL;
	s->broker = broker_new(s->commit, ports, s->worker_count, &broker);
	free(dir);
	free(retained_dir);
	free(bans_file);
	if (s->broker == NULL) {
		free(ports);
		return ERR_SYSTEM;
	}
	if (s->cluster)
		join_sessions(s);
	for (uint32_t i = 0; i < s->worker_count; i++)
		s->workers[i].broker = broker_worker(s->broker, i);
	s->reports = reports_new(&(struct reports_settings){
		.centre_id = s->centre_id, .port = ports[0], .publishes = !c->shadow});
	reports_set_hierarchy(s->reports, s->hierarchy);
	s->sources = sources_new(ports, s->worker_count, s->resolver,
		&(struct sources_settings){.centre_id = s->centre_id,
			.hierarchy = s->hierarchy,
			.shelf = &s->shelf,
			.bind = c->bind,
			.bind_count = c->bind_count,
			.packet_size = SOURCE_PACKET_BYTES,
			.reports = s->reports,
			.is_shared = s->cluster != NULL});
	s->publisher = make_publisher(s);
	if (s->cluster)
		join_targets(s);
	s->admin = admin_new(&(struct admin_settings){.centre_id = s->centre_id,
		.commit = s->commit,
		.broker = s->broker,
		.sources = s->sources,
		.publisher = s->publisher,
		.reports = s->reports,
		.librarian = s->librarian,
		.cluster = s->cluster,
		.hierarchy = s->hierarchy,
		.workers = s->worker_count,
		.porches = s->porch_counts,
		.journal_keep_ms = c->journal_keep_ms,
		.journal_size_bytes = c->journal_size_bytes,
		.window_ms = c->window_ms,
		.ids = c->ids,
		.first = upgrade_answer,
		.first_context = s});
	server_tell_admin(s);
	upgrade_start(s);
	free(ports);
	return 0;
}

/* --- life ------------------------------------------------------------- */

int server_start(struct server *s, struct config **config)
{
	uint32_t enabled = 0;
	int err;

	*s = (struct server){.config = *config,
		.centre_id = mem_text((*config)->centre_id),
		.started_ms = clock_mono_ms()};
	*config = NULL;
	pthread_mutex_init(&s->bans_lock, NULL);
	s->tickets = tls_tickets_new(clock_mono_ms());
	if (s->tickets == NULL)
		log_error("cli", "no_random_numbers", "why=\"OpenSSL has none for ticket keys\"");
	err = s->tickets ? open_journal(s) : ERR_SYSTEM;
	if (err == 0)
		err = join_cluster(s);
	if (err == 0)
		err = make_workers(s);
	if (err == 0)
		err = open_listeners(s);
	if (err == 0)
		err = make_rooms(s);
	if (err == 0)
		err = start_threads(s);
	if (err == 0 && s->cluster)
		err = cluster_start(s->cluster);
	if (err == 0)
		err = librarian_start(s->librarian);
	if (err == 0 && (s->control = control_start(s)) == NULL)
		err = ERR_SYSTEM;
	if (err < 0) {
		server_stop(s);
		return err;
	}
	server_publish(s);
	sources_apply(s->sources, s->config->sources, s->config->source_count);
	server_share_sources(s);
	for (uint32_t i = 0; i < s->config->source_count; i++)
		enabled += s->config->sources[i].enabled;
	log_info("cli", "sources", "count=%u enabled=%u accounts=%u", s->config->source_count,
		enabled, s->config->accounts->count);
	certificates_look(s, false);
	admin_set_phase(s->admin, ADMIN_SERVING);
	reports_notice(s->reports, NULL, EVENT_STARTED, "Version " ISOBAR_VERSION ".");
	return 0;
}

/* Catalogues are configured, and all have been tried in vain (metadata.md, section 4). */
static bool lacks_metadata(struct librarian *l)
{
	struct librarian_figures f;
	uint64_t failures = 0;

	librarian_figures(l, &f);
	for (uint32_t i = 0; i < f.list_count; i++)
		failures += f.lists[i].failures;
	return f.state == LIBRARIAN_EXPIRED || (f.state == LIBRARIAN_NONE && failures);
}

/* NULL: it is not. */
static const char *degraded_why(struct server *s)
{
	struct cluster_figures cluster = {0};
	struct journal_figures j;

	journal_figures(commit_journal(s->commit), &j);
	if (j.failed)
		return "The journal cannot be written.";
	if (j.held)
		return "The journal cannot take more: sources are held.";
	if (s->cluster)
		cluster_figures(s->cluster, &cluster);
	if (cluster.degraded)
		return cluster.degraded;
	if (lacks_metadata(s->librarian))
		return "No list of discovery metadata: the metadata check passes everything.";
	return NULL;
}

void server_look(struct server *s)
{
	certificates_look(s, false);
	watch_look(&s->watch, s->sources, degraded_why(s), s->reports, clock_mono_ms());
}

/* Others take over the sources while these are still connected, and the clients are told where. */
static void leave_cluster(struct server *s)
{
	char *elsewhere;

	if (s->cluster == NULL)
		return;
	cluster_leave(s->cluster, LEAVE_MS);
	elsewhere = cluster_elsewhere(s->cluster);
	if (elsewhere && s->broker)
		broker_send_elsewhere(s->broker, elsewhere);
	free(elsewhere);
}

/* Only what runs on a loop that runs can end in order. */
static void end_traffic(struct server *s)
{
	bool running = s->worker_count && s->workers[s->worker_count - 1].is_running;

	if (s->admin)
		admin_set_phase(s->admin, ADMIN_DRAINING);
	if (s->control)
		control_stop(s->control);
	if (s->librarian)
		librarian_stop(s->librarian);
	if (running)
		leave_cluster(s);
	for (uint32_t i = 0; i < s->served_count; i++)
		served_close(s, &s->served[i]);
	if (running && s->reports)
		reports_notice(s->reports, NULL, EVENT_STOPPING, "");
	if (running && s->sources)
		sources_stop(s->sources);
	if (running && s->reports)
		reports_stop(s->reports);
	if (running && s->publisher)
		publisher_stop(s->publisher);
	if (running && s->broker)
		broker_stop(s->broker);
	stop_threads(s);
	cluster_stop(s->cluster);
	upgrade_stop(s);
}

static void free_workers(struct server *s)
{
	for (uint32_t i = 0; i < s->worker_count; i++)
		commit_port_free(s->workers[i].port);
	if (s->commit)
		commit_close(s->commit);
	for (uint32_t i = 0; i < s->worker_count; i++)
		loop_free(s->workers[i].loop);
	free(s->porch_counts);
	free(s->workers);
}

void server_stop(struct server *s)
{
	end_traffic(s);
	if (s->admin)
		admin_free(s->admin);
	if (s->sources)
		sources_free(s->sources);
	if (s->reports)
		reports_free(s->reports);
	publisher_free(s->publisher);
	watch_fini(&s->watch);
	if (s->broker)
		broker_free(s->broker);
	librarian_free(s->librarian);
	shelf_fini(&s->shelf);
	cluster_free(s->cluster);
	everywhere_free(s->everywhere);
	pthread_mutex_destroy(&s->bans_lock);
	if (s->resolver)
		resolver_free(s->resolver);
	if (s->hierarchy)
		hierarchy_unref(s->hierarchy);
	free_workers(s);
	free(s->served);
	tls_tickets_unref(s->tickets);
	free(s->centre_id);
	config_free(s->config);
	*s = (struct server){0};
}
