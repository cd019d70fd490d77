#include "broker/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

static struct account account_of(
	const char *user, const char *read, const char *write, const char *deny)
{
	struct account a;
	const char *texts[3] = {read, write, deny};
	char ***lists[3] = {&a.read, &a.write, &a.deny};
	uint32_t *counts[3] = {&a.read_count, &a.write_count, &a.deny_count};

	account_default(&a);
	a.user = mem_text(user);
	for (int i = 0; i < 3; i++) {
		if (texts[i] == NULL)
			continue;
		*lists[i] = mem_new(sizeof(char *));
		(*lists[i])[0] = mem_text(texts[i]);
		*counts[i] = 1;
	}
	gate_policy_compile(&a.policy);
	return a;
}

static void everyone_reads_the_public_trees_and_writes_nothing(void **state)
{
	static const struct {
		const char *filter;
		bool may;
	} rows[] = {
		{"origin/a/wis2/#", true},
		{"cache/a/wis2/#", true},
		{"monitor/a/wis2/#", true},
		{"origin/a/wis2/de-dwd/data/#", true},
		{"origin/a/wis2/+/data/core/#", true},
		{"#", false},
		{"+/a/wis2/#", false},
		{"origin/a/#", false},
		{"$SYS/#", false},
		{"origin/a/wis2", true},
		{"other", false},
	};
	struct gate_settings checks;
	struct accounts *set;
	const struct account *a;

	(void)state;
	gate_settings_default(&checks);
	set = accounts_public(&checks);
	a = accounts_find(set, true, VIEW("everyone"));
	assert_non_null(a);
	assert_string_equal(a->password, "everyone");
	assert_int_equal(a->max_qos, 1);
	assert_int_equal(a->session_expiry_ms, 3600000);
	assert_int_equal(a->replay_ms, 86400000);
	assert_false(a->admin);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (account_may_read(a, VIEW("c"), view_of(rows[i].filter)) != rows[i].may)
			fail_msg("%s", rows[i].filter);
	assert_false(account_may_write(a, VIEW("c"), VIEW("origin/a/wis2/de-dwd/data")));
	accounts_unref(set);
}

static void an_admin_reads_everything_but_what_is_denied_and_writes_nothing_more(void **state)
{
	struct account *list = mem_new(sizeof(*list));
	struct accounts *set;
	const struct account *a;

	(void)state;
	list[0] = account_of("ops", NULL, NULL, "closed/#");
	list[0].admin = true;
	set = accounts_new(list, 1);
	a = accounts_find(set, true, VIEW("ops"));
	assert_true(account_may_read(a, VIEW("c"), VIEW("#")));
	assert_true(account_may_read(a, VIEW("c"), VIEW("$SYS/#")));
	assert_false(account_may_read(a, VIEW("c"), VIEW("closed/a")));
	assert_false(account_may_write(a, VIEW("c"), VIEW("a")));
	accounts_unref(set);
}

static void an_account_is_found_by_its_whole_name(void **state)
{
	struct account *list = mem_new(2 * sizeof(*list));
	struct accounts *set;

	(void)state;
	list[0] = account_of("bob", NULL, NULL, NULL);
	list[1] = account_of(NULL, NULL, NULL, NULL);
	set = accounts_new(list, 2);
	assert_ptr_equal(accounts_find(set, true, VIEW("bob")), &list[0]);
	assert_true(view_equal(accounts_name(set, list[0].number), VIEW("bob")));
	assert_int_equal(accounts_name(set, 1).n, 0);
	assert_null(accounts_find(set, true, VIEW("bo")));
	assert_null(accounts_find(set, true, VIEW("bobb")));
	assert_null(accounts_find(set, true, VIEW("")));
	assert_ptr_equal(accounts_find(set, false, VIEW("")), &list[1]);
	assert_int_not_equal(list[0].number, list[1].number);
	accounts_unref(set);
}

static void nobody_is_anonymous_unless_an_entry_says_so(void **state)
{
	struct gate_settings checks;
	struct accounts *set;

	(void)state;
	gate_settings_default(&checks);
	set = accounts_public(&checks);
	assert_null(accounts_find(set, false, VIEW("")));
	accounts_unref(set);
}

static void names_are_put_in_but_never_widen_a_filter(void **state)
{
	static const struct {
		const char *right;
		const char *user;
		const char *client;
		const char *topic;
		bool may;
	} rows[] = {
		{"box/%u/#", "bob", "c1", "box/bob/x", true},
		{"box/%u/#", "bob", "c1", "box/eve/x", false},
		{"box/%c/in", "bob", "c1", "box/c1/in", true},
		{"box/%u-%c", "bob", "c1", "box/bob-c1", true},
		{"box/%c/in", "bob", "+", "box/c1/in", false},
		{"box/%c/in", "bob", "+", "box/+/in", false},
		{"box/%c", "bob", "#", "box/c1/in", false},
		{"box/%c", "bob", "c1/in", "box/c1/in", false},
		{"box/%c", "bob", "", "box/", false},
		{"%c/x", "bob", "$SYS", "$SYS/x", false},
		{"box/%c", "bob", "$SYS", "box/$SYS", true},
		{"box/%u/#", "+", "c1", "box/eve/x", false},
		{"box/%u/#", "a/b", "c1", "box/a/b", false},
		{"box/%u/#", NULL, "c1", "box/x", false},
		{"box/%x", "bob", "c1", "box/%x", true},
		{"box/%", "bob", "c1", "box/%", true},
		{"box/%c", "bob", "%u", "box/%u", true},
		{"box/%c", "bob", "%u", "box/bob", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct account a = account_of(rows[i].user, rows[i].right, rows[i].right, NULL);
		struct view client = view_of(rows[i].client);

		if (account_may_write(&a, client, view_of(rows[i].topic)) != rows[i].may)
			fail_msg("row %zu: write to %s by %s", i, rows[i].topic, rows[i].client);
		if (!strchr(rows[i].topic, '+') &&
			account_may_read(&a, client, view_of(rows[i].topic)) != rows[i].may)
			fail_msg("row %zu: read of %s by %s", i, rows[i].topic, rows[i].client);
		account_fini(&a);
	}
}

static void a_name_with_nul_is_never_put_in(void **state)
{
	struct account a = account_of("bob", "box/%c", "box/%c", NULL);
	struct view client = {"a\0b", 3};

	(void)state;
	assert_false(account_may_write(&a, client, (struct view){"box/a\0b", 7}));
	account_fini(&a);
}

static void what_is_denied_is_taken_out_of_both(void **state)
{
	struct account a = account_of("bob", "#", "#", "box/closed/#");

	(void)state;
	assert_true(account_may_write(&a, VIEW("c"), VIEW("box/open")));
	assert_false(account_may_write(&a, VIEW("c"), VIEW("box/closed/x")));
	assert_true(account_is_denied(&a, VIEW("box/closed")));
	assert_false(account_is_denied(&a, VIEW("box/open")));
	assert_false(account_may_read(&a, VIEW("c"), VIEW("box/closed/+")));
	/* Partly denied: the subscription stands, the topics are left out when matching. */
	assert_true(account_may_read(&a, VIEW("c"), VIEW("box/#")));
	account_fini(&a);
}

static void a_right_to_everything_is_one_to_dollar_topics_but_the_brokers_own(void **state)
{
	struct account a = account_of("bob", "#", "#", NULL);
	struct account shut = account_of("bob", "$app/#", "$app/#", "#");

	(void)state;
	assert_true(account_may_write(&a, VIEW("c"), VIEW("$app/x")));
	assert_true(account_may_read(&a, VIEW("c"), VIEW("$app/#")));
	assert_false(account_may_write(&a, VIEW("c"), VIEW("$SYS/x")));
	assert_false(account_may_read(&a, VIEW("c"), VIEW("$SYS/#")));
	assert_false(account_may_read(&a, VIEW("c"), VIEW("$SYS")));
	assert_false(account_may_read(&shut, VIEW("c"), VIEW("$app/x")));
	account_fini(&a);
	account_fini(&shut);
}

static void a_certificate_stands_for_the_account_that_names_it(void **state)
{
	static const struct {
		const char *subject, *common_name, *user; /* NULL: none */
	} rows[] = {
		{"CN=gc,O=Example", "gc", "by-name"},
		{"CN=ops,O=Example", "ops", "by-subject"},
		{"CN=ops,O=Other", "ops", NULL},
		{"CN=CN\\=ops\\,O\\=Example", "CN=ops,O=Example", NULL},
		{"O=Example", "", NULL},
		{"", "", NULL},
	};
	struct account *list = mem_new(3 * sizeof(*list));
	struct accounts *set;

	(void)state;
	list[0] = account_of("none", "#", NULL, NULL);
	list[1] = account_of("by-name", "#", NULL, NULL);
	list[1].certificate = mem_text("gc");
	list[2] = account_of("by-subject", "#", NULL, NULL);
	list[2].certificate = mem_text("CN=ops,O=Example");
	set = accounts_new(list, 3);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct account *a = accounts_find_certificate(
			set, view_of(rows[i].subject), view_of(rows[i].common_name));

		if (rows[i].user ? !a || strcmp(a->user, rows[i].user) != 0 : a != NULL)
			fail_msg("row %zu: %s", i, a ? a->user : "nobody");
	}
	accounts_unref(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_stands_for_the_account_that_names_it),
		cmocka_unit_test(everyone_reads_the_public_trees_and_writes_nothing),
		cmocka_unit_test(
			an_admin_reads_everything_but_what_is_denied_and_writes_nothing_more),
		cmocka_unit_test(an_account_is_found_by_its_whole_name),
		cmocka_unit_test(nobody_is_anonymous_unless_an_entry_says_so),
		cmocka_unit_test(names_are_put_in_but_never_widen_a_filter),
		cmocka_unit_test(a_name_with_nul_is_never_put_in),
		cmocka_unit_test(what_is_denied_is_taken_out_of_both),
		cmocka_unit_test(a_right_to_everything_is_one_to_dollar_topics_but_the_brokers_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
