/* Filters by table, and covering against brute force: every filter and topic of
 * up to three levels over a small alphabet. */
#include "mqtt/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/error.h"

struct validity {
	struct view text;
	bool is_topic;
	bool is_filter;
};

/* [MQTT-4.7.0-1], [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT3-4.7.1-1],
 * [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT3-4.7.3-1], [MQTT3-4.7.3-2] */
static const struct validity validities[] = {
	{{"a", 1}, true, true},
	{{"/", 1}, true, true},
	{{"a//b", 4}, true, true},
	{{"$SYS/a", 6}, true, true},
	{{" ", 1}, true, true},
	{{"", 0}, false, false},
	{{"+", 1}, false, true},
	{{"#", 1}, false, true},
	{{"/#", 2}, false, true},
	{{"a/+/b", 5}, false, true},
	{{"+/+/#", 5}, false, true},
	{{"a#", 2}, false, false},
	{{"#/a", 3}, false, false},
	{{"a/#/", 4}, false, false},
	{{"a+", 2}, false, false},
	{{"+a/b", 4}, false, false},
	{{"++", 2}, false, false},
	{{"a\0b", 3}, false, false},
	{{"\xc0\x80", 2}, false, false},
	{{"\xed\xa0\x80", 3}, false, false},
	{{"caf\xc3\xa9/\xf0\x9f\x8c\x8d", 10}, true, true},
	{{"\xef\xbb\xbf", 3}, true, true}, /* [MQTT-1.5.4-3]: U+FEFF is a character */
	{{"12345678", 8}, true, true},
	{{"1234567+", 8}, false, false},
	{{"12345678\xff", 9}, false, false},
	{{"1234567/+", 9}, false, true},
	{{"$share", 6}, true, true},
	{{"$share/g/a", 10}, true, false},
};

static void names_and_filters_are_told_from_other_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(validities) / sizeof(*validities); i++) {
		const struct validity *row = &validities[i];

		if (topic_is_valid(row->text) != row->is_topic)
			fail_msg("topic %.*s", VIEW_ARG(row->text));
		if (filter_is_valid(row->text) != row->is_filter)
			fail_msg("filter %.*s", VIEW_ARG(row->text));
	}
}

/* [MQTT-4.7.3-3], [MQTT3-4.7.3-3] */
static void names_and_filters_have_65535_bytes_at_most(void **state)
{
	char *text = malloc(65536);

	(void)state;
	memset(text, 'a', 65536);
	assert_true(topic_is_valid((struct view){text, 65535}));
	assert_true(filter_is_valid((struct view){text, 65535}));
	assert_false(topic_is_valid((struct view){text, 65536}));
	assert_false(filter_is_valid((struct view){text, 65536}));
	free(text);
}

static void a_wildcard_is_found_wherever_it_stands(void **state)
{
	static const char marks[] = {'+', '#', '\0', '\x80'};
	char text[40];

	(void)state;
	for (size_t n = 1; n <= sizeof(text); n++) {
		for (size_t at = 0; at < n; at++) {
			memset(text, 'x', n);
			assert_true(topic_is_valid((struct view){text, n}));
			for (size_t mark = 0; mark < sizeof(marks); mark++) {
				text[at] = marks[mark];
				assert_false(topic_is_valid((struct view){text, n}));
			}
		}
	}
}

struct share {
	const char *whole;
	int want;
	const char *group;
	const char *filter;
};

static const struct share shares[] = {
	{"$share/g/a/#", 1, "g", "a/#"},
	{"$share/g//", 1, "g", "/"},
	{"$share/two words/+", 1, "two words", "+"},
	{"a/b", 0, "", ""},
	{"$share", 0, "", ""},
	{"$shared/g/a", 0, "", ""},
	{"$share/", ERR_FILTER, "", ""},
	{"$share/g", ERR_FILTER, "", ""},
	{"$share/g/", ERR_FILTER, "", ""},
	{"$share//a", ERR_FILTER, "", ""},
	{"$share/+/a", ERR_FILTER, "", ""},
	{"$share/g#/a", ERR_FILTER, "", ""},
	{"$share/g/#/a", ERR_FILTER, "", ""},
	{"$share/g/$share/h/a", ERR_FILTER, "", ""},
};

/* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
static void a_shared_filter_is_cut_into_group_and_filter(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		struct view group = VIEW("");
		struct view filter = VIEW("");
		int got = filter_cut_share(view_of(shares[i].whole), &group, &filter);

		if (got != shares[i].want || !view_equal(group, view_of(shares[i].group)) ||
			!view_equal(filter, view_of(shares[i].filter)))
			fail_msg("%s: %d", shares[i].whole, got);
	}
}

struct pair {
	const char *a;
	const char *b;
	bool want;
};

/* [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.2-1], [MQTT3-4.7.1-2], [MQTT3-4.7.1-3], [MQTT3-4.7.2-1] */
static const struct pair matches[] = {
	{"a/b", "a/b", true},
	{"a/b", "a/B", false},
	{"a/b", "a/bc", false},
	{"a/b", "a", false},
	{"a", "/a", false},
	{"sport/tennis/player1/#", "sport/tennis/player1", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
	{"sport/tennis/player1/#", "sport/tennis/player12", false},
	{"sport/#", "sport", true},
	{"sport/tennis/+", "sport/tennis/player1", true},
	{"sport/tennis/+", "sport/tennis/player1/ranking", false},
	{"sport/+", "sport", false},
	{"sport/+", "sport/", true},
	{"+/+", "/finance", true},
	{"/+", "/finance", true},
	{"+", "/finance", false},
	{"#", "a/b/c", true},
	{"#", "/", true},
	{"/#", "/", true},
	{"/#", "a", false},
	{"+/#", "a", true},
	{"+/a/#", "/a", true},
	{"a/+/#", "a", false},
	{"a/+/#", "a/", true},
	{"#", "$SYS/a", false},
	{"+/a", "$SYS/a", false},
	{"+/#", "$SYS", false},
	{"$SYS/#", "$SYS/a", true},
	{"$SYS/#", "$SYS", true},
	{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
	{"a/+", "a/$b", true},
};

static const struct pair covers[] = {
	{"a/#", "a", true},
	{"a/#", "a/+/b", true},
	{"a/#", "a/#", true},
	{"a/+", "a/b", true},
	{"a/+", "a/#", false},
	{"a/b", "a/+", false},
	{"#", "+/#", true},
	{"+/#", "#", true},
	{"#", "$SYS/#", false},
	{"a/+/#", "a/#", false},
	{"a/#", "a/+/#", true},
	{"origin/a/wis2/#", "origin/a/wis2/+/data/core/weather/#", true},
	{"origin/a/wis2/#", "origin/#", false},
	{"origin/a/wis2/#", "origin/a/+/x", false},
};

static void check_pairs(const char *name, const struct pair *pairs, size_t n,
	bool (*holds)(struct view a, struct view b))
{
	for (size_t i = 0; i < n; i++) {
		if (holds(view_of(pairs[i].a), view_of(pairs[i].b)) != pairs[i].want)
			fail_msg("%s(%s, %s) is not %d", name, pairs[i].a, pairs[i].b,
				pairs[i].want);
	}
}

static void filters_relate_as_the_tables_say(void **state)
{
	(void)state;
	check_pairs("match", matches, sizeof(matches) / sizeof(*matches), filter_match);
	check_pairs("covers", covers, sizeof(covers) / sizeof(*covers), filter_covers);
}

#define TEXT_BYTES 16

struct text {
	char chars[TEXT_BYTES];
};

struct texts {
	struct text *at;
	size_t n;
};

/* All texts of 1 to `depth` levels, each out of `levels`. */
static void make_texts(struct texts *out, const char *const *levels, size_t count, unsigned depth)
{
	size_t from = 0;

	out->at = calloc(4096, sizeof(*out->at));
	out->n = 0;
	for (size_t i = 0; i < count; i++)
		strcpy(out->at[out->n++].chars, levels[i]);
	for (unsigned d = 1; d < depth; d++) {
		size_t end = out->n;

		for (size_t i = 0; i < (end - from) * count; i++) {
			struct text text = out->at[from + i / count];

			strcat(strcat(text.chars, "/"), levels[i % count]);
			out->at[out->n++] = text;
		}
		from = end;
	}
}

static void keep(struct texts *texts, bool (*is_valid)(struct view text))
{
	size_t kept = 0;

	for (size_t i = 0; i < texts->n; i++) {
		if (is_valid(view_of(texts->at[i].chars)))
			texts->at[kept++] = texts->at[i];
	}
	texts->n = kept;
}

/* "b" and one level more than the filters have stand for all the texts that no filter names. */
static void covering_agrees_with_brute_force(void **state)
{
	static const char *const filter_levels[] = {"a", "", "$", "+", "#"};
	static const char *const topic_levels[] = {"a", "", "$", "b"};
	struct texts filters;
	struct texts topics;

	(void)state;
	make_texts(&filters, filter_levels, 5, 3);
	make_texts(&topics, topic_levels, 4, 4);
	keep(&filters, filter_is_valid);
	keep(&topics, topic_is_valid);
	assert_int_equal(filters.n, 105 - 1);
	for (size_t i = 0; i < filters.n * filters.n; i++) {
		struct view a = view_of(filters.at[i / filters.n].chars);
		struct view b = view_of(filters.at[i % filters.n].chars);
		bool is_covered = true;

		for (size_t t = 0; t < topics.n; t++) {
			bool in_a = filter_match(a, view_of(topics.at[t].chars));
			bool in_b = filter_match(b, view_of(topics.at[t].chars));

			is_covered = is_covered && (in_a || !in_b);
		}
		if (filter_covers(a, b) != is_covered)
			fail_msg("covers(%s, %s) is not %d", a.p, b.p, is_covered);
	}
	free(filters.at);
	free(topics.at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_filters_are_told_from_other_text),
		cmocka_unit_test(names_and_filters_have_65535_bytes_at_most),
		cmocka_unit_test(a_wildcard_is_found_wherever_it_stands),
		cmocka_unit_test(a_shared_filter_is_cut_into_group_and_filter),
		cmocka_unit_test(filters_relate_as_the_tables_say),
		cmocka_unit_test(covering_agrees_with_brute_force),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
