#include "cli/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define REFUSED UINT64_MAX
#define HOUR 3600000ull

struct row {
	const char *text;
	uint64_t want;
};

static void hold(const struct row *rows, size_t n, bool (*read)(struct view, uint64_t *))
{
	for (size_t i = 0; i < n; i++) {
		uint64_t got = REFUSED;
		bool good = read(view_of(rows[i].text), &got);

		if (good != (rows[i].want != REFUSED) || got != rows[i].want)
			fail_msg("\"%s\": %s %llu, want %llu", rows[i].text,
				good ? "read" : "refused", (unsigned long long)got,
				(unsigned long long)rows[i].want);
	}
}
#define HOLD(rows, read) hold(rows, sizeof(rows) / sizeof((rows)[0]), read)

static void durations_have_a_unit(void **state)
{
	static const struct row rows[] = {
		{"1s", 1000},
		{"15m", 900000},
		{"24h", 24 * HOUR},
		{"14d", 14 * 24 * HOUR},
		{"500ms", 500},
		{"1h30m", HOUR + HOUR / 2},
		{"0", 0},
		{"0s", 0},
		{"90", REFUSED},
		{"", REFUSED},
		{"s", REFUSED},
		{"1 s", REFUSED},
		{"-1s", REFUSED},
		{"1.5h", REFUSED},
		{"1S", REFUSED},
		{"1y", REFUSED},
		{"1s ", REFUSED},
		{"1s2", REFUSED},
		{"213503982334d", 213503982334ull * 24 * HOUR},
		{"213503982335d", REFUSED},
		{"213503982334d213503982334d", REFUSED},
		{"18446744073709551616ms", REFUSED},
	};

	(void)state;
	HOLD(rows, quantity_duration);
}

static void sizes_are_binary_or_decimal(void **state)
{
	static const struct row rows[] = {
		{"0", 0},
		{"4096", 4096},
		{"256KiB", 262144},
		{"64GiB", 64ull << 30},
		{"8MiB", 8 << 20},
		{"1TiB", 1ull << 40},
		{"1kB", 1000},
		{"2MB", 2000000},
		{"3GB", 3000000000ull},
		{"4TB", 4000000000000ull},
		{"7B", 7},
		{"1K", REFUSED},
		{"1kib", REFUSED},
		{"KiB", REFUSED},
		{"", REFUSED},
		{"1 KiB", REFUSED},
		{"60%", REFUSED},
		{"16777216TiB", REFUSED},
		{"16777215TiB", 16777215ull << 40},
		{"1KiB1", REFUSED},
	};

	(void)state;
	HOLD(rows, quantity_size);
}

static void numbers_are_digits_only(void **state)
{
	static const struct row rows[] = {
		{"0", 0},
		{"20000000", 20000000},
		{"18446744073709551614", UINT64_MAX - 1},
		{"18446744073709551616", REFUSED},
		{"+1", REFUSED},
		{"-1", REFUSED},
		{"1e3", REFUSED},
		{"0x10", REFUSED},
		{"1_000", REFUSED},
		{"", REFUSED},
		{" 1", REFUSED},
	};

	(void)state;
	HOLD(rows, quantity_number);
}

static void dates_are_those_of_the_calendar(void **state)
{
	static const struct row rows[] = {
		{"1970-01-01", 86400000},
		{"2026-12-31", 1798761600000},
		{"2024-02-29", 1709251200000},
		{"2023-02-29", REFUSED},
		{"2026-13-01", REFUSED},
		{"2026-00-01", REFUSED},
		{"2026-01-00", REFUSED},
		{"2026-04-31", REFUSED},
		{"2026-12-31T12:00:00Z", 1798718400000},
		{"2026-12-31T12:00:00+02:00", 1798711200000},
		{"2026-12-31T12:00:00-01:30", 1798723800000},
		{"2026-12-31T12:00:00", REFUSED},
		{"2026-12-31T24:00:00Z", REFUSED},
		{"2026-12-31T12:60:00Z", REFUSED},
		{"2026-12-31T12:00:00+24:00", REFUSED},
		{"2026-12-31 12:00:00Z", REFUSED},
		{"26-12-31", REFUSED},
		{"", REFUSED},
		{"1969-12-31", REFUSED},
		{"2026-1-1", REFUSED},
		{"1970-01-01T00:00:00+01:00", REFUSED},
		{"2026-12-31T", REFUSED},
	};

	(void)state;
	HOLD(rows, quantity_date);
}

static void shares_are_1_to_100_percent(void **state)
{
	static const struct row rows[] = {
		{"60%", 60},
		{"1%", 1},
		{"100%", 100},
		{"0%", REFUSED},
		{"101%", REFUSED},
		{"60", REFUSED},
		{"%", REFUSED},
		{"60 %", REFUSED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t got = 0;
		bool good = quantity_share(view_of(rows[i].text), &got);

		assert_int_equal(good, rows[i].want != REFUSED);
		assert_int_equal(got, good ? rows[i].want : 0);
	}
}

static void quantities_are_written_in_the_largest_unit_that_fits(void **state)
{
	char out[QUANTITY_TEXT_BYTES];

	(void)state;
	assert_string_equal(quantity_format_duration(24 * HOUR, out), "24h");
	assert_string_equal(quantity_format_duration(48 * HOUR, out), "2d");
	assert_string_equal(quantity_format_duration(25 * HOUR, out), "25h");
	assert_string_equal(quantity_format_duration(1500, out), "1500ms");
	assert_string_equal(quantity_format_duration(0, out), "0");
	assert_string_equal(quantity_format_size(64ull << 30, out), "64GiB");
	assert_string_equal(quantity_format_size(1000, out), "1000B");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_a_unit),
		cmocka_unit_test(sizes_are_binary_or_decimal),
		cmocka_unit_test(numbers_are_digits_only),
		cmocka_unit_test(dates_are_those_of_the_calendar),
		cmocka_unit_test(shares_are_1_to_100_percent),
		cmocka_unit_test(quantities_are_written_in_the_largest_unit_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
