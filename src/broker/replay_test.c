#include "broker/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NOW 1800000000000u

static void since_is_a_duration_or_a_time(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t want;
	} rows[] = {
		{"6h", true, NOW - 6 * 3600000u},
		{"90s", true, NOW - 90000u},
		{"15m", true, NOW - 900000u},
		{"2d", true, NOW - 2 * 86400000u},
		{"0s", true, NOW},
		{"999999999d", true, 0},
		{"2026-11-22T06:00:00Z", true, 1795327200000u},
		{"2026-11-22T06:00:00.250Z", true, 1795327200250u},
		{"", false, 0},
		{"h", false, 0},
		{"6", false, 0},
		{"-6h", false, 0},
		{"6 h", false, 0},
		{"9999999999999h", false, 0},
		{"2026-11-22T06:00:00", false, 0},
		{"2026-11-22T06:00:00+01:00", false, 0},
		{"2026-13-22T06:00:00Z", false, 0},
		{"2026-00-22T06:00:00Z", false, 0},
		{"2026-11-22T24:00:00Z", false, 0},
		{"2026-11-22", false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t got = 0;

		if (replay_parse_since(view_of(rows[i].text), NOW, &got) != rows[i].ok)
			fail_msg("%s: accepted %d", rows[i].text, !rows[i].ok);
		if (rows[i].ok && got != rows[i].want)
			fail_msg("%s: got %llu", rows[i].text, (unsigned long long)got);
	}
}

static void the_filter_stands_behind_since(void **state)
{
	struct view since;
	struct view filter;

	(void)state;
	assert_int_equal(replay_cut(VIEW("$replay/6h/origin/#"), &since, &filter), 1);
	assert_true(view_equal(since, VIEW("6h")));
	assert_true(view_equal(filter, VIEW("origin/#")));
	assert_int_equal(replay_cut(VIEW("origin/#"), &since, &filter), 0);
	assert_true(replay_cut(VIEW("$replay/6h"), &since, &filter) < 0);
	assert_true(replay_cut(VIEW("$replay//a"), &since, &filter) < 0);
	assert_true(replay_cut(VIEW("$replay/6h/"), &since, &filter) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(since_is_a_duration_or_a_time),
		cmocka_unit_test(the_filter_stands_behind_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
