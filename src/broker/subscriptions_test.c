#include "broker/subscriptions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"

static void put(struct subscriptions *s, const char *filter, uint8_t qos, uint64_t from)
{
	subscriptions_put(
		s, &(struct subscription){.filter = view_of(filter), .qos = qos, .from = from});
}

static void filters_stand_in_order_whatever_the_order_of_subscribing(void **state)
{
	static const char *const want[] = {"a", "a/#", "a/b", "b"};
	struct subscriptions s = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "b", 0, 1);
	put(&s, "a/b", 1, 1);
	put(&s, "a", 2, 1);
	put(&s, "a/#", 0, 1);
	for (int i = 0; i < 4; i++) {
		assert_true(subscriptions_next(&s, &at, &one));
		assert_true(view_equal(one.filter, view_of(want[i])));
	}
	assert_false(subscriptions_next(&s, &at, &one));
	subscriptions_fini(&s);
}

static void subscribing_again_replaces(void **state)
{
	struct subscriptions s = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "a/#", 0, 5);
	assert_true(subscriptions_put(
		&s, &(struct subscription){.filter = VIEW("a/#"), .qos = 1, .from = 9, .id = 7}));
	assert_int_equal(s.count, 1);
	assert_true(subscriptions_next(&s, &at, &one));
	assert_int_equal(one.qos, 1);
	assert_int_equal(one.id, 7);
	subscriptions_fini(&s);
}

static void subscribing_again_loses_nothing_that_is_still_to_come(void **state)
{
	struct subscriptions s = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "a/#", 0, 5);
	put(&s, "a/#", 1, 9);
	assert_true(subscriptions_next(&s, &at, &one));
	assert_int_equal(one.from, 5);
	assert_int_equal(s.youngest, 5);
	put(&s, "a/#", 1, 3); /* a replay */
	assert_int_equal(s.youngest, 3);
	subscriptions_fini(&s);
}

static void removing_one_leaves_the_others(void **state)
{
	struct subscriptions s = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "a", 0, 1);
	put(&s, "b", 0, 8);
	put(&s, "c", 0, 2);
	assert_true(subscriptions_remove(&s, VIEW("b")));
	assert_false(subscriptions_remove(&s, VIEW("b")));
	assert_int_equal(s.youngest, 2);
	assert_true(subscriptions_next(&s, &at, &one));
	assert_true(subscriptions_next(&s, &at, &one));
	assert_true(view_equal(one.filter, VIEW("c")));
	subscriptions_fini(&s);
}

static void a_replay_keeps_older_filters_from_matching_again(void **state)
{
	struct subscriptions s = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "a", 0, 10);
	put(&s, "b", 0, 200);
	subscriptions_not_before(&s, 100);
	assert_true(subscriptions_next(&s, &at, &one));
	assert_int_equal(one.from, 100);
	assert_true(subscriptions_next(&s, &at, &one));
	assert_int_equal(one.from, 200);
	subscriptions_fini(&s);
}

static void a_stored_block_comes_back_with_no_position_behind_the_tail(void **state)
{
	struct subscriptions s = {0};
	struct subscriptions back = {0};
	struct subscription one;
	uint32_t at = 0;

	(void)state;
	put(&s, "a/b", 1, 5);
	put(&s, "a", 2, 50);
	assert_int_equal(subscriptions_restore(&back, subscriptions_view(&s), 20), 0);
	assert_int_equal(back.count, 2);
	assert_int_equal(back.youngest, 20);
	assert_true(subscriptions_next(&back, &at, &one));
	assert_true(view_equal(one.filter, VIEW("a")) && one.from == 20 && one.qos == 2);
	assert_true(subscriptions_next(&back, &at, &one));
	assert_true(view_equal(one.filter, VIEW("a/b")) && one.from == 5 && one.qos == 1);
	subscriptions_fini(&back);
	subscriptions_fini(&s);
}

static void a_stored_block_cut_short_or_out_of_order_is_refused(void **state)
{
	struct subscriptions s = {0};
	struct subscriptions back = {0};
	struct buf twice = {0};

	(void)state;
	put(&s, "a/b", 1, 5);
	for (size_t n = 1; n < s.bytes; n++) {
		struct view cut = {(const char *)s.block, n};

		assert_int_equal(subscriptions_restore(&back, cut, 20), ERR_CORRUPT);
	}
	buf_append(&twice, s.block, s.bytes);
	buf_append(&twice, s.block, s.bytes);
	assert_int_equal(subscriptions_restore(&back, buf_view(&twice), 20), ERR_CORRUPT);
	assert_int_equal(back.count, 0);
	buf_fini(&twice);
	subscriptions_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_stand_in_order_whatever_the_order_of_subscribing),
		cmocka_unit_test(subscribing_again_replaces),
		cmocka_unit_test(subscribing_again_loses_nothing_that_is_still_to_come),
		cmocka_unit_test(removing_one_leaves_the_others),
		cmocka_unit_test(a_replay_keeps_older_filters_from_matching_again),
		cmocka_unit_test(a_stored_block_comes_back_with_no_position_behind_the_tail),
		cmocka_unit_test(a_stored_block_cut_short_or_out_of_order_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
