/* What stands in Redis of a will; the rest is in tests/e2e/test_cluster_wills.py. */
#include "cluster/will_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"

#define HEAD_BYTES 24u

static const struct roaming_will example = {
	.id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
	.delay_ms = 0x0102030405060708,
	.bytes = {"gone", 4},
};

static void a_value_says_what_was_put(void **state)
{
	struct buf b = {0};
	struct roaming_will out;

	(void)state;
	will_value_put(&b, &example);
	assert_int_equal(buf_length(&b), HEAD_BYTES + 4);
	assert_int_equal(will_value_parse(buf_view(&b), &out), 0);
	assert_memory_equal(&out.id, &example.id, sizeof(out.id));
	assert_true(out.delay_ms == example.delay_ms);
	assert_true(view_equal(out.bytes, VIEW("gone")));
	buf_fini(&b);
}

/* unwill.lua compares the front of the value. */
static void a_value_begins_with_the_identifier(void **state)
{
	struct buf b = {0};

	(void)state;
	will_value_put(&b, &example);
	assert_memory_equal(buf_bytes(&b), &example.id, sizeof(example.id));
	buf_fini(&b);
}

static void a_value_that_is_cut_is_none(void **state)
{
	struct buf b = {0};
	struct roaming_will out;

	(void)state;
	will_value_put(&b, &example);
	for (size_t n = 0; n <= HEAD_BYTES; n++)
		assert_int_equal(
			will_value_parse((struct view){(const char *)buf_bytes(&b), n}, &out),
			ERR_MALFORMED);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_says_what_was_put),
		cmocka_unit_test(a_value_begins_with_the_identifier),
		cmocka_unit_test(a_value_that_is_cut_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
