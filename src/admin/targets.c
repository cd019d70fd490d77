/* Brokers that are fed (publish/publish.h): as metrics and as JSON. */
#include <jansson.h>

#include "admin/exposition.h"
#include "admin/internal.h"
#include "base/clock.h"
#include "base/count.h"
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

void targets_write_metrics(struct admin *a, struct exposition *e)
{
	struct publisher *p = a->settings.publisher;
	struct writing w = {.e = e};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		w.row = &rows[i];
		exposition_family(e, rows[i].metric);
		publisher_each(p, write_row, &w);
	}
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

static void add_target(void *context, const struct publish_view *v)
{
	const struct publish_figures *f = v->figures;

	json_array_append_new(context,
		json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f}",
			"target", v->name, "state", v->state, "connected",
			count_read(&f->connected) != 0, "last_error", v->last_error, "protocol",
			v->protocol == 4 ? "3.1.1" : "5", "connected_since", since(f),
			"acknowledged", number(count_read(&f->acknowledged)), "refused",
			number(count_read(&f->refused)), "delayed", number(count_read(&f->delayed)),
			"resent", number(count_read(&f->resent)), "expired",
			number(count_read(&f->expired)), "lost", lost(f), "lag_messages",
			number(v->lag_messages), "lag_seconds", (double)v->lag_ms / 1000));
}

json_t *targets_list(struct admin *a)
{
	json_t *list = json_array();

	publisher_each(a->settings.publisher, add_target, list);
	return list;
}
