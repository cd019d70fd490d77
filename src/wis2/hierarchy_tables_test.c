/* A hierarchy from tables, and tables that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wis2/hierarchy_tables.h"

#define HEAD "Name,Description,Source,Status\n"

struct file {
	const char *path;
	const char *csv;
};

#define FILES 10
static const struct file files[FILES] = {
	{"channel.csv", HEAD "origin,x,,Operational\ncache,x\n"},
	{"version.csv", HEAD "a,x\n"},
	{"system.csv", HEAD "wis2,x\n"},
	{"notification-type.csv", HEAD "data,x\nmetadata,x\n"},
	{"data-policy.csv", HEAD "core,x\nrecommended,x\n"},
	{"centre-id.csv",
		"\xef\xbb\xbf" HEAD "de-new,\"of \"\"two\"\", commas\nand lines\",,Retired\r\n"
		"aa-old,x\n\n"},
	{"earth-system-discipline/index.csv", HEAD "weather,x\nweather-2,x\nair,x\n"},
	{"earth-system-discipline/weather/index.csv", HEAD "space,x\naviation,x"},
	{"earth-system-discipline/weather-2/index.csv", HEAD "b,x\na,x\n"},
	{"earth-system-discipline/weather/space/index-flat.csv",
		"satellite,instrument,satellite-description\nthemis-a,scm,x\nthemis-a,scm,x\n"
		"aqua,modis\nthemis-a,fgm\n"},
};

static struct view path_of(size_t i)
{
	return view_of(files[i].path);
}

/* All files, one of them another (csv NULL: left out). */
static struct hierarchy *load(const char *path, const char *csv, struct buf *why)
{
	struct hierarchy_tables *t = hierarchy_tables_new();
	struct hierarchy *h = NULL;
	bool good = true;

	for (size_t i = 0; i < FILES && good; i++) {
		bool other = path && strcmp(path, files[i].path) == 0;

		if (!other || csv)
			good = hierarchy_tables_add(
				t, path_of(i), view_of(other ? csv : files[i].csv), why);
	}
	if (good)
		h = hierarchy_tables_finish(t, VIEW("9.8.7"), why);
	hierarchy_tables_free(t);
	return h;
}

static enum rule judge(const struct hierarchy *h, const char *topic)
{
	struct topic_options options = {.leaf_only = true};
	struct topic_parts parts;
	struct findings found;

	return topic_judge(h, view_of(topic), &options, &parts, &found);
}

static void topics_are_judged_by_the_tables_given(void **state)
{
	static const struct {
		const char *topic;
		enum rule want;
	} rows[] = {
		{"origin/a/wis2/de-new/data/core/weather/aviation", RULE_NONE},
		{"origin/a/wis2/aa-old/data/core/weather-2/a", RULE_NONE},
		{"origin/a/wis2/aa-old/data/core/weather-2/b", RULE_NONE},
		{"origin/a/wis2/aa-old/data/core/weather/b", RULE_WTH_13},
		{"origin/a/wis2/de-dwd/data/core/weather/aviation", RULE_WTH_07},
		{"origin/a/wis2/de-new/data/core/ocean/aviation", RULE_WTH_11},
		{"origin/a/wis2/de-new/data/core/weather/space/themis-a/scm", RULE_NONE},
		{"origin/a/wis2/de-new/data/core/weather/space/themis-a/fgm", RULE_NONE},
		{"origin/a/wis2/de-new/data/core/weather/space/aqua/scm", RULE_WTH_13},
		{"origin/a/wis2/de-new/data/core/weather/space/aqua", RULE_WTH_15},
		{"origin/a/wis2/de-new/data/core/weather/aviation/taf", RULE_WTH_16},
		{"origin/a/wis2/de-new/data/core/air/x", RULE_WTH_16},
	};
	struct buf why = {0};
	struct hierarchy *h = load(NULL, NULL, &why);

	(void)state;
	assert_non_null(h);
	assert_string_equal(hierarchy_version(h), "9.8.7");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum rule got = judge(h, rows[i].topic);

		if (got != rows[i].want)
			fail_msg("%s: got %s, want %s", rows[i].topic, rule_id(got),
				rule_id(rows[i].want));
	}
	hierarchy_unref(h);
	buf_fini(&why);
}

static void further_centres_outlive_the_hierarchy_they_were_added_to(void **state)
{
	struct view name = VIEW("xx-more");
	struct buf why = {0};
	struct hierarchy *h = load(NULL, NULL, &why);
	struct hierarchy *more = hierarchy_with_centres(h, &name, 1);
	struct hierarchy *most = hierarchy_with_centres(more, &(struct view)VIEW("yy-most"), 1);

	(void)state;
	hierarchy_unref(h);
	hierarchy_unref(more);
	assert_int_equal(judge(most, "origin/a/wis2/xx-more/data/core/weather/aviation"), 0);
	assert_int_equal(judge(most, "origin/a/wis2/yy-most/data/core/weather/aviation"), 0);
	assert_int_equal(judge(most, "origin/a/wis2/de-new/data/core/weather/aviation"), 0);
	assert_string_equal(hierarchy_version(most), "9.8.7");
	hierarchy_unref(most);
	buf_fini(&why);
}

static void tables_that_do_not_fit_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *path;
		const char *csv;
		const char *want; /* in the reason */
	} rows[] = {
		{"channel.csv", NULL, "channel.csv: is missing"},
		{"centre-id.csv", NULL, "centre-id.csv: is missing"},
		{"earth-system-discipline/index.csv", NULL, "index.csv: is missing"},
		{"earth-system-discipline/weather/index.csv", NULL,
			"no table names the level: weather/space"},
		{"channel.csv", HEAD "origin,x\n", "does not name each of: origin cache"},
		{"version.csv", HEAD "a,x\nb,x\n", "does not know: b"},
		{"centre-id.csv", HEAD, "no centre"},
		{"centre-id.csv", "<html>", "first line"},
		{"centre-id.csv", "", "first line"},
		{"centre-id.csv", HEAD "De-dwd,x\n", "not a name of the hierarchy: De-dwd"},
		{"centre-id.csv", HEAD "de--dwd,x\n", "not a name"},
		{"centre-id.csv", HEAD "de-dwd-,x\n", "not a name"},
		{"centre-id.csv", HEAD "-dwd,x\n", "not a name"},
		{"centre-id.csv", HEAD ",x\n", "not a name"},
		{"centre-id.csv", HEAD "de-dwd,\"open\n", "not CSV"},
		{"centre-id.csv", HEAD "\"de-dwd\"x,y\n", "not CSV"},
		{"earth-system-discipline/weather/space/index-flat.csv", HEAD "a,b\n",
			"first line"},
		{"earth-system-discipline/weather/space/index-flat.csv",
			"satellite,instrument\naqua,\n", "not a name"},
		{"earth-system-discipline/index.csv", HEAD "weather,x\nair/b,x\n", "not a name"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf why = {0};
		struct hierarchy *h = load(rows[i].path, rows[i].csv, &why);

		buf_append(&why, "", 1);
		if (h || strstr((const char *)buf_bytes(&why), rows[i].want) == NULL)
			fail_msg("row %zu: got \"%s\", want \"%s\"", i,
				(const char *)buf_bytes(&why), rows[i].want);
		buf_fini(&why);
	}
}

static void sizes_and_depth_are_bounded(void **state)
{
	static const char deep[] = "earth-system-discipline/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/"
				   "index.csv";
	struct hierarchy_tables *t = hierarchy_tables_new();
	struct buf csv = {0}, why = {0};

	(void)state;
	assert_false(hierarchy_tables_add(t, view_of(deep), VIEW(HEAD "x\n"), &why));
	buf_text(&csv, HEAD);
	for (unsigned i = 0; i <= HIERARCHY_NAMES_MOST; i++)
		buf_printf(&csv, "x%u\n", i);
	assert_false(hierarchy_tables_add(t, VIEW("centre-id.csv"), buf_view(&csv), &why));
	while (buf_length(&csv) <= HIERARCHY_TABLE_LARGEST)
		buf_printf(&csv, "%0*d\n", 65536, 0);
	assert_false(hierarchy_tables_add(t, VIEW("channel.csv"), buf_view(&csv), &why));
	hierarchy_tables_free(t);
	buf_fini(&csv);
	buf_fini(&why);
}

static void only_tables_are_wanted(void **state)
{
	(void)state;
	for (size_t i = 0; i < FILES; i++)
		assert_true(hierarchy_tables_wants(path_of(i)));
	assert_false(hierarchy_tables_wants(VIEW("README.md")));
	assert_false(hierarchy_tables_wants(VIEW("earth-system-discipline/notes.csv")));
	assert_false(hierarchy_tables_wants(VIEW("index.csv")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topics_are_judged_by_the_tables_given),
		cmocka_unit_test(further_centres_outlive_the_hierarchy_they_were_added_to),
		cmocka_unit_test(tables_that_do_not_fit_are_refused_with_the_reason),
		cmocka_unit_test(sizes_and_depth_are_bounded),
		cmocka_unit_test(only_tables_are_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
