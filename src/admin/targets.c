/* Brokers that are fed (publish/publish.h): as metrics and as JSON. */
#include <jansson.h>

#include "admin/exposition.h"
#include "admin/internal.h"
#include "base/clock.h"
#include "base/count.h"
#include "cluster/cluster.h"
#include "publish/publish.h"

/* --- metrics ------------------------------------------------------------ */

/* A metric that is one number of struct publish_figures. */
static const struct row {
	enum metric metric;
	size_t place;
} rows[] = {
	{METRIC_PUBLISH_CONNECTED, offsetof(struct publish_figures, connected)},
	{METRIC_PUBLISH_CONNECTS, offsetof(struct publish_figures, connects)},
	{METRIC_PUBLISH_ACKNOWLEDGED, offsetof(struct publish_figures, acknowledged)},
	{METRIC_PUBLISH_REFUSED, offsetof(struct publish_figures, refused)},
	{METRIC_PUBLISH_DELAYED, offsetof(struct publish_figures, delayed)},
	{METRIC_PUBLISH_RESENT, offsetof(struct publish_figures, resent)},
	{METRIC_PUBLISH_EXPIRED, offsetof(struct publish_figures, expired)},
};

/* The same, of a cluster. */
static const struct row cluster_rows[] = {
	{METRIC_PUBLISH_SHARDS, offsetof(struct publish_figures, owned)},
	{METRIC_PUBLISH_GAPS, offsetof(struct publish_figures, gaps)},
};
#define CLUSTER_ROWS (sizeof(cluster_rows) / sizeof(cluster_rows[0]))

struct writing {
	struct exposition *e;
	const struct row *row;
	struct buf labels;
};

static void label(struct writing *w, const struct publish_view *v)
{
	buf_clear(&w->labels);
	exposition_label(&w->labels, "target", view_of(v->name));
}

static void write_row(void *context, const struct publish_view *v)
{
	struct writing *w = context;
	const count *figure =
		(const count *)(const void *)((const char *)v->figures + w->row->place);

	label(w, v);
	exposition_count(w->e, w->row->metric, &w->labels, count_read(figure));
}

static void write_lost(void *context, const struct publish_view *v)
{
	struct writing *w = context;

	for (int loss = 0; loss < PUBLISH_LOSS_COUNT; loss++) {
		label(w, v);
		exposition_label(
			&w->labels, "reason", view_of(publish_loss_text((enum publish_loss)loss)));
		exposition_count(w->e, METRIC_PUBLISH_LOST, &w->labels,
			publish_lost(v->figures, (enum publish_loss)loss));
	}
}

static void write_lag_messages(void *context, const struct publish_view *v)
{
	struct writing *w = context;

	label(w, v);
	exposition_count(w->e, METRIC_PUBLISH_LAG_MESSAGES, &w->labels, v->lag_messages);
}

static void write_lag_seconds(void *context, const struct publish_view *v)
{
	struct writing *w = context;

	label(w, v);
	exposition_number(w->e, METRIC_PUBLISH_LAG_SECONDS, &w->labels, (double)v->lag_ms / 1000);
}

static void write_rows(struct writing *w, struct publisher *p, const struct row *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		w->row = &list[i];
		exposition_family(w->e, list[i].metric);
		publisher_each(p, write_row, w);
	}
}

void targets_write_metrics(struct admin *a, struct exposition *e)
{
	struct publisher *p = a->settings.publisher;
	struct writing w = {.e = e};

	write_rows(&w, p, rows, sizeof(rows) / sizeof(rows[0]));
	write_rows(&w, p, cluster_rows, a->settings.cluster ? CLUSTER_ROWS : 0);
	exposition_family(e, METRIC_PUBLISH_LOST);
	publisher_each(p, write_lost, &w);
	exposition_family(e, METRIC_PUBLISH_LAG_MESSAGES);
	publisher_each(p, write_lag_messages, &w);
	exposition_family(e, METRIC_PUBLISH_LAG_SECONDS);
	publisher_each(p, write_lag_seconds, &w);
	buf_fini(&w.labels);
}

/* --- JSON ------------------------------------------------------------------ */

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *since(const struct publish_figures *f)
{
	char text[CLOCK_TEXT_BYTES];

	if (count_read(&f->connected) == 0)
		return json_null();
	clock_format(count_read(&f->connected_since_ms), text);
	return json_string(text);
}

static json_t *lost(const struct publish_figures *f)
{
	json_t *by_reason = json_object();

	for (int loss = 0; loss < PUBLISH_LOSS_COUNT; loss++)
		json_object_set_new(by_reason, publish_loss_text((enum publish_loss)loss),
			number(publish_lost(f, (enum publish_loss)loss)));
	return by_reason;
}

struct listing {
	json_t *list;
	json_t *owners; /* NULL: one machine; else target -> node -> shards */
};

/* The value of a key, made when it is not there. */
static json_t *part_of(json_t *object, struct view key, json_t *(*make)(void))
{
	json_t *part = json_object_getn(object, key.p, key.n);

	if (part == NULL) {
		part = make();
		json_object_setn_new(object, key.p, key.n, part);
	}
	return part;
}

static void add_shard(void *context, struct view target, uint32_t shard, struct view node)
{
	json_t *nodes = part_of(context, target, json_object);

	if (node.n)
		json_array_append_new(part_of(nodes, node, json_array), number(shard));
}

static void add_target(void *context, const struct publish_view *v)
{
	struct listing *l = context;
	const struct publish_figures *f = v->figures;
	json_t *owners = json_object_get(l->owners, v->name);
	json_t *target = json_pack(
		"{s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f}", "target",
		v->name, "state", v->state, "connected", count_read(&f->connected) != 0,
		"last_error", v->last_error, "protocol", v->protocol == 4 ? "3.1.1" : "5",
		"connected_since", since(f), "acknowledged", number(count_read(&f->acknowledged)),
		"refused", number(count_read(&f->refused)), "delayed",
		number(count_read(&f->delayed)), "resent", number(count_read(&f->resent)),
		"expired", number(count_read(&f->expired)), "lost", lost(f), "lag_messages",
		number(v->lag_messages), "lag_seconds", (double)v->lag_ms / 1000);

	if (l->owners) {
		json_object_set_new(target, "shards", number(count_read(&f->owned)));
		json_object_set_new(target, "gaps", number(count_read(&f->gaps)));
		json_object_set_new(target, "fed_by", owners ? json_incref(owners) : json_object());
	}
	json_array_append_new(l->list, target);
}

json_t *targets_list(struct admin *a)
{
	struct listing l = {.list = json_array()};

	if (a->settings.cluster) {
		l.owners = json_object();
		cluster_each_target_shard(a->settings.cluster, add_shard, l.owners);
	}
	publisher_each(a->settings.publisher, add_target, &l);
	json_decref(l.owners);
	return l.list;
}
