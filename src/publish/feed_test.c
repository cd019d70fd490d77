/* Which records of the journal this node feeds a target with. */
#include "publish/feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct journal_entry entry(uint8_t shard, uint64_t log_id)
{
	return (struct journal_entry){.shard = shard, .log_id = log_id};
}

static void one_machine_feeds_everything_that_is_not_hidden(void **state)
{
	struct feed f = {.next = 3};
	struct journal_entry e = entry(0, 0);

	(void)state;
	assert_true(feed_wants(&f, &e));
	feed_pass(&f, &e);
	assert_int_equal(f.next, 4);
	e.flags = JOURNAL_HIDDEN;
	assert_false(feed_wants(&f, &e));
}

static void of_a_shard_only_what_lies_behind_its_place_is_fed(void **state)
{
	static const struct {
		uint8_t shard;
		uint64_t log_id;
		bool want;
	} rows[] = {
		{2, 100, false}, {2, 101, true}, {2, 101, false}, {3, 500, false}, {2, 102, true}};
	struct feed_share share = {.shard = 2, .after = 100};
	struct feed f = {.next = 10};

	(void)state;
	feed_share(&f, 0, &share, 1);
	assert_int_equal(f.next, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct journal_entry e = entry(rows[i].shard, rows[i].log_id);

		assert_int_equal(feed_wants(&f, &e), rows[i].want);
		feed_pass(&f, &e);
	}
	assert_int_equal(f.next, 5);
}

static void a_shard_that_comes_is_looked_for_further_back_and_repeats_nothing(void **state)
{
	struct feed_share first = {.shard = 1, .after = 10};
	struct feed_share both[] = {{.shard = 1, .after = 0}, {.shard = 2, .after = 20}};
	struct journal_entry fed = entry(1, 12), late = entry(2, 21);
	struct feed f = {.next = 100};

	(void)state;
	feed_share(&f, 100, &first, 1);
	feed_pass(&f, &fed);
	feed_share(&f, 50, both, 2);
	assert_int_equal(f.next, 50);
	assert_false(feed_wants(&f, &fed));
	assert_true(feed_wants(&f, &late));
}

static void a_shard_that_goes_is_fed_no_more_and_the_place_stays(void **state)
{
	struct feed_share both[] = {{.shard = 1, .after = 10}, {.shard = 2, .after = 20}};
	struct journal_entry one = entry(1, 11), two = entry(2, 21);
	struct feed f = {.next = 7};

	(void)state;
	feed_share(&f, 7, both, 2);
	feed_share(&f, 0, &both[1], 1);
	assert_int_equal(f.next, 7);
	assert_false(feed_wants(&f, &one));
	assert_true(feed_wants(&f, &two));
	feed_share(&f, 0, NULL, 0);
	assert_false(feed_wants(&f, &two));
	feed_share(&f, 3, both, 1); /* back again, from where it then is */
	assert_true(feed_wants(&f, &one));
	assert_int_equal(f.next, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_machine_feeds_everything_that_is_not_hidden),
		cmocka_unit_test(of_a_shard_only_what_lies_behind_its_place_is_fed),
		cmocka_unit_test(a_shard_that_comes_is_looked_for_further_back_and_repeats_nothing),
		cmocka_unit_test(a_shard_that_goes_is_fed_no_more_and_the_place_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
