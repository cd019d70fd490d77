#include "broker/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "broker/batch.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define START 1000000u /* the clock is the test's own */

/* n messages of 100 bytes each. */
static struct batch *batch_of(uint32_t n)
{
	struct batch *b = mem_new(sizeof(*b));

	for (uint32_t i = 0; i < n; i++)
		b->records[i].end = (i + 1) * 100;
	b->count = n;
	return b;
}

static void without_a_limit_there_is_no_throttle(void **state)
{
	(void)state;
	assert_null(throttle_new(0, 0));
}

/* Each row asks for `asked` messages of 100 bytes at its time, and sends what it is granted. */
struct row {
	uint64_t at_ms;
	uint32_t asked;
	uint32_t granted;
};

static void run(struct throttle *t, const struct row *rows, size_t n)
{
	struct batch *b = batch_of(100);

	for (size_t i = 0; i < n; i++) {
		uint32_t granted = throttle_grant(t, b, rows[i].asked, START + rows[i].at_ms);

		if (granted != rows[i].granted)
			fail_msg("row %zu: got %u, want %u", i, granted, rows[i].granted);
		throttle_spend(t, granted, granted * 100u);
	}
	free(b);
	free(t);
}

static void messages_come_as_a_second_worth_at_once_then_at_their_rate(void **state)
{
	static const struct row rows[] = {
		{0, 100, 10},
		{0, 1, 0},
		{50, 1, 0},
		{100, 5, 1},
		{300, 1, 1},
		{300, 5, 1},
		{350, 5, 0},
		{400, 5, 1},
		{5000, 100, 10},
		{5000, 1, 0},
	};

	(void)state;
	run(throttle_new(10, 0), rows, COUNT_OF(rows));
}

static void a_rate_below_one_a_turn_is_not_rounded_away(void **state)
{
	static const struct row rows[] = {
		{0, 1, 1},
		{1, 1, 0},
		{2, 1, 0},
		{999, 1, 0},
		{1000, 1, 1},
		{1999, 1, 0},
		{2000, 1, 1},
	};

	(void)state;
	run(throttle_new(1, 0), rows, COUNT_OF(rows));
}

static void bytes_are_owed_by_a_message_larger_than_what_is_there(void **state)
{
	static const struct row rows[] = {
		/* 250 bytes: two whole messages, then half of one is there */
		{0, 100, 2},
		{0, 100, 1},
		{100, 1, 0},
		{200, 1, 0},
		{201, 1, 0},
		{204, 1, 1},
		{300, 1, 0},
	};

	(void)state;
	run(throttle_new(0, 250), rows, COUNT_OF(rows));
}

static void the_tighter_of_both_limits_counts(void **state)
{
	static const struct row rows[] = {{0, 100, 3}, {0, 100, 0}};

	(void)state;
	run(throttle_new(50, 300), rows, COUNT_OF(rows));
}

static void the_largest_rates_do_not_overflow(void **state)
{
	static const struct row rows[] = {{0, 100, 100}, {1, 100, 100}, {1000000000, 100, 100}};

	(void)state;
	run(throttle_new(1000000000, 1ull << 40), rows, COUNT_OF(rows));
}

static void it_is_empty_until_something_has_come(void **state)
{
	struct throttle *t = throttle_new(10, 0);

	(void)state;
	assert_false(throttle_is_empty(t, START));
	throttle_spend(t, 10, 0);
	assert_true(throttle_is_empty(t, START));
	assert_true(throttle_is_empty(t, START - 5)); /* clocks of workers differ a little */
	assert_true(throttle_is_empty(t, START + 99));
	assert_false(throttle_is_empty(t, START + 100));
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_there_is_no_throttle),
		cmocka_unit_test(messages_come_as_a_second_worth_at_once_then_at_their_rate),
		cmocka_unit_test(a_rate_below_one_a_turn_is_not_rounded_away),
		cmocka_unit_test(bytes_are_owed_by_a_message_larger_than_what_is_there),
		cmocka_unit_test(the_tighter_of_both_limits_counts),
		cmocka_unit_test(the_largest_rates_do_not_overflow),
		cmocka_unit_test(it_is_empty_until_something_has_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
