#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include <stdlib.h>

#include "wis2/json.h"

/* Reads a whole text and passes over everything. */
static bool read_all(struct json *j, struct view text)
{
	struct json_value v;

	json_init(j, text);
	if (json_value(j, &v))
		json_pass(j, &v);
	return json_finish(j);
}

/* A text of exactly that size on the heap, so that a sanitizer sees a byte too many. */
static bool is_sound(struct view text)
{
	char *copy = malloc(text.n ? text.n : 1);
	struct json j;
	bool sound;

	memcpy(copy, text.p, text.n);
	sound = read_all(&j, (struct view){copy, text.n});
	free(copy);
	return sound;
}

#define TEXT(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

static void what_rfc_8259_allows_is_read(void **state)
{
	static const struct view texts[] = {
		TEXT("0"),
		TEXT("-0"),
		TEXT("1e5"),
		TEXT("1E+5"),
		TEXT("-1.50e-07"),
		TEXT("1e999"),
		TEXT("12345678901234567890123456789012345678901234567890"),
		TEXT("null"),
		TEXT("true"),
		TEXT("false"),
		TEXT("\"\""),
		TEXT("[]"),
		TEXT("{}"),
		TEXT(" \t\r\n[ 1 , 2 ] \n"),
		TEXT("{\"\":{\"\":[{}]}}"),
		TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uABCD\""),
		TEXT("\"\\u0000\""),
		TEXT("{\"a\\u0000b\":1}"),
		TEXT("\"\\ud83d\\ude00\""),
		TEXT("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\""),
		TEXT("[[],[[]],{\"a\":[]}]"),
		TEXT("\"a text longer than sixteen bytes, so that it is scanned in blocks\""),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!is_sound(texts[i]))
			fail_msg("refused: %.*s", VIEW_ARG(texts[i]));
	}
}

static void what_rfc_8259_forbids_is_refused(void **state)
{
	static const struct view texts[] = {
		TEXT(""),
		TEXT(" "),
		TEXT("01"),
		TEXT("-01"),
		TEXT("+1"),
		TEXT(".5"),
		TEXT("5."),
		TEXT("1.e5"),
		TEXT("1e"),
		TEXT("1e+"),
		TEXT("-"),
		TEXT("0x10"),
		TEXT("NaN"),
		TEXT("Infinity"),
		TEXT("-Infinity"),
		TEXT("nul"),
		TEXT("nulll"),
		TEXT("True"),
		TEXT("\""),
		TEXT("\"\\\""),
		TEXT("\"\\x41\""),
		TEXT("\"\\u12g4\""),
		TEXT("\"\\u123"),
		TEXT("\"\\u123\""),
		TEXT("\"a\nb\""),
		TEXT("\"\x1f\""),
		TEXT("\"\0\""),
		TEXT("'a'"),
		TEXT("[1,]"),
		TEXT("[,1]"),
		TEXT("[1 2]"),
		TEXT("[1"),
		TEXT("["),
		TEXT("]"),
		TEXT("[}"),
		TEXT("{]"),
		TEXT("{\"a\":1,}"),
		TEXT("{,}"),
		TEXT("{\"a\"}"),
		TEXT("{\"a\":}"),
		TEXT("{\"a\" 1}"),
		TEXT("{a:1}"),
		TEXT("{1:1}"),
		TEXT("{\"a\":1 \"b\":2}"),
		TEXT("{\"a\":1"),
		TEXT("1 1"),
		TEXT("{}{}"),
		TEXT("{}\0"),
		TEXT("// c\n1"),
		TEXT("/**/1"),
		TEXT("1\f"),
		TEXT("\xa0"
		     "1"),
		TEXT("\xef\xbb\xbf"
		     "1"),
		TEXT("\"\xc0\xaf\""),
		TEXT("\"\xed\xa0\x80\""),
		TEXT("\"\xf4\x90\x80\x80\""),
		TEXT("\"\xe2\x82\""),
		TEXT("\"\xff\""),
		TEXT("\"\x80\""),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (is_sound(texts[i]))
			fail_msg("taken: %.*s", VIEW_ARG(texts[i]));
	}
}

static void every_prefix_of_an_object_is_refused(void **state)
{
	static const char text[] =
		"{\"a\":[1.5e3,true,null,\"\\u0041\xc3\xa9\"],\"b\":{\"c\":false}}";

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_false(is_sound((struct view){text, n}));
	assert_true(is_sound((struct view){text, sizeof(text) - 1}));
}

/* Nested arrays, `depth` of them. */
static void nest(char *out, unsigned depth)
{
	memset(out, '[', depth);
	memset(out + depth, ']', depth);
}

static void depth_beyond_the_limit_is_noted_and_read_on(void **state)
{
	char text[JSON_LARGEST];
	struct json j;

	(void)state;
	nest(text, JSON_DEPTH);
	assert_true(read_all(&j, (struct view){text, 2 * JSON_DEPTH}));
	assert_null(j.too_deep);
	nest(text, JSON_DEPTH + 1);
	assert_true(read_all(&j, (struct view){text, 2 * JSON_DEPTH + 2}));
	assert_ptr_equal(j.too_deep, text + JSON_DEPTH);
	nest(text, JSON_LARGEST / 2);
	assert_true(read_all(&j, (struct view){text, JSON_LARGEST}));
	memset(text, '[', JSON_LARGEST);
	assert_false(read_all(&j, (struct view){text, JSON_LARGEST}));
}

static void surrogates_without_their_half_are_noted(void **state)
{
	static const struct {
		const char *text;
		long at; /* of the first, -1: none */
	} rows[] = {
		{"\"\\ud83d\\ude00\"", -1},
		{"\"\\uD83D\\uDE00\"", -1},
		{"\"\\ud83d\"", 1},
		{"\"\\ude00\"", 1},
		{"\"\\ude00\\ud83d\"", 1},
		{"\"\\ud83d\\ud83d\\ude00\"", 1},
		{"\"\\ud83dx\"", 1},
		{"\"a\\ud83d\\n\"", 2},
		{"{\"\\udfff\":1}", 2},
		{"\"\\ud7ff\\ue000\"", -1},
		{"\"\\udbff\\udfff\"", -1},
	};
	struct json j;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(read_all(&j, view_of(rows[i].text)));
		assert_int_equal(
			j.lone_surrogate ? j.lone_surrogate - rows[i].text : -1, rows[i].at);
	}
}

static void repeated_names_are_found_in_their_own_object_only(void **state)
{
	static const struct {
		const char *text;
		long at; /* of the repeated name, -1: none */
	} rows[] = {
		{"{\"a\":1,\"b\":2}", -1},
		{"{\"a\":1,\"a\":2}", 7},
		{"{\"a\":{\"a\":1}}", -1},
		{"[{\"a\":1},{\"a\":1}]", -1},
		{"{\"a\":1,\"b\":{\"a\":1},\"a\":1}", 19},
		{"{\"a\":1,\"\\u0061\":2}", 7},
		{"{\"\\u0061\":1,\"a\":2}", 12},
		{"{\"\":1,\"\":2}", 6},
		{"{\"a\":1,\"A\":2}", -1},
		{"{\"a\\u0000\":1,\"a\":2}", -1},
		{"[[{\"x\":[{\"k\":1,\"k\":1}]}]]", 15},
		{"{\"ab\":1,\"ba\":1}", -1},
		{"{\"a name of more than sixteen\":1,\"a name of more than sixteen\":1}", 33},
		{"{\"a name of more than sixteen\":1,\"b name of more than sixteen\":1}", -1},
	};
	struct json j;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(read_all(&j, view_of(rows[i].text)));
		if ((j.repeated ? j.repeated - rows[i].text : -1) != rows[i].at)
			fail_msg("%s: %s", rows[i].text, j.repeated ? j.repeated : "none");
	}
}

/* An object of `count` names k0, k1 ... and then one more. */
static size_t many_names(char *out, unsigned count, unsigned again)
{
	size_t n = 1;

	out[0] = '{';
	for (unsigned i = 0; i < count; i++)
		n += (size_t)sprintf(out + n, "\"k%u\":0,", i);
	return n + (size_t)sprintf(out + n, "\"k%u\":0}", again);
}

static void repeated_names_are_found_among_very_many(void **state)
{
	char text[JSON_LARGEST * 2];
	struct json j;

	(void)state;
	for (unsigned count = 1; count < 900; count += 7) {
		size_t n = many_names(text, count, count);

		assert_true(read_all(&j, (struct view){text, n}));
		assert_null(j.repeated);
		n = many_names(text, count, count / 2);
		assert_true(read_all(&j, (struct view){text, n}));
		assert_non_null(j.repeated);
		assert_true(j.superseded[count / 2 / 64] >> count / 2 % 64 & 1);
	}
}

static void the_latest_of_three_equal_names_stays(void **state)
{
	struct json j;

	(void)state;
	assert_true(read_all(&j, VIEW("{\"a\":1,\"a\":2,\"a\":3}")));
	assert_int_equal(j.superseded[0], 3);
}

static void escapes_are_decoded(void **state)
{
	static const struct {
		const char *raw, *want;
	} rows[] = {
		{"plain", "plain"},
		{"\\\"\\\\\\/", "\"\\/"},
		{"\\b\\f\\n\\r\\t", "\b\f\n\r\t"},
		{"a\\u0041b", "aAb"},
		{"\\u00e9", "\xc3\xa9"},
		{"\\u20AC", "\xe2\x82\xac"},
		{"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
		{"\\ud83d", "\xed\xa0\xbd"},
		{"", ""},
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = json_decode(view_of(rows[i].raw), out);

		assert_int_equal(n, strlen(rows[i].want));
		assert_memory_equal(out, rows[i].want, n);
	}
}

static void a_pointer_leads_to_the_offset(void **state)
{
	static const char text[] =
		"{\"a\":[1,{\"b/c\":2,\"d~\":[ 3]}],\"\\u0065\":{},\"f\":\"\\ud800\"}";
	static const struct {
		const char *at, *want; /* the first place of `at` in the text */
	} rows[] = {
		{"{\"a", ""},
		{"[1", "/a"},
		{"1,", "/a/0"},
		{"{\"b", "/a/1"},
		{"2,", "/a/1/b~1c"},
		{"[ 3", "/a/1/d~0"},
		{"3]", "/a/1/d~0/0"},
		{"{},", "/e"},
		{"\"\\u0065", "/e"},
		{"\"f", "/f"},
		{"\\ud800", "/f"},
	};
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t offset = (size_t)(strstr(text, rows[i].at) - text);

		json_pointer(view_of(text), offset, path, sizeof(path));
		assert_string_equal(path, rows[i].want);
	}
}

static void a_pointer_ends_where_the_text_is_broken(void **state)
{
	char path[64], small[8];

	(void)state;
	json_pointer(VIEW("{\"a\":{\"b\":x}}"), 10, path, sizeof(path));
	assert_string_equal(path, "/a/b");
	json_pointer(VIEW("{\"a\":{\"b\":1 \"c\"}}"), 12, path, sizeof(path));
	assert_string_equal(path, "/a");
	json_pointer(VIEW("{\"abcdefgh\":1}"), 12, small, sizeof(small));
	assert_string_equal(small, "/abcdef");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_rfc_8259_allows_is_read),
		cmocka_unit_test(what_rfc_8259_forbids_is_refused),
		cmocka_unit_test(every_prefix_of_an_object_is_refused),
		cmocka_unit_test(depth_beyond_the_limit_is_noted_and_read_on),
		cmocka_unit_test(surrogates_without_their_half_are_noted),
		cmocka_unit_test(repeated_names_are_found_in_their_own_object_only),
		cmocka_unit_test(repeated_names_are_found_among_very_many),
		cmocka_unit_test(the_latest_of_three_equal_names_stays),
		cmocka_unit_test(escapes_are_decoded),
		cmocka_unit_test(a_pointer_leads_to_the_offset),
		cmocka_unit_test(a_pointer_ends_where_the_text_is_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
