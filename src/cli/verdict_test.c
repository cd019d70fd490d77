#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "cli/verdict.h"

static void a_place_is_counted_in_lines_and_characters(void **state)
{
	static const struct {
		const char *text;
		size_t offset;
		unsigned line, column;
		const char *shown;
	} rows[] = {
		{"abc", 0, 1, 1, "abc"},
		{"abc", 3, 1, 4, "abc"},
		{"abc", 9, 1, 4, "abc"},
		{"a\nbc\nd", 3, 2, 2, "bc"},
		{"a\nbc\nd", 1, 1, 2, "a"},
		{"a\nbc\nd", 5, 3, 1, "d"},
		{"\xc3\xa9\xc3\xa9x", 4, 1, 3, "\xc3\xa9\xc3\xa9x"},
		{"", 0, 1, 1, ""},
		{"\n", 1, 2, 1, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text_place place = text_place(view_of(rows[i].text), rows[i].offset);

		assert_int_equal(place.line, rows[i].line);
		assert_int_equal(place.column, rows[i].column);
		assert_true(view_equal(place.text, view_of(rows[i].shown)));
	}
}

static void only_whole_escapes_stand_for_a_byte(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"a\\x41b", "aAb"},
		{"\\xFf\\xe9", "\xff\xe9"},
		{"\\x4", "\\x4"},
		{"\\xg1", "\\xg1"},
		{"\\n\\\\", "\\n\\\\"},
		{"\\", "\\"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[32];
		size_t n;

		strcpy(text, rows[i].text);
		n = verdict_unescape(text);
		assert_int_equal(n, strlen(rows[i].want));
		assert_memory_equal(text, rows[i].want, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_counted_in_lines_and_characters),
		cmocka_unit_test(only_whole_escapes_stand_for_a_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
