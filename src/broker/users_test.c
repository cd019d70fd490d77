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

static void sessions_that_last_are_bounded_by_account_and_in_all(void **state)
{
	struct users u;

	(void)state;
	users_init(&u);
	assert_true(users_keep(&u, "a", 2, 3));
	assert_true(users_keep(&u, "a", 2, 3));
	assert_false(users_keep(&u, "a", 2, 3));
	assert_true(users_keep(&u, NULL, 2, 3));
	assert_false(users_keep(&u, "b", 2, 3));
	assert_true(users_keep(&u, "b", 0, 0));
	users_drop(&u, "a");
	users_drop(&u, "");
	assert_true(users_keep(&u, "a", 2, 3));
	assert_int_equal(u.sessions, 3);
	users_fini(&u);
}

static void a_user_is_forgotten_with_its_last_connection_and_session(void **state)
{
	struct users u;

	(void)state;
	users_init(&u);
	assert_true(users_enter(&u, "a", 0));
	assert_true(users_keep(&u, "a", 0, 0));
	users_leave(&u, "a");
	assert_int_equal(u.by_name.count, 1);
	users_drop(&u, "a");
	assert_int_equal(u.by_name.count, 0);
	users_fini(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_gets_as_many_connections_as_its_limit),
		cmocka_unit_test(the_anonymous_one_is_a_user_like_others),
		cmocka_unit_test(sessions_that_last_are_bounded_by_account_and_in_all),
		cmocka_unit_test(a_user_is_forgotten_with_its_last_connection_and_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
