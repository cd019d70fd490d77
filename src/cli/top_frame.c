#include "cli/top_frame.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define STATE_WIDTH 11u
#define NUMBERS_WIDTH 42u /* of the columns behind the state */
#define NODE_WIDTH 18u
#define MODE_WIDTH 19u /* "draining committing" */
#define LINE_MOST 1024u
#define HEAD_LINES 5u /* on one machine */

/* A source with what is shown of it. */
struct row {
	const struct top_source *source;
	double rates[4]; /* received, published, duplicates, refused; a second */
	double delay_s;  /* mean since the sample before; below 0: none */
	double last_s;   /* age; below 0: none yet */
};

/* --- text ------------------------------------------------------------- */

/* Exactly `width` characters, filled up on the right. */
static void put_cell(struct buf *out, const char *text, size_t width)
{
	size_t used = 0;

	for (const unsigned char *p = (const unsigned char *)text; *p && used < width; p++) {
		char piece[8];
		int n = *p >= ' ' && *p < 0x7f ? snprintf(piece, sizeof(piece), "%c", *p)
					       : snprintf(piece, sizeof(piece), "\\x%02x", *p);

		if (used + (size_t)n > width)
			break;
		buf_append(out, piece, (size_t)n);
		used += (size_t)n;
	}
	while (used++ < width)
		buf_text(out, " ");
}

/* Ends the line that began at `from`, no longer than the screen is wide. */
static void end_line(struct buf *out, size_t from, uint32_t width)
{
	size_t length = buf_length(out) - from;

	if (length > width)
		buf_cut(out, from + width);
	buf_text(out, "\n");
}

/* In six characters. */
static void put_rate(struct buf *out, double rate)
{
	if (rate < 9999.95)
		buf_printf(out, " %6.1f", rate);
	else if (rate < 1e6)
		buf_printf(out, " %5.0fk", rate / 1e3);
	else
		buf_printf(out, " %5.0fM", rate / 1e6);
}

/* In six characters. */
static void put_span(struct buf *out, double seconds)
{
	if (seconds < 0)
		buf_text(out, "      -");
	else if (seconds < 100)
		buf_printf(out, " %5.1fs", seconds);
	else if (seconds < 6000)
		buf_printf(out, " %5.0fm", seconds / 60);
	else if (seconds < 72 * 3600)
		buf_printf(out, " %5.0fh", seconds / 3600);
	else
		buf_printf(out, " %5.0fd", seconds < 8e9 ? seconds / 86400 : 99999.0);
}

/* "12.3 GiB" */
static void put_bytes(struct buf *out, double bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	unsigned i = 0;

	for (; bytes >= 1024 && i < 4; i++)
		bytes /= 1024;
	buf_printf(out, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

/* --- rates ------------------------------------------------------------ */

/* A counter that fell began anew. */
static double rate(uint64_t now, uint64_t before, double seconds)
{
	uint64_t more = now >= before ? now - before : now;

	return seconds > 0 ? (double)more / seconds : 0;
}

static double span_of(const struct top_sample *now, const struct top_sample *before)
{
	return before->at_ms ? (double)(now->at_ms - before->at_ms) / 1000 : 0;
}

static struct row row_of(
	const struct top_sample *now, const struct top_sample *before, const struct top_source *s)
{
	static const struct top_source none;
	const struct top_source *old = top_find(before, s->name);
	double seconds = old ? span_of(now, before) : 0;
	double more;
	struct row row = {.source = s, .delay_s = -1, .last_s = -1};

	old = old ? old : &none;
	row.rates[0] = rate(s->received, old->received, seconds);
	row.rates[1] = rate(s->published, old->published, seconds);
	row.rates[2] = rate(s->duplicates, old->duplicates, seconds);
	row.rates[3] = rate(s->refused, old->refused, seconds);
	more = s->delay_count - old->delay_count;
	if (more > 0 && s->delay_sum >= old->delay_sum)
		row.delay_s = (s->delay_sum - old->delay_sum) / more;
	if (s->last_ms)
		row.last_s =
			now->wall_ms > s->last_ms ? (double)(now->wall_ms - s->last_ms) / 1000 : 0;
	return row;
}

/* --- order ------------------------------------------------------------ */

static int more_first(double a, double b)
{
	return (a < b) - (a > b);
}

static int compare_rows(const struct row *a, const struct row *b, enum top_order order)
{
	switch (order) {
	case TOP_BY_STATE:
		return strcmp(a->source->state, b->source->state);
	case TOP_BY_DELAY:
		return more_first(a->delay_s, b->delay_s);
	case TOP_BY_LAST:
		return more_first(a->last_s, b->last_s);
	case TOP_BY_RECEIVED:
	case TOP_BY_PUBLISHED:
	case TOP_BY_DUPLICATES:
	case TOP_BY_REFUSED:
		return more_first(
			a->rates[order - TOP_BY_RECEIVED], b->rates[order - TOP_BY_RECEIVED]);
	default:
		return 0;
	}
}

static int by_order(const void *a, const void *b, void *context)
{
	const struct row *x = a, *y = b;
	int difference = compare_rows(x, y, *(const enum top_order *)context);

	return difference ? difference : strcmp(x->source->name, y->source->name);
}

bool top_order_of(char key, enum top_order *out)
{
	static const char keys[] = {
#define X(order, key, name) key,
#include "cli/top_order.def"
#undef X
	};
	const char *found = key ? memchr(keys, key, sizeof(keys)) : NULL;

	if (found)
		*out = (enum top_order)(found - keys);
	return found != NULL;
}

/* --- the head --------------------------------------------------------- */

static void put_broker(const struct top_view *v, const struct top_sample *now, struct buf *out)
{
	size_t from = buf_length(out);
	char name[TOP_TEXT_BYTES * 4 + 1];

	snprintf(name, sizeof(name), "%s %s %s", now->centre_id, now->version, now->phase);
	put_cell(out, name, strlen(name) < 56 ? strlen(name) : 56);
	buf_printf(out, "  up %llud%02lluh%02llum%s", (unsigned long long)(now->uptime_s / 86400),
		(unsigned long long)(now->uptime_s / 3600 % 24),
		(unsigned long long)(now->uptime_s / 60 % 60),
		now->failed ? "  JOURNAL FAILED"
		: now->held ? "  JOURNAL FULL"
			    : "");
	end_line(out, from, v->width);
}

static void put_sources_sum(const struct top_view *v, const struct top_sample *now,
	const struct row *rows, struct buf *out)
{
	size_t from = buf_length(out);
	double sums[4] = {0};

	for (uint32_t i = 0; i < now->count; i++) {
		for (unsigned k = 0; k < 4; k++)
			sums[k] += rows[i].rates[k];
	}
	buf_printf(out,
		"sources %llu of %llu  in %.1f/s  published %.1f/s  repeats %.1f/s  "
		"refused %.1f/s",
		(unsigned long long)now->sources_connected, (unsigned long long)now->sources_total,
		sums[0], sums[1], sums[2], sums[3]);
	end_line(out, from, v->width);
}

static void put_subscribers(const struct top_view *v, const struct top_sample *now,
	const struct top_sample *before, struct buf *out)
{
	size_t from = buf_length(out);
	double seconds = span_of(now, before);

	buf_printf(out, "subscribers %llu  offline %llu  behind %llu  out %.1f/s ",
		(unsigned long long)now->connections, (unsigned long long)now->offline,
		(unsigned long long)now->behind, rate(now->delivered, before->delivered, seconds));
	put_bytes(out, rate(now->delivered_bytes, before->delivered_bytes, seconds));
	buf_printf(out, "/s  lag %.1fs", now->lag_s);
	end_line(out, from, v->width);
}

static void put_journal(const struct top_view *v, const struct top_sample *now, struct buf *out)
{
	size_t from = buf_length(out);

	buf_text(out, "journal ");
	put_bytes(out, (double)now->journal_bytes);
	buf_printf(out, "  holds %.1fh  antiloop %llu ids", (double)now->journal_s / 3600,
		(unsigned long long)now->ids);
	end_line(out, from, v->width);
}

/* --- nodes ------------------------------------------------------------ */

/* With 0 nodes: none. */
static uint32_t nodes_shown(const struct top_sample *now)
{
	return now->node_count < TOP_NODES_SHOWN ? now->node_count : TOP_NODES_SHOWN;
}

uint32_t top_head_lines(const struct top_sample *now)
{
	if (now->node_count == 0)
		return HEAD_LINES;
	return HEAD_LINES + 2 + nodes_shown(now) + (now->node_count > TOP_NODES_SHOWN);
}

static void put_total(const struct top_view *v, const struct top_sample *now, struct buf *out)
{
	const struct top_total *t = &now->total;
	size_t from = buf_length(out);

	buf_printf(out, "whole cluster: nodes alive %llu of %llu  subscribers %llu  ",
		(unsigned long long)t->alive, (unsigned long long)t->known,
		(unsigned long long)t->clients);
	buf_printf(out, "published %.1f/s  out %.1f/s", t->published, t->delivered);
	end_line(out, from, v->width);
}

static void put_node(const struct top_view *v, const struct top_node *n, struct buf *out)
{
	size_t from = buf_length(out);
	char state[64];

	snprintf(state, sizeof(state), "%s%s%s", n->state, n->alive ? " " : "",
		n->alive ? n->mode : "");
	put_cell(out, n->name, NODE_WIDTH);
	buf_text(out, " ");
	put_cell(out, state, MODE_WIDTH);
	if (n->alive) {
		put_rate(out, n->received);
		put_rate(out, n->published);
		put_rate(out, n->delivered);
		put_span(out, n->lag_s);
		buf_printf(out, " %6llu %6llu", (unsigned long long)n->sources,
			(unsigned long long)n->clients);
	} else {
		buf_text(out, " for");
		put_span(out, n->silent_s);
	}
	end_line(out, from, v->width);
}

/* Nothing on one machine. */
static void put_nodes(const struct top_view *v, const struct top_sample *now, struct buf *out)
{
	uint32_t shown = nodes_shown(now);
	size_t from = buf_length(out);

	if (now->node_count == 0)
		return;
	put_total(v, now, out);
	from = buf_length(out);
	put_cell(out, "NODE", NODE_WIDTH);
	buf_text(out, " ");
	put_cell(out, "STATE", MODE_WIDTH);
	buf_text(out, "   IN/S PUBL/S  OUT/S    LAG   SRCS SUBSCR");
	end_line(out, from, v->width);
	for (uint32_t i = 0; i < shown; i++)
		put_node(v, &now->nodes[i], out);
	from = buf_length(out);
	if (now->node_count > shown) {
		buf_printf(out, "and %u more nodes", now->node_count - shown);
		end_line(out, from, v->width);
	}
}

/* --- sources ---------------------------------------------------------- */

static size_t name_width(const struct top_view *v)
{
	return v->width > STATE_WIDTH + NUMBERS_WIDTH + 10
		       ? v->width - STATE_WIDTH - NUMBERS_WIDTH - 1
		       : 10;
}

static void put_columns(const struct top_view *v, struct buf *out)
{
	size_t from = buf_length(out);

	put_cell(out, "SOURCE", name_width(v));
	buf_text(out, " ");
	put_cell(out, "STATE", STATE_WIDTH);
	buf_text(out, " RECV/S PUBL/S REPT/S ERRS/S  DELAY   LAST");
	end_line(out, from, v->width);
}

static void put_row(const struct top_view *v, const struct row *row, struct buf *out)
{
	size_t from = buf_length(out);

	put_cell(out, row->source->name, name_width(v));
	buf_text(out, " ");
	put_cell(out, row->source->state, STATE_WIDTH);
	for (unsigned k = 0; k < 4; k++)
		put_rate(out, row->rates[k]);
	put_span(out, row->delay_s);
	put_span(out, row->last_s);
	end_line(out, from, v->width);
}

static void put_keys(const struct top_view *v, struct buf *out)
{
	static const char *const names[] = {
#define X(order, key, name) [order] = name,
#include "cli/top_order.def"
#undef X
	};
	size_t from = buf_length(out);

	buf_printf(out, "by %s; sort: n s r p d e y l; up, down, space; quit: q", names[v->order]);
	end_line(out, from, v->width);
}

/* How many sources a screen takes; 0: all. */
static uint32_t rows_of(const struct top_view *v, uint32_t head, uint32_t all)
{
	uint32_t taken = head + 1;

	if (v->height == 0)
		return all;
	return v->height > taken ? v->height - taken : 0;
}

static void put_rows(
	struct top_view *v, uint32_t head, const struct row *rows, uint32_t n, struct buf *out)
{
	uint32_t room = rows_of(v, head, n);
	uint32_t last = n > room ? n - room : 0;

	v->first = v->first < last ? v->first : last;
	for (uint32_t i = v->first; i < n && i - v->first < room; i++)
		put_row(v, &rows[i], out);
	if (v->height)
		put_keys(v, out);
}

void top_frame(struct top_view *v, const struct top_sample *now, const struct top_sample *before,
	struct buf *out)
{
	struct row *rows = mem_new((now->count + 1) * sizeof(*rows));

	v->width = v->width < TOP_WIDTH_LEAST ? TOP_WIDTH_LEAST : v->width;
	v->width = v->width > LINE_MOST ? LINE_MOST : v->width;
	for (uint32_t i = 0; i < now->count; i++)
		rows[i] = row_of(now, before, &now->sources[i]);
	qsort_r(rows, now->count, sizeof(*rows), by_order, &v->order);
	put_broker(v, now, out);
	put_sources_sum(v, now, rows, out);
	put_subscribers(v, now, before, out);
	put_journal(v, now, out);
	put_nodes(v, now, out);
	put_columns(v, out);
	put_rows(v, top_head_lines(now), rows, now->count, out);
	free(rows);
}
