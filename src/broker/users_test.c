#include "broker/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void a_user_gets_as_many_connections_as_its_limit(void **state)
{
	struct users u;

	(void)state;
	users_init(&u);
	assert_true(users_enter(&u, "a", 2));
	assert_true(users_enter(&u, "a", 2));
	assert_false(users_enter(&u, "a", 2));
	assert_true(users_enter(&u, "b", 1));
	users_leave(&u, "a");
	assert_true(users_enter(&u, "a", 2));
	assert_false(users_enter(&u, "a", 1));
	assert_true(users_enter(&u, "a", 0));
	users_fini(&u);
}

static void the_anonymous_one_is_a_user_like_others(void **state)
{
	struct users u;

	(void)state;
	users_init(&u);
	assert_true(users_enter(&u, NULL, 1));
	assert_false(users_enter(&u, NULL, 1));
	users_leave(&u, NULL);
	assert_int_equal(u.by_name.count, 0);
	users_fini(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_gets_as_many_connections_as_its_limit),
		cmocka_unit_test(the_anonymous_one_is_a_user_like_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
