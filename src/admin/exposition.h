/* admin/exposition.h - metrics as text: OpenMetrics 1.0.0 or Prometheus 0.0.4
 *
 * A family is announced once, then its samples follow. Threads: any; the state is in the arguments.
 */
#ifndef ADMIN_EXPOSITION_H
#define ADMIN_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/count.h"

enum metric {
#define X(symbol, family, kind, help) METRIC_##symbol,
#include "admin/metric.def"
#undef X
	METRIC_COUNT
};

struct exposition {
	struct buf *out;
	bool is_openmetrics;
};

#define EXPOSITION_OPENMETRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define EXPOSITION_PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"

/* The lines # HELP and # TYPE. */
void exposition_family(struct exposition *e, enum metric m);

/* One sample of the family; labels as built by exposition_label(), NULL: none. */
void exposition_count(
	struct exposition *e, enum metric m, const struct buf *labels, uint64_t value);
void exposition_number(struct exposition *e, enum metric m, const struct buf *labels, double value);

/* Buckets, sum and count of a histogram whose bucket i holds values below 2^i units; `unit` converts
 * to what the metric counts in (1e-6: microseconds to seconds). */
void exposition_histogram(struct exposition *e, enum metric m, const struct buf *labels,
	const uint64_t buckets[HISTOGRAM_BUCKETS], double sum, double unit);

/* A summary without quantiles: sum and count. */
void exposition_summary(
	struct exposition *e, enum metric m, const struct buf *labels, double sum, uint64_t n);

/* Appends name="value" with a comma where needed; the value is escaped (MON-07). */
void exposition_label(struct buf *labels, const char *name, struct view value);

/* The final line of OpenMetrics. */
void exposition_end(struct exposition *e);

#endif
