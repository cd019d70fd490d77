/* Places in 8 bytes, and what Redis says of a stream and of itself. */
#include "cluster/stream.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/error.h"

#define SEPTEMBER_2020 1600000000000ull

static void a_place_fits_in_eight_bytes_and_keeps_its_order(void **state)
{
	static const struct log_place rows[] = {{0, 0}, {SEPTEMBER_2020, 1},
		{SEPTEMBER_2020 + 1, 0}, {SEPTEMBER_2020 + 1, 0xffffff}, {1764000000000, 7},
		{SEPTEMBER_2020 + (1ull << 40) - 1, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct log_place back = place_unpack(place_pack(rows[i]));

		assert_int_equal(log_place_order(back, rows[i]), 0);
		assert_true(i == 0 || place_pack(rows[i]) > place_pack(rows[i - 1]));
	}
	/* As claim.lua does, what does not fit is the largest that does. */
	assert_int_equal(
		place_unpack(place_pack((struct log_place){SEPTEMBER_2020, 1 << 25})).number,
		0xffffff);
	assert_int_equal(place_pack((struct log_place){5, 5}), 0);
}

static void a_minute_before_is_before_all_places_of_its_millisecond(void **state)
{
	uint64_t at = place_pack((struct log_place){SEPTEMBER_2020 + 90000, 9});

	(void)state;
	assert_int_equal(
		place_before(at, 60000), place_pack((struct log_place){SEPTEMBER_2020 + 30000, 0}));
	assert_int_equal(place_before(at, 90000), 0);
	assert_int_equal(place_before(0, 1), 0);
}

/* The reply to these bytes. */
static struct resp_reader *reader;
static const struct resp *reply_of(const char *bytes)
{
	const struct resp *reply;

	resp_reader_free(reader);
	reader = resp_reader_new(4096);
	resp_feed(reader, (const uint8_t *)bytes, strlen(bytes));
	assert_int_equal(resp_next(reader, &reply), 1);
	return reply;
}

static int forget_reply(void **state)
{
	(void)state;
	resp_reader_free(reader);
	reader = NULL;
	return 0;
}

static void a_streams_state_is_its_newest_place_and_how_many_there_were(void **state)
{
	static const struct {
		const char *name;
		const char *reply;
		int err;
		uint64_t ms, added;
	} rows[] = {
		{"Redis 7",
			"*6\r\n$6\r\nlength\r\n:2\r\n$17\r\nlast-generated-id\r\n$15\r\n"
			"1764000000000-3\r\n$13\r\nentries-added\r\n:7\r\n",
			0, 1764000000000, 7},
		{"not there yet", "-ERR no such key\r\n", 0, 0, 0},
		{"another error", "-WRONGTYPE no stream\r\n", ERR_MALFORMED, 0, 0},
		{"without a count", "*2\r\n$17\r\nlast-generated-id\r\n$3\r\n1-1\r\n",
			ERR_MALFORMED, 0, 0},
		{"a place that is none",
			"*4\r\n$17\r\nlast-generated-id\r\n$3\r\nabc\r\n"
			"$13\r\nentries-added\r\n:7\r\n",
			ERR_MALFORMED, 0, 0},
		{"a negative count",
			"*4\r\n$17\r\nlast-generated-id\r\n$3\r\n1-1\r\n"
			"$13\r\nentries-added\r\n:-7\r\n",
			ERR_MALFORMED, 0, 0},
		{"a number", ":1\r\n", ERR_MALFORMED, 0, 0},
	};
	struct stream_state got;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err = stream_state_of(reply_of(rows[i].reply), &got);

		if (err != rows[i].err)
			fail_msg("%s: %d, wanted %d", rows[i].name, err, rows[i].err);
		if (err == 0) {
			assert_int_equal(place_unpack(got.last).ms, rows[i].ms);
			assert_int_equal(got.added, rows[i].added);
		}
	}
}

static void the_newest_entry_up_to_a_place_is_asked_for_and_read(void **state)
{
	static const char want[] = "*6\r\n$9\r\nXREVRANGE\r\n$7\r\n{7}:log\r\n"
				   "$15\r\n1600000000005-2\r\n$1\r\n-\r\n"
				   "$5\r\nCOUNT\r\n$1\r\n1\r\n";
	static const struct {
		const char *name;
		const char *reply;
		int err;
		uint64_t ms; /* of the place */
	} rows[] = {
		{"one", "*1\r\n*2\r\n$15\r\n1600000000004-1\r\n*2\r\n$1\r\nm\r\n$1\r\nr\r\n", 0,
			1600000000004},
		{"none", "*0\r\n", 0, 0},
		{"a place that is none", "*1\r\n*2\r\n$3\r\nabc\r\n*2\r\n$1\r\nm\r\n$1\r\nr\r\n",
			ERR_MALFORMED, 0},
		{"no entry", "*1\r\n$1\r\nm\r\n", ERR_MALFORMED, 0},
		{"an error", "-LOADING\r\n", ERR_MALFORMED, 0},
	};
	struct buf asked = {0};
	uint64_t place;

	(void)state;
	stream_ask_upto(&asked, 7, place_pack((struct log_place){1600000000005, 2}));
	buf_append(&asked, "", 1);
	assert_string_equal(buf_bytes(&asked), want);
	buf_fini(&asked);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int err = stream_upto_of(reply_of(rows[i].reply), &place);

		if (err != rows[i].err || (err == 0 && place_unpack(place).ms != rows[i].ms))
			fail_msg("%s: %d, wanted %d", rows[i].name, err, rows[i].err);
	}
}

static void a_process_is_told_by_its_run_id(void **state)
{
	char got[RUN_ID_BYTES];

	(void)state;
	assert_true(run_id_of(
		reply_of("$59\r\n# "
			 "Server\r\nrun_id:0123456789012345678901234567890123456789\r\n\r\n"),
		got));
	assert_memory_equal(got, "0123456789012345678901234567890123456789", RUN_ID_BYTES);
	assert_false(run_id_of(reply_of("$16\r\nrun_id:012345678\r\n"), got));
	assert_false(run_id_of(reply_of("$9\r\nos:Linux\n\r\n"), got));
	assert_false(run_id_of(reply_of("-NOPERM\r\n"), got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_fits_in_eight_bytes_and_keeps_its_order),
		cmocka_unit_test(a_minute_before_is_before_all_places_of_its_millisecond),
		cmocka_unit_test_teardown(
			a_streams_state_is_its_newest_place_and_how_many_there_were, forget_reply),
		cmocka_unit_test_teardown(
			the_newest_entry_up_to_a_place_is_asked_for_and_read, forget_reply),
		cmocka_unit_test_teardown(a_process_is_told_by_its_run_id, forget_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
