#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "wis2/topic.h"

#define SYNOP "data/core/weather/surface-based-observations/synop"

struct row {
	const char *topic;
	const char *rule; /* "" for valid */
	unsigned level;
	const char *nearest; /* NULL for none */
};

static void check_rows(const struct row *rows, size_t n, const struct topic_options *options)
{
	struct topic_parts parts;
	struct findings found;

	for (size_t i = 0; i < n; i++) {
		enum rule rule = topic_judge(
			hierarchy_built_in(), view_of(rows[i].topic), options, &parts, &found);
		struct view nearest = found.count ? found.at[0].nearest : (struct view){NULL, 0};
		unsigned level = found.count ? found.at[0].level : 0;

		if (strcmp(rule_id(rule), rows[i].rule) != 0 || level != rows[i].level ||
			!view_equal(nearest, view_of(rows[i].nearest)))
			fail_msg("%s: got %s level %u nearest %.*s", rows[i].topic, rule_id(rule),
				level, VIEW_ARG(nearest));
	}
}

#define CHECK(rows, ...) \
	check_rows(rows, sizeof(rows) / sizeof(rows[0]), &(struct topic_options){__VA_ARGS__})

static void a_finding_names_level_and_nearest(void **state)
{
	static const struct row rows[] = {
		{"orgin/a/wis2/de-dwd/metadata", "WTH-04", 1, "origin"},
		{"origin/b/wis2/de-dwd/metadata", "WTH-05", 2, "a"},
		{"origin/a/wis/de-dwd/metadata", "WTH-06", 3, "wis2"},
		{"origin/a/wis2/de-dwdd/metadata", "WTH-07", 4, "de-dwd"},
		{"origin/a/wis2/zz-nowhere-at-all/metadata", "WTH-07", 4, NULL},
		{"origin/a/wis2/de-dwd/meta-data", "WTH-08", 5, "metadata"},
		{"origin/a/wis2/de-dwd/metadata/x", "WTH-09", 6, NULL},
		{"origin/a/wis2/de-dwd/data/cores/weather/aviation", "WTH-10", 6, "core"},
		{"origin/a/wis2/de-dwd/data/core/oceans/x", "WTH-11", 7, "ocean"},
		{"origin/a/wis2/de-dwd/data/core/ocean", "WTH-12", 8, NULL},
		{"origin/a/wis2", "WTH-12", 4, NULL},
		{"origin/a/wis2/de-dwd/" SYNOP "s", "WTH-13", 9, "synop"},
		{"origin/a/wis2/de-dwd/" SYNOP "/x", "WTH-16", 10, NULL},
		{"origin/a/wis2/de-dwd/data/core/weather/aviation/experimental", "WTH-14", 9, NULL},
		{"monitor/a/wis2/de-dwd/x", "WTH-20", 5, NULL},
		{"monitor/a/wis2", "WTH-20", 4, NULL},
		{"origin/a//de-dwd/metadata", "WTH-02", 3, NULL},
		{"origin/a/wis2/de-dwd/metadata/", "WTH-02", 6, NULL},
		{"origin/a/wis2/DE-DWD/metadata", "WTH-03", 4, "de-dwd"},
		{"origin/a/wis2/de-dwd/metadata/#", "WTH-01", 6, NULL},
		{"origin/a/wis2/de-dwd/" SYNOP, "", 0, NULL},
	};

	(void)state;
	CHECK(rows, .test_centres = true);
}

static void leaf_only_refuses_what_is_above_a_leaf(void **state)
{
	static const struct row rows[] = {
		{"origin/a/wis2/de-dwd/" SYNOP, "", 0, NULL},
		{"origin/a/wis2/de-dwd/data/core/weather/aviation", "WTH-15", 8, NULL},
		{"origin/a/wis2/de-dwd/data/core/ocean/experimental", "", 0, NULL},
		{"origin/a/wis2/de-dwd/metadata", "", 0, NULL},
	};

	(void)state;
	CHECK(rows, .leaf_only = true);
}

static void metadata_subtopics_are_data_paths_when_allowed(void **state)
{
	static const struct row rows[] = {
		{"origin/a/wis2/de-dwd/metadata", "", 0, NULL},
		{"origin/a/wis2/de-dwd/metadata/core/weather/surface-based-observations/synop", "",
			0, NULL},
		{"origin/a/wis2/de-dwd/metadata/x/weather/surface-based-observations/synop",
			"WTH-10", 6, NULL},
		{"origin/a/wis2/de-dwd/metadata/core/weather", "WTH-12", 8, NULL},
	};

	(void)state;
	CHECK(rows, .metadata_subtopics = true);
}

static void test_centres_are_known_by_their_form_when_allowed(void **state)
{
	static const struct row allowed[] = {
		{"origin/a/wis2/zz-lab-7-test/metadata", "", 0, NULL},
		{"origin/a/wis2/zz-test/metadata", "", 0, NULL},
		{"origin/a/wis2/z-lab-test/metadata", "WTH-07", 4, NULL},
		{"origin/a/wis2/zz--test/metadata", "WTH-07", 4, NULL},
		{"origin/a/wis2/z9-zzzzzzzzzz-test/metadata", "WTH-07", 4, NULL},
		{"origin/a/wis2/zz_zzzzzzz-test/metadata", "WTH-07", 4, NULL},
		{"origin/a/wis2/-test/metadata", "WTH-07", 4, NULL},
	};
	static const struct row refused[] = {
		{"origin/a/wis2/zz-laboratory-7-test/metadata", "WTH-07", 4, NULL},
	};

	(void)state;
	CHECK(allowed, .test_centres = true);
	CHECK(refused, .test_centres = false);
}

static void parts_are_named_even_of_an_invalid_topic(void **state)
{
	struct topic_options options = {0};
	struct topic_parts parts;
	struct findings found;

	(void)state;
	topic_judge(
		hierarchy_built_in(), VIEW("cache/a/wis2/nobody/" SYNOP), &options, &parts, &found);
	assert_int_equal(parts.kind, TOPIC_DATA);
	assert_true(parts.is_cache);
	assert_true(parts.is_leaf);
	assert_true(view_equal(parts.channel, VIEW("cache")));
	assert_true(view_equal(parts.centre, VIEW("nobody")));
	assert_true(view_equal(parts.tail, VIEW(SYNOP)));
}

static void all_broken_rules_are_listed_in_order(void **state)
{
	struct topic_options options = {.all = true};
	struct topic_parts parts;
	struct findings found;

	(void)state;
	assert_int_equal(topic_judge(hierarchy_built_in(), VIEW("Origin//wis2/nobody/data"),
				 &options, &parts, &found),
		RULE_WTH_02);
	assert_int_equal(found.count, 6);
	assert_int_equal(found.at[1].rule, RULE_WTH_03);
	assert_int_equal(found.at[5].rule, RULE_WTH_12);
}

static void a_rule_can_be_switched_on_and_off(void **state)
{
	uint8_t modes[RULE_COUNT];
	struct topic_options options = {.rule_modes = modes};
	struct view topic = VIEW("cache/a/wis2/nobody/data/recommended/weather/aviation/metar");
	struct topic_parts parts;
	struct findings found;

	(void)state;
	for (unsigned r = 0; r < RULE_COUNT; r++)
		modes[r] = (uint8_t)rule_mode((enum rule)r);
	assert_int_equal(
		topic_judge(hierarchy_built_in(), topic, &options, &parts, &found), RULE_WTH_07);
	modes[RULE_WTH_07] = MODE_OFF;
	assert_int_equal(
		topic_judge(hierarchy_built_in(), topic, &options, &parts, &found), RULE_NONE);
	modes[RULE_ISO_01] = MODE_STANDARD;
	assert_int_equal(
		topic_judge(hierarchy_built_in(), topic, &options, &parts, &found), RULE_ISO_01);
}

static void limits_are_on_bytes_and_levels(void **state)
{
	static const char head[] = "origin/a/wis2/de-dwd/data/core/weather/experimental";
	struct topic_options options = {0};
	struct topic_parts parts;
	struct findings found;
	static char topic[70000];
	size_t n = sizeof(head) - 1;

	(void)state;
	memset(topic, 'x', sizeof(topic));
	memcpy(topic, head, n);
	topic[n] = '/';
#define JUDGE(length) \
	topic_judge(hierarchy_built_in(), (struct view){topic, length}, &options, &parts, &found)
	assert_int_equal(JUDGE(TOPIC_LARGEST), RULE_NONE);
	assert_int_equal(JUDGE(TOPIC_LARGEST + 1), RULE_WTH_18);
	assert_int_equal(JUDGE(65535), RULE_WTH_18);
	assert_int_equal(JUDGE(65536), RULE_WTH_01);
	for (size_t i = n; i < n + 240; i += 2)
		topic[i] = '/';
	assert_int_equal(JUDGE(n + 240), RULE_NONE); /* 128 levels */
	topic[n + 240] = '/';
	assert_int_equal(JUDGE(n + 242), RULE_WTH_18);
#undef JUDGE
}

static void further_centres_are_known_beside_the_registered(void **state)
{
	struct view names[] = {VIEW("zz-one"), VIEW("aa-two")}, third = VIEW("mm-three");
	struct hierarchy *h = hierarchy_built_in();
	struct hierarchy *more = hierarchy_with_centres(h, names, 2);
	struct hierarchy *most = hierarchy_with_centres(more, &third, 1);

	(void)state;
	hierarchy_unref(more);
	assert_true(hierarchy_knows_centre(most, VIEW("zz-one")));
	assert_true(hierarchy_knows_centre(most, VIEW("aa-two")));
	assert_true(hierarchy_knows_centre(most, VIEW("mm-three")));
	assert_true(hierarchy_knows_centre(most, VIEW("de-dwd")));
	assert_false(hierarchy_knows_centre(most, VIEW("zz-on")));
	assert_false(hierarchy_knows_centre(h, VIEW("zz-one")));
	assert_ptr_equal(hierarchy_ref(most), most);
	hierarchy_unref(most);
	assert_string_equal(hierarchy_version(most), "1.3.0");
	hierarchy_unref(most);
}

static void every_registered_centre_and_path_is_found(void **state)
{
	static const char *const files[] = {"data/centres.txt", "data/topics.txt"};
	static const char *const forms[] = {
		"origin/a/wis2/%.*s/metadata", "origin/a/wis2/de-dwd/data/core/%.*s"};
	struct topic_options options = {0};
	struct topic_parts parts;
	struct findings found;
	char line[256], topic[512];
	int count[2] = {0, 0};

	(void)state;
	for (int i = 0; i < 2; i++) {
		FILE *file = fopen(files[i], "r");

		assert_non_null(file);
		while (fgets(line, sizeof(line), file)) {
			if (line[0] == '#' || (i == 1 && strchr(line, '/') == NULL))
				continue;
			snprintf(topic, sizeof(topic), forms[i], (int)strcspn(line, "\n"), line);
			if (topic_judge(
				    hierarchy_built_in(), view_of(topic), &options, &parts, &found))
				fail_msg("%s", topic);
			count[i]++;
		}
		fclose(file);
	}
	assert_int_equal(count[0], 167);
	assert_int_equal(count[1], 1301);
}

static void every_rule_is_found_by_its_id_and_ids_ascend(void **state)
{
	(void)state;
	for (unsigned r = RULE_NONE + 1; r < RULE_COUNT; r++) {
		const char *id = rule_id((enum rule)r);

		assert_int_equal(rule_by_id(view_of(id)), r);
		assert_true(rule_text((enum rule)r)[0] && rule_source((enum rule)r)[0]);
		if (r > 1 && strncmp(id, rule_id((enum rule)(r - 1)), 3) == 0)
			assert_true(strcmp(rule_id((enum rule)(r - 1)), id) < 0);
	}
	assert_int_equal(rule_by_id(VIEW("WNM-99")), RULE_NONE);
	assert_int_equal(rule_by_id(VIEW("")), RULE_NONE);
	assert_int_equal(rule_check(RULE_WTH_22), CHECK_CENTRE);
	assert_int_equal(rule_check(RULE_MD_01), CHECK_METADATA);
	assert_int_equal(rule_mode(RULE_ISO_01), MODE_OFF);
	assert_string_equal(rule_id(RULE_NONE), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_finding_names_level_and_nearest),
		cmocka_unit_test(leaf_only_refuses_what_is_above_a_leaf),
		cmocka_unit_test(metadata_subtopics_are_data_paths_when_allowed),
		cmocka_unit_test(test_centres_are_known_by_their_form_when_allowed),
		cmocka_unit_test(parts_are_named_even_of_an_invalid_topic),
		cmocka_unit_test(all_broken_rules_are_listed_in_order),
		cmocka_unit_test(a_rule_can_be_switched_on_and_off),
		cmocka_unit_test(limits_are_on_bytes_and_levels),
		cmocka_unit_test(further_centres_are_known_beside_the_registered),
		cmocka_unit_test(every_registered_centre_and_path_is_found),
		cmocka_unit_test(every_rule_is_found_by_its_id_and_ids_ascend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
