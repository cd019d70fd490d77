/* Date-times, numbers, base64, gzip: both sides of each boundary. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wis2/datetime.h"
#include "wis2/inline_data.h"
#include "wis2/number.h"

static void date_times_of_rfc_3339_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
		bool is_utc, is_plain;
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0, true, true},
		{"2026-03-21T12:07:44Z", 1774094864, true, true},
		{"2026-03-21T12:07:44.314854383Z", 1774094864, true, true},
		{"2026-03-21t12:07:44z", 1774094864, true, false},
		{"2026-03-21T12:07:44+00:00", 1774094864, true, false},
		{"2026-03-21T12:07:44-00:00", 1774094864, true, false},
		{"2026-03-21T13:07:44+01:00", 1774094864, false, false},
		{"2026-03-21T08:37:44.5-03:30", 1774094864, false, false},
		{"2024-02-29T23:59:59Z", 1709251199, true, true},
		{"2000-02-29T00:00:00Z", 951782400, true, true},
		{"1969-12-31T23:59:59Z", -1, true, true},
		{"0000-01-01T00:00:00Z", -62167219200, true, true},
		{"9999-12-31T23:59:59Z", 253402300799, true, true},
		{"2016-12-31T23:59:60Z", 1483228800, true, true},
		{"2017-01-01T00:59:60+01:00", 1483228800, false, false},
		{"2016-12-31T18:59:60-05:00", 1483228800, false, false},
		{"2026-01-01T00:00:00+23:59", 1767139260, false, false},
	};
	struct datetime t;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!datetime_parse(view_of(rows[i].text), &t) || t.seconds != rows[i].seconds ||
			t.is_utc != rows[i].is_utc || t.is_plain != rows[i].is_plain)
			fail_msg("%s", rows[i].text);
	}
}

static void other_texts_are_no_date_times(void **state)
{
	static const char *const texts[] = {
		"",
		"Z",
		"2026-03-21",
		"2026-03-21T12:07:44",
		"2026-03-21T12:07Z",
		"2026-03-21 12:07:44Z",
		"20260321T120744Z",
		"2026/03/21T12:07:44Z",
		"2026-13-21T12:07:44Z",
		"2026-00-21T12:07:44Z",
		"2026-02-29T12:07:44Z",
		"2100-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-32T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-03-21T24:00:00Z",
		"2026-03-21T12:60:00Z",
		"2026-03-21T12:07:61Z",
		"2026-03-21T12:07:60Z",
		"2016-12-31T23:59:60+01:00",
		"2026-03-21T12:07:44,5Z",
		"2026-03-21T12:07:44.Z",
		"2026-03-21T12:07:44+24:00",
		"2026-03-21T12:07:44+01:60",
		"2026-03-21T12:07:44+0100",
		"2026-03-21T12:07:44+01",
		"2026-03-21T12:07:44ZZ",
		"2026-03-21T12:07:44Z\n",
		" 2026-03-21T12:07:44Z",
		"+026-03-21T12:07:44Z",
		"2026-3-21T12:07:44.0Z",
		"202a-03-21T12:07:44Z",
		"2a26-03-21T12:07:44Z",
		"2026-03-21T12:07:4xZ",
		"2026-03-21T12:07:44.5",
		"2026-03-21T12-07-44Z",
		"2026-03-21T12:07:44X",
	};
	struct datetime t;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (datetime_parse(view_of(texts[i]), &t))
			fail_msg("%s", texts[i]);
	}
}

static void date_times_compare_to_the_last_digit(void **state)
{
	static const struct {
		const char *a, *b;
		int want;
	} rows[] = {
		{"2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 0},
		{"2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", -1},
		{"2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", 0},
		{"2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500Z", 0},
		{"2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.50001Z", -1},
		{"2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00Z", 1},
	};
	struct datetime a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(datetime_parse(view_of(rows[i].a), &a));
		assert_true(datetime_parse(view_of(rows[i].b), &b));
		assert_int_equal(datetime_compare(&a, &b), rows[i].want);
	}
}

static void milliseconds_are_cut_not_rounded(void **state)
{
	struct datetime t;

	(void)state;
	assert_true(datetime_parse(VIEW("2026-03-21T12:07:44.31999999999999999999Z"), &t));
	assert_int_equal(datetime_ms(&t), 1774094864319);
	assert_true(datetime_parse(VIEW("2026-03-21T12:07:44.5Z"), &t));
	assert_int_equal(datetime_ms(&t), 1774094864500);
	assert_true(datetime_parse(VIEW("1969-01-01T00:00:00Z"), &t));
	assert_int_equal(datetime_ms(&t), 0);
}

/* A number stands before another byte of a JSON text. */
static struct view number(const char *text)
{
	struct view v = view_of(text);

	return (struct view){v.p, v.n - 1};
}

static void integers_have_no_fraction(void **state)
{
	static const struct {
		const char *text;
		bool is_integer;
		int64_t value;
	} rows[] = {
		{"0,", true, 0},
		{"-0,", true, 0},
		{"4096,", true, 4096},
		{"-1,", true, -1},
		{"5.0,", true, 5},
		{"5e0,", true, 5},
		{"1e3,", true, 1000},
		{"1.5e1,", true, 15},
		{"5.5,", false, 0},
		{"1e-1,", false, 0},
		{"1e400,", false, 0},
		{"-1e400,", false, 0},
		{"1e18,", true, 1000000000000000000},
		{"1e300,", true, INT64_MAX},
		{"9223372036854775807,", true, INT64_MAX},
		{"99999999999999999999999,", true, INT64_MAX},
		{"-99999999999999999999999,", true, -INT64_MAX},
	};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		value = 0;
		if (number_integer(number(rows[i].text), &value) != rows[i].is_integer ||
			(rows[i].is_integer && value != rows[i].value))
			fail_msg("%s", rows[i].text);
	}
}

static void limits_of_degrees_are_included(void **state)
{
	static const struct {
		const char *text;
		unsigned limit;
		bool within;
	} rows[] = {
		{"180]", 180, true},
		{"-180]", 180, true},
		{"180.0]", 180, true},
		{"1.8e2]", 180, true},
		{"180.0001]", 180, false},
		{"-180.5]", 180, false},
		{"181]", 180, false},
		{"179.999999]", 180, true},
		{"1000]", 180, false},
		{"1e3]", 180, false},
		{"1e999]", 180, false},
		{"90]", 90, true},
		{"-90.01]", 90, false},
		{"91]", 90, false},
		{"0.0]", 90, true},
		{"100e-1]", 90, true},
		{"0.9e2]", 90, true},
		{"0.91e2]", 90, false},
		{"1800e-1]", 180, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (number_within(number(rows[i].text), rows[i].limit) != rows[i].within)
			fail_msg("%s", rows[i].text);
	}
	assert_true(number_is_finite(number("1e308]")));
	assert_false(number_is_finite(number("1e309]")));
	assert_true(number_equal(number("1.0]"), number("1]")));
	assert_true(number_equal(number("1e1]"), number("10]")));
	assert_false(number_equal(number("1.01]"), number("1]")));
}

static void base64_is_padded_and_plain(void **state)
{
	static const struct {
		const char *text;
		int32_t want;
	} rows[] = {
		{"", 0},
		{"YQ==", 1},
		{"YWI=", 2},
		{"YWJj", 3},
		{"YWJjZA==", 4},
		{"++//", 3},
		{"YQ", -1},
		{"YQ=", -1},
		{"YWJ", -1},
		{"Y===", -1},
		{"====", -1},
		{"YQ==YQ==", -1},
		{"YW-_", -1},
		{"YWJ\n", -1},
		{" YWJ", -1},
		{"?"
		 "?!",
			-1},
		{"A2KNxvks...S8qfSCw==", -1},
	};
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(base64_decode(view_of(rows[i].text), NULL), rows[i].want);
	assert_int_equal(base64_decode(VIEW("AP+A"), out), 3);
	assert_memory_equal(out, "\x00\xff\x80", 3);
}

static void gzip_unpacks_up_to_the_limit(void **state)
{
	static const struct {
		const char *name, *base64;
		int32_t want;
	} rows[] = {
		{"fixed codes", "H4sIAAAAAAACA0tMSgYAwkEkNQMAAAA=", 3},
		{"stored",
			"H4sIAAAAAAAEAwEyAM3/"
			"aGVsbG9oZWxsb2hlbGxvaGVsbG9oZWxsb2hlbGxvaGVsbG9oZWxsb2hl"
			"bGxvaGVsbG8aHLSNMgAAAA==",
			50},
		{"dynamic codes",
			"H4sIAAAAAAACA53XuZEdMQwEUF9RMATchyHjZ7H5R7L4hnx1+4Mih/"
			"XYAD+fn59nqiavfHZeaI68"
			"NpN6Kqb2TDTrucjUC1HRv38+/6r01bYsWGWvZrXAKn9l6mhVvCopBavy/"
			"ms2wKp61V3oDvvWSvg0"
			"5pVKO1i1t9be+WNVZ+O+"
			"SdxG1zRuIywWt7Figdvw8cVtuIYyNiRwGzPluI0VSdxGD7zDs1Ephduw"
			"KMKG9xI2LIawMdlEbhypwW0c3sFtqMA35WxYqRK5UUPYkBbFbcR64jYkZXAbEUrY6I4kekoH0V"
			"PK"
			"U3AbF/"
			"SB26hoxkYk0VPaYFHf3NAlciN3CBuaS8wbknDXOxtm1riNUSFywzMTtxFmRfQUjcJtXAIY"
			"buPb9ohZ1FVwG+"
			"XwHBXfmwJ32LORDef810YzubE5hI26RCRyI5vIDR9p3EamErkhUcS8ETmMjTWi"
			"p1jBZ3g20qOZWbSJd8p6C2HDjZg3tIV4p3gk8YZdX+ING96J24iq/8z5XxM8aRrSDwAA",
			4050},
		{"a run", "H4sIAAAAAAACA+3BAQ0AAADCoFjv38weDigAAADg3QBdKU7lABAAAA==", 4096},
		{"one byte too many",
			"H4sIAAAAAAACA+3BAQ0AAADCoFjv38weDigAAADg3gDiKYB/ARAAAA==", -1},
		{"empty", "H4sIAAAAAAACAwMAAAAAAAAAAAA=", 0},
		{"header with all its parts",
			"H4sIHAAAAAACAwIAeHluYW1lAGNvbW1lbnQAS0xKBgDCQSQ1AwAAAA==", 3},
		{"checksum wrong", "H4sIAAAAAAACA0tMSgYAwkElNQMAAAA=", -1},
		{"bytes behind", "H4sIAAAAAAACA0tMSgYAwkEkNQMAAAB4", -1},
		{"two members",
			"H4sIAAAAAAACA0tMSgYAwkEkNQMAAAAfiwgAAAAAAAIDS0xKBgDCQSQ1AwAAAA==", 6},
		{"cut", "H4sIAAAAAAACA0tMSgYAwkEkNQMAAA==", -1},
		{"no body", "H4sIAAAAAAACAw==", -1},
		{"reserved flag", "H4sIIAAAAAACA0tMSgYAwkEkNQMAAAA=", -1},
		{"no gzip", "YWJj", -1},
		{"block type 3", "H4sIAAAAAAACAwfCQSQ1AwAAAA==", -1},
	};
	uint8_t data[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int32_t n = base64_decode(view_of(rows[i].base64), data);

		assert_true(n >= 0);
		if (gzip_length(data, (size_t)n) != rows[i].want)
			fail_msg("%s: %d", rows[i].name, gzip_length(data, (size_t)n));
	}
}

static void every_prefix_and_flipped_bit_of_gzip_is_survived(void **state)
{
	uint8_t data[64];
	int32_t n = base64_decode(VIEW("H4sIAAAAAAACA0tMSk5ERQAEwCbcEgAAAA=="), data);

	(void)state;
	assert_int_equal(gzip_length(data, (size_t)n), 18);
	for (int32_t cut = 0; cut < n; cut++)
		assert_int_equal(gzip_length(data, (size_t)cut), -1);
	for (int32_t bit = 8 * 10; bit < 8 * n; bit++) {
		int32_t got;

		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		got = gzip_length(data, (size_t)n);
		assert_true(got == -1 || got == 18); /* the last block leaves bits unused */
		data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(date_times_of_rfc_3339_are_read),
		cmocka_unit_test(other_texts_are_no_date_times),
		cmocka_unit_test(date_times_compare_to_the_last_digit),
		cmocka_unit_test(milliseconds_are_cut_not_rounded),
		cmocka_unit_test(integers_have_no_fraction),
		cmocka_unit_test(limits_of_degrees_are_included),
		cmocka_unit_test(base64_is_padded_and_plain),
		cmocka_unit_test(gzip_unpacks_up_to_the_limit),
		cmocka_unit_test(every_prefix_and_flipped_bit_of_gzip_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
