#include "report/event_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "wis2/event.h"
#include "wis2/notification.h"

#define TEXT_BYTES 256u /* of the message's own texts (MON-40) */
#define ERRORS_MOST 10u /* MON-40 */

/* What is left out, in this order, until the text fits. */
enum brevity { WHOLE, ONE_ERROR, NO_MESSAGE_TEXTS, NO_CHANNEL, BREVITY_COUNT };

/* --- texts ------------------------------------------------------------ */

/* The valid UTF-8 in front, at most `most` bytes of whole characters. */
static json_t *text_of(struct view v, size_t most)
{
	size_t valid = utf8_valid_prefix(v.p, v.n < most ? v.n : most);

	return json_stringn_nocheck(v.p, valid);
}

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text && text[0])
		json_object_set_new(object, name, text_of(view_of(text), TEXT_BYTES * 4));
}

/* A string member of the message, if it has it. */
static void copy_member(json_t *to, const char *name, json_t *from, const char *member)
{
	const char *text = json_string_value(json_object_get(from, member));

	if (text)
		json_object_set_new(to, name, text_of(view_of(text), TEXT_BYTES));
}

/* The notification's id, data_id and pubtime, as far as it can be read (MON-40). */
static json_t *message_of(struct view payload)
{
	json_t *found = json_object();
	json_t *message = json_loadb(payload.p, payload.n, 0, NULL);

	if (message) {
		json_t *properties = json_object_get(message, "properties");

		copy_member(found, "id", message, "id");
		copy_member(found, "data_id", properties, "data_id");
		copy_member(found, "pubtime", properties, "pubtime");
	}
	json_decref(message);
	return found;
}

/* --- what is wrong ---------------------------------------------------- */

static json_t *error_of(const struct finding *f)
{
	json_t *e = json_pack("{s:s}", "rule", rule_id(f->rule));

	if (f->level)
		json_object_set_new(e, "level", json_integer(f->level));
	else
		set_text(e, "path", f->path);
	set_text(e, "message", f->reason ? f->reason : rule_text(f->rule));
	if (f->nearest.n)
		json_object_set_new(e, "nearest", text_of(f->nearest, TEXT_BYTES));
	return e;
}

/* The one that decided, then whatever else the rules find in the same message. */
static json_t *errors_of(const struct reject *one, enum brevity brevity)
{
	struct notification_options options = {.mode = MODE_STANDARD, .all = true};
	json_t *errors = json_array();
	struct notification note;
	struct findings found;

	json_array_append_new(errors, error_of(&one->finding));
	if (brevity >= ONE_ERROR || rule_check(one->finding.rule) != CHECK_MESSAGE)
		return errors;
	options.cache_topic = view_starts_with(one->topic, VIEW("cache/"));
	notification_judge(one->payload, &options, &note, &found);
	for (uint32_t i = 0; i < found.count && json_array_size(errors) < ERRORS_MOST; i++) {
		if (found.at[i].rule != one->finding.rule)
			json_array_append_new(errors, error_of(&found.at[i]));
	}
	return errors;
}

static json_t *counts_of(const struct alarm_notice *n)
{
	json_t *rules = json_object();

	for (int r = 1; r < RULE_COUNT; r++) {
		if (n->counts[r])
			json_object_set_new(rules, rule_id((enum rule)r),
				json_integer((json_int_t)n->counts[r]));
	}
	return rules;
}

static const char *fate(const struct alarm_notice *n)
{
	if (n->refused == n->total)
		return "not republished";
	return n->refused ? "republished in part" : "republished all the same";
}

static json_t *description_of(const struct alarm_notice *n)
{
	const struct finding *f = &n->example->finding;
	const char *reason = f->reason ? f->reason : rule_text(f->rule);

	if (n->total == 1)
		return json_sprintf(
			"%s: %s. The message was %s.", rule_id(f->rule), reason, fate(n));
	return json_sprintf("%llu messages broke a rule and were %s; this is the first of them. "
			    "%s: %s.",
		(unsigned long long)n->total, fate(n), rule_id(f->rule), reason);
}

static json_t *content_of(const struct alarm_notice *n, enum brevity brevity)
{
	const struct reject *one = n->example;
	const char *code = reject_code(one->finding.rule);
	json_t *content = json_pack("{s:s, s:o, s:{s:s, s:s, s:o}, s:I, s:o}", "title",
		"Global Broker WNM report", "description", description_of(n), "exception", "code",
		code, "description",
		rule_check(one->finding.rule) == CHECK_MESSAGE
			? "notification message does not comply"
			: rule_text(one->finding.rule),
		"errors", errors_of(one, brevity), "count", (json_int_t)n->total, "rules",
		counts_of(n));

	if (brevity < NO_CHANNEL)
		json_object_set_new(content, "channel", text_of(one->topic, TEXT_BYTES * 4));
	if (brevity < NO_MESSAGE_TEXTS)
		json_object_set_new(content, "wnm", message_of(one->payload));
	return content;
}

/* --- the envelope ----------------------------------------------------- */

/* Takes content, and interval_time (NULL: none). False: longer than an event may be. */
static bool put_event(struct buf *out, const struct event_head *head, const char *subtype,
	const char *severity, json_t *content, json_t *interval_time)
{
	char id[UUID_TEXT_BYTES + 1];
	char time[CLOCK_TEXT_BYTES];
	json_t *event;
	char *text;
	size_t n;

	uuid_format(&head->id, id);
	clock_format(head->time_ms, time);
	event = json_pack("{s:s, s:s, s:s, s:s, s:s%, s:s, s:s, s:s, s:{s:[s], s:s, s:s, s:o}}",
		"specversion", "1.0", "type", "int.wmo.wis.wme.event", "id", id, "source",
		head->source, "subject", head->subject.p, head->subject.n, "time", time,
		"datacontenttype", "application/json", "dataschema",
		"https://schemas.wmo.int/wme/1.0.0/schemas/wis2-event-message-bundled.json", "data",
		"conformsTo", "http://wis.wmo.int/spec/wme/1/conf/monitoring-event-message-core",
		"subtype", subtype, "severity", severity, "content", content); /* MON-22 */
	check(event != NULL);
	if (interval_time)
		json_object_set_new(json_object_get(event, "data"), "time", interval_time);
	text = json_dumps(event, JSON_COMPACT | JSON_PRESERVE_ORDER);
	n = strlen(text);
	if (n <= EVENT_BYTES) /* MON-21 */
		buf_append(out, text, n);
	free(text);
	json_decref(event);
	return n <= EVENT_BYTES;
}

void event_put_report(
	struct buf *out, const struct event_head *head, const struct alarm_notice *notice)
{
	bool is_metadata = rule_check(notice->example->finding.rule) == CHECK_METADATA;

	for (enum brevity b = WHOLE; b < BREVITY_COUNT; b++) {
		if (put_event(out, head, "wnm-report", is_metadata ? "WARNING" : "ERROR",
			    content_of(notice, b), NULL))
			return;
	}
	check(false); /* the shortest has texts of this program only */
}

static const struct {
	const char *subtype;
	const char *severity;
	const char *title;
} notices[] = {
#define X(name, subtype, severity, title) {subtype, severity, title},
#include "report/notice.def"
#undef X
};

void event_put_notice(
	struct buf *out, const struct event_head *head, const struct event_notice_text *notice)
{
	json_t *content = json_pack("{s:s}", "title", notices[notice->which].title);
	json_t *time = NULL;

	if (notice->from) /* MON-27 */
		time = json_pack("{s:[s, s]}", "interval", notice->from, notice->until);
	set_text(content, "description", notice->description);
	put_event(out, head, notices[notice->which].subtype, notices[notice->which].severity,
		content, time);
}
