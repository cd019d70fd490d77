#include "admin/messages_query.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "broker/replay.h"
#include "mqtt/filter.h"
#include "net/http.h"

#define HEX_DIGITS_MOST 16u

/* --- values ----------------------------------------------------------- */

/* No topic of these trees ends so, and # begins a fragment in an address: it was not sent. */
static bool lost_its_hash(struct view filter)
{
	return view_ends_with(filter, VIEW("/")) &&
	       (view_starts_with(filter, VIEW("origin/")) ||
		       view_starts_with(filter, VIEW("cache/")) ||
		       view_starts_with(filter, VIEW("monitor/")));
}

static int read_topic(struct messages_query *q, struct view value, uint64_t now_ms)
{
	(void)now_ms;
	if (!filter_is_valid(value) || view_starts_with(value, VIEW("$replay/")) ||
		lost_its_hash(value))
		return ERR_MALFORMED;
	buf_append(&q->topic, value.p, value.n);
	return 0;
}

static int read_since(struct messages_query *q, struct view value, uint64_t now_ms)
{
	return replay_parse_since(value, now_ms, &q->since_ms) ? 0 : ERR_MALFORMED;
}

static int read_until(struct messages_query *q, struct view value, uint64_t now_ms)
{
	return replay_parse_since(value, now_ms, &q->until_ms) ? 0 : ERR_MALFORMED;
}

/* Digits of this base, at least one; false: something else, or above `most`. */
static bool read_number(struct view value, unsigned base, uint64_t most, uint64_t *out)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t n = 0;

	if (value.n == 0 || value.n > HEX_DIGITS_MOST)
		return false;
	for (size_t i = 0; i < value.n; i++) {
		const char *digit = memchr(digits, value.p[i], base);

		if (digit == NULL)
			return false;
		n = n * base + (uint64_t)(digit - digits);
	}
	*out = n;
	return n <= most;
}

static int read_limit(struct messages_query *q, struct view value, uint64_t now_ms)
{
	uint64_t n;

	(void)now_ms;
	if (!read_number(value, 10, MESSAGES_LIMIT_MOST, &n) || n == 0)
		return ERR_MALFORMED;
	q->limit = (uint32_t)n;
	return 0;
}

static int read_after(struct messages_query *q, struct view value, uint64_t now_ms)
{
	(void)now_ms;
	return read_number(value, 16, HISTORY_START - 1, &q->after) ? 0 : ERR_MALFORMED;
}

static int read_form(struct messages_query *q, struct view value, uint64_t now_ms)
{
	(void)now_ms;
	if (view_equal(value, VIEW("lines")))
		q->form = COLLECTION_LINES;
	else if (!view_equal(value, VIEW("geojson")))
		return ERR_MALFORMED;
	return 0;
}

static const struct parameter {
	const char *name;
	int (*read)(struct messages_query *q, struct view value, uint64_t now_ms);
	const char *why;
} parameters[] = {
	{"topic", read_topic,
		"topic is a topic filter, for instance origin/a/wis2/%23 (in an address # is "
		"written %23)"},
	{"since", read_since,
		"since is a duration back from now, for instance 6h, or a time such as "
		"2026-11-22T21:00:00Z"},
	{"until", read_until,
		"until is a duration back from now, for instance 1h, or a time such as "
		"2026-11-22T21:00:00Z"},
	{"limit", read_limit, "limit is a number from 1 to 1000"},
	{"after", read_after, "after is what the link to the next page has"},
	{"form", read_form, "form is geojson or lines"},
};
#define PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

/* --- all of them ------------------------------------------------------ */

static int read_one(struct messages_query *q, uint32_t *met, struct view name, struct view value,
	uint64_t now_ms, const char **why)
{
	for (uint32_t i = 0; i < PARAMETERS; i++) {
		if (!view_equal(name, view_of(parameters[i].name)))
			continue;
		*why = "a parameter stands there twice";
		if (*met & 1u << i)
			return ERR_MALFORMED;
		*met |= 1u << i;
		*why = parameters[i].why;
		return parameters[i].read(q, value, now_ms);
	}
	*why = "parameters are topic, since, until, limit, after and form";
	return ERR_MALFORMED;
}

int messages_query_read(
	struct view query, uint64_t now_ms, struct messages_query *out, const char **why)
{
	struct messages_query q = {
		.until_ms = UINT64_MAX, .after = HISTORY_START, .limit = MESSAGES_LIMIT};
	struct buf value = {0};
	struct view name;
	uint32_t met = 0;
	int got;

	*why = "a parameter is not percent-encoded as it should be";
	while ((got = http_next_parameter(&query, &name, &value)) > 0) {
		got = read_one(&q, &met, name, buf_view(&value), now_ms, why);
		if (got < 0)
			break;
		*why = "a parameter is not percent-encoded as it should be";
	}
	buf_fini(&value);
	if (got == 0 && q.until_ms < q.since_ms) {
		*why = "until is before since";
		got = ERR_MALFORMED;
	}
	if (got < 0)
		messages_query_fini(&q);
	else
		*out = q;
	return got;
}

void messages_query_fini(struct messages_query *q)
{
	buf_fini(&q->topic);
}

/* --- writing ---------------------------------------------------------- */

/* RFC 3986, section 3.4: what may stand in a query as it is, less what separates parameters. */
static void put_encoded(struct buf *out, struct view text)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		bool is_plain = (c >= '0' && c <= '9') ||
				((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
				(c && strchr("-._~/:", c));

		if (is_plain)
			buf_append(out, &c, 1);
		else
			buf_printf(out, "%%%02X", c);
	}
}

void messages_query_write(const struct messages_query *q, uint64_t after, struct buf *out)
{
	char time[CLOCK_TEXT_BYTES];

	buf_text(out, "/api/v1/messages?");
	if (buf_length(&q->topic)) {
		buf_text(out, "topic=");
		put_encoded(out, buf_view(&q->topic));
		buf_text(out, "&");
	}
	if (q->until_ms != UINT64_MAX) {
		clock_format(q->until_ms, time);
		buf_printf(out, "until=%s&", time);
	}
	if (q->form == COLLECTION_LINES)
		buf_text(out, "form=lines&");
	buf_printf(out, "limit=%u&after=%llx", q->limit, (unsigned long long)after);
}
