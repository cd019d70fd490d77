/* Ids of two sides in any order and at any time, and what is made of them. */
#include "cli/compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WITHIN 1000u
#define LATER (10 * WITHIN) /* well behind the beginning */

static struct uuid id(uint8_t n)
{
	return (struct uuid){{n}};
}

static void take(struct compare *c, enum compare_side side, uint8_t n, uint64_t at_ms)
{
	struct compare_message m = {id(n), VIEW("de-dwd"), at_ms, RULE_NONE};

	compare_take(c, side, &m, at_ms);
}

static const struct compare_centre *dwd(const struct compare *c)
{
	const struct compare_centre *centre = map_get(&c->centres, VIEW("de-dwd"));

	assert_non_null(centre);
	return centre;
}

static void what_both_have_is_counted_with_who_was_first(void **state)
{
	static const struct {
		uint64_t ours;
		uint64_t theirs;
		int first; /* -1: together */
		unsigned bucket;
	} rows[] = {{5, 5, -1, 0}, {5, 6, COMPARE_OURS, 0}, {0, 10, COMPARE_OURS, 1},
		{9, 0, COMPARE_THEIRS, 0}, {999, 0, COMPARE_THEIRS, 2}, {0, 900, COMPARE_OURS, 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ours_later = rows[i].ours > rows[i].theirs;
		struct compare c;

		compare_init(&c, WITHIN, 0);
		take(&c, ours_later ? COMPARE_THEIRS : COMPARE_OURS, 1,
			LATER + (ours_later ? rows[i].theirs : rows[i].ours));
		take(&c, ours_later ? COMPARE_OURS : COMPARE_THEIRS, 1,
			LATER + (ours_later ? rows[i].ours : rows[i].theirs));
		compare_end(&c, 2 * LATER);
		assert_int_equal(dwd(&c)->both, 1);
		assert_int_equal(dwd(&c)->together, rows[i].first < 0);
		if (rows[i].first >= 0)
			assert_int_equal(dwd(&c)->earlier[rows[i].first][rows[i].bucket], 1);
		assert_int_equal(dwd(&c)->only_ours.count, 0);
		compare_fini(&c);
	}
}

static void one_side_alone_is_counted_when_its_time_is_over(void **state)
{
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	take(&c, COMPARE_OURS, 1, LATER);
	take(&c, COMPARE_THEIRS, 2, LATER);
	compare_settle(&c, LATER + WITHIN - 1);
	assert_int_equal(dwd(&c)->only_ours.count, 0);
	compare_settle(&c, LATER + WITHIN);
	assert_int_equal(dwd(&c)->only_ours.count, 1);
	assert_memory_equal(&dwd(&c)->only_ours.examples[0], &(struct uuid){{1}}, 16);
	assert_int_equal(dwd(&c)->only_theirs[RULE_NONE].count, 1);
	assert_int_equal(c.count, 0);
	compare_fini(&c);
}

static void near_the_beginning_and_the_end_nothing_is_told(void **state)
{
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 100);
	take(&c, COMPARE_OURS, 1, 100 + WITHIN - 1);
	take(&c, COMPARE_THEIRS, 2, 100 + WITHIN);
	take(&c, COMPARE_THEIRS, 3, LATER);
	compare_end(&c, LATER + 1);
	assert_int_equal(c.untold_begin, 1);
	assert_int_equal(c.untold_end, 1);
	assert_int_equal(dwd(&c)->only_theirs[RULE_NONE].count, 1);
	compare_fini(&c);
}

static void about_a_gap_nothing_is_told(void **state)
{
	static const struct {
		uint64_t heard; /* the gap is from LATER to LATER + 100 */
		bool is_told;
	} rows[] = {{LATER - WITHIN - 1, true}, {LATER - WITHIN + 1, false}, {LATER - 1, false},
		{LATER + 50, false}, {LATER + 100 + WITHIN - 1, false},
		{LATER + 100 + WITHIN, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t heard = rows[i].heard;
		struct compare c;

		compare_init(&c, WITHIN, 0);
		if (heard < LATER)
			take(&c, COMPARE_OURS, 1, heard);
		compare_gap(&c, LATER);
		if (heard >= LATER && heard < LATER + 100)
			take(&c, COMPARE_OURS, 1, heard);
		compare_gap_ends(&c, LATER + 100);
		if (heard >= LATER + 100)
			take(&c, COMPARE_OURS, 1, heard);
		compare_end(&c, 3 * LATER);
		assert_int_equal(c.untold_begin, !rows[i].is_told);
		assert_int_equal(c.gaps, 1);
		compare_fini(&c);
	}
}

static void gaps_near_to_each_other_are_one(void **state)
{
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	compare_gap(&c, LATER);
	take(&c, COMPARE_OURS, 1, LATER + 10);
	compare_gap_ends(&c, LATER + 20);
	compare_gap(&c, LATER + WITHIN); /* the id waits still */
	compare_gap_ends(&c, LATER + WITHIN + 20);
	compare_end(&c, 3 * LATER);
	assert_int_equal(c.untold_begin, 1);
	compare_fini(&c);
}

static void a_repeat_of_one_side_counts_once(void **state)
{
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	for (unsigned i = 0; i < 3; i++) {
		take(&c, COMPARE_THEIRS, 1, LATER + i);
		take(&c, COMPARE_OURS, 1, LATER + i);
	}
	compare_end(&c, 2 * LATER);
	assert_int_equal(dwd(&c)->both, 1);
	compare_fini(&c);
}

static void the_rule_is_ours_when_we_refused_it(void **state)
{
	static const struct {
		enum rule with;    /* theirs came with */
		enum rule refused; /* RULE_NONE: we did not */
		bool before;
		enum rule want;
	} rows[] = {{RULE_NONE, 5, false, 5}, {RULE_NONE, 5, true, 5}, {7, RULE_NONE, false, 7},
		{7, 5, false, 5}, {7, 5, true, 5}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct compare_message m = {id(1), VIEW("de-dwd"), LATER, rows[i].with};
		struct uuid one = id(1);
		struct compare c;

		compare_init(&c, WITHIN, 0);
		if (rows[i].refused && rows[i].before)
			compare_refused(&c, &one, rows[i].refused, LATER);
		compare_take(&c, COMPARE_THEIRS, &m, LATER);
		if (rows[i].refused && !rows[i].before)
			compare_refused(&c, &one, rows[i].refused, LATER);
		compare_end(&c, 2 * LATER);
		assert_int_equal(dwd(&c)->only_theirs[rows[i].want].count, 1);
		compare_fini(&c);
	}
}

static void what_we_published_before_is_a_reason_of_its_own(void **state)
{
	struct compare c;
	struct uuid ids[8];

	(void)state;
	compare_init(&c, WITHIN, 0);
	take(&c, COMPARE_THEIRS, 1, LATER);
	take(&c, COMPARE_OURS, 2, LATER);
	take(&c, COMPARE_THEIRS, 3, LATER);
	assert_int_equal(compare_ask(&c, ids, 1), 1);
	assert_memory_equal(&ids[0], &(struct uuid){{1}}, 16);
	compare_known(&c, &ids[0]);
	assert_int_equal(compare_ask(&c, ids, 8), 1);
	assert_memory_equal(&ids[0], &(struct uuid){{3}}, 16);
	assert_int_equal(compare_ask(&c, ids, 8), 0);
	compare_settle(&c, LATER + WITHIN);
	take(&c, COMPARE_THEIRS, 4, 2 * LATER); /* those looked at are gone */
	assert_int_equal(compare_ask(&c, ids, 8), 1);
	compare_known(&c, &ids[0]);
	take(&c, COMPARE_OURS, 4, 2 * LATER); /* known, as it has just come */
	compare_end(&c, 3 * LATER);
	assert_int_equal(dwd(&c)->only_theirs[COMPARE_BEFORE].count, 1);
	assert_int_equal(dwd(&c)->only_theirs[RULE_NONE].count, 1);
	assert_int_equal(dwd(&c)->both, 1);
	compare_fini(&c);
}

static void what_neither_published_is_no_difference(void **state)
{
	struct uuid one = id(1);
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	compare_refused(&c, &one, 5, LATER);
	compare_end(&c, 2 * LATER);
	assert_int_equal(c.centres.count, 0);
	assert_int_equal(c.untold_end, 0);
	compare_fini(&c);
}

static void memory_is_bounded_and_that_is_told(void **state)
{
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	c.most = 10;
	for (uint8_t n = 1; n <= 12; n++)
		take(&c, COMPARE_OURS, n, LATER);
	assert_int_equal(c.count, 10);
	assert_int_equal(c.early, 2);
	assert_int_equal(dwd(&c)->only_ours.count, 2);
	compare_fini(&c);
	compare_init(&c, WITHIN, 0);
	for (unsigned n = 0; n < COMPARE_CENTRES + 10; n++) {
		struct compare_message m = {{{(uint8_t)n, (uint8_t)(n >> 8)}}, {NULL, 0}, LATER, 0};
		char name[32];

		m.centre = (struct view){name, (size_t)snprintf(name, sizeof(name), "xx-%u", n)};
		compare_take(&c, COMPARE_OURS, &m, LATER);
	}
	assert_int_equal(c.centres.count, COMPARE_CENTRES + 1);
	compare_fini(&c);
}

static void the_report_says_all_of_it(void **state)
{
	static const struct compare_words words = {"here", "there", "it did not reach us", 5000};
	struct compare_message m = {id(3), VIEW("x\033[2J"), LATER, RULE_NONE};
	struct uuid three = id(3);
	struct buf text = {0}, json = {0};
	struct compare c;

	(void)state;
	compare_init(&c, WITHIN, 0);
	take(&c, COMPARE_OURS, 1, LATER);
	take(&c, COMPARE_THEIRS, 1, LATER + 20);
	take(&c, COMPARE_OURS, 2, LATER + 20);
	compare_take(&c, COMPARE_THEIRS, &m, LATER + 20);
	compare_refused(&c, &three, 1, LATER + 20);
	compare_end(&c, 2 * LATER);
	assert_false(compare_report_text(&c, &words, &text));
	assert_false(compare_report_json(&c, &words, &json));
	buf_append(&text, "", 1);
	buf_append(&json, "", 1);
	assert_non_null(strstr((const char *)text.data,
		"de-dwd: both 1, only ours 1, only theirs 0\n  ours first: 1, by <100 ms: 1\n"
		"  only ours: 1\n      02000000-0000-0000-0000-000000000000\n"));
	assert_null(strchr((const char *)text.data, '\033'));
	assert_non_null(
		strstr((const char *)text.data, "all: both 1, only ours 1, only theirs 1\n"));
	assert_non_null(strstr((const char *)json.data, "{\"centre_id\":\"de-dwd\",\"both\":1,"));
	assert_non_null(strstr((const char *)json.data,
		"\"ours_first\":1,\"ours_earlier_ms\":{\"10\":0,\"100\":1,\"1000\":0,"));
	assert_non_null(strstr((const char *)json.data, rule_id(1)));
	buf_fini(&text);
	buf_fini(&json);
	compare_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_both_have_is_counted_with_who_was_first),
		cmocka_unit_test(one_side_alone_is_counted_when_its_time_is_over),
		cmocka_unit_test(near_the_beginning_and_the_end_nothing_is_told),
		cmocka_unit_test(about_a_gap_nothing_is_told),
		cmocka_unit_test(gaps_near_to_each_other_are_one),
		cmocka_unit_test(a_repeat_of_one_side_counts_once),
		cmocka_unit_test(the_rule_is_ours_when_we_refused_it),
		cmocka_unit_test(what_we_published_before_is_a_reason_of_its_own),
		cmocka_unit_test(what_neither_published_is_no_difference),
		cmocka_unit_test(memory_is_bounded_and_that_is_told),
		cmocka_unit_test(the_report_says_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
