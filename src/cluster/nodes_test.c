/* Who is alive, by replies and our own clock alone. */
#include "cluster/nodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PAIRS_MOST 8

/* A reply to HGETALL. */
struct reply {
	struct resp items[2 * PAIRS_MOST];
	struct resp whole;
};

static const struct resp *reply_of(struct reply *r, const char *const *texts)
{
	*r = (struct reply){.whole = {.type = RESP_ARRAY, .items = r->items}};
	for (uint32_t i = 0; texts[i]; i++) {
		r->items[i] = (struct resp){.type = RESP_STRING, .text = view_of(texts[i])};
		r->whole.count = i + 1;
	}
	return &r->whole;
}

static bool take(struct nodes *n, uint64_t now, const char *name, const char *field,
	const char *other, const char *other_field)
{
	const char *texts[] = {name, field, other, other_field, NULL};
	struct reply r;

	return nodes_take(n, reply_of(&r, texts), now);
}

#define FIELD(start, beat, phase) start " " beat " " phase " sources,subscribers 0.1.0 -"
#define A_RUN "00000000000000aa"
#define B_RUN "00000000000000bb"

static bool is_alive(const struct nodes *n, const char *name)
{
	const struct node *node = nodes_find(n, view_of(name));

	return node && node->alive;
}

static void what_is_said_is_heard(void **state)
{
	static const struct {
		struct node_words words;
		const char *field;
	} rows[] = {
		{{0x12f66f8c2a1b4, 217, false, NODE_SOURCES | NODE_SUBSCRIBERS, "0.1.0",
			 "mqtts://a:8883", NULL, false},
			"00012f66f8c2a1b4 217 up sources,subscribers 0.1.0 mqtts://a:8883"},
		{{1, 1, true, NODE_SUBSCRIBERS, "0.2", NULL, NULL, true},
			"0000000000000001 1 left subscribers 0.2 -"},
		{{1, 1, true, NODE_SOURCES, "0.2", NULL, NULL, false},
			"0000000000000001 1 draining sources 0.2 -"},
		{{UINT64_MAX, UINT64_MAX, false, 0, "0.2", NULL, NULL, false},
			"ffffffffffffffff 18446744073709551615 up - 0.2 -"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct node_words *w = &rows[i].words;
		struct nodes n = {0};
		struct buf b = {0};
		const struct node *node;

		node_say(&b, w);
		buf_append(&b, "", 1);
		assert_string_equal((const char *)buf_bytes(&b), rows[i].field);
		assert_true(take(&n, 1000, "a", rows[i].field, NULL, NULL));
		node = nodes_find(&n, VIEW("a"));
		assert_non_null(node);
		assert_int_equal(node->start, w->start);
		assert_int_equal(node->beat, w->beat);
		assert_int_equal(node->draining, w->draining);
		assert_int_equal(node->roles, w->roles);
		assert_string_equal(node->version, w->version);
		assert_string_equal(node->advertise, w->advertise ? w->advertise : "");
		nodes_fini(&n);
		buf_fini(&b);
	}
}

static void what_is_not_well_formed_is_passed_over(void **state)
{
	static const struct {
		const char *name;
		const char *field;
	} rows[] = {
		{"a", ""},
		{"a", "00000000000000aa"},
		{"a", "00000000000000aa 1 up sources 0.1.0"},
		{"a", "00000000000000a 1 up sources 0.1.0 -"},
		{"a", "00000000000000aA 1 up sources 0.1.0 -"},
		{"a", "00000000000000aa x up sources 0.1.0 -"},
		{"a", "00000000000000aa 18446744073709551616 up sources 0.1.0 -"},
		{"", FIELD(A_RUN, "1", "up")},
		{"a b", FIELD(A_RUN, "1", "up")},
		{"a/b", FIELD(A_RUN, "1", "up")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct nodes n = {0};

		take(&n, 1000, rows[i].name, rows[i].field, "b", FIELD(B_RUN, "1", "up"));
		if (n.count != 1 || !is_alive(&n, "b"))
			fail_msg("row %zu", i);
		nodes_fini(&n);
	}
}

static void a_later_version_may_say_more(void **state)
{
	struct nodes n = {0};

	(void)state;
	take(&n, 1, "a", FIELD(A_RUN, "1", "up") " and=more", NULL, NULL);
	assert_true(is_alive(&n, "a"));
	assert_string_equal(nodes_find(&n, VIEW("a"))->advertise, "");
	nodes_fini(&n);
}

static void figures_are_told_with_the_beat(void **state)
{
	struct node_words w = {.start = 1, .beat = 2, .roles = NODE_SOURCES, .version = "0.1.0"};
	uint64_t figures[NODE_FIGURES];
	struct nodes n = {0};
	struct buf b = {0};

	(void)state;
	for (unsigned i = 0; i < NODE_FIGURES; i++)
		figures[i] = i == NODE_RECEIVED ? NODE_UNTOLD : UINT64_MAX >> 12;
	w.figures = figures;
	node_say(&b, &w);
	assert_true(buf_length(&b) < 600); /* of each node, once a second */
	buf_append(&b, "", 1);
	take(&n, 1, "a", (const char *)buf_bytes(&b), NULL, NULL);
	assert_memory_equal(nodes_find(&n, VIEW("a"))->figures, figures, sizeof(figures));
	nodes_fini(&n);
	buf_fini(&b);
}

static void a_figure_that_is_none_is_not_known(void **state)
{
	static const char *const words[] = {
		"", " on", " on=", " on=x", " on=-1", " on=1x", " on=4503599627370496", " =5"};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct nodes n = {0};
		struct buf b = {0};
		const struct node *node;

		buf_printf(&b, "%s%s all=7", FIELD(A_RUN, "1", "up"), words[i]);
		buf_append(&b, "", 1);
		take(&n, 1, "a", (const char *)buf_bytes(&b), NULL, NULL);
		node = nodes_find(&n, VIEW("a"));
		if (node->figures[NODE_CLIENTS] != NODE_UNTOLD || node->figures[NODE_SESSIONS] != 7)
			fail_msg("row %zu", i);
		nodes_fini(&n);
		buf_fini(&b);
	}
}

static void who_says_that_he_leaves_is_gone_at_once(void **state)
{
	static const struct {
		uint64_t at;
		const char *b;
		bool changed;
		enum node_state want;
	} rows[] = {
		{1000, FIELD(B_RUN, "1", "up"), true, NODE_ALIVE},
		{2000, FIELD(B_RUN, "2", "draining"), true, NODE_DRAINING},
		{2200, FIELD(B_RUN, "3", "left"), true, NODE_LEFT},
		{3000, FIELD(B_RUN, "3", "left"), false, NODE_LEFT},
		{5000, FIELD(B_RUN, "3", "left"), false, NODE_LEFT},
		{7000, FIELD(B_RUN, "3", "left"), false, NODE_LEFT},
		{7500, FIELD("00000000000000bc", "1", "up"), true, NODE_ALIVE},
		{9000, FIELD("00000000000000bc", "1", "up"), false, NODE_ALIVE},
		{10500, FIELD("00000000000000bc", "1", "up"), true, NODE_DEAD},
	};
	struct nodes n = {0};
	char beat[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool changed;

		snprintf(beat, sizeof(beat), A_RUN " %zu up - 0.1.0 -", i);
		changed = take(&n, rows[i].at, "a", beat, "b", rows[i].b);
		if (changed != rows[i].changed ||
			node_state(nodes_find(&n, VIEW("b"))) != rows[i].want)
			fail_msg("row %zu: %s", i,
				node_state_text(node_state(nodes_find(&n, VIEW("b")))));
	}
	nodes_fini(&n);
}

static void sums_count_each_living_node_once(void **state)
{
	struct nodes n = {0};
	struct nodes_sum sum;

	(void)state;
	nodes_sum(&n, &sum);
	assert_true(sum.figures[NODE_CLIENTS] == NODE_UNTOLD && sum.states[NODE_ALIVE] == 0);
	take(&n, 1000, "a", FIELD(A_RUN, "1", "up") " on=3 lagms=20 up=5 in=1500", "b",
		FIELD(B_RUN, "1", "draining") " on=4 lagms=70");
	nodes_sum(&n, &sum);
	assert_int_equal(sum.states[NODE_ALIVE], 1);
	assert_int_equal(sum.states[NODE_DRAINING], 1);
	assert_int_equal(sum.figures[NODE_CLIENTS], 7);
	assert_int_equal(sum.figures[NODE_LAG_TIME], 70); /* the most of any */
	assert_int_equal(sum.figures[NODE_RECEIVED], 1500);
	assert_true(sum.figures[NODE_UPTIME] == NODE_UNTOLD);
	take(&n, 3000, "a", FIELD(A_RUN, "2", "up") " on=3 lagms=20", "b",
		FIELD(B_RUN, "1", "draining") " on=4 lagms=70");
	take(&n, 4000, "a", FIELD(A_RUN, "3", "up") " on=3 lagms=20", "b",
		FIELD(B_RUN, "1", "draining") " on=4 lagms=70");
	nodes_sum(&n, &sum);
	assert_int_equal(sum.states[NODE_DEAD], 1);
	assert_int_equal(sum.figures[NODE_CLIENTS], 3);
	assert_int_equal(sum.figures[NODE_LAG_TIME], 20);
	nodes_fini(&n);
}

static void who_is_silent_for_three_seconds_is_dead_until_he_speaks(void **state)
{
	static const struct {
		uint64_t at;
		const char *a; /* its beat */
		const char *b;
		bool changed;
		bool b_lives;
	} rows[] = {
		{10000, FIELD(A_RUN, "1", "up"), FIELD(B_RUN, "1", "up"), true, true},
		{11000, FIELD(A_RUN, "2", "up"), FIELD(B_RUN, "2", "up"), false, true},
		{12000, FIELD(A_RUN, "3", "up"), FIELD(B_RUN, "2", "up"), false, true},
		{13999, FIELD(A_RUN, "5", "up"), FIELD(B_RUN, "2", "up"), false, true},
		{14000, FIELD(A_RUN, "5", "up"), FIELD(B_RUN, "2", "up"), true, false},
		{15000, FIELD(A_RUN, "6", "up"), FIELD(B_RUN, "2", "up"), false, false},
		{16000, FIELD(A_RUN, "7", "up"), FIELD(B_RUN, "3", "up"), true, true},
		{17000, FIELD(A_RUN, "8", "up"), FIELD(B_RUN, "4", "draining"), true, true},
		{18000, FIELD(A_RUN, "9", "up"), FIELD("00000000000000bc", "1", "draining"), true,
			true},
		{19000, FIELD(A_RUN, "10", "up"), NULL, true, false},
		{20000, FIELD(A_RUN, "11", "up"), NULL, false, false},
	};
	struct nodes n = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool changed =
			take(&n, rows[i].at, "a", rows[i].a, rows[i].b ? "b" : NULL, rows[i].b);

		if (changed != rows[i].changed || is_alive(&n, "b") != rows[i].b_lives ||
			!is_alive(&n, "a"))
			fail_msg("row %zu", i);
		if (changed)
			assert_int_equal(n.settled_ms, rows[i].at);
	}
	nodes_fini(&n);
}

static void nobody_is_judged_by_the_time_in_which_nothing_was_read(void **state)
{
	struct nodes n = {0};

	(void)state;
	take(&n, 1000, "a", FIELD(A_RUN, "1", "up"), "b", FIELD(B_RUN, "1", "up"));
	assert_false(take(&n, 61000, "a", FIELD(A_RUN, "1", "up"), "b", FIELD(B_RUN, "1", "up")));
	assert_true(is_alive(&n, "a") && is_alive(&n, "b"));
	assert_false(take(&n, 62000, "a", FIELD(A_RUN, "2", "up"), "b", FIELD(B_RUN, "1", "up")));
	assert_false(take(&n, 63999, "a", FIELD(A_RUN, "3", "up"), "b", FIELD(B_RUN, "1", "up")));
	assert_true(take(&n, 64000, "a", FIELD(A_RUN, "3", "up"), "b", FIELD(B_RUN, "1", "up")));
	assert_true(is_alive(&n, "a"));
	assert_false(is_alive(&n, "b"));
	nodes_fini(&n);
}

static void a_run_is_found_while_it_lives(void **state)
{
	struct nodes n = {0};
	struct buf run = {0};

	(void)state;
	take(&n, 1000, "a", FIELD(A_RUN, "1", "up"), "b", FIELD(B_RUN, "1", "draining"));
	node_run(&run, "a", 0xaa);
	assert_ptr_equal(nodes_by_run(&n, buf_view(&run)), nodes_find(&n, VIEW("a")));
	assert_null(nodes_by_run(&n, VIEW("a/00000000000000ab")));
	assert_null(nodes_by_run(&n, VIEW("a")));
	assert_null(nodes_by_run(&n, VIEW("a/")));
	assert_null(nodes_by_run(&n, VIEW("c/00000000000000aa")));
	assert_true(nodes_may_have_run(&n, buf_view(&run)));
	assert_true(nodes_may_have_run(&n, VIEW("a/00000000000000ab")));  /* begun again */
	assert_true(nodes_may_have_run(&n, VIEW("c/00000000000000aa")));  /* joined */
	assert_false(nodes_may_have_run(&n, VIEW("a/00000000000000a9"))); /* an earlier run */
	assert_false(nodes_may_have_run(&n, VIEW("a")));
	assert_true(node_serves(nodes_find(&n, VIEW("a")), NODE_SUBSCRIBERS));
	assert_false(node_serves(nodes_find(&n, VIEW("b")), NODE_SUBSCRIBERS));
	take(&n, 3999, "a", FIELD(A_RUN, "1", "up"), "b", FIELD(B_RUN, "2", "up"));
	take(&n, 4000, "a", FIELD(A_RUN, "1", "up"), "b", FIELD(B_RUN, "3", "up"));
	assert_null(nodes_by_run(&n, buf_view(&run)));
	assert_false(nodes_may_have_run(&n, buf_view(&run)));
	nodes_fini(&n);
	buf_fini(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_heard),
		cmocka_unit_test(what_is_not_well_formed_is_passed_over),
		cmocka_unit_test(a_later_version_may_say_more),
		cmocka_unit_test(figures_are_told_with_the_beat),
		cmocka_unit_test(a_figure_that_is_none_is_not_known),
		cmocka_unit_test(who_says_that_he_leaves_is_gone_at_once),
		cmocka_unit_test(sums_count_each_living_node_once),
		cmocka_unit_test(who_is_silent_for_three_seconds_is_dead_until_he_speaks),
		cmocka_unit_test(nobody_is_judged_by_the_time_in_which_nothing_was_read),
		cmocka_unit_test(a_run_is_found_while_it_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
