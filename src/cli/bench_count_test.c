/* Loss, repeats and reordering are told apart; percentiles are right within 3 %. */
#include "cli/bench_count.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void arrivals_are_told_apart(void **state)
{
	static const struct {
		const char *name;
		const char *arrivals; /* digits */
		uint64_t total, lost, repeated, reordered;
	} rows[] = {
		{"all in order", "01234", 5, 0, 0, 0},
		{"nothing came", "", 3, 3, 0, 0},
		{"the end is missing", "012", 5, 2, 0, 0},
		{"one in the middle is missing", "0124", 5, 1, 0, 0},
		{"one came twice", "01123", 4, 0, 1, 0},
		{"one came late", "01324", 5, 0, 0, 1},
		{"one came late and again", "013242", 5, 0, 1, 1},
		{"the middle of a gap came late", "0527", 8, 4, 0, 1},
		{"both ends of a gap came late", "0514", 6, 2, 0, 2},
		{"a gap filled from both sides", "051423", 6, 0, 0, 4},
		{"split and filled", "0836", 9, 5, 0, 2},
		{"repeat inside a split gap", "08363", 9, 5, 1, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sequence s = {0};

		for (const char *p = rows[i].arrivals; *p; p++)
			sequence_take(&s, (uint64_t)(*p - '0'));
		if (sequence_lost(&s, rows[i].total) != rows[i].lost ||
			s.repeated != rows[i].repeated || s.reordered != rows[i].reordered)
			fail_msg("%s: lost %lu repeated %lu reordered %lu", rows[i].name,
				sequence_lost(&s, rows[i].total), s.repeated, s.reordered);
		sequence_fini(&s);
	}
}

/* Against a bit per message, on random arrivals. */
static void gaps_agree_with_a_bitmap(void **state)
{
	struct sequence s = {0};
	bool came[500] = {false};
	uint64_t repeated = 0, distinct = 0;

	(void)state;
	srand(7);
	for (int i = 0; i < 1500; i++) {
		uint64_t n = (uint64_t)rand() % 500;
		bool is_new = !came[n];

		assert_int_equal(sequence_take(&s, n), is_new);
		repeated += !is_new;
		distinct += is_new;
		came[n] = true;
		assert_int_equal(sequence_lost(&s, 500), 500 - distinct);
	}
	assert_int_equal(s.repeated, repeated);
	sequence_fini(&s);
}

static void percentiles_are_right_within_three_percent(void **state)
{
	static const struct {
		double share;
		uint64_t want;
	} rows[] = {{0.5, 500000}, {0.9, 900000}, {0.99, 990000}, {1.0, 1000000}};
	struct latency *l = calloc(1, sizeof(*l));

	(void)state;
	for (uint64_t i = 1; i <= 1000; i++)
		latency_add(l, i * 1000, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t got = latency_at(l, rows[i].share);

		if (got < rows[i].want || got > rows[i].want * 104 / 100)
			fail_msg("%f: %lu", rows[i].share, got);
	}
	assert_int_equal(l->max_ns, 1000000);
	free(l);
}

static void every_duration_has_a_bucket(void **state)
{
	struct latency *l = calloc(1, sizeof(*l));

	(void)state;
	for (int i = 0; i < 64; i++)
		latency_add(l, UINT64_MAX >> i, 1);
	latency_add(l, 0, 1);
	assert_int_equal(l->count, 65);
	assert_in_range(latency_at(l, 0), 0, 1);
	free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrivals_are_told_apart),
		cmocka_unit_test(gaps_agree_with_a_bitmap),
		cmocka_unit_test(percentiles_are_right_within_three_percent),
		cmocka_unit_test(every_duration_has_a_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
