#include "broker/alias.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

static void an_alias_stands_for_the_topic_it_was_last_given(void **state)
{
	struct alias_names *a = NULL;

	(void)state;
	assert_null(alias_topic(a, 1).p);
	assert_int_equal(alias_name(&a, 1, VIEW("one")), 0);
	assert_int_equal(alias_name(&a, ALIAS_NAMES, VIEW("last")), 0);
	assert_true(view_equal(alias_topic(a, 1), VIEW("one")));
	assert_null(alias_topic(a, 2).p);
	assert_int_equal(alias_name(&a, 1, VIEW("another")), 0);
	assert_true(view_equal(alias_topic(a, 1), VIEW("another")));
	assert_true(view_equal(alias_topic(a, ALIAS_NAMES), VIEW("last")));
	alias_names_free(a);
}

static void the_topics_of_one_client_are_bounded_in_bytes(void **state)
{
	const size_t n = ALIAS_NAME_BYTES / 2;
	struct alias_names *a = NULL;
	char *text = mem_new(n + 1);

	(void)state;
	memset(text, 'x', n + 1);
	assert_int_equal(alias_name(&a, 1, (struct view){text, n}), 0);
	assert_int_equal(alias_name(&a, 2, (struct view){text, n + 1}), ERR_QUOTA);
	assert_null(alias_topic(a, 2).p);
	assert_int_equal(alias_name(&a, 2, (struct view){text, n}), 0);
	assert_int_equal(alias_name(&a, 2, (struct view){text, n}), 0); /* in place of the first */
	assert_int_equal(alias_name(&a, 3, VIEW("x")), ERR_QUOTA);
	alias_names_free(a);
	free(text);
}

static void a_topic_is_known_once_it_was_told(void **state)
{
	struct alias_sent *a = alias_sent_new(1000);
	uint16_t alias;
	bool known;

	(void)state;
	alias = alias_find(a, VIEW("a"), &known);
	assert_in_range(alias, 1, ALIAS_SENT_MOST);
	assert_false(known);
	alias_tell(a, alias, VIEW("a"), 3);
	assert_int_equal(alias_find(a, VIEW("a"), &known), alias);
	assert_true(known);
	alias_settle(a, 4);
	alias_settle(a, 0); /* of another batch, in which nothing was told */
	alias_find(a, VIEW("a"), &known);
	assert_true(known);
	alias_sent_free(a);
}

static void what_did_not_leave_was_not_told(void **state)
{
	struct alias_sent *a = alias_sent_new(1);
	bool known;

	(void)state;
	alias_tell(a, alias_find(a, VIEW("a"), &known), VIEW("a"), 0);
	alias_tell(a, alias_find(a, VIEW("b"), &known), VIEW("b"), 1);
	assert_false(known);
	alias_settle(a, 1);
	alias_find(a, VIEW("a"), &known);
	assert_false(known);
	alias_find(a, VIEW("b"), &known);
	assert_false(known);
	alias_sent_free(a);
}

static void a_clients_maximum_is_kept_and_long_topics_go_in_full(void **state)
{
	struct alias_sent *a = alias_sent_new(2);
	char text[ALIAS_TOPIC_BYTES + 1];
	bool known;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t n = 1; n < sizeof(text); n++)
		assert_in_range(alias_find(a, (struct view){text, n}, &known), 1, 2);
	assert_int_equal(alias_find(a, (struct view){text, sizeof(text)}, &known), 0);
	assert_false(known);
	alias_sent_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_alias_stands_for_the_topic_it_was_last_given),
		cmocka_unit_test(the_topics_of_one_client_are_bounded_in_bytes),
		cmocka_unit_test(a_topic_is_known_once_it_was_told),
		cmocka_unit_test(what_did_not_leave_was_not_told),
		cmocka_unit_test(a_clients_maximum_is_kept_and_long_topics_go_in_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
