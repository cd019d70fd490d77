#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "report/report.h"
#include "wis2/event.h"

#define NODE_TOPIC "origin/a/wis2/de-dwd/data/core/weather/surface-based-observations/synop"

static const struct finding findings[] = {
	{.rule = RULE_WNM_35, .offset = 4, .path = "/properties", .reason = "no time of the data"},
	{.rule = RULE_WNM_21, .offset = 0, .path = "/id", .reason = "not a UUID"},
	{.rule = RULE_WTH_13, .offset = 20, .level = 8, .reason = "unknown"},
	{.rule = RULE_WTH_22, .offset = 14, .level = 4, .reason = "not for this centre"},
};

static struct reject *made(
	const char *source, const struct finding *f, const char *payload, bool passes)
{
	struct report r = {
		.source = source,
		.centre = source,
		.topic = VIEW(NODE_TOPIC),
		.payload = view_of(payload),
		.finding = f,
		.passes = passes,
	};

	return reject_new(&r, (struct view){NULL, 0}, 1700000000000);
}

/* --- a reject --------------------------------------------------------- */

static void a_reject_knows_line_and_column_of_its_fault(void **state)
{
	static const struct {
		const char *payload;
		uint32_t offset;
		uint8_t level;
		uint32_t line;
		uint32_t column;
	} rows[] = {
		{"{}", 0, 0, 1, 1}, {"{\n \"a\":1}", 3, 0, 2, 2}, {"{\n\n}", 3, 0, 3, 1},
		{"{}", 2, 0, 1, 3},   /* at the end */
		{"{}", 3, 0, 0, 0},   /* nowhere */
		{"{\n}", 2, 4, 0, 0}, /* in the topic */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct finding f = {
			.rule = RULE_WNM_35, .offset = rows[i].offset, .level = rows[i].level};
		struct reject *r = made("de-dwd", &f, rows[i].payload, false);

		assert_int_equal(r->line, rows[i].line);
		assert_int_equal(r->column, rows[i].column);
		reject_unref(r);
	}
}

/* --- the list --------------------------------------------------------- */

static void add(
	struct rejects *list, const char *centre, const struct finding *f, const char *payload)
{
	struct reject *r = made(centre, f, payload, false);

	rejects_add(list, r);
	reject_unref(r);
}

static uint32_t find(const struct rejects *list, struct rejects_query q, uint64_t *numbers)
{
	struct reject *found[16];
	uint32_t n = rejects_find(list, &q, found);

	for (uint32_t i = 0; i < n; i++) {
		numbers[i] = found[i]->number;
		reject_unref(found[i]);
	}
	return n;
}

static void rejects_are_found_by_centre_and_rule_newest_first(void **state)
{
	struct rejects list = {0};
	uint64_t n[16];

	(void)state;
	add(&list, "de-dwd", &findings[0], "1");
	add(&list, "fr-mf", &findings[0], "2");
	add(&list, "de-dwd", &findings[2], "3");
	add(&list, "fr-mf", &findings[2], "4");
	assert_int_equal(find(&list, (struct rejects_query){.limit = 16}, n), 4);
	assert_int_equal(n[0], 4);
	assert_int_equal(n[3], 1);
	assert_int_equal(find(&list, (struct rejects_query){.limit = 3}, n), 3);
	assert_int_equal(n[2], 2);
	assert_int_equal(find(&list, (struct rejects_query){.limit = 9, .below = 3}, n), 2);
	assert_int_equal(
		find(&list, (struct rejects_query){.centre = VIEW("de-dwd"), .limit = 9}, n), 2);
	assert_int_equal(n[0], 3);
	assert_int_equal(
		find(&list, (struct rejects_query){.rule = RULE_WTH_13, .limit = 9}, n), 2);
	assert_int_equal(find(&list,
				 (struct rejects_query){
					 .centre = VIEW("fr-mf"), .rule = RULE_WNM_35, .limit = 9},
				 n),
		1);
	assert_int_equal(n[0], 2);
	assert_int_equal(
		find(&list, (struct rejects_query){.centre = VIEW("xx"), .limit = 9}, n), 0);
	rejects_fini(&list);
}

static void a_flood_pushes_out_only_its_own_centre(void **state)
{
	struct rejects list = {0};
	uint64_t n[16];

	(void)state;
	add(&list, "fr-mf", &findings[0], "1");
	for (unsigned i = 0; i < 3 * REJECTS_PER_CENTRE; i++)
		add(&list, "de-dwd", &findings[0], "x");
	assert_int_equal(list.count, REJECTS_PER_CENTRE + 1);
	assert_int_equal(
		find(&list, (struct rejects_query){.centre = VIEW("fr-mf"), .limit = 9}, n), 1);
	assert_null(rejects_get(&list, 2));
	assert_null(rejects_get(&list, 2 * REJECTS_PER_CENTRE + 1));
	rejects_fini(&list);
}

static void all_rejects_together_are_bounded_in_bytes(void **state)
{
	size_t n = 1 << 20;
	char *payload = mem_new(n + 1);
	struct rejects list = {0};
	char centre[16];

	(void)state;
	memset(payload, 'x', n);
	for (unsigned i = 0; i < 200; i++) {
		snprintf(centre, sizeof(centre), "xx-%u", i % 20);
		add(&list, centre, &findings[0], payload);
		assert_true(list.bytes <= REJECTS_BYTES);
	}
	assert_true(list.count > 40 && list.count < 64);
	rejects_fini(&list);
	assert_int_equal(list.bytes, 0);
	free(payload);
}

/* --- alarms ----------------------------------------------------------- */

static bool alarm(struct alarms *a, const char *source, int f, uint64_t now)
{
	struct reject *r = made(source, &findings[f], "{}", f == 1);
	struct alarm_notice n;
	bool due = alarms_add(a, r, now, &n);

	if (due) {
		assert_int_equal(n.total, 1);
		assert_ptr_equal(n.example, r);
		reject_unref(n.example);
	}
	reject_unref(r);
	return due;
}

static void one_is_told_at_once_the_rest_together_each_minute(void **state)
{
	struct alarm_notice n;
	struct alarms a;

	(void)state;
	alarms_init(&a);
	assert_true(alarm(&a, "de-dwd", 0, 1000));
	assert_false(alarm(&a, "de-dwd", 0, 1001)); /* same code */
	assert_false(alarm(&a, "de-dwd", 1, 1002));
	assert_true(alarm(&a, "de-dwd", 2, 1003));  /* another code */
	assert_true(alarm(&a, "fr-mf", 0, 1004));   /* another source */
	assert_false(alarm(&a, "de-dwd", 3, 1005)); /* WTH-22 is the topic's code */
	assert_false(alarms_next(&a, 60999, &n));
	assert_true(alarms_next(&a, 61003, &n));
	assert_int_equal(n.total, 2);
	assert_int_equal(n.refused, 1);
	assert_int_equal(n.counts[RULE_WNM_35], 1);
	assert_int_equal(n.counts[RULE_WNM_21], 1);
	reject_unref(n.example);
	assert_true(alarms_next(&a, 61003, &n));
	assert_int_equal(n.counts[RULE_WTH_22], 1);
	reject_unref(n.example);
	assert_false(alarms_next(&a, 61004, &n)); /* fr-mf: nothing came, quiet again */
	assert_true(alarm(&a, "fr-mf", 0, 61005));
	assert_false(alarm(&a, "de-dwd", 0, 61006)); /* its second minute */
	assert_true(alarms_next(&a, 121010, &n));
	assert_int_equal(n.total, 1);
	reject_unref(n.example);
	assert_false(alarms_next(&a, 400000, &n));
	assert_int_equal(a.by_key.count, 0);
	alarms_fini(&a);
}

/* --- texts ------------------------------------------------------------ */

static json_t *written(const struct alarm_notice *n)
{
	struct event_head head = {
		.source = "io-wis2dev-global-broker",
		.subject = n->example->subject,
		.time_ms = 1700000000123,
	};
	struct event_options options = {.subject = head.subject, .all = true};
	struct notification note;
	struct findings found;
	struct buf text = {0};
	json_t *event;

	uuid_random(&head.id);
	event_put_report(&text, &head, n);
	assert_true(buf_length(&text) > 0 && buf_length(&text) <= EVENT_BYTES);
	assert_int_equal(event_judge(buf_view(&text), &options, &note, &found), RULE_NONE);
	event = json_loadb((const char *)buf_bytes(&text), buf_length(&text), 0, NULL);
	assert_non_null(event);
	buf_fini(&text);
	return event;
}

static json_t *at(json_t *event, const char *path)
{
	char *copy = mem_text(path);
	char *rest = copy;
	char *name;

	while ((name = strsep(&rest, "/")) != NULL)
		event = json_object_get(event, name);
	free(copy);
	return event;
}

static void a_report_names_rule_place_message_and_count(void **state)
{
	struct alarm_notice n = {.total = 3, .refused = 3};
	json_t *e;

	(void)state;
	n.example = made("de-dwd", &findings[0],
		"{\"id\":\"abc\",\"properties\":{\"data_id\":\"d/1\",\"pubtime\":\"now\"}}", false);
	n.counts[RULE_WNM_35] = 2;
	n.counts[RULE_WNM_21] = 1;
	e = written(&n);
	assert_string_equal(json_string_value(at(e, "subject")), "de-dwd");
	assert_string_equal(json_string_value(at(e, "data/subtype")), "wnm-report");
	assert_string_equal(json_string_value(at(e, "data/severity")), "ERROR");
	assert_string_equal(json_string_value(at(e, "data/content/channel")), NODE_TOPIC);
	assert_string_equal(
		json_string_value(at(e, "data/content/exception/code")), "invalid-schema");
	assert_string_equal(json_string_value(at(e, "data/content/wnm/id")), "abc");
	assert_string_equal(json_string_value(at(e, "data/content/wnm/data_id")), "d/1");
	assert_int_equal(json_integer_value(at(e, "data/content/count")), 3);
	assert_int_equal(json_integer_value(at(e, "data/content/rules/WNM-35")), 2);
	assert_string_equal(
		json_string_value(json_object_get(
			json_array_get(at(e, "data/content/exception/errors"), 0), "rule")),
		"WNM-35");
	assert_true(json_array_size(at(e, "data/content/exception/errors")) > 1);
	assert_true(json_array_size(at(e, "data/content/exception/errors")) <= 10);
	json_decref(e);
	reject_unref(n.example);
}

/* Control characters take six bytes each in JSON. */
static void an_event_fits_whatever_the_message_holds(void **state)
{
	char *payload = mem_new(40000);
	char *topic = mem_new(9000);
	struct alarm_notice n = {.total = 1, .refused = 1};
	struct report r = {.source = "de-dwd", .centre = "de-dwd", .finding = &findings[0]};
	json_t *e;

	(void)state;
	strcpy(payload, "{\"id\":\"");
	for (int i = 0; i < 5000; i++)
		strcat(payload, "\\u0001");
	strcat(payload, "\",\"properties\":{\"data_id\":\"d\"}}");
	memset(topic, 1, 8192);
	r.topic = (struct view){topic, 8192};
	r.payload = view_of(payload);
	n.example = reject_new(&r, (struct view){NULL, 0}, 0);
	e = written(&n);
	json_decref(e);
	reject_unref(n.example);
	r.topic = VIEW("origin/\xff\xfe");
	r.payload = VIEW("\xff{");
	n.example = reject_new(&r, (struct view){NULL, 0}, 0);
	e = written(&n);
	assert_string_equal(json_string_value(at(e, "data/content/channel")), "origin/");
	json_decref(e);
	reject_unref(n.example);
	free(payload);
	free(topic);
}

static void every_notice_is_a_valid_event(void **state)
{
	struct event_head head = {.source = "io-wis2dev-global-broker", .subject = VIEW("de-dwd")};
	struct event_options options = {.subject = VIEW("de-dwd"), .all = true};
	struct notification note;
	struct findings found;

	(void)state;
	uuid_random(&head.id);
	for (int i = 0; i < EVENT_NOTICE_COUNT; i++) {
		struct event_notice_text notice = {(enum event_notice)i, i % 2 ? "why" : "",
			i % 3 ? "2026-05-04T10:00:00Z" : NULL, i % 3 ? ".." : NULL};
		struct buf text = {0};

		event_put_notice(&text, &head, &notice);
		assert_int_equal(event_judge(buf_view(&text), &options, &note, &found), RULE_NONE);
		buf_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reject_knows_line_and_column_of_its_fault),
		cmocka_unit_test(rejects_are_found_by_centre_and_rule_newest_first),
		cmocka_unit_test(a_flood_pushes_out_only_its_own_centre),
		cmocka_unit_test(all_rejects_together_are_bounded_in_bytes),
		cmocka_unit_test(one_is_told_at_once_the_rest_together_each_minute),
		cmocka_unit_test(a_report_names_rule_place_message_and_count),
		cmocka_unit_test(an_event_fits_whatever_the_message_holds),
		cmocka_unit_test(every_notice_is_a_valid_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
