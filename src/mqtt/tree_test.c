/* The tree must say what filter_match() says of each filter alone. */
#include "mqtt/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "mqtt/filter.h"

#define FILTERS 400
#define TEXT_BYTES 32

/* A value of the tree is an entry; a match counts it. */
struct entry {
	char filter[TEXT_BYTES];
	int given;
	bool is_in;
};

/* A fixed sequence (xorshift), so that a failure comes again. */
static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void make_text(
	char out[TEXT_BYTES], uint32_t *seed, const char *const *levels, uint32_t count)
{
	do {
		unsigned depth = 1 + next_random(seed) % 5;

		out[0] = 0;
		for (unsigned i = 0; i < depth; i++) {
			strcat(out, i ? "/" : "");
			strcat(out, levels[next_random(seed) % count]);
		}
	} while (!filter_is_valid(view_of(out)));
}

static void count_entry(void *context, void *value)
{
	struct entry *entry = value;

	entry->given++;
	++*(size_t *)context;
}

static void expect_what_single_filters_match(
	const struct filter_tree *t, struct entry *entries, uint32_t *seed)
{
	static const char *const levels[] = {"a", "b", "", "$", "$SYS", "c"};
	char topic[TEXT_BYTES];
	size_t given = 0;

	make_text(topic, seed, levels, 6);
	filter_tree_match(t, view_of(topic), count_entry, &given);
	for (size_t i = 0; i < FILTERS; i++) {
		struct entry *entry = &entries[i];
		bool want = entry->is_in && filter_match(view_of(entry->filter), view_of(topic));

		if (entry->given != want)
			fail_msg("%s, %s: given %d times", entry->filter, topic, entry->given);
		entry->given = 0;
	}
}

/* [MQTT-4.7.2-1], [MQTT3-4.7.2-1] */
static void a_match_agrees_with_each_filter_while_they_come_and_go(void **state)
{
	static const char *const levels[] = {"a", "b", "", "$", "$SYS", "+", "+", "#"};
	struct entry *entries = calloc(FILTERS, sizeof(*entries));
	struct filter_tree *t = filter_tree_new();
	uint32_t seed = 20261122;
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < FILTERS; i++)
		make_text(entries[i].filter, &seed, levels, 8);
	for (int round = 0; round < 20000; round++) {
		struct entry *entry = &entries[next_random(&seed) % FILTERS];

		if (entry->is_in)
			assert_true(filter_tree_remove(t, view_of(entry->filter), entry));
		else
			filter_tree_add(t, view_of(entry->filter), entry);
		entry->is_in = !entry->is_in;
		count += entry->is_in ? 1 : (size_t)-1;
		assert_int_equal(filter_tree_count(t), count);
		if (round % 4 == 0)
			expect_what_single_filters_match(t, entries, &seed);
	}
	filter_tree_free(t);
	free(entries);
}

static void a_pair_is_kept_once(void **state)
{
	struct filter_tree *t = filter_tree_new();
	struct entry one = {.given = 0};
	struct entry two = {.given = 0};
	size_t given = 0;

	(void)state;
	filter_tree_add(t, VIEW("a/#"), &one);
	filter_tree_add(t, VIEW("a/#"), &one);
	filter_tree_add(t, VIEW("a/#"), &two);
	filter_tree_add(t, VIEW("a/+"), &one);
	assert_int_equal(filter_tree_count(t), 3);
	filter_tree_match(t, VIEW("a/b"), count_entry, &given);
	assert_int_equal(given, 3);
	assert_int_equal(one.given, 2); /* once per filter */
	assert_true(filter_tree_remove(t, VIEW("a/#"), &one));
	assert_false(filter_tree_remove(t, VIEW("a/#"), &one));
	assert_false(filter_tree_remove(t, VIEW("a"), &one));
	assert_false(filter_tree_remove(t, VIEW("a/#/b"), &one));
	assert_int_equal(filter_tree_count(t), 2);
	filter_tree_free(t);
	filter_tree_free(NULL);
}

static void as_many_levels_as_fit_a_topic_are_no_danger(void **state)
{
	static struct entry literal;
	static struct entry pluses;
	struct filter_tree *t = filter_tree_new();
	char *topic = malloc(65535);
	char *filter = malloc(65535);
	size_t given = 0;

	(void)state;
	for (size_t i = 0; i < 65535; i++) {
		topic[i] = i % 2 ? '/' : 'a';
		filter[i] = i % 2 ? '/' : '+';
	}
	filter_tree_add(t, (struct view){topic, 65535}, &literal);
	filter_tree_add(t, (struct view){filter, 65535}, &pluses);
	filter_tree_match(t, (struct view){topic, 65535}, count_entry, &given);
	assert_int_equal(given, 2);
	filter_tree_match(t, (struct view){topic, 65533}, count_entry, &given);
	assert_int_equal(given, 2);
	filter_tree_free(t);
	free(topic);
	free(filter);
}

static void many_values_and_filters_are_found_and_freed(void **state)
{
	enum { MANY = 20000 };
	struct filter_tree *t = filter_tree_new();
	struct entry *entries = calloc(MANY, sizeof(*entries));
	size_t given = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(entries[i].filter, TEXT_BYTES, "c/%d/+/d", i);
		filter_tree_add(t, view_of(entries[i].filter), &entries[i]);
		filter_tree_add(t, VIEW("c/#"), &entries[i]);
	}
	filter_tree_match(t, VIEW("c/777/x/d"), count_entry, &given);
	assert_int_equal(given, MANY + 1);
	assert_int_equal(entries[777].given, 2);
	for (int i = 0; i < MANY; i++)
		assert_true(filter_tree_remove(t, VIEW("c/#"), &entries[i]));
	given = 0;
	filter_tree_match(t, VIEW("c/777/x/d"), count_entry, &given);
	assert_int_equal(given, 1);
	filter_tree_free(t);
	free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_match_agrees_with_each_filter_while_they_come_and_go),
		cmocka_unit_test(a_pair_is_kept_once),
		cmocka_unit_test(as_many_levels_as_fit_a_topic_are_no_danger),
		cmocka_unit_test(many_values_and_filters_are_found_and_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
