#include "admin/messages_query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"

#define NOW 1800000000000u
#define NONE UINT64_MAX

static void a_query_is_read_and_written_again(void **state)
{
	static const struct {
		const char *query;
		const char *topic;
		uint64_t since_ms;
		uint64_t until_ms;
		uint64_t after;
		uint32_t limit;
		const char *next; /* from position 255 on */
	} rows[] = {
		{"", "", 0, NONE, NONE, 100, "limit=100&after=ff"},
		{"&&", "", 0, NONE, NONE, 100, "limit=100&after=ff"},
		{"topic=origin%2Fa/wis2/+/%23", "origin/a/wis2/+/#", 0, NONE, NONE, 100,
			"topic=origin/a/wis2/%2B/%23&limit=100&after=ff"},
		{"topic=a%20b%26c%3D", "a b&c=", 0, NONE, NONE, 100,
			"topic=a%20b%26c%3D&limit=100&after=ff"},
		{"since=1h&limit=1000", "", NOW - 3600000, NONE, NONE, 1000, "limit=1000&after=ff"},
		{"until=2026-11-22T06:00:00.057Z&limit=1", "", 0, 1795327200057u, NONE, 1,
			"until=2026-11-22T06:00:00.057Z&limit=1&after=ff"},
		{"after=1f&form=lines", "", 0, NONE, 31, 100, "form=lines&limit=100&after=ff"},
		{"form=geojson&after=0", "", 0, NONE, 0, 100, "limit=100&after=ff"},
		{"since=2h&until=1h", "", NOW - 7200000, NOW - 3600000, NONE, 100,
			"until=2027-01-15T07:00:00.000Z&limit=100&after=ff"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct messages_query q;
		struct buf next = {0};
		const char *why;

		assert_int_equal(messages_query_read(view_of(rows[i].query), NOW, &q, &why), 0);
		assert_true(view_equal(buf_view(&q.topic), view_of(rows[i].topic)));
		assert_int_equal(q.since_ms, rows[i].since_ms);
		assert_int_equal(q.until_ms, rows[i].until_ms);
		assert_int_equal(q.after, rows[i].after);
		assert_int_equal(q.limit, rows[i].limit);
		messages_query_write(&q, 255, &next);
		buf_append(&next, "", 1);
		assert_memory_equal(buf_bytes(&next), "/api/v1/messages?", 17);
		assert_string_equal((const char *)buf_bytes(&next) + 17, rows[i].next);
		buf_fini(&next);
		messages_query_fini(&q);
	}
}

static void what_means_nothing_is_refused(void **state)
{
	static const char *const rows[] = {"topic=", "topic", "topic=a/%23/b", "topic=%",
		"topic=%zz", "topic=a%00", "topic=%ff", "topic=$share/a/b", "topic=$replay/1h/a",
		"topic=origin/a/", "topic=cache/", "topic=monitor/a/", "since=", "since=soon",
		"until=1", "limit=0", "limit=1001", "limit=1e2", "limit=00000000000000001",
		"limit=-1", "after=", "after=g", "after=FF", "after=ffffffffffffffff",
		"after=00000000000000000", "form=", "form=csv", "color=red", "=", "a",
		"limit=1&limit=1", "since=1h&until=2h", "topic=a&topic=b"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct messages_query q;
		const char *why = NULL;

		if (messages_query_read(view_of(rows[i]), NOW, &q, &why) != ERR_MALFORMED || !why)
			fail_msg("%s was taken", rows[i]);
	}
}

static void a_time_written_is_the_time_read(void **state)
{
	(void)state;
	for (uint64_t ms = NOW; ms < NOW + 1000; ms++) {
		struct messages_query q = {.until_ms = ms, .limit = 1};
		struct buf next = {0};
		struct view query;
		const char *why;

		messages_query_write(&q, 1, &next);
		query = view_skip(buf_view(&next), 17);
		assert_int_equal(messages_query_read(query, NOW, &q, &why), 0);
		assert_int_equal(q.until_ms, ms);
		buf_fini(&next);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_read_and_written_again),
		cmocka_unit_test(what_means_nothing_is_refused),
		cmocka_unit_test(a_time_written_is_the_time_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
