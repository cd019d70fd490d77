/* The members of a monitoring event (MON-20 to MON-27). Presence and kinds stand in member.def; how
 * a payload is read is told in judge.c. */
#include "wis2/event.h"

#include "wis2/datetime.h"
#include "wis2/judge.h"

#define CORE_CONFORMANCE "http://wis.wmo.int/spec/wme/1/conf/monitoring-event-message-core"

/* MON-22: the members that have one value only. */
static const struct {
	enum member member;
	struct view text;
	const char *reason;
} constants[] = {
	{MEMBER_EVENT_CONTENT_TYPE, {"application/json", 16}, "not application/json"},
	{MEMBER_EVENT_SCHEMA,
		VIEW("https://schemas.wmo.int/wme/1.0.0/schemas/wis2-event-message-bundled.json"),
		"not the address of the schema of events"},
	{MEMBER_EVENT_SPECVERSION, {"1.0", 3}, "not 1.0"},
	{MEMBER_EVENT_TYPE, {"int.wmo.wis.wme.event", 21}, "not int.wmo.wis.wme.event"},
};

static void check_constants(struct judge *g)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		const struct json_value *v = judge_member(g, constants[i].member, KIND_STRING);

		if (v && !judge_text_is(g, v, constants[i].text))
			judge_broken(g, RULE_MON_22, v->offset, constants[i].reason);
	}
}

static void check_id(struct judge *g)
{
	const struct json_value *id = judge_member(g, MEMBER_EVENT_ID, KIND_STRING);

	if (id == NULL)
		return;
	g->out->id_text = id->raw;
	g->out->has_id = uuid_parse(judge_text(g, id), &g->out->id);
	if (!g->out->has_id) /* MON-22 */
		judge_broken(g, RULE_MON_22, id->offset, "not a UUID of 36 characters");
}

static void check_time(struct judge *g)
{
	const struct json_value *time = judge_member(g, MEMBER_EVENT_TIME, KIND_STRING);
	struct datetime t;

	if (time == NULL)
		return;
	if (!datetime_parse(judge_text(g, time), &t) || !t.is_plain) { /* MON-22 */
		judge_broken(g, RULE_MON_22, time->offset, "not an RFC 3339 date-time with Z");
		return;
	}
	g->out->has_pubtime = true;
	g->out->pubtime_ms = datetime_ms(&t);
}

static void check_names(struct judge *g)
{
	const struct json_value *source = judge_member(g, MEMBER_EVENT_SOURCE, KIND_STRING);
	const struct json_value *subject = judge_member(g, MEMBER_EVENT_SUBJECT, KIND_STRING);

	if (source && source->raw.n == 0) /* MON-22 */
		judge_broken(g, RULE_MON_22, source->offset, "source is empty");
	if (subject && g->subject.p && !judge_text_is(g, subject, g->subject)) /* MON-20 */
		judge_broken(g, RULE_MON_20, subject->offset, "not the centre of the topic");
}

static void judge_top(struct judge *g, const struct json_value *top)
{
	if (!judge_object(g, EVENT, top))
		return;
	check_constants(g);
	check_id(g);
	check_time(g);
	check_names(g);
}

/* --- data ------------------------------------------------------------- */

static bool is_severity(struct judge *g, const struct json_value *v)
{
	static const char *const words[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (judge_text_is(g, v, view_of(words[i])))
			return true;
	}
	return false;
}

void judge_event_data(struct judge *g, const struct json_value *v)
{
	const struct json_value *severity, *ref;
	struct uuid id;

	if (!judge_object(g, EVENT_DATA, v))
		return;
	severity = judge_member(g, MEMBER_DATA_SEVERITY, KIND_STRING);
	ref = judge_member(g, MEMBER_DATA_REF, KIND_STRING);
	if (severity && !is_severity(g, severity)) /* MON-25 */
		judge_broken(g, RULE_MON_25, severity->offset,
			"not DEBUG, INFO, WARNING, ERROR or CRITICAL");
	if (g->members[MEMBER_DATA_CONTENT].kind == KIND_NONE &&
		g->members[MEMBER_DATA_LINKS].kind == KIND_NONE) /* MON-26 */
		judge_broken(g, RULE_MON_26, v->offset, "neither content nor links is present");
	if (ref && !uuid_parse(judge_text(g, ref), &id)) /* MON-27 */
		judge_broken(g, RULE_MON_27, ref->offset, "not a UUID of 36 characters");
}

/* MON-24 */
void judge_event_conforms_to(struct judge *g, const struct json_value *v)
{
	if (!judge_has_element(g, VIEW(CORE_CONFORMANCE)))
		judge_broken(g, RULE_MON_24, v->offset, "does not name " CORE_CONFORMANCE);
}

void judge_event_content(struct judge *g, const struct json_value *v)
{
	judge_object(g, EVENT_CONTENT, v);
}

static void judge_link(struct judge *g, const struct json_value *v)
{
	const struct json_value *href;

	if (v->kind != KIND_OBJECT) {
		judge_broken(g, RULE_MON_26, v->offset, "a link is not an object");
		json_pass(&g->json, v);
		return;
	}
	if (!judge_object(g, EVENT_LINK, v))
		return;
	href = judge_member(g, MEMBER_EVENT_HREF, KIND_STRING);
	if (href && !judge_is_address(judge_text(g, href)))
		judge_broken(
			g, RULE_MON_26, href->offset, "not an http, https, ftp or sftp address");
}

/* MON-26 */
void judge_event_links(struct judge *g, const struct json_value *v)
{
	struct json_value link;
	uint32_t count = 0;

	json_open(&g->json);
	for (; json_element(&g->json) && json_value(&g->json, &link); count++)
		judge_link(g, &link);
	if (count == 0)
		judge_broken(g, RULE_MON_26, v->offset, "links is empty");
}

void judge_event_time(struct judge *g, const struct json_value *v)
{
	judge_object(g, EVENT_TIME, v);
}

static bool is_bound(struct judge *g, const struct json_value *v)
{
	struct view text;
	struct datetime t;

	if (v->kind != KIND_STRING) {
		json_pass(&g->json, v);
		return false;
	}
	text = judge_text(g, v);
	return view_equal(text, VIEW("..")) || datetime_parse(text, &t);
}

/* MON-27: two bounds, either of them open. */
void judge_event_interval(struct judge *g, const struct json_value *v)
{
	struct json_value bound;
	uint32_t count = 0;
	bool sound = true;

	json_open(&g->json);
	for (; json_element(&g->json) && json_value(&g->json, &bound); count++)
		sound &= is_bound(g, &bound);
	if (!sound || count != 2)
		judge_broken(g, RULE_MON_27, v->offset, "not two date-times or ..");
}

enum rule event_judge(struct view payload, const struct event_options *options,
	struct notification *out, struct findings *found)
{
	const struct notification_options judge_options = {
		.mode = MODE_LENIENT, .all = options->all};
	struct judge g;

	g.options = &judge_options;
	g.modes = options->rule_modes ? options->rule_modes : rule_table_modes();
	g.out = out;
	g.found = found;
	g.top = judge_top;
	g.text_rule = RULE_MON_21;
	g.subject = options->subject;
	return judge_payload(&g, payload);
}
