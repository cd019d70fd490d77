#include "cli/account_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const char two[] = "# ours\n"
			  "- user: a\n"
			  "  password: x   # public\n"
			  "  read: [\"#\"]\n"
			  "\n"
			  "# of a partner\n"
			  "- user: b\n"
			  "  certificate: gc\n";

static void an_entry_goes_and_the_comments_of_others_stay(void **state)
{
	static const struct {
		const char *user;
		const char *want;
	} rows[] = {
		{"a", "# ours\n\n# of a partner\n- user: b\n  certificate: gc\n"},
		{"b", "# ours\n- user: a\n  password: x   # public\n  read: [\"#\"]\n\n"
		      "# of a partner\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};

		assert_int_equal(
			account_text_remove(view_of(two), rows[i].user, &out), ACCOUNT_CHANGED);
		buf_append(&out, "", 1);
		assert_string_equal((const char *)buf_bytes(&out), rows[i].want);
		buf_fini(&out);
	}
}

static void a_hash_takes_the_place_of_what_was_there(void **state)
{
	static const struct {
		const char *text;
		const char *user;
		const char *want;
	} rows[] = {
		{"- user: a\n  password: x\n- user: b\n  password: y\n", "a",
			"- user: a\n  password_hash: \"H\"\n- user: b\n  password: y\n"},
		{"- password_hash: old\n  user: a\n", "a", "- password_hash: \"H\"\n  user: a\n"},
		{"-   user: a\n    limits:\n      connections: 1\n    password: x\n", "a",
			"-   user: a\n    limits:\n      connections: 1\n"
			"    password_hash: \"H\"\n"},
		{"- user: a\n  certificate: c", "a",
			"- user: a\n  certificate: c\n  password_hash: \"H\"\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out = {0};

		assert_int_equal(
			account_text_set_hash(view_of(rows[i].text), rows[i].user, "H", &out),
			ACCOUNT_CHANGED);
		buf_append(&out, "", 1);
		assert_string_equal((const char *)buf_bytes(&out), rows[i].want);
		buf_fini(&out);
	}
}

static void a_new_entry_stands_behind_the_others(void **state)
{
	static const char *const filters[] = {"a/#", "b \"c\""};
	static const char *const pages[] = {"metrics"};
	static const struct account_draft draft = {
		"new", "H", filters, 2, filters, 1, pages, 1, true};
	struct buf out = {0};

	(void)state;
	assert_int_equal(
		account_text_add(VIEW("- user: a\n  password: x"), &draft, &out), ACCOUNT_CHANGED);
	buf_append(&out, "", 1);
	assert_string_equal((const char *)buf_bytes(&out),
		"- user: a\n  password: x\n- user: \"new\"\n  password_hash: \"H\"\n"
		"  read: [\"a/#\", \"b \\\"c\\\"\"]\n  write: [\"a/#\"]\n  pages: [\"metrics\"]\n"
		"  admin: true\n");
	buf_fini(&out);
}

static void the_first_of_a_new_file_takes_nothing_from_everyone(void **state)
{
	static const struct account_draft draft = {.user = "new", .password_hash = "H"};
	struct buf out = {0};

	(void)state;
	assert_int_equal(account_text_add(VIEW(""), &draft, &out), ACCOUNT_CHANGED);
	assert_true(
		view_starts_with(buf_view(&out), VIEW("- user: everyone\n  password: everyone\n")));
	buf_fini(&out);
}

static void what_cannot_be_changed_is_left_alone(void **state)
{
	static const struct account_draft draft = {.user = "a", .password_hash = "H"};
	static const struct {
		const char *text;
		enum account_change add;
		enum account_change remove;
	} rows[] = {
		{two, ACCOUNT_PRESENT, ACCOUNT_CHANGED},
		{"- user: b\n", ACCOUNT_CHANGED, ACCOUNT_ABSENT},
		{"[{user: a}]\n", ACCOUNT_UNWRITTEN, ACCOUNT_UNWRITTEN},
		{"-\n  user: a\n", ACCOUNT_UNWRITTEN, ACCOUNT_UNWRITTEN},
		{"  - user: a\n", ACCOUNT_UNWRITTEN, ACCOUNT_UNWRITTEN},
		{"user: a\n", ACCOUNT_UNWRITTEN, ACCOUNT_UNWRITTEN},
		{"- user: [a\n", ACCOUNT_UNWRITTEN, ACCOUNT_UNWRITTEN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct view text = view_of(rows[i].text);
		struct buf out = {0};

		assert_int_equal(account_text_add(text, &draft, &out), rows[i].add);
		assert_int_equal(account_text_remove(text, "a", &out), rows[i].remove);
		assert_int_equal(account_text_set_hash(text, "a", "H", &out), rows[i].remove);
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_entry_goes_and_the_comments_of_others_stay),
		cmocka_unit_test(a_hash_takes_the_place_of_what_was_there),
		cmocka_unit_test(a_new_entry_stands_behind_the_others),
		cmocka_unit_test(the_first_of_a_new_file_takes_nothing_from_everyone),
		cmocka_unit_test(what_cannot_be_changed_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
