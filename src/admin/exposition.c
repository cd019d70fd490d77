#include "admin/exposition.h"

#include <stdio.h>

enum kind {
	KIND_COUNTER,
	KIND_GAUGE,
	KIND_HISTOGRAM,
	KIND_GAUGE_HISTOGRAM,
	KIND_SUMMARY,
	KIND_INFO
};

struct family {
	const char *name;
	const char *help;
	enum kind kind;
};

static const struct family families[METRIC_COUNT] = {
#define X(symbol, family, kind, help) [METRIC_##symbol] = {family, help, KIND_##kind},
#include "admin/metric.def"
#undef X
};

/* Type by format; the Prometheus format knows neither info nor gauge histograms. */
static const struct {
	const char *openmetrics;
	const char *prometheus;
	const char *suffix;
} kinds[] = {
	[KIND_COUNTER] = {"counter", "counter", "_total"},
	[KIND_GAUGE] = {"gauge", "gauge", ""},
	[KIND_HISTOGRAM] = {"histogram", "histogram", ""},
	[KIND_GAUGE_HISTOGRAM] = {"gaugehistogram", "histogram", ""},
	[KIND_SUMMARY] = {"summary", "summary", ""},
	[KIND_INFO] = {"info", "gauge", "_info"},
};

void exposition_family(struct exposition *e, enum metric m)
{
	const struct family *f = &families[m];
	const char *suffix = e->is_openmetrics ? "" : kinds[f->kind].suffix;
	const char *type =
		e->is_openmetrics ? kinds[f->kind].openmetrics : kinds[f->kind].prometheus;

	buf_printf(e->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", f->name, suffix, f->help, f->name,
		suffix, type);
}

static void put_name(struct exposition *e, const char *name, const char *suffix,
	const struct buf *labels, const char *more)
{
	bool has_labels = labels && buf_length(labels);

	buf_printf(e->out, "%s%s", name, suffix);
	if (has_labels || more) {
		buf_text(e->out, "{");
		if (has_labels)
			buf_append(e->out, buf_bytes(labels), buf_length(labels));
		if (more)
			buf_printf(e->out, "%s%s", has_labels ? "," : "", more);
		buf_text(e->out, "}");
	}
	buf_text(e->out, " ");
}

void exposition_count(struct exposition *e, enum metric m, const struct buf *labels, uint64_t value)
{
	put_name(e, families[m].name, kinds[families[m].kind].suffix, labels, NULL);
	buf_printf(e->out, "%llu\n", (unsigned long long)value);
}

void exposition_number(struct exposition *e, enum metric m, const struct buf *labels, double value)
{
	put_name(e, families[m].name, kinds[families[m].kind].suffix, labels, NULL);
	buf_printf(e->out, "%.15g\n", value);
}

void exposition_histogram(struct exposition *e, enum metric m, const struct buf *labels,
	const uint64_t buckets[HISTOGRAM_BUCKETS], double sum, double unit)
{
	bool is_gauge = families[m].kind == KIND_GAUGE_HISTOGRAM && e->is_openmetrics;
	uint64_t below = 0;
	char le[64];

	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		below += buckets[i];
		snprintf(le, sizeof(le), "le=\"%.9g\"", (double)(1ull << i) * unit);
		put_name(e, families[m].name, "_bucket", labels, le);
		buf_printf(e->out, "%llu\n", (unsigned long long)below);
	}
	below += buckets[HISTOGRAM_BUCKETS - 1];
	put_name(e, families[m].name, "_bucket", labels, "le=\"+Inf\"");
	buf_printf(e->out, "%llu\n", (unsigned long long)below);
	put_name(e, families[m].name, is_gauge ? "_gsum" : "_sum", labels, NULL);
	buf_printf(e->out, "%.15g\n", sum * unit);
	put_name(e, families[m].name, is_gauge ? "_gcount" : "_count", labels, NULL);
	buf_printf(e->out, "%llu\n", (unsigned long long)below);
}

void exposition_summary(
	struct exposition *e, enum metric m, const struct buf *labels, double sum, uint64_t n)
{
	put_name(e, families[m].name, "_sum", labels, NULL);
	buf_printf(e->out, "%.15g\n", sum);
	put_name(e, families[m].name, "_count", labels, NULL);
	buf_printf(e->out, "%llu\n", (unsigned long long)n);
}

void exposition_label(struct buf *labels, const char *name, struct view value)
{
	buf_printf(labels, "%s%s=\"", buf_length(labels) ? "," : "", name);
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == '\n')
			buf_text(labels, "\\n");
		else if (c == '"' || c == '\\')
			buf_printf(labels, "\\%c", c);
		else
			buf_append(labels, &c, 1);
	}
	buf_text(labels, "\"");
}

void exposition_end(struct exposition *e)
{
	if (e->is_openmetrics)
		buf_text(e->out, "# EOF\n");
}
