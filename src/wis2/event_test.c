/* Monitoring events: one valid one, and what becomes of it when a piece is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wis2/event.h"

#define VALID                                                                                      \
	"{\"specversion\":\"1.0\",\"type\":\"int.wmo.wis.wme.event\","                             \
	"\"id\":\"5f1a3c1e-2b7d-4c7a-9a53-6a1f2f0f9c11\",\"source\":\"yy-lab-global-broker\","     \
	"\"subject\":\"de-dwd\",\"time\":\"2026-05-04T10:11:12.250Z\","                            \
	"\"datacontenttype\":\"application/json\",\"dataschema\":\"https://schemas.wmo.int/wme/"   \
	"1.0.0/schemas/wis2-event-message-bundled.json\",\"data\":{\"conformsTo\":[\"http://wis."  \
	"wmo.int/spec/wme/1/conf/monitoring-event-message-core\"],\"subtype\":\"gb-notice\","      \
	"\"severity\":\"INFO\",\"ref\":\"5f1a3c1e-2b7d-4c7a-9a53-6a1f2f0f9c10\","                  \
	"\"time\":{\"interval\":[\"2026-05-04T10:00:00Z\",\"..\"]},\"content\":{\"title\":\"T\","  \
	"\"channel\":\"origin/a/wis2/de-dwd/metadata\"},\"links\":[{\"rel\":\"related\",\"href\":" \
	"\"https://example.org/1\"}]}}"

static const struct row {
	const char *name;
	const char *from; /* NULL: nothing is replaced */
	const char *to;
	enum rule want;
} rows[] = {
	{"the whole", NULL, NULL, RULE_NONE},
	{"another subject", "\"de-dwd\"", "\"fr-meteofrance\"", RULE_MON_20},
	{"no object", "{\"specversion\"", "[{\"specversion\"", RULE_MON_21},
	{"two members of one name", "\"type\":", "\"id\":1,\"type\":", RULE_MON_21},
	{"a lone surrogate", "\"T\"", "\"\\ud800\"", RULE_MON_21},
	{"no subject", "\"subject\"", "\"Subject\"", RULE_MON_22},
	{"an id that is no UUID", "9c11", "9c1", RULE_MON_22},
	{"no id", "\"id\"", "\"ID\"", RULE_MON_22},
	{"another specversion", "\"1.0\"", "\"1.1\"", RULE_MON_22},
	{"a number as specversion", "\"1.0\"", "1.0", RULE_MON_22},
	{"an older type", "wme.event", "wme.event.wnm", RULE_MON_22},
	{"an empty source", "\"yy-lab-global-broker\"", "\"\"", RULE_MON_22},
	{"a time with an offset", ".250Z", "+00:00", RULE_MON_22},
	{"another content type", "application/json", "text/json", RULE_MON_22},
	{"another schema", "/1.0.0/", "/1.1.0/", RULE_MON_22},
	{"no data", "\"data\"", "\"date\"", RULE_MON_23},
	{"another conformance class", "event-message-core", "event-message", RULE_MON_24},
	{"no conformsTo", "\"conformsTo\"", "\"conforms\"", RULE_MON_24},
	{"an unknown severity", "\"INFO\"", "\"info\"", RULE_MON_25},
	{"no severity", "\"severity\"", "\"level\"", RULE_MON_25},
	{"no content is needed beside links", "\"content\"", "\"x\"", RULE_NONE},
	{"no links are needed beside content", "\"links\"", "\"x\"", RULE_NONE},
	{"neither content nor links",
		"\"content\":{\"title\":\"T\",\"channel\":\"origin/a/wis2/de-dwd/"
		"metadata\"},\"links\"",
		"\"x\"", RULE_MON_26},
	{"no title", "\"title\"", "\"name\"", RULE_MON_26},
	{"a title that is no text", "\"T\"", "null", RULE_MON_26},
	{"content that is no object", "\"content\":{", "\"content\":1,\"x\":{", RULE_MON_26},
	{"a link without rel", "\"rel\"", "\"x\"", RULE_MON_26},
	{"a link to nowhere", "https://example.org/1", "mqtt://x", RULE_MON_26},
	{"no link in links", "[{\"rel\":\"related\",\"href\":\"https://example.org/1\"}]", "[]",
		RULE_MON_26},
	{"a link that is none", "[{\"rel\"", "[0,{\"rel\"", RULE_MON_26},
	{"a subtype that is no text", "\"gb-notice\"", "1", RULE_MON_27},
	{"a reference that is no UUID", "9c10", "9c1x", RULE_MON_27},
	{"an interval of one bound", ",\"..\"", "", RULE_MON_27},
	{"an interval of three bounds", ",\"..\"", ",\"..\",\"..\"", RULE_MON_27},
	{"a bound that is no time", "\"..\"", "\"...\"", RULE_MON_27},
	{"a bound that is no text", "\"..\"", "[[]]", RULE_MON_27},
	{"a time without an interval", "\"interval\"", "\"x\"", RULE_MON_27},
	{"a channel that is no text", "\"origin/a/wis2/de-dwd/metadata\"", "1", RULE_MON_27},
	{"further members", "\"title\"", "\"any\":[null],\"title\"", RULE_NONE},
};

static char *replaced(const struct row *r)
{
	static const char valid[] = VALID;
	const char *at = r->from ? strstr(valid, r->from) : NULL;

	if (r->from == NULL)
		return mem_text(valid);
	assert_non_null(at);
	return mem_printf("%.*s%s%s", (int)(at - valid), valid, r->to, at + strlen(r->from));
}

static void each_event_is_judged_by_its_lowest_rule(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event_options options = {.subject = VIEW("de-dwd")};
		char *payload = replaced(&rows[i]);
		struct notification note;
		struct findings found;
		enum rule got = event_judge(view_of(payload), &options, &note, &found);

		if (got != rows[i].want)
			fail_msg("%s: got %s, want %s", rows[i].name, rule_id(got),
				rule_id(rows[i].want));
		options.all = true;
		assert_int_equal(event_judge(view_of(payload), &options, &note, &found), got);
		free(payload);
	}
}

static void an_event_larger_than_a_notification_may_be_is_refused(void **state)
{
	struct event_options options = {0};
	char payload[NOTIFICATION_LARGEST + 2];
	struct notification note;
	struct findings found;

	(void)state;
	memset(payload, ' ', sizeof(payload));
	memcpy(payload, VALID, sizeof(VALID) - 1);
	assert_int_equal(
		event_judge((struct view){payload, NOTIFICATION_LARGEST}, &options, &note, &found),
		RULE_NONE);
	assert_true(note.has_id);
	assert_int_equal(note.pubtime_ms, 1777889472250ull);
	assert_int_equal(event_judge((struct view){payload, NOTIFICATION_LARGEST + 1}, &options,
				 &note, &found),
		RULE_MON_21);
	assert_int_equal(
		event_judge((struct view){payload, 0}, &options, &note, &found), RULE_MON_21);
}

static void a_rule_that_is_off_is_not_found(void **state)
{
	struct row row = {NULL, "\"INFO\"", "\"info\"", RULE_NONE};
	uint8_t modes[RULE_COUNT] = {0};
	struct event_options options = {.rule_modes = modes};
	char *payload = replaced(&row);
	struct notification note;
	struct findings found;

	(void)state;
	assert_int_equal(event_judge(view_of(payload), &options, &note, &found), RULE_MON_25);
	modes[RULE_MON_25] = MODE_OFF;
	assert_int_equal(event_judge(view_of(payload), &options, &note, &found), RULE_NONE);
	free(payload);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_is_judged_by_its_lowest_rule),
		cmocka_unit_test(an_event_larger_than_a_notification_may_be_is_refused),
		cmocka_unit_test(a_rule_that_is_off_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
