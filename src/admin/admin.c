#include "admin/admin.h"

#include <stdlib.h>

#include "admin/exposition.h"
#include "admin/internal.h"
#include "admin/overview.h"
#include "base/clock.h"
#include "base/mem.h"

/* --- answers ---------------------------------------------------------- */

static void answer_metrics(
	struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	struct view accept = http_header(r, VIEW("accept"));
	struct view wanted = VIEW("application/openmetrics-text");
	bool is_openmetrics = accept.n && memmem(accept.p, accept.n, wanted.p, wanted.n);

	answer->type = is_openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS;
	metrics_write(a, &answer->body, is_openmetrics); /* MON-06 */
}

static void answer_health(struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	(void)a;
	(void)r;
	/* This loop has just run a turn, which is all that alive means. */
	buf_text(&answer->body, "{\"alive\":true,\"reason\":\"\"}\n");
}

static void answer_ready(struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	if (!ready_write(a, &answer->body))
		answer->status = 503;
}

static void answer_status(struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	status_write(a, &answer->body);
}

static void answer_sources(
	struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	(void)r;
	sources_write(a, (struct view){NULL, 0}, &answer->body);
}

static void answer_page(struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	(void)a;
	(void)r;
	answer->type = "text/html; charset=utf-8";
	answer->extra = "Content-Security-Policy: default-src 'self'; script-src 'unsafe-inline'; "
			"style-src 'unsafe-inline'\r\n";
	buf_append(&answer->body, overview_html, sizeof(overview_html) - 1);
}

static void fail(struct http_answer *answer, int status, const char *text)
{
	answer->status = status;
	buf_text(&answer->body, "{\"error\":");
	buf_json_string(&answer->body, view_of(text));
	buf_text(&answer->body, "}\n");
}

/* --- paths ------------------------------------------------------------ */

struct route {
	const char *path;
	void (*answer)(struct admin *a, const struct http_request *r, struct http_answer *answer);
};

static const struct route routes[] = {
	{"/metrics", answer_metrics},
	{"/healthz", answer_health},
	{"/readyz", answer_ready},
	{"/api/v1/status", answer_status},
	{"/api/v1/sources", answer_sources},
	{"/", answer_page},
};

/* /api/v1/sources/{centre_id} */
static bool answer_one_source(struct admin *a, struct view path, struct http_answer *answer)
{
	struct view prefix = VIEW("/api/v1/sources/");

	if (!view_starts_with(path, prefix) || path.n == prefix.n)
		return false;
	if (sources_write(a, view_skip(path, prefix.n), &answer->body))
		return true;
	buf_clear(&answer->body);
	return false;
}

static void answer_page_or_figures(
	struct admin *a, const struct http_request *r, struct http_answer *answer)
{
	answer->status = 200;
	answer->type = "application/json";
	if (!view_equal(r->method, VIEW("GET")) && !view_equal(r->method, VIEW("HEAD"))) {
		answer->extra = "Allow: GET, HEAD\r\n";
		fail(answer, 405, "only GET and HEAD are answered here");
		return;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (view_equal(r->path, view_of(routes[i].path))) {
			routes[i].answer(a, r, answer);
			return;
		}
	}
	if (!answer_one_source(a, r->path, answer))
		fail(answer, 404, "nothing here; see / for what there is");
}

static void on_request(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer)
{
	struct admin_server *s = context;
	const struct admin_settings *settings = &s->admin->settings;

	(void)body;
	if (!settings->first || !settings->first(settings->first_context, s->loop, r, answer))
		answer_page_or_figures(s->admin, r, answer);
}

/* --- life ------------------------------------------------------------- */

struct admin *admin_new(const struct admin_settings *settings)
{
	struct admin *a = mem_new(sizeof(*a));

	a->settings = *settings;
	a->centre_id = mem_text(settings->centre_id);
	a->listeners = mem_new(settings->listener_count * sizeof(*a->listeners));
	for (unsigned i = 0; i < settings->listener_count; i++)
		a->listeners[i] = mem_text(settings->listeners[i]);
	a->settings.hierarchy = hierarchy_ref(settings->hierarchy);
	a->started_ms = clock_wall_ms();
	a->started_mono_ms = clock_mono_ms();
	pthread_mutex_init(&a->lock, NULL);
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
	free_certificates(a->certificates, a->certificate_count);
	for (unsigned i = 0; i < a->server_count; i++) {
		http_server_free(a->servers[i]->http);
		free(a->servers[i]);
	}
	for (unsigned i = 0; i < a->settings.listener_count; i++)
		free(a->listeners[i]);
	hierarchy_unref(a->settings.hierarchy);
	pthread_mutex_destroy(&a->lock);
	free(a->listeners);
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
		fresh[i] = (struct admin_certificate){
			mem_text(list[i].listener), mem_text(list[i].file), list[i].ends_s};
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
	s->loop = l;
	s->http = http_server_new(l, NULL, on_request, s);
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

void admin_accept(struct admin *a, struct loop *l, int fd, const struct address *peer,
	struct tls_context *tls)
{
	http_server_accept(server_of(a, l), fd, peer, tls);
}
