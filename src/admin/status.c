/* The JSON documents; built with jansson, which is quick enough for people. */
#include <jansson.h>
#include <stdlib.h>

#include "admin/internal.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wis2/topic.h"

#define NUMBER(value) (json_int_t)(value)

/* Wall time as RFC 3339, null for 0. */
static json_t *time_of(uint64_t ms)
{
	char text[CLOCK_TEXT_BYTES];

	if (ms == 0)
		return json_null();
	clock_format(ms, text);
	return json_string(text);
}

static json_t *figure(const count *c)
{
	return json_integer(NUMBER(count_read(c)));
}

/* Takes the document. */
void status_write_document(struct buf *out, json_t *document)
{
	char *text;

	check(document != NULL);
	/* Milliseconds at most: what a double has behind them is noise. */
	text = json_dumps(document, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15));
	check(text != NULL);
	buf_text(out, text);
	buf_text(out, "\n");
	free(text);
	json_decref(document);
}

/* --- sources ---------------------------------------------------------- */

static json_t *rejected_of(const struct source_figures *f)
{
	json_t *rules = json_object();

	for (int rule = 1; rule < RULE_COUNT; rule++) {
		if (count_read(&f->rejected[rule]))
			json_object_set_new(
				rules, rule_id((enum rule)rule), figure(&f->rejected[rule]));
	}
	return rules;
}

/* null: other machines hold it, or there are none */
static json_t *slot_of_holder(const struct source_figures *f)
{
	uint64_t holder = count_read(&f->holder);

	return holder ? json_integer(NUMBER(holder - 1)) : json_null();
}

struct source_list {
	json_t *list;
	struct view centre_id;
	const struct admin *admin;
	json_t *holders;
};

static void add_source(void *context, const struct source_view *v)
{
	struct source_list *sources = context;
	const struct source_figures *f = v->figures;

	if (sources->centre_id.p && !view_equal(sources->centre_id, view_of(v->centre_id)))
		return;
	json_array_append_new(sources->list,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:o, s:o, s:o, s:o, s:o, "
			  "s:o,"
			  " s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o}",
			"name", v->name, "centre_id", v->centre_id, "kind", v->kind, "url", v->url,
			"state", v->state, "last_error", v->last_error, "enabled", v->enabled,
			"connected", count_read(&f->connected) != 0, "protocol",
			v->protocol == 4 ? "3.1.1" : "5", "connected_since",
			time_of(count_read(&f->connected_since_ms)), "last_message",
			time_of(count_read(&f->last_message_ms)), "received", figure(&f->received),
			"published", figure(&f->published), "duplicates", figure(&f->duplicates),
			"invalid_topic", figure(&f->checks[CHECK_TOPIC]), "invalid_format",
			figure(&f->checks[CHECK_MESSAGE]), "no_metadata",
			figure(&f->checks[CHECK_METADATA]), "foreign",
			figure(&f->checks[CHECK_CENTRE]), "connects", figure(&f->connects),
			"rejected", rejected_of(f), "slot", slot_of_holder(f), "voice",
			count_read(&f->is_voice) != 0, "holders",
			holders_of(sources->admin, sources->holders, v->name)));
}

uint32_t sources_write(struct admin *a, struct view centre_id, struct buf *out)
{
	struct source_list sources = {json_array(), centre_id, a, holders_index(a)};
	uint32_t n;

	sources_each(a->settings.sources, add_source, &sources);
	json_decref(sources.holders);
	n = (uint32_t)json_array_size(sources.list);
	status_write_document(out, json_pack("{s:o}", "sources", sources.list));
	return n;
}

struct source_count {
	uint32_t total;
	uint32_t connected;
};

static void count_source(void *context, const struct source_view *v)
{
	struct source_count *n = context;

	n->total++;
	n->connected += count_read(&v->figures->connected) != 0;
}

static json_t *count_sources(struct admin *a)
{
	struct source_count n = {0};

	sources_each(a->settings.sources, count_source, &n);
	return json_pack("{s:i, s:i}", "total", (int)n.total, "connected", (int)n.connected);
}

/* --- readiness -------------------------------------------------------- */

static const char *const phase_texts[] = {
	[ADMIN_STARTING] = "starting",
	[ADMIN_SERVING] = "serving",
	[ADMIN_DRAINING] = "draining",
};

/* 503 only for what another node would do better (interface.md, Endpoints). */
struct readiness admin_readiness(struct admin *a, const struct journal_figures *j)
{
	struct cluster_figures cluster = {0};
	struct readiness r = {"", "", ""};
	int phase = atomic_load(&a->phase);

	if (phase != ADMIN_SERVING)
		r.reason = phase_texts[phase];
	else if (j->failed)
		r.reason = "the journal cannot be written";
	if (a->settings.cluster)
		cluster_figures(a->settings.cluster, &cluster);
	if (j->held)
		r.degraded = "the journal cannot take more: sources are held";
	else if (cluster.degraded)
		r = (struct readiness){
			r.reason, cluster.degraded, cluster.fault ? cluster.fault : ""};
	return r;
}

bool admin_ready(struct admin *a, struct buf *out)
{
	struct journal_figures j;
	struct commit_figures c;
	struct hierarchy *hierarchy = admin_hierarchy(a);
	struct readiness r;
	char *why;

	journal_figures(commit_journal(a->settings.commit), &j);
	commit_figures(a->settings.commit, &c);
	r = admin_readiness(a, &j);
	why = mem_printf("%s%s%s", r.degraded, r.fault[0] ? ". Redis: " : "", r.fault);
	status_write_document(
		out, json_pack("{s:b, s:s, s:b, s:s, s:o, s:s, s:f}", "ready", r.reason[0] == '\0',
			     "reason", r.reason, "degraded", r.degraded[0] != '\0',
			     "degraded_reason", why, "sources", count_sources(a), "topic_hierarchy",
			     hierarchy_version(hierarchy), "antiloop_span_seconds",
			     (double)c.span_ms / 1000));
	hierarchy_unref(hierarchy);
	free(why);
	return r.reason[0] == '\0';
}

/* --- status ----------------------------------------------------------- */

/* Bytes a second since start tell how far `journal.size` reaches back. */
double admin_journal_reach(const struct admin *a, const struct journal_figures *j)
{
	uint64_t up_ms = clock_mono_ms() - a->started_mono_ms;
	double rate = up_ms ? (double)j->appended_bytes * 1000 / (double)up_ms : 0;
	double keep = (double)a->settings.journal_keep_ms / 1000;
	double reach = rate > 0 ? (double)a->settings.journal_size_bytes / rate : keep;

	return reach < keep ? reach : keep;
}

static json_t *journal_of(const struct admin *a, const struct journal_figures *j)
{
	return json_pack("{s:I, s:i, s:I, s:f, s:f, s:b, s:b}", "bytes", NUMBER(j->bytes),
		"segments", (int)j->segments, "appended", NUMBER(j->appended), "oldest_seconds",
		(double)j->oldest_ms / 1000, "reach_seconds", admin_journal_reach(a, j), "held",
		j->held, "failed", j->failed);
}

static json_t *antiloop_of(const struct commit_figures *c)
{
	return json_pack("{s:I, s:I, s:I, s:f}", "ids", NUMBER(c->ids), "published",
		NUMBER(c->first), "repeats", NUMBER(c->repeats), "span_seconds",
		(double)c->span_ms / 1000);
}

static json_t *clients_of(const struct broker_figures *f)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "connections",
		NUMBER(f->connections), "sessions", NUMBER(f->sessions), "sessions_offline",
		NUMBER(f->sessions_offline), "behind", NUMBER(f->behind), "subscriptions",
		NUMBER(f->subscriptions), "delivered", NUMBER(f->delivered), "delivered_bytes",
		NUMBER(f->delivered_bytes));
}

static json_t *list_of(const struct librarian_list_figures *l)
{
	return json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:s}", "url", l->url, "records",
		NUMBER(l->records), "refused", NUMBER(l->refused), "age_seconds",
		l->has_list ? json_real((double)l->age_ms / 1000) : json_null(), "fetches",
		NUMBER(l->fetches), "failures", NUMBER(l->failures), "last_error", l->last_error);
}

static json_t *catalogue_of(const struct admin *a)
{
	json_t *lists = json_array();
	struct librarian_figures f;

	librarian_figures(a->settings.librarian, &f);
	for (uint32_t i = 0; i < f.list_count; i++)
		json_array_append_new(lists, list_of(&f.lists[i]));
	return json_pack("{s:s, s:b, s:s, s:o, s:f, s:I, s:o}", "state",
		librarian_state_text(f.state), "in_force", librarian_state_in_force(f.state), "why",
		librarian_state_why(f.state), "age_seconds",
		f.has_age ? json_real((double)f.age_ms / 1000) : json_null(), "next_seconds",
		(double)f.next_ms / 1000, "pairs", NUMBER(f.pairs), "catalogues", lists);
}

/* null on one machine */
static json_t *cluster_of(const struct admin *a)
{
	struct cluster_figures f;
	json_t *cluster;

	if (a->settings.cluster == NULL)
		return json_null();
	cluster_figures(a->settings.cluster, &f);
	cluster = nodes_document(a);
	json_object_update_new(cluster,
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:I, s:I, s:f}", "state",
			cluster_state_text(f.state), "degraded", f.degraded ? f.degraded : "",
			"redis", f.redis, "redis_fault", f.degraded && f.fault ? f.fault : "",
			"redis_connections", NUMBER(f.connections), "claims", NUMBER(f.claims),
			"waiting_seconds", (double)f.waiting_ms / 1000, "spool_messages",
			NUMBER(f.spool_messages), "lag_messages", NUMBER(f.lag_entries),
			"lag_seconds", (double)f.lag_ms / 1000));
	return cluster;
}

static json_t *listeners_of(struct admin *a)
{
	json_t *list = json_array();

	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->listener_count; i++)
		json_array_append_new(list, json_string(a->listeners[i]));
	pthread_mutex_unlock(&a->lock);
	return list;
}

static json_t *certificates_of(struct admin *a)
{
	json_t *list = json_array();

	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->certificate_count; i++) {
		const struct admin_certificate *c = &a->certificates[i];
		uint64_t ends_ms = c->ends_s > 0 ? (uint64_t)c->ends_s * 1000 : 0;

		json_array_append_new(
			list, json_pack("{s:s, s:o, s:b}", "listener", c->listener, "ends",
				      time_of(ends_ms), "self_signed", (int)c->self_signed));
	}
	pthread_mutex_unlock(&a->lock);
	return list;
}

void status_write(struct admin *a, struct buf *out)
{
	struct journal_figures j;
	struct commit_figures c;
	struct broker_figures f;
	struct hierarchy *hierarchy = admin_hierarchy(a);

	journal_figures(commit_journal(a->settings.commit), &j);
	commit_figures(a->settings.commit, &c);
	broker_figures(a->settings.broker, &f);
	status_write_document(out,
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
			  "s:o, s:o}",
			"centre_id", a->centre_id, "version", ISOBAR_VERSION, "topic_hierarchy",
			hierarchy_version(hierarchy), "phase", phase_texts[atomic_load(&a->phase)],
			"started", time_of(a->started_ms), "uptime_seconds",
			NUMBER((clock_mono_ms() - a->started_mono_ms) / 1000), "workers",
			(int)a->settings.workers, "listeners", listeners_of(a), "certificates",
			certificates_of(a), "sources", count_sources(a), "clients", clients_of(&f),
			"journal", journal_of(a, &j), "antiloop", antiloop_of(&c), "metadata",
			catalogue_of(a), "cluster", cluster_of(a), "publish", targets_list(a)));
	hierarchy_unref(hierarchy);
}
