/* Rows of places: found, thinned out, widened, dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "commit/vector.h"

static void an_empty_log_knows_nothing(void **state)
{
	struct vector_log *l = vector_log_new();
	struct vector v;

	(void)state;
	assert_int_equal(vector_log_row(l, UINT64_MAX, &v), 0);
	assert_int_equal(vector_log_within(l, &v), 0);
	assert_int_equal(v.place[0], 0);
	vector_log_free(l);
}

/* Record seq is of shard seq % 3 and place seq + 1. */
static void note_all(struct vector_log *l, uint64_t from, uint64_t to, uint64_t head)
{
	for (uint64_t seq = from; seq < to; seq++)
		vector_log_note(l, seq, (uint32_t)(seq % 3), seq + 1, head);
}

/* Of the last record of a shard below seq. */
static uint64_t place_before(uint64_t seq, uint32_t shard)
{
	while (seq > 0 && (seq - 1) % 3 != shard)
		seq--;
	return seq;
}

static void a_row_is_near_and_true_however_many_records_come(void **state)
{
	const uint64_t n = VECTOR_ROWS_MOST * VECTOR_STRIDE_FIRST * 5 + 77;
	struct vector_log *l = vector_log_new();
	struct vector v;

	(void)state;
	note_all(l, 0, n, 0);
	for (uint64_t seq = 0; seq <= n; seq += 10007) {
		uint64_t row = vector_log_row(l, seq, &v);

		assert_true(row <= seq && seq - row <= 8 * VECTOR_STRIDE_FIRST);
		for (uint32_t shard = 0; shard < 3; shard++)
			assert_int_equal(v.place[shard], place_before(row, shard));
		/* Nothing before the row is beyond its vector, and the next row's is. */
		assert_true(vector_log_within(l, &v) == row);
	}
	vector_log_free(l);
}

static void rows_of_what_is_gone_go_before_any_is_thinned_out(void **state)
{
	const uint64_t n = VECTOR_ROWS_MOST * VECTOR_STRIDE_FIRST;
	struct vector_log *l = vector_log_new();
	struct vector v;

	(void)state;
	note_all(l, 0, n, 0);
	note_all(l, n, n + VECTOR_STRIDE_FIRST, n / 2);
	assert_int_equal(vector_log_row(l, n / 2, &v), n / 2);
	assert_int_equal(vector_log_row(l, n / 2 - 1, &v), 0);
	assert_int_equal(vector_log_row(l, n - 1, &v), n - VECTOR_STRIDE_FIRST);
	vector_log_free(l);
}

static void a_shard_may_come_late_and_a_lower_place_changes_nothing(void **state)
{
	struct vector_log *l = vector_log_new();
	struct vector v;

	(void)state;
	vector_log_note(l, 0, 1, 50, 0);
	vector_log_note(l, VECTOR_STRIDE_FIRST, VECTOR_SHARDS - 1, 7, 0);
	vector_log_note(l, VECTOR_STRIDE_FIRST + 1, 1, 40, 0);
	vector_log_now(l, &v);
	assert_int_equal(v.place[1], 50);
	assert_int_equal(v.place[VECTOR_SHARDS - 1], 7);
	assert_int_equal(vector_log_row(l, VECTOR_STRIDE_FIRST, &v), VECTOR_STRIDE_FIRST);
	assert_int_equal(v.place[1], 50);
	assert_int_equal(v.place[VECTOR_SHARDS - 1], 0);
	vector_log_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_log_knows_nothing),
		cmocka_unit_test(a_row_is_near_and_true_however_many_records_come),
		cmocka_unit_test(rows_of_what_is_gone_go_before_any_is_thinned_out),
		cmocka_unit_test(a_shard_may_come_late_and_a_lower_place_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
