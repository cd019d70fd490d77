#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "source/firsts.h"

static uint64_t of(const struct firsts *f, const char *centre)
{
	const struct first *one = NULL;

	while ((one = firsts_next(f, one)) != NULL) {
		if (view_equal(view_of(one->centre), view_of(centre)))
			return count_read(&one->messages);
	}
	return UINT64_MAX;
}

static void each_centre_is_counted_under_its_own_number(void **state)
{
	struct firsts f = {0};
	uint16_t a, b;

	(void)state;
	a = firsts_number(&f, VIEW("de-dwd"));
	b = firsts_number(&f, VIEW("fr-mf"));
	assert_int_not_equal(a, b);
	assert_int_equal(firsts_number(&f, VIEW("de-dwd")), a);
	assert_int_equal(firsts_number(&f, VIEW("fr-mf")), b);
	firsts_add(&f, a);
	firsts_add(&f, a);
	firsts_add(&f, b);
	firsts_add(&f, 0);
	assert_int_equal(of(&f, "de-dwd"), 2);
	assert_int_equal(of(&f, "fr-mf"), 1);
	assert_int_equal(of(&f, "xx"), UINT64_MAX);
	firsts_fini(&f);
}

static void no_more_centres_than_the_most_are_kept(void **state)
{
	struct firsts f = {0};
	char name[16];

	(void)state;
	for (unsigned i = 0; i < FIRSTS_MOST; i++) {
		snprintf(name, sizeof(name), "xx-%u", i);
		assert_int_equal(firsts_number(&f, view_of(name)), i + 1);
	}
	assert_int_equal(firsts_number(&f, VIEW("one-more")), 0);
	assert_int_equal(firsts_number(&f, VIEW("xx-7")), 8);
	firsts_add(&f, 4096);
	assert_int_equal(of(&f, "xx-4095"), 1);
	firsts_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_centre_is_counted_under_its_own_number),
		cmocka_unit_test(no_more_centres_than_the_most_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
