#include <stdlib.h>

#include "admin/exposition.h"
#include "admin/internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "wis2/topic.h"

/* --- per centre ------------------------------------------------------- */

/* A metric that is one number of struct centre: table instead of a function each. */
struct centre_row {
	enum metric metric;
	size_t place;
	enum {
		OF_NODE, /* what this node has counted */
		OF_WIS2, /* of the whole cluster; carries report_by (MON-01) */
		OF_CLUSTER,
		OF_STANDBY, /* where there is a cluster */
	} of;
};

#define PLACE(member) offsetof(struct centre, member)

static const struct centre_row centre_rows[] = {
	{METRIC_RECEIVED, PLACE(received), OF_WIS2},
	{METRIC_PUBLISHED, PLACE(published), OF_WIS2},
	{METRIC_INVALID_TOPIC, PLACE(checks[CHECK_TOPIC]), OF_WIS2},
	{METRIC_INVALID_FORMAT, PLACE(checks[CHECK_MESSAGE]), OF_WIS2},
	{METRIC_NO_METADATA, PLACE(checks[CHECK_METADATA]), OF_WIS2},
	{METRIC_DUPLICATES, PLACE(duplicates), OF_CLUSTER},
	{METRIC_CONFLICTS, PLACE(conflicts), OF_NODE},
	{METRIC_STANDBY_RECEIVED, PLACE(standby_received), OF_STANDBY},
	{METRIC_STANDBY_DUPLICATES, PLACE(standby_duplicates), OF_STANDBY},
	{METRIC_STANDBY_REJECTED, PLACE(standby_rejected), OF_STANDBY},
	{METRIC_BY_CENTRE, PLACE(by_centre), OF_NODE},
	{METRIC_OVERSIZED, PLACE(oversized), OF_NODE},
	{METRIC_SESSION_LOSS, PLACE(clean_starts), OF_NODE},
	{METRIC_SOURCE_CONNECTS, PLACE(connects), OF_NODE},
	{METRIC_SOURCE_BYTES, PLACE(bytes), OF_NODE},
};

static void label_centre(struct buf *labels, const struct centre *c, const char *report_by)
{
	buf_clear(labels);
	exposition_label(labels, "centre_id", view_of(c->centre_id));
	if (report_by)
		exposition_label(labels, "report_by", view_of(report_by));
}

static void write_row(struct exposition *e, const struct centres *centres,
	const struct centre_row *row, const char *report_by)
{
	struct buf labels = {0};

	exposition_family(e, row->metric);
	for (uint32_t i = 0; i < centres->count; i++) {
		const struct centre *c = &centres->list[i];
		uint64_t value;

		memcpy(&value, (const char *)c + row->place, sizeof(value));
		label_centre(&labels, c, row->of == OF_WIS2 ? report_by : NULL);
		exposition_count(e, row->metric, &labels, value);
	}
	buf_fini(&labels);
}

static void write_wis2_gauges(
	struct exposition *e, const struct centres *centres, const char *report_by)
{
	struct buf labels = {0};

	exposition_family(e, METRIC_CONNECTED);
	for (uint32_t i = 0; i < centres->count; i++) {
		label_centre(&labels, &centres->list[i], report_by);
		exposition_count(e, METRIC_CONNECTED, &labels, centres->list[i].connected);
	}
	exposition_family(e, METRIC_LAST_MESSAGE);
	for (uint32_t i = 0; i < centres->count; i++) {
		label_centre(&labels, &centres->list[i], report_by);
		exposition_number(e, METRIC_LAST_MESSAGE, &labels,
			(double)centres->list[i].last_message_ms / 1000);
	}
	buf_fini(&labels);
}

static void write_rejected(struct exposition *e, const struct centres *centres)
{
	struct buf labels = {0};

	exposition_family(e, METRIC_REJECTED);
	for (uint32_t i = 0; i < centres->count; i++) {
		for (int rule = 1; rule < RULE_COUNT; rule++) {
			if (centres->list[i].rejected[rule] == 0)
				continue;
			label_centre(&labels, &centres->list[i], NULL);
			exposition_label(&labels, "rule", view_of(rule_id((enum rule)rule)));
			exposition_count(
				e, METRIC_REJECTED, &labels, centres->list[i].rejected[rule]);
		}
	}
	buf_fini(&labels);
}

/* --- per source ------------------------------------------------------- */

/* A metric that is one number of struct source_figures. */
struct source_row {
	enum metric metric;
	size_t place;
	double unit;
};

static const struct source_row source_rows[] = {
	{METRIC_SOURCE_CONNECTED, offsetof(struct source_figures, connected), 1},
	{METRIC_SOURCE_LAST, offsetof(struct source_figures, last_message_ms), 1e-3},
	{METRIC_SOURCE_WAITING, offsetof(struct source_figures, waiting), 1},
	{METRIC_SOURCE_PAUSED, offsetof(struct source_figures, is_paused), 1},
};

struct source_series {
	struct exposition *e;
	const struct source_row *row;
};

static bool is_meant_to_run(const struct source_view *v)
{
	uint64_t state = count_read(&v->figures->state);

	return state != UPLINK_DISABLED && state != UPLINK_STOPPED;
}

static void write_source(void *context, const struct source_view *v)
{
	const struct source_series *to = context;
	const char *at = (const char *)v->figures + to->row->place;
	struct buf labels = {0};

	if (!is_meant_to_run(v))
		return;
	exposition_label(&labels, "centre_id", view_of(v->centre_id));
	exposition_label(&labels, "source", view_of(v->name));
	exposition_label(&labels, "kind", view_of(v->kind));
	exposition_number(to->e, to->row->metric, &labels,
		(double)count_read((const count *)(const void *)at) * to->row->unit);
	buf_fini(&labels);
}

/* One centre may have several sources; one that is down is not seen in the centre's series. */
static void write_each_source(struct exposition *e, struct admin *a)
{
	for (size_t i = 0; i < sizeof(source_rows) / sizeof(source_rows[0]); i++) {
		struct source_series to = {e, &source_rows[i]};

		exposition_family(e, source_rows[i].metric);
		sources_each(a->settings.sources, write_source, &to);
	}
}

static void write_first(void *context, const struct source_view *v)
{
	struct exposition *e = context;
	const struct first *one = NULL;
	struct buf labels = {0};

	while ((one = firsts_next(v->firsts, one)) != NULL) {
		buf_clear(&labels);
		exposition_label(&labels, "centre_id", view_of(one->centre));
		exposition_label(&labels, "source", view_of(v->name));
		exposition_count(e, METRIC_FIRST, &labels, count_read(&one->messages));
	}
	buf_fini(&labels);
}

static void write_delays(struct exposition *e, const struct centres *centres)
{
	struct buf labels = {0};

	exposition_family(e, METRIC_DELAY);
	for (uint32_t i = 0; i < centres->count; i++) {
		const struct centre *c = &centres->list[i];

		label_centre(&labels, c, NULL);
		exposition_histogram(e, METRIC_DELAY, &labels, c->delay, (double)c->delay_us, 1e-6);
	}
	buf_fini(&labels);
}

/* WIS2's series are the cluster's on every node: one voice (architecture.md). */
static void write_rows(
	struct exposition *e, struct admin *a, const struct centres *own, const struct centres *all)
{
	size_t rows = sizeof(centre_rows) / sizeof(centre_rows[0]);
	size_t i = 0;

	for (; i < rows && centre_rows[i].of == OF_WIS2; i++)
		write_row(e, all, &centre_rows[i], a->centre_id);
	write_wis2_gauges(e, all, a->centre_id);
	for (; i < rows; i++)
		if (centre_rows[i].of != OF_STANDBY || a->settings.cluster)
			write_row(e, centre_rows[i].of == OF_CLUSTER ? all : own, &centre_rows[i],
				NULL);
}

static void write_centres(struct exposition *e, struct admin *a)
{
	struct centres own, shared = {0};

	centres_collect(a->settings.sources, &own);
	if (a->settings.cluster)
		centres_of_cluster(a->settings.cluster, &shared);
	write_rows(e, a, &own, a->settings.cluster ? &shared : &own);
	exposition_family(e, METRIC_FIRST);
	sources_each(a->settings.sources, write_first, e);
	write_rejected(e, &own);
	write_each_source(e, a);
	write_delays(e, &own);
	centres_fini(&own);
	centres_fini(&shared);
}

/* --- single numbers --------------------------------------------------- */

static void one_count(struct exposition *e, enum metric m, uint64_t value)
{
	exposition_family(e, m);
	exposition_count(e, m, NULL, value);
}

static void one_number(struct exposition *e, enum metric m, double value)
{
	exposition_family(e, m);
	exposition_number(e, m, NULL, value);
}

static void one_labelled(
	struct exposition *e, enum metric m, const char *name, const char *value, uint64_t n)
{
	struct buf labels = {0};

	exposition_label(&labels, name, view_of(value));
	exposition_count(e, m, &labels, n);
	buf_fini(&labels);
}

static void write_histogram(struct exposition *e, enum metric m, const struct histogram *h)
{
	uint64_t buckets[HISTOGRAM_BUCKETS];

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
		buckets[i] = count_read(&h->buckets[i]);
	exposition_family(e, m);
	exposition_histogram(e, m, NULL, buckets, (double)count_read(&h->sum_us), 1e-6);
}

static void write_lag(struct exposition *e, struct broker *b)
{
	struct broker_lag lag;

	broker_lag(b, &lag);
	exposition_family(e, METRIC_LAG_MESSAGES);
	exposition_histogram(
		e, METRIC_LAG_MESSAGES, NULL, lag.messages, (double)lag.message_sum, 1.0);
	exposition_family(e, METRIC_LAG_SECONDS);
	exposition_histogram(e, METRIC_LAG_SECONDS, NULL, lag.us, (double)lag.us_sum, 1e-6);
	one_number(e, METRIC_LAG_MOST, (double)lag.us_most / 1e6);
}

static void write_porches(struct exposition *e, struct admin *a)
{
	exposition_family(e, METRIC_PROXY_REFUSED);
	for (int reason = 0; reason < PORCH_REFUSAL_COUNT; reason++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < a->settings.workers; i++)
			n += count_read(&a->settings.porches[i].refused[reason]);
		one_labelled(e, METRIC_PROXY_REFUSED, "reason",
			porch_refusal_text((enum porch_refusal)reason), n);
	}
}

static void write_broker(struct exposition *e, struct admin *a)
{
	struct broker_figures f;

	broker_figures(a->settings.broker, &f);
	one_count(e, METRIC_DELIVERED, f.delivered);
	one_count(e, METRIC_DELIVERED_BYTES, f.delivered_bytes);
	one_count(e, METRIC_ACKNOWLEDGED, f.acknowledged);
	one_count(e, METRIC_RESENT, f.resent);
	one_count(e, METRIC_HTTP_MESSAGES,
		atomic_load_explicit(&a->messages_served, memory_order_relaxed));
	one_count(e, METRIC_CLIENT_RECEIVED, f.received);
	one_count(e, METRIC_CLIENT_REFUSED, f.refused);
	exposition_family(e, METRIC_DROPPED);
	one_labelled(e, METRIC_DROPPED, "reason", "expired", f.dropped_expired);
	one_labelled(e, METRIC_DROPPED, "reason", "oversize", f.dropped_oversize);
	one_labelled(e, METRIC_DROPPED, "reason", "backlog", f.dropped_backlog);
	one_labelled(e, METRIC_DROPPED, "reason", "removed", f.dropped_removed);
	one_count(e, METRIC_SKIPPED, f.skipped_records);
	one_count(e, METRIC_CONNECTIONS, f.connections);
	one_count(e, METRIC_CONNECTS, f.connects);
	exposition_family(e, METRIC_CONNECTS_REFUSED);
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		one_labelled(e, METRIC_CONNECTS_REFUSED, "reason",
			broker_refusal_word((enum broker_refusal)i), f.connects_refused[i]);
	write_porches(e, a);
	one_count(e, METRIC_CONNECTIONS_LIMIT, a->connections);
	one_count(e, METRIC_SESSIONS_LIMIT, a->sessions);
	one_count(e, METRIC_SESSIONS, f.sessions);
	one_count(e, METRIC_SHARED_GROUPS, f.shared_groups);
	one_count(e, METRIC_SESSIONS_OFFLINE, f.sessions_offline);
	one_count(e, METRIC_SESSIONS_BEHIND, f.behind);
	one_count(e, METRIC_SUBSCRIPTIONS, f.subscriptions);
	one_count(e, METRIC_RETAINED, f.retained);
	one_count(e, METRIC_RETAINED_BYTES, f.retained_bytes);
	one_count(e, METRIC_RETAINED_REFUSED, f.retained_refused);
	write_histogram(e, METRIC_DELIVERY, &f.delivery);
	write_lag(e, a->settings.broker);
}

static void write_journal(struct exposition *e, struct admin *a)
{
	struct journal_figures j;
	struct commit_figures c;

	journal_figures(commit_journal(a->settings.commit), &j);
	commit_figures(a->settings.commit, &c);
	one_number(e, METRIC_HOLD, (double)c.held_ms / 1000);
	one_count(e, METRIC_JOURNAL_FAILED, j.failed);
	one_number(e, METRIC_JOURNAL_KEEP, (double)a->settings.journal_keep_ms / 1000);
	one_count(e, METRIC_JOURNAL_LIMIT, a->settings.journal_size_bytes);
	one_count(e, METRIC_DISK, j.disk_bytes);
	one_count(e, METRIC_DISK_FREE, j.disk_free_bytes);
	one_count(e, METRIC_JOURNAL_BYTES, j.bytes);
	one_count(e, METRIC_JOURNAL_INDEX_BYTES, j.index_bytes);
	one_count(e, METRIC_JOURNAL_SEGMENTS, j.segments);
	one_number(e, METRIC_JOURNAL_OLDEST, (double)j.oldest_ms / 1000);
	one_number(e, METRIC_JOURNAL_REACH, admin_journal_reach(a, &j));
	exposition_family(e, METRIC_SYNC);
	exposition_summary(e, METRIC_SYNC, NULL, (double)j.sync_ns / 1e9, j.syncs);
	one_count(e, METRIC_IDS, c.ids);
	one_count(e, METRIC_IDS_LIMIT, a->settings.ids);
	one_number(e, METRIC_IDS_WINDOW, (double)a->settings.window_ms / 1000);
	one_number(e, METRIC_IDS_SPAN, (double)c.span_ms / 1000);
	one_count(e, METRIC_IDS_BYTES, c.id_bytes);
}

/* A metric that is one number of struct librarian_list_figures. */
static const struct {
	enum metric metric;
	size_t place;
} catalogue_rows[] = {
	{METRIC_CATALOGUE_RECORDS, offsetof(struct librarian_list_figures, records)},
	{METRIC_CATALOGUE_FETCHES, offsetof(struct librarian_list_figures, fetches)},
	{METRIC_CATALOGUE_FAILURES, offsetof(struct librarian_list_figures, failures)},
};

static void write_catalogues(struct exposition *e, struct admin *a)
{
	struct librarian_figures f;

	librarian_figures(a->settings.librarian, &f);
	one_count(e, METRIC_CATALOGUE_IN_FORCE, librarian_state_in_force(f.state));
	exposition_family(e, METRIC_CATALOGUE_AGE);
	if (f.has_age) /* no list, no age of one */
		exposition_number(e, METRIC_CATALOGUE_AGE, NULL, (double)f.age_ms / 1000);
	one_count(e, METRIC_CATALOGUE_PAIRS, f.pairs);
	one_count(e, METRIC_CATALOGUE_BYTES, f.bytes);
	for (size_t row = 0; row < sizeof(catalogue_rows) / sizeof(catalogue_rows[0]); row++) {
		exposition_family(e, catalogue_rows[row].metric);
		for (uint32_t i = 0; i < f.list_count; i++) {
			const char *at = (const char *)&f.lists[i] + catalogue_rows[row].place;
			uint64_t value;

			memcpy(&value, at, sizeof(value));
			one_labelled(
				e, catalogue_rows[row].metric, "catalogue", f.lists[i].url, value);
		}
	}
}

struct state_counts {
	uint64_t of[UPLINK_STATE_COUNT];
};

static void count_state(void *context, const struct source_view *v)
{
	struct state_counts *n = context;

	n->of[count_read(&v->figures->state)]++;
}

static void write_sources(struct exposition *e, struct admin *a)
{
	struct state_counts n = {{0}};

	sources_each(a->settings.sources, count_state, &n);
	exposition_family(e, METRIC_SOURCES);
	for (unsigned i = 0; i < UPLINK_STATE_COUNT; i++)
		one_labelled(e, METRIC_SOURCES, "state", uplink_state_text(i), n.of[i]);
}

static void write_certificates(struct exposition *e, struct admin *a)
{
	struct buf labels = {0};
	double now_s = (double)clock_wall_ms() / 1000;

	exposition_family(e, METRIC_CERTIFICATE);
	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->certificate_count; i++) {
		const struct admin_certificate *c = &a->certificates[i];

		buf_clear(&labels);
		exposition_label(&labels, "listener", view_of(c->listener));
		exposition_label(&labels, "file", view_of(c->file));
		exposition_number(e, METRIC_CERTIFICATE, &labels, (double)c->ends_s - now_s);
	}
	exposition_family(e, METRIC_SELF_SIGNED);
	for (unsigned i = 0; i < a->certificate_count; i++)
		one_labelled(e, METRIC_SELF_SIGNED, "listener", a->certificates[i].listener,
			a->certificates[i].self_signed);
	pthread_mutex_unlock(&a->lock);
	buf_fini(&labels);
}

static void write_state(struct exposition *e, struct admin *a)
{
	struct journal_figures j;
	struct readiness r;

	journal_figures(commit_journal(a->settings.commit), &j);
	r = admin_readiness(a, &j);
	one_count(e, METRIC_READY, r.reason[0] == '\0');
	one_count(e, METRIC_DEGRADED, r.degraded[0] != '\0');
	one_count(e, METRIC_RELOAD_OK, !a->reload_refused);
	one_number(e, METRIC_RELOAD_TIME, (double)a->configured_ms / 1000);
	exposition_family(e, METRIC_LOG_LINES);
	one_labelled(e, METRIC_LOG_LINES, "level", "warn", log_written(LOG_WARN));
	one_labelled(e, METRIC_LOG_LINES, "level", "error", log_written(LOG_ERROR));
	one_number(e, METRIC_CLOCK, (double)clock_wall_ms() / 1000);
}

static void write_process(struct exposition *e, struct admin *a)
{
	struct hierarchy *hierarchy = admin_hierarchy(a);
	struct view version = view_of(hierarchy_version(hierarchy));
	struct buf labels = {0};
	struct process p;

	exposition_family(e, METRIC_INFO);
	exposition_label(&labels, "version", view_of(ISOBAR_VERSION));
	exposition_label(&labels, "topic_hierarchy", version);
	exposition_count(e, METRIC_INFO, &labels, 1);
	exposition_family(e, METRIC_HIERARCHY);
	buf_clear(&labels);
	exposition_label(&labels, "version", version);
	exposition_count(e, METRIC_HIERARCHY, &labels, 1);
	buf_fini(&labels);
	hierarchy_unref(hierarchy);
	process_read(&p);
	one_number(e, METRIC_CPU, p.cpu_seconds);
	one_count(e, METRIC_RESIDENT, p.resident_bytes);
	one_count(e, METRIC_ANONYMOUS, p.anonymous_bytes);
	one_count(e, METRIC_FDS, p.open_fds);
	one_count(e, METRIC_FDS_MOST, p.most_fds);
	one_number(e, METRIC_START, (double)a->started_ms / 1000);
}

/* A metric that is one number of struct cluster_figures. */
static const struct {
	enum metric metric;
	size_t place;
	double unit;
} cluster_rows[] = {
	{METRIC_REDIS_CONNECTIONS, offsetof(struct cluster_figures, connections), 1},
	{METRIC_REDIS_LOST, offsetof(struct cluster_figures, lost), 1},
	{METRIC_REDIS_MOVED, offsetof(struct cluster_figures, moved), 1},
	{METRIC_REDIS_SHORT, offsetof(struct cluster_figures, short_shards), 1},
	{METRIC_REDIS_EVICTING, offsetof(struct cluster_figures, evicting_shards), 1},
	{METRIC_CLAIMS, offsetof(struct cluster_figures, claims), 1},
	{METRIC_CLAIM_CALLS, offsetof(struct cluster_figures, calls), 1},
	{METRIC_CLAIM_REPEATED, offsetof(struct cluster_figures, repeated), 1},
	{METRIC_CLAIM_WAITING, offsetof(struct cluster_figures, waiting_ms), 1e-3},
	{METRIC_CLAIM_BYTES, offsetof(struct cluster_figures, waiting_bytes), 1},
	{METRIC_SPOOLED, offsetof(struct cluster_figures, spooled), 1},
	{METRIC_SPOOL_MESSAGES, offsetof(struct cluster_figures, spool_messages), 1},
	{METRIC_SPOOL_BYTES, offsetof(struct cluster_figures, spool_bytes), 1},
	{METRIC_SPOOL_LIMIT, offsetof(struct cluster_figures, spool_most_bytes), 1},
	{METRIC_PUT_BACK, offsetof(struct cluster_figures, put_back), 1},
	{METRIC_FOREIGN, offsetof(struct cluster_figures, foreign), 1},
	{METRIC_ESCAPED, offsetof(struct cluster_figures, escaped), 1},
	{METRIC_FOLLOWED, offsetof(struct cluster_figures, read), 1},
	{METRIC_FOLLOW_LAG, offsetof(struct cluster_figures, lag_entries), 1},
	{METRIC_FOLLOW_LAG_SECONDS, offsetof(struct cluster_figures, lag_ms), 1e-3},
	{METRIC_FOLLOW_MISSED, offsetof(struct cluster_figures, missed), 1},
	{METRIC_FOLLOW_UNORDERED, offsetof(struct cluster_figures, unordered), 1},
	{METRIC_FOLLOW_UNSAFE, offsetof(struct cluster_figures, unsafe), 1},
	{METRIC_FOLLOW_NO_RECORD, offsetof(struct cluster_figures, no_records), 1},
	{METRIC_FOLLOW_HELD, offsetof(struct cluster_figures, follow_held), 1},
};

static void write_nodes(struct exposition *e, struct cluster *c)
{
	struct nodes_sum sum;

	(void)cluster_sum(c, &sum);
	exposition_family(e, METRIC_CLUSTER_NODES);
	for (unsigned i = 0; i < NODE_STATES; i++)
		one_labelled(e, METRIC_CLUSTER_NODES, "state", node_state_text((enum node_state)i),
			sum.states[i]);
}

/* Nothing on one machine. */
static void write_cluster(struct exposition *e, struct admin *a)
{
	struct cluster_figures f;

	if (a->settings.cluster == NULL)
		return;
	cluster_figures(a->settings.cluster, &f);
	exposition_family(e, METRIC_CLUSTER_STATE);
	for (unsigned i = 0; i < CLUSTER_STATES; i++)
		one_labelled(e, METRIC_CLUSTER_STATE, "state",
			cluster_state_text((enum cluster_state)i), f.state == i);
	write_nodes(e, a->settings.cluster);
	exposition_family(e, METRIC_FOLLOW_SHARDS);
	for (unsigned i = 0; i < FOLLOW_STATES; i++)
		one_labelled(e, METRIC_FOLLOW_SHARDS, "state",
			follow_state_text((enum follow_state)i), f.shards[i]);
	for (size_t i = 0; i < sizeof(cluster_rows) / sizeof(cluster_rows[0]); i++) {
		uint64_t value;

		memcpy(&value, (const char *)&f + cluster_rows[i].place, sizeof(value));
		if (cluster_rows[i].unit < 1)
			one_number(e, cluster_rows[i].metric, (double)value * cluster_rows[i].unit);
		else
			one_count(e, cluster_rows[i].metric, value);
	}
}

void metrics_write(struct admin *a, struct buf *out, bool is_openmetrics)
{
	struct exposition e = {out, is_openmetrics};
	struct reports_figures reports;
	struct commit_figures c;

	write_centres(&e, a);
	commit_figures(a->settings.commit, &c);
	one_count(&e, METRIC_COMMITTED, c.first);
	reports_figures(a->settings.reports, &reports);
	one_count(&e, METRIC_EVENTS, reports.events);
	one_count(&e, METRIC_EVENTS_DROPPED, reports.events_dropped);
	one_count(&e, METRIC_REPEATS, c.repeats);
	write_broker(&e, a);
	write_journal(&e, a);
	write_catalogues(&e, a);
	write_cluster(&e, a);
	targets_write_metrics(a, &e);
	write_sources(&e, a);
	write_certificates(&e, a);
	write_state(&e, a);
	write_process(&e, a);
	exposition_end(&e);
}
