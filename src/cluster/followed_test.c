/* Records of the shared log as messages of the journal: what is none, whose it was, how old it is. */
#include "cluster/followed.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/error.h"

static struct buf bytes;

static struct view encoded(const char *topic)
{
	struct record r = {.topic = view_of(topic)};

	buf_clear(&bytes);
	assert_int_equal(record_encode(&bytes, &r), 0);
	return buf_view(&bytes);
}

static void only_what_a_newer_version_wrote_is_waited_for(void **state)
{
	struct record r;

	(void)state;
	assert_int_equal(followed_decode(encoded("a/b"), &r), 0);
	assert_int_equal(followed_decode(encoded("a/#"), &r), ERR_TOPIC);
	assert_int_equal(followed_decode(VIEW("\x02 newer"), &r), ERR_VERSION);
	assert_int_equal(followed_decode((struct view){"\0 older", 7}, &r), ERR_MALFORMED);
	assert_int_equal(followed_decode(VIEW("\x01"), &r), ERR_MALFORMED);
	assert_int_equal(followed_decode(VIEW(""), &r), ERR_MALFORMED);
	encoded("a/b");
	buf_reserve(&bytes, JOURNAL_PACKET_LARGEST);
	buf_grown(&bytes, JOURNAL_PACKET_LARGEST - 63 - buf_length(&bytes));
	assert_int_equal(followed_decode(buf_view(&bytes), &r), ERR_TOO_LARGE);
	buf_fini(&bytes);
}

static void ones_own_sessions_are_known_again(void **state)
{
	static const struct {
		const char *source;
		uint32_t origin;
	} rows[] = {
		{"node/7/12", 12},
		{"node/7/16777215", JOURNAL_ORIGIN_MOST},
		{"node/7/16777216", 0},
		{"node/7/999999999999", 0},
		{"node/7/", 0},
		{"node/7/1x", 0},
		{"node/71/2", 0},
		{"node/8/12", 0},
		{"", 0},
	};
	const struct cluster_core core = {.name = (char *)(uintptr_t) "node/7"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct record r = {.topic = VIEW("a"), .source = view_of(rows[i].source)};
		struct journal_message m = followed_message(&core, 3, 9, &r);

		if (m.origin != rows[i].origin || m.shard != 3 || m.log_id != 9)
			fail_msg("%s", rows[i].source);
	}
}

static void time_in_the_shared_log_counts(void **state)
{
	static const struct {
		uint32_t expiry_s;
		uint64_t age_ms;
		bool is_timely;
		uint32_t left_s;
	} rows[] = {
		{0, UINT64_MAX, true, 0},
		{10, 0, true, 10},
		{10, 999, true, 10},
		{10, 1000, true, 9},
		{10, 9999, true, 1},
		{10, 10000, false, 10},
		{UINT32_MAX, 1000, true, UINT32_MAX - 1},
		{UINT32_MAX, UINT64_MAX, false, UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct journal_message m = {.expiry_s = rows[i].expiry_s};

		if (followed_is_timely(&m, rows[i].age_ms) != rows[i].is_timely ||
			m.expiry_s != rows[i].left_s)
			fail_msg("row %zu: %u left", i, m.expiry_s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_a_newer_version_wrote_is_waited_for),
		cmocka_unit_test(ones_own_sessions_are_known_again),
		cmocka_unit_test(time_in_the_shared_log_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
