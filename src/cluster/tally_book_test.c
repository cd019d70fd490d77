/* What is told and what is made of the answer, without Redis. */
#include "cluster/tally_book.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OWN_RUN 7u

static void look(struct tally_book *b, const struct tally *sources, uint32_t n)
{
	tally_book_begin(b);
	for (uint32_t i = 0; i < n; i++)
		tally_book_add(b, &sources[i]);
	tally_book_end(b);
}

/* The arguments that would be sent. */
static char *changes(struct tally_book *b, bool all)
{
	static char text[1024];
	struct buf out = {0};

	tally_book_changes(b, all, &out);
	assert_true(buf_length(&out) < sizeof(text));
	snprintf(text, sizeof(text), "%.*s", VIEW_ARG(buf_view(&out)));
	buf_fini(&out);
	return text;
}

#define XX "$4\r\nxx-a\r\n"

static void a_centre_is_the_sum_of_its_sources_and_told_when_it_has_changed(void **state)
{
	const struct tally two[] = {
		{.source = "a", "xx-a", true, {10, 8, 1, 1, 0, 0, 2, 500, 0}},
		{.source = "b", "xx-a", false, {5, 1, 0, 0, 0, 4, 0, 400, 0}},
	};
	struct tally_book *b = tally_book_new();

	(void)state;
	look(b, two, 2);
	assert_string_equal(changes(b, false), XX "$20\r\n15 9 1 1 0 4 2 500 0\r\n");
	assert_string_equal(changes(b, false), XX "$20\r\n15 9 1 1 0 4 2 500 0\r\n");
	tally_book_confirm(b);
	assert_string_equal(changes(b, false), "");
	assert_string_equal(changes(b, true), XX "$20\r\n15 9 1 1 0 4 2 500 0\r\n");
	tally_book_free(b);
}

static void a_centre_without_messages_is_told_once(void **state)
{
	const struct tally one = {.source = "a", "xx-a", false, {0}};
	struct tally_book *b = tally_book_new();

	(void)state;
	look(b, &one, 1);
	assert_string_equal(changes(b, false), XX "$17\r\n0 0 0 0 0 0 0 0 0\r\n");
	tally_book_confirm(b);
	look(b, &one, 1);
	assert_string_equal(changes(b, false), "");
	tally_book_free(b);
}

static void what_was_counted_stays_when_a_source_goes_and_comes_back(void **state)
{
	static const struct {
		const char *why;
		uint64_t received; /* of the source that comes back */
		const char *centre;
		bool missed; /* there was a look without it */
		const char *want;
	} rows[] = {
		{"less than before: another", 3, "xx-a", false, XX "$18\r\n13 0 0 0 0 0 0 9 0\r\n"},
		{"it was seen to be gone", 30, "xx-a", true, XX "$18\r\n40 0 0 0 0 0 0 9 0\r\n"},
		{"the same", 30, "xx-a", false, XX "$18\r\n30 0 0 0 0 0 0 9 0\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct tally before = {
			.source = "a", "xx-a", true, {10, [TALLY_LAST_MS] = 9}};
		const struct tally after = {
			.source = "a", rows[i].centre, true, {rows[i].received}};
		struct tally_book *b = tally_book_new();

		look(b, &before, 1);
		if (rows[i].missed)
			look(b, NULL, 0);
		look(b, &after, 1);
		if (strcmp(changes(b, false), rows[i].want) != 0)
			fail_msg("%s: got %s", rows[i].why, changes(b, false));
		tally_book_free(b);
	}
}

static void the_list_names_the_centres_that_are_configured_now(void **state)
{
	const struct tally two[] = {
		{.source = "a", "xx-a", true, {1}}, {.source = "b", "xx-b", true, {1}}};
	struct tally_book *b = tally_book_new();
	struct buf out = {0};

	(void)state;
	look(b, two, 2);
	look(b, two, 1);
	tally_book_list(b, OWN_RUN, &out);
	assert_true(view_equal(buf_view(&out), VIEW("7\nxx-a 1\n")));
	buf_fini(&out);
	tally_book_free(b);
}

static void the_list_names_the_sources_that_this_node_holds(void **state)
{
	const struct tally held = {.source = "a", "xx-a", true, {1}, .is_held = true, .slot = 1};
	const struct tally other = {.source = "b", "xx-a", false, {1}};
	struct tally_book *b = tally_book_new();
	struct buf out = {0};

	(void)state;
	tally_book_begin(b);
	tally_book_add(b, &held);
	tally_book_add(b, &other);
	tally_book_end(b);
	tally_book_list(b, OWN_RUN, &out);
	assert_true(view_equal(buf_view(&out), VIEW("7\nxx-a 1\n* 1 0 1 a\n")));
	buf_fini(&out);
	tally_book_free(b);
}

/* --- the cluster's -------------------------------------------------------- */

struct reply {
	struct resp totals[8], lists[8], parts[2];
	struct resp whole;
};

static uint32_t fill(struct resp *to, const char *const *texts)
{
	uint32_t n = 0;

	for (; texts[n]; n++)
		to[n] = (struct resp){.type = RESP_STRING, .text = view_of(texts[n])};
	return n;
}

static const struct resp *reply_of(
	struct reply *r, const char *const *totals, const char *const *lists)
{
	r->parts[0] = (struct resp){.type = RESP_ARRAY, .items = r->totals};
	r->parts[0].count = fill(r->totals, totals);
	r->parts[1] = (struct resp){.type = RESP_ARRAY, .items = r->lists};
	r->parts[1].count = fill(r->lists, lists);
	r->whole = (struct resp){.type = RESP_ARRAY, .items = r->parts, .count = 2};
	return &r->whole;
}

static void centres_of_nodes_that_live_are_shown(void **state)
{
	static const char *const totals[] = {
		"xx-b", "5 4 3 2 1 0 0 9 8", "xx-a", "1", "xx-gone", "9 9 9 9 9 9 9 9 9", NULL};
	static const char *const lists[] = {"me", "7\nxx-a 0\n", "other", "8\nxx-a 1\nxx-b 0\n",
		"dead", "9\nxx-a 1\nxx-gone 1\n", NULL};
	struct node list[] = {{.name = (char *)(uintptr_t) "dead", .start = 9},
		{.name = (char *)(uintptr_t) "other", .start = 8, .alive = true}};
	struct nodes nodes = {.list = list, .count = 2};
	struct tally_sheet s = {0};
	struct reply r;

	(void)state;
	assert_true(tally_sheet_take(&s, reply_of(&r, totals, lists), &nodes, "me", OWN_RUN));
	assert_int_equal(s.count, 2);
	assert_string_equal(s.lines[0].centre, "xx-a");
	assert_true(s.lines[0].connected);
	assert_int_equal(s.lines[0].figures[TALLY_RECEIVED], 1);
	assert_string_equal(s.lines[1].centre, "xx-b");
	assert_false(s.lines[1].connected);
	assert_int_equal(s.lines[1].figures[TALLY_DUPLICATES], 8);
	list[1].start = 80; /* another run: what the one before was connected to does not count */
	assert_true(tally_sheet_take(&s, &r.whole, &nodes, "me", OWN_RUN));
	assert_int_equal(s.count, 1);
	assert_false(s.lines[0].connected);
	tally_sheet_fini(&s);
}

static void what_is_no_such_reply_changes_nothing(void **state)
{
	static const char *const totals[] = {"xx-a", "1 x 3", "xx-b", "99999999999999999999", NULL};
	static const char *const lists[] = {
		"me", "7\nxx-a 1\nxx-b 1\n\n 1\nxx-c\nxx-d 11\n", "you", "\nxx-e 1\n", NULL};
	const struct resp wrong = {.type = RESP_INTEGER};
	struct nodes nodes = {0};
	struct tally_sheet s = {0};
	struct reply r;

	(void)state;
	assert_true(tally_sheet_take(&s, reply_of(&r, totals, lists), &nodes, "me", OWN_RUN));
	assert_int_equal(s.count, 2);
	assert_int_equal(s.lines[0].figures[TALLY_RECEIVED], 1);
	assert_int_equal(s.lines[0].figures[TALLY_PUBLISHED], 0);
	assert_int_equal(s.lines[1].figures[TALLY_RECEIVED], 0);
	assert_false(tally_sheet_take(&s, &wrong, &nodes, "me", OWN_RUN));
	assert_int_equal(s.count, 2);
	tally_sheet_fini(&s);
}

/* --- duplicates ----------------------------------------------------------- */

static void repeats_of_what_another_holder_was_first_with_are_no_duplicates(void **state)
{
	/* as told: repeats at the voice, firsts elsewhere, duplicates worked out so far */
	static const struct {
		const char *total;
		uint64_t want;
	} rows[] = {
		{"9 9 0 0 0 10 0 0 0", 0}, /* firsts that belong to the repeats may come later */
		{"9 9 0 0 0 20 10 0 0", 0},
		{"9 9 0 0 0 30 15 0 0", 5},
		{"9 9 0 0 0 30 29 0 0", 5}, /* never less */
		{"9 9 0 0 0 30 29 0 7", 7}, /* somebody else knew better */
		{"9 9 0 0 0 50 29 0 7", 7},
		{"9 9 0 0 0 50 29 0 7", 21},
	};
	const struct tally one = {.source = "a", "xx-a", true, {0}};
	static const char *const lists[] = {"me", "7\nxx-a 1\n", NULL};
	struct nodes nodes = {0};
	struct tally_book *b = tally_book_new();
	struct tally_sheet s = {0};
	char want[64];

	(void)state;
	look(b, &one, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *const totals[] = {"xx-a", rows[i].total, NULL};
		struct reply r;

		tally_sheet_take(&s, reply_of(&r, totals, lists), &nodes, "me", OWN_RUN);
		tally_book_judge(b, &s);
		snprintf(want, sizeof(want), " %u\r\n", (unsigned)rows[i].want);
		if (!view_ends_with(view_of(changes(b, true)), view_of(want)))
			fail_msg("row %zu: wanted %s, got %s", i, want, changes(b, true));
	}
	tally_sheet_fini(&s);
	tally_book_free(b);
}

static void holders_are_shown_as_the_living_say(void **state)
{
	static const char *const totals[] = {NULL};
	static const char *const lists[] = {"me", "7\n* 1 0 1 b\n* 0 1 1 a\nxx-a 1\n", "other",
		"8\n* 0 1 0 b\n* x 1 1 c\n* 16 1 1 c\n* 0 1 1 \n* 0 1\n", "dead", "9\n* 1 0 1 a\n",
		NULL};
	struct node list[] = {{.name = (char *)(uintptr_t) "dead", .start = 9},
		{.name = (char *)(uintptr_t) "other", .start = 8, .alive = true}};
	static const struct holding want[] = {{"a", "me", 0, true, true},
		{"b", "other", 0, true, false}, {"b", "me", 1, false, true}};
	struct nodes nodes = {.list = list, .count = 2};
	struct tally_sheet s = {0};
	struct reply r;

	(void)state;
	assert_true(tally_sheet_take(&s, reply_of(&r, totals, lists), &nodes, "me", OWN_RUN));
	assert_int_equal(s.count, 1);
	assert_int_equal(s.holding_count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_string_equal(s.holdings[i].source, want[i].source);
		assert_string_equal(s.holdings[i].node, want[i].node);
		assert_int_equal(s.holdings[i].slot, want[i].slot);
		assert_int_equal(s.holdings[i].is_voice, want[i].is_voice);
		assert_int_equal(s.holdings[i].connected, want[i].connected);
	}
	tally_sheet_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_names_the_sources_that_this_node_holds),
		cmocka_unit_test(holders_are_shown_as_the_living_say),
		cmocka_unit_test(a_centre_is_the_sum_of_its_sources_and_told_when_it_has_changed),
		cmocka_unit_test(a_centre_without_messages_is_told_once),
		cmocka_unit_test(what_was_counted_stays_when_a_source_goes_and_comes_back),
		cmocka_unit_test(the_list_names_the_centres_that_are_configured_now),
		cmocka_unit_test(centres_of_nodes_that_live_are_shown),
		cmocka_unit_test(what_is_no_such_reply_changes_nothing),
		cmocka_unit_test(repeats_of_what_another_holder_was_first_with_are_no_duplicates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
