/* The claim's command, its answers, entries of the stream. What the script does is shown against a
 * real Redis in tests/e2e/test_redis.py. */
#include "cluster/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cluster/slots.h"

static void all_keys_of_a_shard_lie_in_one_slot(void **state)
{
	(void)state;
	for (uint32_t shard = 0; shard < SHARDS_MOST; shard++) {
		char key[32];

		snprintf(key, sizeof(key), "{%u}:0123456789abcdef", shard);
		assert_int_equal(slot_of(view_of(key)), claim_slot(shard));
	}
}

static void an_id_has_the_same_shard_on_every_node_and_in_every_version(void **state)
{
	const struct uuid id = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
	uint32_t counts[16] = {0};

	(void)state;
	assert_int_equal(claim_shard(&id, 1u << 31), 0x48fff215);
	for (int i = 0; i < 16000; i++) {
		struct uuid random;

		uuid_random(&random);
		counts[claim_shard(&random, 16)]++;
	}
	for (int i = 0; i < 16; i++)
		assert_in_range(counts[i], 800, 1200);
}

static void a_call_names_log_ids_terms_tokens_and_records(void **state)
{
	static const char want[] =
		"*13\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n3\r\n$7\r\n{7}:log\r\n"
		"$20\r\n{7}:aaaaaaaaaaaaaaaa\r\n"
		"$20\r\n{7}:bbbbbbbbbbbbbbbb\r\n"
		"$4\r\n1000\r\n$2\r\n20\r\n$1\r\n0\r\n"
		"$3\r\n258\r\n$2\r\nr1\r\n"
		"$7\r\n8388607\r\n$0\r\n\r\n";
	const struct claim_terms terms = {.remember_ms = 1000, .keep_ms = 20};
	struct uuid a, b;
	struct claim_message messages[] = {{.id = &a, .token = 0x102, .record = VIEW("r1")},
		{.id = &b, .token = UINT32_MAX, .record = VIEW("")}};
	struct buf got = {0};

	(void)state;
	memset(a.b, 'a', sizeof(a.b));
	memset(b.b, 'b', sizeof(b.b));
	claim_call(&got, "sha", 7, &terms, messages, 2);
	assert_int_equal(buf_length(&got), sizeof(want) - 1);
	assert_memory_equal(buf_bytes(&got), want, sizeof(want) - 1);
	buf_fini(&got);
}

static void a_call_with_a_retained_message_names_its_expiry_its_topic_and_two_keys_more(
	void **state)
{
	static const char want[] =
		"*21\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n7\r\n$7\r\n{7}:log\r\n"
		"$20\r\n{7}:aaaaaaaaaaaaaaaa\r\n"
		"$20\r\n{7}:aaaaaaaaaaaaaaaa\r\n"
		"$20\r\n{7}:aaaaaaaaaaaaaaaa\r\n"
		"$20\r\n{7}:aaaaaaaaaaaaaaaa\r\n"
		"$12\r\n{7}:retained\r\n$12\r\n{7}:expiring\r\n"
		"$1\r\n0\r\n$1\r\n0\r\n$1\r\n0\r\n"
		"$1\r\n1\r\n$1\r\nr\r\n"
		"$10\r\n2 60 a b/c\r\n$1\r\ns\r\n"
		"$5\r\n3 - d\r\n$1\r\nt\r\n"
		"$23\r\n4 0@1600000000005-2 e f\r\n$1\r\nu\r\n";
	const struct claim_terms terms = {0};
	struct uuid id;
	struct claim_message messages[] = {
		{.id = &id, .token = 1, .record = VIEW("r")},
		{.id = &id,
			.token = 2,
			.record = VIEW("s"),
			.retained = VIEW("a b/c"),
			.expiry_s = 60},
		{.id = &id,
			.token = CLAIM_TOKENS + 3,
			.record = VIEW("t"),
			.retained = VIEW("d"),
			.clears = true},
		{.id = &id,
			.token = 4,
			.record = VIEW("u"),
			.retained = VIEW("e f"),
			.place = {1600000000005, 2}},
	};
	struct buf got = {0};

	(void)state;
	memset(id.b, 'a', sizeof(id.b));
	claim_call(&got, "sha", 7, &terms, messages, 4);
	buf_append(&got, "", 1);
	assert_string_equal(buf_bytes(&got), want);
	buf_fini(&got);
}

static struct resp text_of(struct view text)
{
	return (struct resp){.type = RESP_STRING, .text = text};
}

static void an_answer_tells_first_from_repeat_with_token_and_time(void **state)
{
	struct resp items[] = {
		text_of(VIEW("+36283883716866")), /* (4325376 << 23) + 258 */
		text_of(VIEW("-9223372036854775807")),
		text_of(VIEW("*36283883716866")),
		text_of(VIEW("+")),
		text_of(VIEW("+12x")),
		text_of(VIEW("")),
		{.type = RESP_NIL},
	};
	struct resp reply = {.type = RESP_ARRAY, .count = 7, .items = items};
	struct claim_answer a;

	(void)state;
	assert_true(claim_answer_of(&reply, 0, &a));
	assert_true(a.first);
	assert_int_equal(a.token, 258);
	assert_int_equal(a.ms, 1600000000000 + 4325376);
	assert_true(claim_answer_of(&reply, 1, &a));
	assert_false(a.first);
	assert_int_equal(a.token, CLAIM_TOKENS - 1);
	assert_int_equal(a.ms, 1600000000000 + ((1ull << 40) - 1));
	for (uint32_t i = 2; i < 8; i++)
		assert_false(claim_answer_of(&reply, i, &a));
}

static void a_shard_is_the_same_everywhere(void **state)
{
	struct uuid id;

	(void)state;
	memset(id.b, 'a', sizeof(id.b));
	assert_int_equal(claim_shard(&id, 16), claim_shard_of_topic(VIEW("aaaaaaaaaaaaaaaa"), 16));
	assert_int_equal(claim_shard_of_topic(VIEW("free/chat"), 256), 170);
}

static void places_are_read_written_and_ordered(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"0-0", true},
		{"1764000000000-12", true},
		{"18446744073709551615-18446744073709551615", true},
		{"18446744073709551616-0", false},
		{"1", false},
		{"1-", false},
		{"-1", false},
		{"1-1-1", false},
		{"1-a", false},
		{"", false},
	};
	struct log_place place;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[LOG_PLACE_BYTES];

		if (log_place_parse(view_of(rows[i].text), &place) != rows[i].good)
			fail_msg("%s", rows[i].text);
		if (!rows[i].good)
			continue;
		log_place_format(place, text);
		assert_string_equal(text, rows[i].text);
	}
	assert_true(log_place_order((struct log_place){1, 9}, (struct log_place){2, 0}) < 0);
	assert_true(log_place_order((struct log_place){2, 1}, (struct log_place){2, 0}) > 0);
	assert_int_equal(log_place_order((struct log_place){2, 1}, (struct log_place){2, 1}), 0);
}

static void entries_are_read_from_a_reply(void **state)
{
	static const char bytes[] = "*1\r\n*2\r\n$7\r\n{0}:log\r\n*2\r\n"
				    "*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nm\r\n$2\r\nab\r\n"
				    "*2\r\n$3\r\n5-2\r\n$-1\r\n";
	struct resp_reader *r = resp_reader_new(65536);
	const struct resp *reply = NULL;
	struct log_place place;
	struct view record;

	(void)state;
	resp_feed(r, (const uint8_t *)bytes, sizeof(bytes) - 1);
	assert_int_equal(resp_next(r, &reply), 1);
	assert_int_equal(log_count(reply), 2);
	assert_true(log_entry(reply, 0, &place, &record));
	assert_int_equal(place.ms, 5);
	assert_int_equal(place.number, 1);
	assert_true(view_equal(record, VIEW("ab")));
	assert_false(log_entry(reply, 1, &place, &record));
	assert_false(log_entry(reply, 2, &place, &record));
	assert_int_equal(log_count(&(struct resp){.type = RESP_NIL}), 0);
	assert_int_equal(log_count(&(struct resp){.type = RESP_ERROR}), -1);
	resp_reader_free(r);
}

static void a_read_blocks_only_when_it_is_told_to(void **state)
{
	struct buf b = {0};

	(void)state;
	log_read(&b, 3, (struct log_place){7, 1}, 100, 0);
	assert_memory_equal(buf_bytes(&b), "*6\r\n", 4);
	buf_clear(&b);
	log_read(&b, 3, (struct log_place){7, 1}, 100, 2000);
	assert_memory_equal(buf_bytes(&b),
		"*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$3\r\n100\r\n$5\r\nBLOCK\r\n$4\r\n2000\r\n"
		"$7\r\nSTREAMS\r\n$7\r\n{3}:log\r\n$3\r\n7-1\r\n",
		buf_length(&b));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_keys_of_a_shard_lie_in_one_slot),
		cmocka_unit_test(an_id_has_the_same_shard_on_every_node_and_in_every_version),
		cmocka_unit_test(a_call_names_log_ids_terms_tokens_and_records),
		cmocka_unit_test(
			a_call_with_a_retained_message_names_its_expiry_its_topic_and_two_keys_more),
		cmocka_unit_test(an_answer_tells_first_from_repeat_with_token_and_time),
		cmocka_unit_test(a_shard_is_the_same_everywhere),
		cmocka_unit_test(places_are_read_written_and_ordered),
		cmocka_unit_test(entries_are_read_from_a_reply),
		cmocka_unit_test(a_read_blocks_only_when_it_is_told_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
