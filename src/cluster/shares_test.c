/* Who is to deal a shard, by what Redis and the nodes say. */
#include "cluster/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static const char me[] = "a/0000000000000001";
static const char b[] = "b/0000000000000002";

/* a, b and c with the starts 1, 2 and 3. */
static void nodes_init(struct nodes *n, const char *dead, const char *draining)
{
	*n = (struct nodes){.list = mem_new(3 * sizeof(*n->list)), .count = 3};
	for (uint32_t i = 0; i < 3; i++) {
		char name[2] = {(char)('a' + i), '\0'};

		n->list[i] = (struct node){.name = mem_text(name),
			.start = i + 1,
			.alive = strchr(dead, name[0]) == NULL,
			.draining = strchr(draining, name[0]) != NULL};
	}
}

/* Words between spaces; '_' is a space within one. */
static void table_at(struct share_table *t, const char *words, uint64_t now_ms)
{
	char *text = mem_text(words);
	struct resp items[16];
	struct resp reply = {.type = RESP_ARRAY, .items = items};
	char *rest = NULL;

	for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		for (char *p = word; *p; p++) {
			if (*p == '_')
				*p = ' ';
		}
		items[reply.count++] = (struct resp){.type = RESP_STRING, .text = view_of(word)};
	}
	share_table_take(t, &reply, now_ms);
	free(text);
}

static void table_of(struct share_table *t, const char *words)
{
	table_at(t, words, 0);
}

struct decision {
	const char *name;
	const char *table;
	const char *dead;
	const char *draining;
	enum share_step step;
	const char *to; /* NULL: does not matter */
};

/* By a, in a group or for a target. */
static void decide_all(const struct decision *rows, size_t n, bool whole)
{
	for (size_t i = 0; i < n; i++) {
		struct share_table t = {0};
		struct nodes nodes;
		const char *to;

		print_message("%s\n", rows[i].name);
		nodes_init(&nodes, rows[i].dead, rows[i].draining);
		table_of(&t, rows[i].table);
		for (uint32_t k = 0; k < t.member_count; k++) { /* starts are written short here */
			struct view rest = view_of(t.members[k].run);
			char name = t.members[k].run[0];

			view_cut(&rest, '/');
			snprintf(t.members[k].run, sizeof(t.members[k].run), "%c/%016lx", name,
				strtoul(rest.p, NULL, 16));
		}
		assert_int_equal(
			share_decide(&t, &nodes, VIEW("group"), whole, 0, me, &to), rows[i].step);
		if (rows[i].to)
			assert_string_equal(to, rows[i].to);
		share_table_fini(&t);
		nodes_fini(&nodes);
	}
}

static void a_shard_goes_where_members_are(void **state)
{
	static const struct decision rows[] = {
		{"nobody has it", "a 1_seated", "", "", SHARE_CLAIM, me},
		{"nobody has it, another is to", "b 2_seated", "", "", SHARE_CLAIM, b},
		{"nobody is connected", "a 1_held", "", "", SHARE_CLAIM, me},
		{"mine", "a 1_seated #0 a/0000000000000001_5", "", "", SHARE_STAY, NULL},
		{"mine, and only b is connected", "a 1_held b 2_seated #0 a/0000000000000001_5", "",
			"", SHARE_HAND_OVER, b},
		{"mine, and b is dead", "a 1_held b 2_seated #0 a/0000000000000001_5", "b", "",
			SHARE_STAY, NULL},
		{"mine, and I am about to leave", "a 1_seated b 2_seated #0 a/0000000000000001_5",
			"", "a", SHARE_HAND_OVER, b},
		{"mine, and nobody is connected", "a 1_held #0 a/0000000000000001_5", "", "",
			SHARE_STAY, NULL},
		{"of one that has to hand it over", "a 1_seated b 2_held #0 b/0000000000000002_5",
			"", "", SHARE_AWAIT, me},
		{"of a dead one", "a 1_seated b 2_seated #0 b/0000000000000002_5", "b", "",
			SHARE_TAKE, me},
		{"of a run before", "a 1_seated b 2_held #0 b/0000000000000001_5", "", "",
			SHARE_TAKE, me},
		{"of one without sessions", "a 1_seated #0 b/0000000000000002_5", "", "",
			SHARE_TAKE, me},
		{"of a dead one, and nobody is connected", "a 1_held #0 b/0000000000000002_5", "b",
			"", SHARE_STAY, NULL},
		{"of a dead one, and only c is connected",
			"a 1_held c 3_seated #0 b/0000000000000002_5", "b", "", SHARE_STAY, NULL},
		{"for a group nobody is short", "a 1_short #0 b/0000000000000002_5", "b", "",
			SHARE_STAY, NULL},
		{"what is malformed does not count",
			"a 1_seated b x_seated ../x 1_seated #0 b #16 a/1_5", "", "", SHARE_CLAIM,
			me},
	};

	(void)state;
	decide_all(rows, sizeof(rows) / sizeof(rows[0]), false);
}

/* By a, when d has a shard from 10 s on, and the nodes have been read at this time. */
static void expect_of_unknown(const char *owner, uint64_t read_ms, enum share_step want)
{
	struct share_table t = {0};
	struct nodes nodes;
	const char *to;
	char words[128];

	nodes_init(&nodes, "", "");
	nodes.taken_ms = read_ms;
	snprintf(words, sizeof(words),
		"a 0000000000000001_seated b 0000000000000009_held d 0000000000000004_held #0 %s_5",
		owner);
	table_at(&t, "a 0000000000000001_seated #0 c/0000000000000003_5", 5000);
	table_at(&t, words, 10000);
	table_at(&t, words, 12000); /* read again: as it was */
	assert_int_equal(share_decide(&t, &nodes, VIEW("group"), false, 0, me, &to), want);
	share_table_fini(&t);
	nodes_fini(&nodes);
}

static void who_is_not_known_yet_has_time_to_become_so(void **state)
{
	(void)state;
	expect_of_unknown("d/0000000000000004", 10000 + NODE_SILENT_MS - 1, SHARE_AWAIT);
	expect_of_unknown("d/0000000000000004", 10000 + NODE_SILENT_MS, SHARE_TAKE);
	/* b is known with the start 2: an earlier run has died, a later one has come. */
	expect_of_unknown("b/0000000000000009", 10000 + NODE_SILENT_MS - 1, SHARE_AWAIT);
	expect_of_unknown("b/0000000000000009", 10000 + NODE_SILENT_MS, SHARE_TAKE);
	expect_of_unknown("b/0000000000000001", 10000, SHARE_TAKE);
	/* Without a session of the group nobody hands over, however new. */
	expect_of_unknown("e/0000000000000005", 10000, SHARE_TAKE);
}

static void a_target_goes_where_somebody_is_connected_and_has_it_all(void **state)
{
	static const struct decision rows[] = {
		{"a target of one that has died, and nobody is connected",
			"a 1_held #0 b/0000000000000002_5", "b", "", SHARE_TAKE, me},
		{"and another one's journal reaches back",
			"a 1_held c 3_away #0 b/0000000000000002_5", "b", "", SHARE_STAY, NULL},
		{"a target of one that lives, and nobody is connected",
			"a 1_away b 2_held #0 b/0000000000000002_5", "", "", SHARE_STAY, NULL},
		{"my journal falls short, and of those connected it is the only one",
			"a 1_short b 2_away #0 b/0000000000000002_5", "", "", SHARE_AWAIT, me},
		{"my journal falls short, and another one's does not",
			"a 1_short b 2_held c 3_seated #0 b/0000000000000002_5", "", "", SHARE_STAY,
			NULL},
		{"a target of mine, and b falls short",
			"a 1_seated b 2_short #0 a/0000000000000001_5", "", "", SHARE_STAY, NULL},
	};

	(void)state;
	decide_all(rows, sizeof(rows) / sizeof(rows[0]), true);
}

static void shards_are_spread_over_all_and_all_agree(void **state)
{
	static const char *const runs[] = {
		"a/0000000000000001", "b/0000000000000002", "c/0000000000000003"};
	uint32_t share[3] = {0};
	struct share_table t = {0};
	struct nodes nodes;

	(void)state;
	nodes_init(&nodes, "", "");
	table_of(&t, "a 0000000000000001_seated b 0000000000000002_seated "
		     "c 0000000000000003_seated");
	for (uint32_t k = 0; k < SHARDS; k++) {
		const char *to[3];

		for (uint32_t i = 0; i < 3; i++) {
			assert_int_equal(
				share_decide(&t, &nodes, VIEW("group"), false, k, runs[i], &to[i]),
				SHARE_CLAIM);
			assert_string_equal(to[i], to[0]);
		}
		share[to[0][0] - 'a']++;
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_true(share[i] >= 2);
	share_table_fini(&t);
	nodes_fini(&nodes);
}

static void only_who_has_offline_sessions_alone_rests(void **state)
{
	static const struct {
		const char *run;
		bool is_resting;
	} rows[] = {
		{"a/0000000000000001", false},
		{"b/0000000000000002", true},
		{"b/0000000000000003", false},
		{"c/0000000000000003", false},
	};
	struct share_table t = {0};

	(void)state;
	table_of(&t, "a 0000000000000001_seated b 0000000000000002_held #0 c/0000000000000003_1");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(share_is_resting(&t, rows[i].run), rows[i].is_resting);
	share_table_fini(&t);
}

static void all_shards_of_a_target_go_to_one_and_targets_are_spread(void **state)
{
	uint32_t share[3] = {0};
	struct share_table t = {0};
	struct nodes nodes;

	(void)state;
	nodes_init(&nodes, "", "");
	table_of(&t, "a 0000000000000001_seated b 0000000000000002_seated "
		     "c 0000000000000003_seated");
	for (uint32_t i = 0; i < 30; i++) {
		char name[16];
		const char *first, *to;

		snprintf(name, sizeof(name), "target-%u", i);
		share_decide(&t, &nodes, view_of(name), true, 0, me, &first);
		for (uint32_t k = 1; k < SHARDS; k++) {
			share_decide(&t, &nodes, view_of(name), true, k, me, &to);
			assert_string_equal(to, first);
		}
		share[first[0] - 'a']++;
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_true(share[i] >= 4);
	share_table_fini(&t);
	nodes_fini(&nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shard_goes_where_members_are),
		cmocka_unit_test(who_is_not_known_yet_has_time_to_become_so),
		cmocka_unit_test(a_target_goes_where_somebody_is_connected_and_has_it_all),
		cmocka_unit_test(shards_are_spread_over_all_and_all_agree),
		cmocka_unit_test(only_who_has_offline_sessions_alone_rests),
		cmocka_unit_test(all_shards_of_a_target_go_to_one_and_targets_are_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
