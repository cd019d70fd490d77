/* What stands in the hash of orders. */
#include "cluster/orders.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void an_entry_is_number_run_and_order(void **state)
{
	static const struct {
		const char *value;
		bool good;
		uint64_t number;
		const char *run;
		const char *text;
	} rows[] = {
		{"7 node/1 {\"a\": 1}", true, 7, "node/1", "{\"a\": 1}"},
		{"999999999999999999 n/1 x", true, 999999999999999999, "n/1", "x"},
		{"9999999999999999999 n/1 x", false, 0, "", ""},
		{"7 node/1 ", false, 0, "", ""},
		{"7 node/1", false, 0, "", ""},
		{"7  x", false, 0, "", ""},
		{"7", false, 0, "", ""},
		{" n/1 x", false, 0, "", ""},
		{"x n/1 x", false, 0, "", ""},
		{"-1 n/1 x", false, 0, "", ""},
		{"", false, 0, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct order_entry e;

		if (order_entry_parse(view_of(rows[i].value), &e) != rows[i].good)
			fail_msg("'%s': wanted %d", rows[i].value, rows[i].good);
		if (!rows[i].good)
			continue;
		assert_int_equal(e.number, rows[i].number);
		assert_true(view_equal(e.run, view_of(rows[i].run)));
		assert_true(view_equal(e.text, view_of(rows[i].text)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(an_entry_is_number_run_and_order)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
