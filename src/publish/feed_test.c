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

/* Shards 1 and 2. */
static struct sharing_parts parts(uint8_t one, uint64_t place_one, uint8_t two, uint64_t place_two)
{
	return (struct sharing_parts){
		.state = {[1] = one, [2] = two}, .place = {{[1] = place_one, [2] = place_two}}};
}

static void feed_init(struct feed *f, uint64_t next)
{
	static const struct vector nothing;

	*f = (struct feed){.next = next};
	feed_by_shard(f, &nothing);
}

static void feed_get(struct feed *f, struct sharing_parts p, uint64_t from)
{
	feed_give(f, &p);
	feed_take(f, &p, from);
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
	struct feed f;

	(void)state;
	feed_init(&f, 10);
	feed_get(&f, parts(SHARE_NONE, 0, SHARE_OWNED, 100), 0);
	assert_int_equal(f.next, 0);
	assert_int_equal(f.owned, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct journal_entry e = entry(rows[i].shard, rows[i].log_id);

		assert_int_equal(feed_wants(&f, &e), rows[i].want);
		feed_pass(&f, &e);
	}
	assert_int_equal(f.next, 5);
}

static void a_shard_that_comes_is_looked_for_further_back_and_repeats_nothing(void **state)
{
	struct journal_entry fed = entry(1, 12), late = entry(2, 21);
	struct feed f;

	(void)state;
	feed_init(&f, 100);
	feed_get(&f, parts(SHARE_OWNED, 10, SHARE_NONE, 0), 100);
	feed_pass(&f, &fed);
	feed_get(&f, parts(SHARE_OWNED, 0, SHARE_OWNED, 20), 50);
	assert_int_equal(f.next, 50);
	assert_false(feed_wants(&f, &fed));
	assert_true(feed_wants(&f, &late));
}

static void a_shard_that_ends_is_fed_no_more_and_goes_on_where_it_was_when_it_stays(void **state)
{
	struct journal_entry one = entry(1, 11), two = entry(1, 12);
	struct sharing_parts back = parts(SHARE_OWNED, 5, SHARE_NONE, 0);
	struct vector behind;
	struct feed f;

	(void)state;
	feed_init(&f, 7);
	feed_get(&f, parts(SHARE_OWNED, 10, SHARE_NONE, 0), 7);
	feed_pass(&f, &one);
	feed_get(&f, parts(SHARE_ENDING, 5, SHARE_NONE, 0), 7);
	assert_false(feed_wants(&f, &two));
	assert_false(feed_is_others(&f, &two));
	feed_pass(&f, &two);
	assert_true(feed_gains(&f, &back, &behind));
	assert_int_equal(behind.place[1], 11);
	assert_int_equal(behind.place[2], UINT64_MAX);
	feed_get(&f, back, 8);
	assert_int_equal(f.next, 8);
	assert_true(feed_wants(&f, &two));
}

static void a_shard_that_went_is_others_and_comes_back_where_they_left_it(void **state)
{
	struct journal_entry old = entry(1, 11), now = entry(1, 31), local = entry(0, 0);
	struct feed f;

	(void)state;
	feed_init(&f, 7);
	feed_get(&f, parts(SHARE_OWNED, 10, SHARE_OWNED, 20), 7);
	feed_get(&f, parts(SHARE_NONE, 0, SHARE_OWNED, 20), 7);
	assert_true(feed_is_others(&f, &old));
	assert_false(feed_is_others(&f, &local));
	assert_false(feed_wants(&f, &old));
	assert_int_equal(f.owned, 1);
	feed_get(&f, parts(SHARE_OWNED, 30, SHARE_OWNED, 0), 3);
	assert_false(feed_wants(&f, &old));
	assert_true(feed_wants(&f, &now));
	assert_int_equal(f.owned, 2);
}

static void what_has_no_place_is_fed_once_whoever_owns_the_shards(void **state)
{
	struct journal_entry local = entry(0, 0);
	struct feed f;

	(void)state;
	feed_init(&f, 7);
	assert_true(feed_wants(&f, &local));
	feed_pass(&f, &local);
	feed_get(&f, parts(SHARE_OWNED, 1, SHARE_NONE, 0), 6);
	assert_false(feed_wants(&f, &local)); /* before this run */
	feed_pass(&f, &local);
	assert_false(feed_wants(&f, &local));
	feed_pass(&f, &local);
	assert_true(feed_wants(&f, &local));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_machine_feeds_everything_that_is_not_hidden),
		cmocka_unit_test(of_a_shard_only_what_lies_behind_its_place_is_fed),
		cmocka_unit_test(a_shard_that_comes_is_looked_for_further_back_and_repeats_nothing),
		cmocka_unit_test(
			a_shard_that_ends_is_fed_no_more_and_goes_on_where_it_was_when_it_stays),
		cmocka_unit_test(a_shard_that_went_is_others_and_comes_back_where_they_left_it),
		cmocka_unit_test(what_has_no_place_is_fed_once_whoever_owns_the_shards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
