/* Who has which lease, as replies tell it. */
#include "cluster/leases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define ME "here/0000000000000001"
#define OTHER "there/0000000000000002"

/* Names in their order, each a letter. */
static void set(struct lease_table *t, const char *letters)
{
	uint32_t n = (uint32_t)strlen(letters);
	char **names = mem_new((n + 1) * sizeof(*names));

	for (uint32_t i = 0; i < n; i++)
		names[i] = mem_text_of((struct view){&letters[i], 1});
	lease_table_set(t, names, n);
	free(names);
}

/* The reply that names these, by turns lease and run. */
static bool take(struct lease_table *t, const char *const *texts, uint32_t n, struct buf *left)
{
	struct resp items[16] = {0};
	struct resp reply = {.type = RESP_ARRAY, .items = items, .count = n};

	for (uint32_t i = 0; i < n; i++) {
		items[i].type = texts[i] ? RESP_STRING : RESP_INTEGER;
		items[i].text = texts[i] ? view_of(texts[i]) : VIEW("a/0");
	}
	return lease_table_take(t, &reply, VIEW(ME), left);
}

static void expect_run(const struct lease_table *t, uint32_t row, uint32_t slot, const char *want)
{
	const char *run = t->rows[row].leases.run[slot];

	assert_string_equal(run ? run : "nobody", want);
}

/* {a field of the hash: of which of the sources a, b/c and d, in which slot; none: -1} */
static void a_lease_is_named_by_its_source_and_a_slot(void **state)
{
	static const struct {
		const char *lease;
		int row, slot;
	} rows[] = {
		{"a/0", 0, 0},
		{"a/9", 0, 9},
		{"a/15", 0, 15},
		{"b/c/1", 1, 1},
		{"d/01", 2, 1},
		{"a/16", -1, -1},
		{"a/001", -1, -1},
		{"a/", -1, -1},
		{"a/x", -1, -1},
		{"a/1x", -1, -1},
		{"a/:", -1, -1},
		{"a//", -1, -1},
		{"a", -1, -1},
		{"/0", -1, -1},
		{"", -1, -1},
		{"e/0", -1, -1},
		{"0/0", -1, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *texts[] = {rows[i].lease, OTHER};
		struct lease_table t = {0};
		struct buf left = {0};
		char **names = mem_new(3 * sizeof(*names));

		names[0] = mem_text("a");
		names[1] = mem_text("b/c");
		names[2] = mem_text("d");
		lease_table_set(&t, names, 3);
		free(names);
		assert_true(take(&t, texts, 2, &left));
		for (int row = 0; row < 3; row++) {
			for (int slot = 0; slot < (int)HOLDERS_MOST; slot++) {
				bool is_it = row == rows[i].row && slot == rows[i].slot;

				if ((t.rows[row].leases.run[slot] != NULL) != is_it)
					fail_msg(
						"%s: source %d, slot %d", rows[i].lease, row, slot);
			}
		}
		assert_int_equal(buf_length(&left), 0); /* another's */
		lease_table_fini(&t);
	}
}

static void what_this_node_has_of_other_sources_is_left(void **state)
{
	static const char *const texts[] = {
		"a/0", ME, "x/0", ME, "y/0", OTHER, "x/1", ME, "x/99", ME, "z", ME};
	struct lease_table t = {0};
	struct buf left = {0};

	(void)state;
	set(&t, "a");
	assert_true(take(&t, texts, 12, &left));
	assert_int_equal(buf_length(&left), 8);
	assert_memory_equal(buf_bytes(&left), "x/0\0x/1", 8);
	expect_run(&t, 0, 0, ME);
	buf_fini(&left);
	lease_table_fini(&t);
}

static void a_reply_says_all_and_one_that_is_none_says_nothing(void **state)
{
	static const char *const first[] = {"a/0", ME, "b/1", OTHER};
	static const char *const second[] = {"b/1", ME, NULL, ME, "a/2", NULL, "a/1"};
	struct resp error = {.type = RESP_ERROR};
	struct lease_table t = {0};
	struct buf left = {0};

	(void)state;
	set(&t, "ab");
	assert_true(take(&t, first, 4, &left));
	expect_run(&t, 0, 0, ME);
	expect_run(&t, 1, 1, OTHER);
	assert_false(lease_table_take(&t, &error, VIEW(ME), &left));
	expect_run(&t, 0, 0, ME);
	assert_true(take(&t, second, 7, &left));
	expect_run(&t, 0, 0, "nobody");
	expect_run(&t, 0, 1, "nobody");
	expect_run(&t, 0, 2, "nobody");
	expect_run(&t, 1, 1, ME);
	lease_table_fini(&t);
}

static void who_has_a_lease_changes_and_goes(void **state)
{
	struct lease_table t = {0};
	struct buf name = {0};

	(void)state;
	set(&t, "a");
	lease_set(&t.rows[0], 15, VIEW(ME));
	expect_run(&t, 0, 15, ME);
	lease_set(&t.rows[0], 15, VIEW(OTHER));
	expect_run(&t, 0, 15, OTHER);
	lease_name(&name, &t.rows[0], 15);
	assert_true(view_equal(buf_view(&name), VIEW("a/15")));
	lease_set(&t.rows[0], 15, VIEW(""));
	expect_run(&t, 0, 15, "nobody");
	buf_fini(&name);
	lease_table_fini(&t);
}

static void a_new_list_keeps_what_is_done_for_those_that_stay_and_knows_no_lease(void **state)
{
	struct lease_table t = {0};

	(void)state;
	set(&t, "bdf");
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(t.rows[i].slot, HOLDER_NONE);
		lease_set(&t.rows[i], 0, VIEW(ME));
		t.rows[i].slot = i;
		t.rows[i].voice = i > 0;
	}
	set(&t, "abdeg");
	assert_int_equal(t.count, 5);
	for (uint32_t i = 0; i < t.count; i++) {
		bool stays = i == 1 || i == 2;

		expect_run(&t, i, 0, "nobody");
		assert_int_equal(t.rows[i].slot, stays ? i - 1 : HOLDER_NONE);
		assert_int_equal(t.rows[i].voice, i == 2);
	}
	assert_string_equal(t.rows[4].name, "g");
	lease_table_fini(&t);
	assert_int_equal(t.count, 0);
	lease_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lease_is_named_by_its_source_and_a_slot),
		cmocka_unit_test(what_this_node_has_of_other_sources_is_left),
		cmocka_unit_test(a_reply_says_all_and_one_that_is_none_says_nothing),
		cmocka_unit_test(who_has_a_lease_changes_and_goes),
		cmocka_unit_test(
			a_new_list_keeps_what_is_done_for_those_that_stay_and_knows_no_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
