#include "admin/admin.h"

#include <stdlib.h>

#include "admin/exposition.h"
#include "admin/internal.h"
#include "admin/overview.h"
#include "base/clock.h"
#include "base/mem.h"
#include "broker/history.h"

/* --- answers ---------------------------------------------------------- */

static void answer_metrics(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	struct view accept = http_header(&r->fields, VIEW("accept"));
	struct view wanted = VIEW("application/openmetrics-text");
	bool is_openmetrics = accept.n && memmem(accept.p, accept.n, wanted.p, wanted.n);

	answer->type = is_openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
	metrics_write(s->admin, &answer->body, is_openmetrics); /* MON-06 */
}

static void answer_health(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)s;
	(void)r;
	/* This loop has just run a turn, which is all that alive means. */
	buf_text(&answer->body, "{\"alive\":true,\"reason\":\"\"}\n");
}

static void answer_ready(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	if (!admin_ready(s->admin, &answer->body))
		answer->status = 503;
}

static void answer_status(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	status_write(s->admin, &answer->body);
}

static void answer_nodes(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	if (s->admin->settings.cluster)
		status_write_document(&answer->body, nodes_document(s->admin));
	else
		answer_fail(answer, 404, "one machine: no `cluster:` is configured");
}

static void answer_sources(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	sources_write(s->admin, (struct view){NULL, 0}, &answer->body);
}

void answer_fail(struct http_answer *answer, int status, const char *text)
{
	answer->type = "application/json";
	answer->status = status;
	buf_text(&answer->body, "{\"error\":");
	buf_json_string(&answer->body, view_of(text));
	buf_text(&answer->body, "}\n");
}

static void answer_rejects(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	const char *why = rejects_write(s->admin, r, &answer->body);

	if (why)
		answer_fail(answer, 400, why);
}

static void answer_clients(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	const char *why = clients_answer(s, r, answer);

	if (why)
		answer_fail(answer, 400, why);
}

static void answer_page(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	(void)s;
	(void)r;
	answer->type = "text/html; charset=utf-8";
	answer->extra = "Content-Security-Policy: default-src 'self'; script-src 'unsafe-inline'; "
			"style-src 'unsafe-inline'; img-src data:\r\n";
	buf_append(&answer->body, overview_html, sizeof(overview_html) - 1);
}

/* --- paths ------------------------------------------------------------ */

struct route {
	const char *path;
	enum page page;
	void (*answer)(
		struct admin_server *s, const struct http_request *r, struct http_answer *answer);
};

static const struct route routes[] = {
	{"/metrics", PAGE_METRICS, answer_metrics},
	{"/healthz", PAGE_FREE, answer_health},
	{"/readyz", PAGE_FREE, answer_ready},
	{"/api/v1/status", PAGE_STATUS, answer_status},
	{"/api/v1/nodes", PAGE_STATUS, answer_nodes}, /* which are part of the status */
	{"/api/v1/sources", PAGE_SOURCES, answer_sources},
	{"/api/v1/rejects", PAGE_REJECTS, answer_rejects},
	{"/api/v1/messages", PAGE_MESSAGES, messages_answer},
	{"/api/v1/clients", PAGE_CLIENTS, answer_clients},
	{"/", PAGE_UI, answer_page},
};

#define ONE_SOURCE VIEW("/api/v1/sources/")

/* /api/v1/sources/{centre_id} */
static void answer_one_source(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	if (sources_write(s->admin, view_skip(r->path, ONE_SOURCE.n), &answer->body))
		return;
	buf_clear(&answer->body);
	answer_fail(answer, 404, "no source of this centre");
}

#define ONE_REJECT VIEW("/api/v1/rejects/")

/* /api/v1/rejects/{number} */
static void answer_one_reject(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	if (!reject_write(s->admin, view_skip(r->path, ONE_REJECT.n), &answer->body))
		answer_fail(answer, 404, "no such reject, or not any longer");
}

static const struct route one_source_route = {"", PAGE_SOURCES, answer_one_source};
static const struct route one_reject_route = {"", PAGE_REJECTS, answer_one_reject};

static const struct route *find_route(struct view path)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (view_equal(path, view_of(routes[i].path)))
			return &routes[i];
	if (view_starts_with(path, ONE_SOURCE) && path.n > ONE_SOURCE.n)
		return &one_source_route;
	if (view_starts_with(path, ONE_REJECT) && path.n > ONE_REJECT.n)
		return &one_reject_route;
	return NULL;
}

static void answer_page_or_figures(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer)
{
	const struct route *route = find_route(r->path);
	struct admin *a = s->admin;

	answer->status = 200;
	answer->type = "application/json";
	if (!view_equal(r->method, VIEW("GET")) && !view_equal(r->method, VIEW("HEAD"))) {
		answer->extra = "Allow: GET, HEAD\r\n";
		answer_fail(answer, 405, "only GET and HEAD are answered here");
		return;
	}
	if (route == NULL)
		answer_fail(answer, 404, "nothing here; see / for what there is");
	else if (access_allows(
			 s->access, route->page, a->public, a->generation, r, answer, &s->user))
		route->answer(s, r, answer);
}

static void on_request(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer)
{
	struct admin_server *s = context;
	const struct admin_settings *settings = &s->admin->settings;

	(void)body;
	if (!settings->first || !settings->first(settings->first_context, s->loop, r, answer))
		answer_page_or_figures(s, r, answer);
}

/* --- life ------------------------------------------------------------- */

static void forget_listeners(struct admin *a)
{
	for (unsigned i = 0; i < a->listener_count; i++)
		free(a->listeners[i]);
	free(a->listeners);
}

void admin_apply(struct admin *a, const struct admin_change *change)
{
	pthread_mutex_lock(&a->lock);
	forget_listeners(a);
	a->listener_count = change->listener_count;
	a->listeners = mem_new((change->listener_count + 1) * sizeof(*a->listeners));
	for (unsigned i = 0; i < change->listener_count; i++)
		a->listeners[i] = mem_text(change->listeners[i]);
	pthread_mutex_unlock(&a->lock);
	a->public = access_pages(change->public_pages, change->public_page_count);
	a->connections = change->connections;
	a->sessions = change->sessions;
	a->configured_ms = clock_wall_ms();
	a->generation++;
}

void admin_tell_reload(struct admin *a, bool is_taken)
{
	a->reload_refused = !is_taken;
}

struct admin *admin_new(const struct admin_settings *settings)
{
	struct admin *a = mem_new(sizeof(*a));

	a->settings = *settings;
	a->centre_id = mem_text(settings->centre_id);
	a->settings.hierarchy = hierarchy_ref(settings->hierarchy);
	a->started_ms = clock_wall_ms();
	a->started_mono_ms = clock_mono_ms();
	pthread_mutex_init(&a->lock, NULL);
	a->history = history_new(commit_journal(settings->commit));
	return a;
}

void admin_set_hierarchy(struct admin *a, struct hierarchy *h)
{
	struct hierarchy *before;

	hierarchy_ref(h);
	pthread_mutex_lock(&a->lock);
	before = a->settings.hierarchy;
	a->settings.hierarchy = h;
	pthread_mutex_unlock(&a->lock);
	hierarchy_unref(before);
}

struct hierarchy *admin_hierarchy(struct admin *a)
{
	struct hierarchy *h;

	pthread_mutex_lock(&a->lock);
	h = hierarchy_ref(a->settings.hierarchy);
	pthread_mutex_unlock(&a->lock);
	return h;
}

static void free_certificates(struct admin_certificate *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		free((char *)(uintptr_t)list[i].listener);
		free((char *)(uintptr_t)list[i].file);
	}
	free(list);
}

void admin_free(struct admin *a)
{
	history_free(a->history);
	free_certificates(a->certificates, a->certificate_count);
	for (unsigned i = 0; i < a->server_count; i++) {
		messages_free(a->servers[i]->messages);
		access_free(a->servers[i]->access);
		clients_fini(a->servers[i]);
		http_server_free(a->servers[i]->http);
		free(a->servers[i]);
	}
	forget_listeners(a);
	hierarchy_unref(a->settings.hierarchy);
	pthread_mutex_destroy(&a->lock);
	free(a->centre_id);
	free(a->servers);
	free(a);
}

void admin_set_phase(struct admin *a, enum admin_phase phase)
{
	atomic_store(&a->phase, (int)phase);
}

void admin_set_certificates(struct admin *a, const struct admin_certificate *list, unsigned n)
{
	struct admin_certificate *fresh = mem_new((n + 1) * sizeof(*fresh)), *old = a->certificates;
	unsigned old_count = a->certificate_count;

	for (unsigned i = 0; i < n; i++)
		fresh[i] = (struct admin_certificate){mem_text(list[i].listener),
			mem_text(list[i].file), list[i].ends_s, list[i].self_signed};
	pthread_mutex_lock(&a->lock);
	a->certificates = fresh;
	a->certificate_count = n;
	pthread_mutex_unlock(&a->lock);
	free_certificates(old, old_count);
}

static struct admin_server *add_server(struct admin *a, struct loop *l)
{
	struct admin_server *s = mem_new(sizeof(*s));

	s->admin = a;
	list_init(&s->pages);
	s->loop = l;
	s->http = http_server_new(l, NULL, on_request, s);
	s->access = access_new(broker_worker_of(a->settings.broker, l), l);
	s->messages = messages_new(s);
	a->servers = mem_resize(a->servers, (a->server_count + 1) * sizeof(*a->servers));
	a->servers[a->server_count++] = s;
	return s;
}

static struct http_server *server_of(struct admin *a, struct loop *l)
{
	struct admin_server *s = NULL;

	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->server_count && s == NULL; i++)
		s = a->servers[i]->loop == l ? a->servers[i] : NULL;
	if (s == NULL)
		s = add_server(a, l);
	pthread_mutex_unlock(&a->lock);
	return s->http;
}

void admin_accept(struct admin *a, struct loop *l, const struct arrival *arrival)
{
	http_server_accept(server_of(a, l), arrival);
}
