/* What was refused, for the people who can mend it: /api/v1/rejects and /api/v1/rejects/{number}. */
#include <jansson.h>
#include <stdlib.h>

#include "admin/internal.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "report/report.h"

#define LISTED 100u
#define LISTED_MOST REJECTS_PER_CENTRE
#define LISTED_BYTES (4u << 20) /* of payloads in one answer */

/* A text that may not be UTF-8 as it came: what follows the first bad byte is not shown. */
static json_t *text_of(struct view v)
{
	return json_stringn_nocheck(v.p, utf8_valid_prefix(v.p, v.n));
}

static json_t *place_of(const struct reject *r)
{
	if (r->finding.level)
		return json_pack("{s:i}", "level", (int)r->finding.level);
	return json_pack("{s:s, s:i, s:i}", "path", r->finding.path, "line", (int)r->line, "column",
		(int)r->column);
}

static json_t *reject_of(const struct reject *r, bool with_payload)
{
	const struct finding *f = &r->finding;
	char time[CLOCK_TEXT_BYTES];
	json_t *one;

	clock_format(r->time_ms, time);
	one = json_pack("{s:I, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:b, s:I}", "number",
		(json_int_t)r->number, "time", time, "centre_id", text_of(r->centre), "source",
		text_of(r->source), "subject", text_of(r->subject), "topic", text_of(r->topic),
		"rule", rule_id(f->rule), "code", reject_code(f->rule), "reason",
		f->reason ? f->reason : rule_text(f->rule), "place", place_of(r), "let_through",
		(int)r->passes, "payload_bytes", (json_int_t)r->payload.n);
	if (f->nearest.n)
		json_object_set_new(one, "nearest", text_of(f->nearest));
	if (with_payload && utf8_valid_prefix(r->payload.p, r->payload.n) == r->payload.n)
		json_object_set_new(one, "payload", text_of(r->payload));
	return one;
}

bool request_number(
	const struct http_request *r, const char *name, uint64_t otherwise, uint64_t *out)
{
	char text[24];
	char *end;

	*out = otherwise;
	if (!http_parameter(r, view_of(name), text, sizeof(text)))
		return true;
	*out = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0';
}

/* False: a parameter that means nothing; *why says which. */
static bool read_query(const struct http_request *r, char *centre, size_t size,
	struct rejects_query *q, const char **why)
{
	char rule[32];
	uint64_t limit;

	*q = (struct rejects_query){0};
	*why = "rule is not the id of a rule, for instance WNM-35";
	if (http_parameter(r, VIEW("rule"), rule, sizeof(rule))) {
		q->rule = rule_by_id(view_of(rule));
		if (q->rule == RULE_NONE)
			return false;
	}
	if (http_parameter(r, VIEW("centre_id"), centre, size))
		q->centre = view_of(centre);
	*why = "limit is a number from 1 to 1000";
	if (!request_number(r, "limit", LISTED, &limit) || limit < 1 || limit > LISTED_MOST)
		return false;
	q->limit = (uint32_t)limit;
	*why = "before is the number of a reject";
	return request_number(r, "before", 0, &q->below);
}

const char *rejects_write(struct admin *a, const struct http_request *r, struct buf *out)
{
	struct rejects_query q;
	char centre[256];
	const char *why;
	struct reject **found;
	json_t *list;
	uint64_t bytes = 0;
	uint32_t n;

	if (!read_query(r, centre, sizeof(centre), &q, &why))
		return why;
	list = json_array();
	found = mem_new(q.limit * sizeof(struct reject *));
	n = reports_find(a->settings.reports, &q, found);
	for (uint32_t i = 0; i < n; i++) {
		bytes += found[i]->payload.n;
		json_array_append_new(list, reject_of(found[i], bytes <= LISTED_BYTES));
		reject_unref(found[i]);
	}
	free(found);
	status_write_document(out, json_pack("{s:o}", "rejects", list));
	return NULL;
}

bool reject_write(struct admin *a, struct view number, struct buf *out)
{
	char text[24] = {0};
	struct reject *r;
	char *end;

	if (number.n == 0 || number.n >= sizeof(text))
		return false;
	memcpy(text, number.p, number.n);
	r = reports_get(a->settings.reports, strtoull(text, &end, 10));
	if (*end || r == NULL) {
		reject_unref(r);
		return false;
	}
	buf_append(out, r->payload.p, r->payload.n);
	reject_unref(r);
	return true;
}
