#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalogue/schedule.h"

#define MINUTE 60000u
#define REFRESH (15 * MINUTE)

/* After one good round that began and ended at `at`. */
static struct schedule after_good(uint64_t at)
{
	struct schedule s;

	schedule_init(&s, at, REFRESH);
	schedule_begin(&s, at);
	schedule_end(&s, at, true, REFRESH / 10); /* the middle: no jitter */
	return s;
}

static void the_first_round_is_at_once_and_the_next_after_refresh(void **state)
{
	struct schedule s;

	(void)state;
	schedule_init(&s, 7, REFRESH);
	assert_true(schedule_is_due(&s, 7));
	s = after_good(7);
	assert_false(schedule_is_due(&s, 7 + REFRESH - 1));
	assert_true(schedule_is_due(&s, 7 + REFRESH));
}

static void the_jitter_is_a_tenth_at_most(void **state)
{
	struct schedule s = after_good(0);

	(void)state;
	for (uint64_t chance = 0; chance < REFRESH; chance += 997) {
		schedule_end(&s, 0, true, chance);
		assert_in_range(s.due_ms, REFRESH - REFRESH / 10, REFRESH + REFRESH / 10);
	}
	schedule_end(&s, 0, true, 0);
	assert_int_equal(s.due_ms, REFRESH - REFRESH / 10);
}

static void failures_are_tried_again_sooner_and_ever_less_often(void **state)
{
	static const uint64_t want[] = {2 * MINUTE, 4 * MINUTE, 8 * MINUTE, REFRESH, REFRESH};
	struct schedule s = after_good(0);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		schedule_end(&s, 0, false, want[i] / 10);
		assert_int_equal(s.due_ms, want[i]);
	}
	s.failures = 1000;
	schedule_end(&s, 0, false, REFRESH / 10);
	assert_int_equal(s.due_ms, REFRESH);
}

static void a_notification_brings_the_next_round_to_two_minutes_after_the_last(void **state)
{
	struct schedule s = after_good(0);

	(void)state;
	schedule_notice(&s, 1000);
	assert_int_equal(s.due_ms, 2 * MINUTE);
	schedule_notice(&s, 2 * MINUTE - 1); /* however many come */
	assert_false(schedule_is_due(&s, 2 * MINUTE - 1));
	s = after_good(0);
	schedule_notice(&s, 5 * MINUTE);
	assert_true(schedule_is_due(&s, 5 * MINUTE));
	s = after_good(0);
	schedule_notice(&s, REFRESH + 1); /* due anyway */
	assert_int_equal(s.due_ms, REFRESH);
}

static void a_miss_counts_only_when_the_list_is_old(void **state)
{
	struct schedule s = after_good(0);

	(void)state;
	s.due_ms = 60 * MINUTE;
	schedule_miss(&s, 15 * MINUTE);
	assert_int_equal(s.due_ms, 60 * MINUTE);
	schedule_miss(&s, 15 * MINUTE + 1);
	assert_int_equal(s.due_ms, 15 * MINUTE + 1);
}

static void a_shorter_refresh_counts_from_now(void **state)
{
	struct schedule s = after_good(0);

	(void)state;
	schedule_change(&s, 1000, MINUTE);
	assert_int_equal(s.due_ms, 1000 + MINUTE);
	schedule_change(&s, 1000, 100 * MINUTE);
	assert_int_equal(s.due_ms, 1000 + MINUTE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_round_is_at_once_and_the_next_after_refresh),
		cmocka_unit_test(the_jitter_is_a_tenth_at_most),
		cmocka_unit_test(failures_are_tried_again_sooner_and_ever_less_often),
		cmocka_unit_test(
			a_notification_brings_the_next_round_to_two_minutes_after_the_last),
		cmocka_unit_test(a_miss_counts_only_when_the_list_is_old),
		cmocka_unit_test(a_shorter_refresh_counts_from_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
