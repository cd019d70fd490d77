#include "broker/subscriptions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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
	assert_int_equal(s.youngest, 9);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_stand_in_order_whatever_the_order_of_subscribing),
		cmocka_unit_test(subscribing_again_replaces),
		cmocka_unit_test(removing_one_leaves_the_others),
		cmocka_unit_test(a_replay_keeps_older_filters_from_matching_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
