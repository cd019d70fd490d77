/* The keys, the call and the answers of the existing antiloop's filter. */
#include "cluster/wis2gb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "commit/gate.h"

#define LOWER "6f1dc0de-1111-4222-8333-0123456789ab"
#define UPPER "6F1DC0DE-1111-4222-8333-0123456789AB"
#define OTHER "00000000-0000-4000-8000-000000000001"

static struct record message(const char *payload)
{
	struct record r = {.topic = VIEW("origin/a/wis2/de-dwd"), .payload = view_of(payload)};

	assert_true(uuid_parse(VIEW(LOWER), &r.id));
	return r;
}

static void a_key_has_the_id_as_the_message_writes_it(void **state)
{
	static const struct {
		const char *payload;
		const char *want;
	} rows[] = {
		{"{\"id\":\"" LOWER "\"}", LOWER},
		{"{\"id\":\"" UPPER "\"}", UPPER},
		{"{\"id\": \"" UPPER "\", \"x\": \"" LOWER "\"}", UPPER},
		{"{\"x\":\"" OTHER "\",\"id\":\"" UPPER "\"}", UPPER},
		{"{\"x\":\"data/" UPPER "\",\"id\":\"" LOWER "\"}", LOWER},
		{"\"" UPPER "\"", UPPER},
		{"\"" UPPER, LOWER},
		{"{\"id\":\"\\u0036f1dc0de-1111-4222-8333-0123456789ab\"}", LOWER},
		{"", LOWER},
	};
	char key[WIS2GB_KEY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct record r = message(rows[i].payload);

		assert_true(wis2gb_key(&r, key));
		assert_memory_equal(key, "wis2gb:dedup:", 13);
		assert_string_equal(key + 13, rows[i].want);
	}
}

static void a_message_known_by_its_bytes_has_no_key(void **state)
{
	struct record r = message("{\"id\":\"no uuid\"}");
	char key[WIS2GB_KEY_BYTES];

	(void)state;
	r.id = gate_identity_of_bytes(r.topic, r.payload);
	assert_false(wis2gb_key(&r, key));
}

static void the_call_sets_what_is_not_there_for_two_hours_and_asks_what_is(void **state)
{
	struct buf b = {0};

	(void)state;
	wis2gb_call(&b, VIEW("wis2gb:dedup:x"));
	assert_true(view_equal(buf_view(&b),
		VIEW("*7\r\n$3\r\nSET\r\n$14\r\nwis2gb:dedup:x\r\n$6\r\nisobar\r\n$2\r\nEX\r\n"
		     "$4\r\n7200\r\n$2\r\nNX\r\n$3\r\nGET\r\n")));
	buf_fini(&b);
}

static void nothing_and_our_own_value_go_on_and_anything_else_is_a_repeat(void **state)
{
	static const struct {
		struct resp reply;
		enum wis2gb_answer want;
	} rows[] = {
		{{.type = RESP_NIL}, WIS2GB_OURS},
		{{.type = RESP_STRING, .text = {"isobar", 6}}, WIS2GB_OURS},
		{{.type = RESP_STRING, .text = {"1", 1}}, WIS2GB_THEIRS},
		{{.type = RESP_STRING, .text = {"true", 4}}, WIS2GB_THEIRS},
		{{.type = RESP_STRING, .text = {"", 0}}, WIS2GB_THEIRS},
		{{.type = RESP_STRING, .text = {"isobar2", 7}}, WIS2GB_THEIRS},
		{{.type = RESP_ERROR, .text = {"WRONGTYPE Operation", 19}}, WIS2GB_THEIRS},
		{{.type = RESP_ERROR, .text = {"OOM command not allowed", 23}}, WIS2GB_UNKNOWN},
		{{.type = RESP_STATUS, .text = {"OK", 2}}, WIS2GB_UNKNOWN},
		{{.type = RESP_INTEGER, .integer = 1}, WIS2GB_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (wis2gb_answer_of(&rows[i].reply) != rows[i].want)
			fail_msg("row %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_has_the_id_as_the_message_writes_it),
		cmocka_unit_test(a_message_known_by_its_bytes_has_no_key),
		cmocka_unit_test(the_call_sets_what_is_not_there_for_two_hours_and_asks_what_is),
		cmocka_unit_test(nothing_and_our_own_value_go_on_and_anything_else_is_a_repeat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
