/* What a machine has retained, and what the cluster tells it: which of two is the newer, what goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "broker/retained.h"
#include "broker/worker.h"
#include "commit/fixture.h"
#include "commit/follow.h"
#include "commit/retaining.h"

struct rig {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct broker *broker;
	struct retaining_host host;
	uint32_t ids;
};

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->commit = fixture_open_commit(r->dir, 20000);
	r->broker = mem_new(sizeof(*r->broker));
	assert_int_equal(retained_open(&r->broker->retained, r->commit, NULL), 0);
	r->host = broker_retaining_host(r->broker);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	retained_free(r->broker->retained);
	free(r->broker);
	fixture_close_commit(r->dir, r->commit);
	free(r);
	return 0;
}

static struct journal_message message(
	struct rig *r, const char *topic, const char *payload, uint64_t place)
{
	struct journal_message m = {.topic = view_of(topic),
		.payload = view_of(payload),
		.log_id = place,
		.shard = 3,
		.flags = JOURNAL_RETAIN,
		.qos = 1};

	r->ids++;
	memcpy(m.id.b, &r->ids, sizeof(r->ids));
	return m;
}

/* The shared log brings it; flags beside JOURNAL_RETAIN. */
static void follow(
	struct rig *r, const char *topic, const char *payload, uint64_t place, uint8_t flags)
{
	struct commit_record record = {.message = message(r, topic, payload, place)};
	struct commit_line line = {.records = &record, .n = 1};

	record.message.flags |= flags;
	assert_int_equal(commit_follow(r->commit, &line, 1), 0);
}

static void publish_alone(struct rig *r, const char *topic, const char *payload)
{
	struct journal_message m = message(r, topic, payload, 0);

	assert_int_equal(commit_publish(r->commit, &m, 1), 0);
}

static void take(struct rig *r, const char *topic, const char *payload, uint64_t place)
{
	struct journal_message m = message(r, topic, payload, place);

	assert_int_equal(r->host.take(r->host.context, &m, 1), 0);
}

static bool has(struct rig *r, const char *topic, uint64_t place, uint32_t round)
{
	return r->host.has(r->host.context, view_of(topic), place, round);
}

static void drop(struct rig *r, uint32_t shard, uint64_t from, uint32_t round)
{
	struct buf cursor = {0};

	do
		r->host.drop(r->host.context, shard, from, round, &cursor);
	while (buf_length(&cursor));
	buf_fini(&cursor);
}

/* Of all topics in their order, "payload payload ", and whether each has a visible record. */
static void expect(struct rig *r, const char *want, bool is_visible)
{
	struct journal *j = commit_journal(r->commit);
	struct journal_reader reader = {0};
	struct retained_hit hits[RETAINED_HITS];
	struct buf cursor = {0}, got = {0};
	bool is_end;
	uint32_t n = retained_next(r->broker->retained, VIEW("#"), &cursor, hits, &is_end);

	journal_reader_open(j, &reader);
	journal_reader_enter(&reader);
	for (uint32_t i = 0; i < n; i++) {
		const struct journal_segment *s = journal_find(j, hits[i].position);
		const struct journal_entry *e = &s->entries[hits[i].position - s->base];
		const char *end = (const char *)s->packets + e->offset + e->packet_bytes;

		assert_int_equal(hits[i].set_at != 0, is_visible);
		assert_int_equal(!(e->flags & JOURNAL_HIDDEN), is_visible);
		buf_printf(&got, "%c ", end[-1]);
	}
	journal_reader_leave(&reader);
	journal_reader_close(&reader);
	buf_append(&got, "", 1);
	assert_string_equal(buf_bytes(&got), want);
	buf_fini(&got);
	buf_fini(&cursor);
}

static uint64_t topics(struct rig *r)
{
	struct retained_figures f;

	retained_figures(r->broker->retained, &f);
	return f.count;
}

static void what_is_taken_over_is_retained_and_no_message(void **state)
{
	struct rig *r = *state;

	assert_false(has(r, "a", 5, 1));
	take(r, "a", "x", 5);
	expect(r, "x ", false);
	assert_true(has(r, "a", 5, 1));
	assert_true(has(r, "a", 4, 1));
	assert_false(has(r, "a", 6, 1));
}

static void the_shared_logs_own_record_of_it_is_still_a_message(void **state)
{
	struct rig *r = *state;
	struct journal_message m = message(r, "a", "x", 5);
	struct commit_record record = {.message = m};
	struct commit_line line = {.records = &record, .n = 1};

	assert_int_equal(r->host.take(r->host.context, &m, 1), 0);
	assert_int_equal(commit_follow(r->commit, &line, 1), 0);
	assert_int_equal(line.taken - line.known, 1);
	expect(r, "x ", true);
}

static void what_stands_before_it_changes_nothing(void **state)
{
	struct rig *r = *state;

	take(r, "a", "x", 5);
	follow(r, "a", "o", 3, 0);
	follow(r, "a", "", 4, 0);
	expect(r, "x ", false);
	follow(r, "a", "n", 6, 0);
	expect(r, "n ", true);
	follow(r, "a", "", 7, 0);
	expect(r, "", true);
}

static void what_came_too_late_ends_what_was_before_it(void **state)
{
	struct rig *r = *state;

	follow(r, "a", "x", 5, 0);
	follow(r, "a", "y", 6, JOURNAL_HIDDEN);
	expect(r, "", true);
}

static void what_was_delivered_without_the_log_gives_way_to_it(void **state)
{
	struct rig *r = *state;

	follow(r, "a", "x", 5, 0);
	publish_alone(r, "a", "y");
	expect(r, "y ", true);
	assert_false(has(r, "a", 5, 1));
	follow(r, "a", "z", 6, 0);
	expect(r, "z ", true);
}

static void what_the_cluster_does_not_have_is_dropped(void **state)
{
	struct rig *r = *state;

	follow(r, "asked", "1", 5, 0);
	follow(r, "gone", "2", 6, 0);
	follow(r, "older", "3", 4, 0);
	publish_alone(r, "own", "4");
	has(r, "asked", 1, 2);
	take(r, "taken", "5", 9);
	drop(r, 3, UINT64_MAX, 1);
	assert_int_equal(topics(r), 5);
	drop(r, 2, 5, 1);
	assert_int_equal(topics(r), 5);
	has(r, "taken", 9, 2);
	drop(r, 3, 5, 2);
	assert_int_equal(topics(r), 4);
	assert_false(has(r, "gone", 0, 2));
	drop(r, 3, 5, 3);
	assert_int_equal(topics(r), 2);
	assert_true(has(r, "older", 4, 3));
	assert_true(has(r, "own", 0, 3));
}

static void what_was_taken_in_a_round_stays_at_its_end(void **state)
{
	struct rig *r = *state;

	take(r, "a", "x", 5);
	drop(r, 3, 1, 1);
	assert_int_equal(topics(r), 1);
}

static void ten_thousand_are_dropped_in_pieces(void **state)
{
	struct rig *r = *state;
	struct buf cursor = {0};
	uint32_t pieces = 0;
	char topic[16];

	for (uint32_t i = 0; i < 10000; i++) {
		snprintf(topic, sizeof(topic), "t/%u", i);
		follow(r, topic, "x", 5 + i, 0);
		if (i % 1000 == 0)
			has(r, topic, 0, 7);
	}
	do {
		r->host.drop(r->host.context, 3, 1, 7, &cursor);
		pieces++;
	} while (buf_length(&cursor));
	buf_fini(&cursor);
	assert_int_equal(pieces, 3);
	assert_int_equal(topics(r), 10);
}

static void the_bounds_hold_and_nothing_is_said_to_be_refused(void **state)
{
	struct rig *r = *state;
	struct retained_figures f;
	size_t most = 3u << 20;
	char *payload = mem_new(most);
	char topic[16];
	int err = 0;

	memset(payload, 'x', most);
	for (uint32_t i = 0; i < 50 && err == 0; i++) {
		struct journal_message m;

		snprintf(topic, sizeof(topic), "t/%u", i);
		m = message(r, topic, "", i + 1);
		m.payload = (struct view){payload, most};
		while ((err = r->host.take(r->host.context, &m, 1)) == ERR_HELD)
			usleep(1000); /* until its next segment is there */
	}
	assert_int_equal(err, ERR_QUOTA);
	retained_figures(r->broker->retained, &f);
	assert_in_range(f.bytes, RETAINED_BYTES_MOST - most - 100, RETAINED_BYTES_MOST);
	assert_int_equal(f.refused, 0);
	free(payload);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_taken_over_is_retained_and_no_message),
		TEST(the_shared_logs_own_record_of_it_is_still_a_message),
		TEST(what_stands_before_it_changes_nothing),
		TEST(what_came_too_late_ends_what_was_before_it),
		TEST(what_was_delivered_without_the_log_gives_way_to_it),
		TEST(what_the_cluster_does_not_have_is_dropped),
		TEST(what_was_taken_in_a_round_stays_at_its_end),
		TEST(ten_thousand_are_dropped_in_pieces),
		TEST(the_bounds_hold_and_nothing_is_said_to_be_refused),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
