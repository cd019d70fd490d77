/* Options from a table: what is taken, what is refused, where values land. */
#include "cli/arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/cli.h"

struct values {
	bool flag;
	bool leaf;
	uint64_t number;
	double share;
	uint64_t ms;
	uint8_t protocol;
	const char *text;
	struct argument_list list;
};

static const struct argument rows[] = {
	{'f', "flag", ARGUMENT_FLAG, offsetof(struct values, flag), 0, 0, NULL, ""},
	{0, "leaf", ARGUMENT_SWITCH, offsetof(struct values, leaf), 0, 0, "any|only", ""},
	{'n', "number", ARGUMENT_NUMBER, offsetof(struct values, number), 1, 10, "N", ""},
	{0, "share", ARGUMENT_SHARE, offsetof(struct values, share), 0, 0, "P", ""},
	{0, "time", ARGUMENT_DURATION, offsetof(struct values, ms), 0, 0, "T", ""},
	{0, "protocol", ARGUMENT_PROTOCOL, offsetof(struct values, protocol), 0, 0, "V", ""},
	{'t', "text", ARGUMENT_TEXT, offsetof(struct values, text), 0, 0, "T", ""},
	{'l', "list", ARGUMENT_LIST, offsetof(struct values, list), 0, 0, "L", ""},
};
static const struct argument_table table = {"x", "x", rows, sizeof(rows) / sizeof(rows[0])};

static int read_two(struct values *v, const char *a, const char *b)
{
	char *argv[] = {"x", (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};

	return arguments_read(&table, b ? 3 : 2, argv, v);
}

static void values_land_in_their_fields(void **state)
{
	struct values v = {0};
	char *argv[] = {"x", "-f", "-n", "7", "--share=20%", "--time", "2h", "--protocol", "3.1.1",
		"-t", "abc", "-l", "one", "--list", "two", "left", "over", NULL};

	(void)state;
	assert_int_equal(arguments_read(&table, 17, argv, &v), 15);
	assert_true(v.flag);
	assert_int_equal(v.number, 7);
	assert_true(v.share > 0.199 && v.share < 0.201);
	assert_int_equal(v.ms, 7200000);
	assert_int_equal(v.protocol, 4);
	assert_string_equal(v.text, "abc");
	assert_int_equal(v.list.count, 2);
	assert_string_equal(v.list.items[1], "two");
	assert_string_equal(argv[15], "left");
}

static void a_switch_takes_its_words_or_stands_alone(void **state)
{
	static const struct {
		const char *a, *b;
		bool before, want;
		int operands;
	} rows_[] = {
		{"--leaf", NULL, false, true, 2},
		{"--leaf", "only", false, true, 3},
		{"--leaf", "any", true, false, 3},
		{"--leaf=any", NULL, true, false, 2},
		{"--leaf", "topic", false, true, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
		struct values v = {.leaf = rows_[i].before};

		assert_int_equal(read_two(&v, rows_[i].a, rows_[i].b), rows_[i].operands);
		assert_int_equal(v.leaf, rows_[i].want);
	}
}

static void what_is_out_of_bounds_is_refused(void **state)
{
	static const char *const bad[][2] = {
		{"--leaf=often", NULL},
		{"-n", "0"},
		{"-n", "11"},
		{"-n", "-1"},
		{"-n", "5x"},
		{"-n", ""},
		{"--number", "99999999999999999999"},
		{"--share", "1.01"},
		{"--share", "120%"},
		{"--share", "nan"},
		{"--share", ""},
		{"--time", "6 h"},
		{"--time", "h"},
		{"--protocol", "3"},
		{"-n", NULL},
		{"--none", NULL},
		{"-z", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct values v = {.number = 3};

		if (read_two(&v, bad[i][0], bad[i][1]) != ARGUMENTS_WRONG)
			fail_msg("%s %s was taken", bad[i][0], bad[i][1] ? bad[i][1] : "");
		assert_int_equal(v.number, 3);
	}
}

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows_[] = {{"10", 10000}, {"500ms", 500}, {"3s", 3000}, {"2m", 120000}, {"1d", 86400000}};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(rows_) / sizeof(rows_[0]); i++) {
		assert_true(argument_duration(rows_[i].text, &ms));
		assert_int_equal(ms, rows_[i].ms);
	}
}

static void help_is_no_fault(void **state)
{
	struct values v = {0};
	int got = read_two(&v, "--help", NULL);

	(void)state;
	assert_int_equal(got, ARGUMENTS_HELP);
	assert_int_equal(arguments_status(got), CLI_DONE);
	assert_int_equal(arguments_status(ARGUMENTS_WRONG), CLI_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_land_in_their_fields),
		cmocka_unit_test(a_switch_takes_its_words_or_stands_alone),
		cmocka_unit_test(what_is_out_of_bounds_is_refused),
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(help_is_no_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
