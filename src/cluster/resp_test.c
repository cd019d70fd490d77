/* Replies of every type, cut anywhere, bounded; commands as bytes. */
#include "cluster/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"

#define LIMIT (64u * 1024u)

/* A reply as text: nil, 7, +OK, -ERR, "text", [a b]. */
static void show(struct buf *b, const struct resp *v)
{
	static const char *const marks[] = {
		[RESP_STATUS] = "+%.*s", [RESP_ERROR] = "-%.*s", [RESP_STRING] = "\"%.*s\""};

	if (v->type == RESP_NIL)
		buf_text(b, "nil");
	else if (v->type == RESP_INTEGER)
		buf_printf(b, "%lld", (long long)v->integer);
	else if (v->type != RESP_ARRAY)
		buf_printf(b, marks[v->type], VIEW_ARG(v->text));
	if (v->type != RESP_ARRAY)
		return;
	buf_text(b, "[");
	for (uint32_t i = 0; i < v->count; i++) {
		if (i)
			buf_text(b, " ");
		show(b, &v->items[i]);
	}
	buf_text(b, "]");
}

static const struct {
	const char *bytes;
	const char *want;
} replies[] = {
	{"+OK\r\n", "+OK"},
	{"-ERR no\r\n", "-ERR no"},
	{":-7\r\n", "-7"},
	{"$-1\r\n", "nil"},
	{"*-1\r\n", "nil"},
	{"$0\r\n\r\n", "\"\""},
	{"$4\r\na\r\nb\r\n", "\"a\r\nb\""},
	{"*0\r\n", "[]"},
	{"*2\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n", "[1 [\"a\" nil]]"},
	{"*2\r\n*1\r\n*0\r\n+x\r\n", "[[[]] +x]"},
};

/* Feeds the bytes in pieces and shows all replies. */
static void read_all(struct buf *out, const char *bytes, size_t step)
{
	struct resp_reader *r = resp_reader_new(LIMIT);
	const struct resp *reply;
	size_t n = strlen(bytes);

	for (size_t at = 0; at < n; at += step) {
		resp_feed(r, (const uint8_t *)bytes + at, n - at < step ? n - at : step);
		while (resp_next(r, &reply) > 0)
			show(out, reply);
	}
	buf_append(out, "", 1);
	resp_reader_free(r);
}

static void replies_are_read_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
		for (size_t step = 1; step <= strlen(replies[i].bytes); step++) {
			struct buf got = {0};

			read_all(&got, replies[i].bytes, step);
			assert_string_equal((const char *)buf_bytes(&got), replies[i].want);
			buf_fini(&got);
		}
}

static void replies_in_a_row_are_told_apart(void **state)
{
	struct buf got = {0};

	(void)state;
	read_all(&got, "+OK\r\n*1\r\n:1\r\n$1\r\nx\r\n", 4);
	assert_string_equal((const char *)buf_bytes(&got), "+OK[1]\"x\"");
	buf_fini(&got);
}

/* What comes of feeding a head and then a filler without end. */
static int outcome(const char *head, const char *filler)
{
	struct resp_reader *r = resp_reader_new(LIMIT);
	const struct resp *reply;
	int err;

	resp_feed(r, (const uint8_t *)head, strlen(head));
	err = resp_next(r, &reply);
	for (unsigned i = 0; err == 0 && i < LIMIT; i++) {
		resp_feed(r, (const uint8_t *)filler, strlen(filler));
		err = resp_next(r, &reply);
	}
	resp_reader_free(r);
	return err;
}

static void giants_and_nonsense_are_errors_and_take_no_memory(void **state)
{
	static const struct {
		const char *head;
		const char *filler;
		int want;
	} rows[] = {
		{"*2000000000\r\n", ":1\r\n", ERR_TOO_LARGE},
		{"$2000000000\r\n", "0123456789abcdef", ERR_TOO_LARGE},
		{"*1000\r\n",
			"$200\r\n"
			"0123456789012345678901234567890123456789012345678901234567890123456"
			"7890123456789012345678901234567890123456789012345678901234567890123"
			"456789012345678901234567890123456789012345678901234567890123456789\r\n",
			ERR_TOO_LARGE},
		{"+", "no end of line", ERR_TOO_LARGE},
		{"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", ":1\r\n",
			ERR_MALFORMED},
		{"HTTP/1.1 200 OK\r\n", "\r\n", ERR_MALFORMED},
		{"$abc\r\n", "\r\n", ERR_MALFORMED},
		{"*-2\r\n", "\r\n", ERR_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (outcome(rows[i].head, rows[i].filler) != rows[i].want)
			fail_msg("row %zu: %d", i, outcome(rows[i].head, rows[i].filler));
}

static void the_limit_is_for_one_reply_and_not_for_all_of_them(void **state)
{
	struct resp_reader *r = resp_reader_new(LIMIT);
	const struct resp *reply;
	struct buf b = {0};

	(void)state;
	buf_text(&b, "$30000\r\n");
	memset(buf_reserve(&b, 30000), 'x', 30000);
	buf_grown(&b, 30000);
	buf_text(&b, "\r\n");
	for (int i = 0; i < 100; i++) {
		resp_feed(r, buf_bytes(&b), buf_length(&b));
		assert_int_equal(resp_next(r, &reply), 1);
		assert_int_equal(reply->text.n, 30000);
	}
	assert_int_equal(resp_next(r, &reply), 0);
	buf_fini(&b);
	resp_reader_free(r);
}

static void an_item_is_given_only_when_it_is_there_and_of_the_type(void **state)
{
	struct resp items[2] = {{.type = RESP_INTEGER}, {.type = RESP_STRING}};
	struct resp array = {.type = RESP_ARRAY, .count = 2, .items = items};

	(void)state;
	assert_ptr_equal(resp_item(&array, 1, RESP_STRING), &items[1]);
	assert_null(resp_item(&array, 1, RESP_INTEGER));
	assert_null(resp_item(&array, 2, RESP_STRING));
	assert_null(resp_item(&items[0], 0, RESP_STRING));
	assert_null(resp_item(NULL, 0, RESP_STRING));
}

static void commands_are_arrays_of_texts(void **state)
{
	struct buf b = {0};

	(void)state;
	resp_begin(&b, 3);
	resp_bytes(&b, (struct view){"a\0b", 3});
	resp_bytes(&b, VIEW(""));
	resp_number(&b, UINT64_MAX);
	resp_words(&b, "CLUSTER SLOTS");
	assert_memory_equal(buf_bytes(&b),
		"*3\r\n$3\r\na\0b\r\n$0\r\n\r\n$20\r\n18446744073709551615\r\n"
		"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n",
		buf_length(&b));
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_are_read_however_they_are_cut),
		cmocka_unit_test(replies_in_a_row_are_told_apart),
		cmocka_unit_test(giants_and_nonsense_are_errors_and_take_no_memory),
		cmocka_unit_test(the_limit_is_for_one_reply_and_not_for_all_of_them),
		cmocka_unit_test(an_item_is_given_only_when_it_is_there_and_of_the_type),
		cmocka_unit_test(commands_are_arrays_of_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
