/* A target of a cluster: what this node feeds of it, and what it says about how far it is. */
#include "publish/fixture.h"

#include <string.h>

#include "commit/follow.h"

#define ONE 1u
#define TWO 2u

/* --- the cluster, played ------------------------------------------------------- */

/* A record of the shared log comes in. The place is its identifier as well. */
static void follow(struct fixture *f, uint8_t shard, uint64_t place, const char *payload)
{
	struct commit_record r = {.message = {.topic = VIEW(TOPIC),
					  .payload = view_of(payload),
					  .log_id = place,
					  .shard = shard,
					  .flags = JOURNAL_CLAIMED,
					  .qos = 1}};
	struct commit_line line = {.records = &r, .n = 1};

	memcpy(r.message.id.b, &place, sizeof(place));
	assert_int_equal(commit_follow(f->commit, &line, 1), 0);
	assert_int_equal(line.taken, 1);
	loop_wake(f->loop);
}

static void give(
	struct fixture *f, uint8_t one, uint64_t place_one, uint8_t two, uint64_t place_two)
{
	struct sharing_parts parts = {.state = {[ONE] = one, [TWO] = two},
		.place = {{[ONE] = place_one, [TWO] = place_two}}};
	struct sharing_host host = publisher_sharing_host(f->publisher);

	host.set(host.context, view_of(fixture_target(f)->name), &parts);
}

static void take_group(void *asker, const struct sharing_group *g)
{
	*(struct sharing_group *)asker = *g;
}

static struct sharing_group look(struct fixture *f)
{
	struct sharing_host host = publisher_sharing_host(f->publisher);
	struct sharing_group g = {0};

	host.each(host.context, take_group, &g);
	return g;
}

static bool has_begun(void *context)
{
	return look(context).number != 0;
}

static void begin(struct fixture *f)
{
	fixture_apply(f);
	drive_until(f->loop, has_begun, f);
}

static void await_owned(struct fixture *f, uint64_t want)
{
	await_figure(f, &fixture_figures(f)->owned, want);
}

/* --- tests ---------------------------------------------------------------------- */

static void nothing_is_fed_before_a_shard_is_owned(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	follow(&f, ONE, 10, "old");
	begin(&f);
	assert_int_equal(look(&f).acked.place[ONE], 10); /* what comes from then on */
	greet(&f);
	follow(&f, ONE, 11, "1");
	follow(&f, TWO, 20, "2");
	expect_silence(&f);
	assert_int_equal(count_read(&fixture_figures(&f)->position), 3); /* nothing waits */
	give(&f, SHARE_OWNED, 10, SHARE_NONE, 0);
	expect(&f, "1");
	expect_silence(&f);
	assert_int_equal(count_read(&fixture_figures(&f)->owned), 1);
	fixture_fini(&f);
}

static void a_shard_that_comes_waits_until_nothing_is_open(void **state)
{
	uint16_t id;
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	greet(&f);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0);
	await_owned(&f, 1);
	follow(&f, TWO, 20, "2");
	follow(&f, ONE, 10, "1");
	id = expect(&f, "1").packet_id;
	give(&f, SHARE_OWNED, 0, SHARE_OWNED, 0);
	follow(&f, ONE, 11, "3");
	expect_silence(&f);
	answer(&f, id, 0);
	expect(&f, "2");
	expect(&f, "3");
	expect_silence(&f);
	fixture_fini(&f);
}

static bool is_told(void *context)
{
	return look(context).dealt.place[ONE] != UINT64_MAX;
}

static bool all_is_acknowledged(void *context)
{
	struct sharing_group g = look(context);

	return g.acked.place[ONE] == 11 && g.dealt.place[ONE] == 11;
}

static void a_shard_that_ends_is_seen_through_and_then_said_to_be_done(void **state)
{
	uint16_t id;
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	greet(&f);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0);
	await_owned(&f, 1);
	follow(&f, ONE, 10, "1");
	follow(&f, ONE, 11, "2");
	answer(&f, expect(&f, "1").packet_id, 0);
	id = expect(&f, "2").packet_id;
	give(&f, SHARE_ENDING, 0, SHARE_NONE, 0);
	assert_int_equal(look(&f).dealt.place[ONE], UINT64_MAX); /* it has not been heard yet */
	drive_until(f.loop, is_told, &f);
	follow(&f, ONE, 12, "not any more");
	expect_silence(&f);
	assert_int_equal(look(&f).acked.place[ONE], 10);
	assert_int_equal(look(&f).dealt.place[ONE], 11);
	answer(&f, id, 0);
	drive_until(f.loop, all_is_acknowledged, &f);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0); /* it stays after all */
	expect(&f, "not any more");
	fixture_fini(&f);
}

static void what_was_given_away_is_not_sent_again(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	greet(&f);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0);
	await_owned(&f, 1);
	follow(&f, ONE, 10, "1");
	expect(&f, "1");
	give(&f, SHARE_NONE, 0, SHARE_NONE, 0);
	await_owned(&f, 0);
	peer_close(&f.peer);
	await_figure(&f, &fixture_figures(&f)->connected, 0);
	await_figure(&f, &fixture_figures(&f)->position, 1);
	greet_with(&f, true, (struct view){"", 0});
	expect_silence(&f);
	assert_int_equal(count_read(&fixture_figures(&f)->resent), 0);
	give(&f, SHARE_OWNED, 10, SHARE_NONE, 0);
	follow(&f, ONE, 11, "2");
	expect(&f, "2");
	fixture_fini(&f);
}

static void who_has_lost_the_connection_is_counted_as_connected_for_a_while(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	assert_false(look(&f).is_seated);
	greet(&f);
	assert_true(look(&f).is_seated);
	peer_close(&f.peer);
	await_figure(&f, &fixture_figures(&f)->connected, 0);
	assert_true(look(&f).is_seated);
	fixture_fini(&f);
}

static void what_waits_for_a_target_away_shows_where_it_is_owned(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	follow(&f, ONE, 10, "1");
	follow(&f, TWO, 20, "2");
	await_figure(&f, &fixture_figures(&f)->position, 2);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0);
	await_owned(&f, 1);
	assert_int_equal(count_read(&fixture_figures(&f)->position), 0);
	fixture_fini(&f);
}

static void what_only_this_journal_has_is_sent_whoever_owns_the_shards(void **state)
{
	struct journal_message m = {.topic = VIEW(TOPIC), .payload = VIEW("here alone"), .qos = 1};
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	begin(&f);
	greet(&f);
	follow(&f, ONE, 10, "others'");
	m.id.b[0] = 0xff;
	assert_int_equal(commit_publish(f.commit, &m, 1), 0);
	loop_wake(f.loop);
	answer(&f, expect(&f, "here alone").packet_id, 0);
	give(&f, SHARE_OWNED, 0, SHARE_NONE, 0);
	expect(&f, "others'");
	expect_silence(&f);
	fixture_fini(&f);
}

static void a_place_that_the_journal_does_not_reach_is_a_gap_and_the_rest_is_sent(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	follow(&f, ONE, 10, "1");
	follow(&f, TWO, 20, "2");
	begin(&f);
	greet(&f);
	give(&f, SHARE_OWNED, 5, SHARE_OWNED, 0);
	expect(&f, "1");
	expect(&f, "2");
	assert_int_equal(count_read(&fixture_figures(&f)->gaps), 1);
	fixture_fini(&f);
}

static void each_node_has_a_connection_of_its_own(void **state)
{
	struct mqtt_packet connect;
	struct view id;
	struct fixture f;

	(void)state;
	fixture_init_cluster(&f);
	f.config.name = mem_text("emqx");
	begin(&f);
	connect = greet_with(&f, false, (struct view){"", 0});
	id = connect.connect.client_id;
	assert_true(id.n > 7 && view_equal(view_skip(id, id.n - 7), VIEW("-node-1")));
	assert_string_equal(fixture_target(&f)->name, "emqx");
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_fed_before_a_shard_is_owned),
		cmocka_unit_test(a_shard_that_comes_waits_until_nothing_is_open),
		cmocka_unit_test(a_shard_that_ends_is_seen_through_and_then_said_to_be_done),
		cmocka_unit_test(what_was_given_away_is_not_sent_again),
		cmocka_unit_test(who_has_lost_the_connection_is_counted_as_connected_for_a_while),
		cmocka_unit_test(what_waits_for_a_target_away_shows_where_it_is_owned),
		cmocka_unit_test(what_only_this_journal_has_is_sent_whoever_owns_the_shards),
		cmocka_unit_test(
			a_place_that_the_journal_does_not_reach_is_a_gap_and_the_rest_is_sent),
		cmocka_unit_test(each_node_has_a_connection_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
