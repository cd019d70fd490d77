/* What becomes of a message by the list on the shelf, and what the shelf is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "commit/metadata.h"

#define TAIL "data/core/weather/surface-based-observations/synop"
#define OTHER "data/core/weather/surface-based-observations/temp"
#define START                                                                                  \
	"{\"id\":\"8893163b-1bef-4e36-a874-0e01cbd2bd7a\",\"conformsTo\":["                    \
	"\"http://wis.wmo.int/spec/wnm/1/conf/core\"],\"type\":\"Feature\",\"geometry\":null," \
	"\"properties\":{\"pubtime\":\"2026-01-01T00:00:00Z\",\"data_id\":\"d/"                \
	"1\",\"datetime\":null"
#define END(rel) "},\"links\":[{\"rel\":\"" rel "\",\"href\":\"http://example.org/1\"}]}"
#define WITHOUT START END("canonical")
#define WITH(id) START ",\"metadata_id\":\"" id "\"" END("canonical")
#define DELETED(id) START ",\"metadata_id\":\"" id "\"" END("deletion")
#define OWN "urn:wmo:md:de-dwd:synop"

struct setting {
	enum gate_mode metadata;
	enum gate_mode topic;
	bool any_owner;
	bool no_fallback;
};
#define DEFAULT                                          \
	{                                                \
		GATE_DISCARD, GATE_DISCARD, false, false \
	}

static const struct row {
	const char *name;
	struct setting setting;
	const char *topic;
	const char *payload;
	bool pass;
	enum rule rule;
	bool by_centre;
} rows[] = {
	{"a record for the topic", DEFAULT, "origin/a/wis2/de-dwd/" TAIL, WITHOUT, true, RULE_NONE,
		false},
	{"the cache channel", DEFAULT, "cache/a/wis2/de-dwd/" TAIL, WITHOUT, true, RULE_NONE,
		false},
	{"an empty metadata_id", DEFAULT, "origin/a/wis2/de-dwd/" TAIL, WITH(""), true, RULE_NONE,
		false},
	{"the record itself", DEFAULT, "origin/a/wis2/de-dwd/" TAIL, WITH(OWN), true, RULE_NONE,
		false},
	{"the record, written with escapes", {GATE_DISCARD, GATE_DISCARD, false, true},
		"origin/a/wis2/de-dwd/" TAIL, WITH("urn:wmo:md:de-dwd:s\\u0079nop"), true,
		RULE_NONE, false},
	{"no record", DEFAULT, "origin/a/wis2/de-dwd/" OTHER, WITHOUT, false, RULE_MD_01, false},
	{"no record, verified", {GATE_VERIFY, GATE_DISCARD, false, false},
		"origin/a/wis2/de-dwd/" OTHER, WITHOUT, true, RULE_MD_01, false},
	{"no record, not asked", {GATE_OFF, GATE_DISCARD, false, false},
		"origin/a/wis2/de-dwd/" OTHER, WITHOUT, true, RULE_NONE, false},
	{"an unknown metadata_id", DEFAULT, "origin/a/wis2/de-dwd/" TAIL,
		WITH("urn:wmo:md:de-dwd:new"), true, RULE_NONE, true},
	{"an unknown metadata_id, no fallback", {GATE_DISCARD, GATE_DISCARD, false, true},
		"origin/a/wis2/de-dwd/" TAIL, WITH("urn:wmo:md:de-dwd:new"), false, RULE_MD_01,
		false},
	{"another centre's record", DEFAULT, "origin/a/wis2/fr-meteofrance/" TAIL, WITH(OWN), false,
		RULE_MD_01, false},
	{"another centre's record, any owner", {GATE_DISCARD, GATE_DISCARD, true, false},
		"origin/a/wis2/fr-meteofrance/" TAIL, WITH(OWN), true, RULE_NONE, false},
	{"a metadata topic", DEFAULT, "origin/a/wis2/fr-meteofrance/metadata", WITHOUT, true,
		RULE_NONE, false},
	{"experimental, with a record", DEFAULT,
		"origin/a/wis2/de-dwd/data/core/weather/experimental/x", WITHOUT, true, RULE_NONE,
		false},
	{"experimental, without", DEFAULT, "origin/a/wis2/de-dwd/data/core/weather/experimental/y",
		WITHOUT, false, RULE_MD_01, false},
	{"a topic outside the tables, let through", {GATE_DISCARD, GATE_OFF, false, false},
		"origin/a/wis2/de-dwd/data/core/nonsense/x/y", WITHOUT, false, RULE_MD_01, false},
	{"a lower rule verified keeps its name", {GATE_VERIFY, GATE_VERIFY, false, false},
		"origin/a/wis2/de-dwd/data/core/nonsense/x/y", WITHOUT, true, RULE_WTH_11, false},
	{"discarded goes before verified", {GATE_DISCARD, GATE_VERIFY, false, false},
		"origin/a/wis2/de-dwd/data/core/nonsense/x/y", WITHOUT, false, RULE_MD_01, false},
	{"what was refused before stays refused", DEFAULT,
		"origin/a/wis2/de-dwd/data/core/nonsense/x/y", WITHOUT, false, RULE_WTH_11, false},
};

static struct shelf shelf_with_records(void)
{
	struct catalogue *c = catalogue_new();
	struct shelf s;

	catalogue_add(c, view_of(OWN), view_of(TAIL));
	catalogue_add(
		c, view_of("urn:wmo:md:de-dwd:x"), view_of("data/core/weather/experimental/x"));
	shelf_init(&s);
	shelf_put(&s, c);
	return s;
}

static void judge(struct shelf *s, const struct setting *setting, const char *topic,
	const char *payload, struct gate_verdict *v)
{
	struct hierarchy *h = hierarchy_built_in();
	struct gate_policy p = {.channels = GATE_ORIGIN | GATE_CACHE, .any_centre = true};

	gate_settings_default(&p.settings);
	p.settings.checks[CHECK_METADATA] = setting->metadata;
	p.settings.checks[CHECK_TOPIC] = setting->topic;
	p.settings.metadata_any_owner = setting->any_owner;
	p.settings.metadata_fallback = !setting->no_fallback;
	gate_policy_compile(&p);
	gate_judge(h, &p, view_of(topic), view_of(payload), v);
	metadata_judge(s, &p, view_of(payload), v);
	gate_policy_fini(&p);
	hierarchy_unref(h);
}

static void a_data_message_needs_a_record(void **state)
{
	struct shelf s = shelf_with_records();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct gate_verdict v;

		judge(&s, &r->setting, r->topic, r->payload, &v);
		if (v.pass != r->pass || v.rule != r->rule || v.by_centre != r->by_centre)
			fail_msg("%s: pass %d rule %s by_centre %d", r->name, v.pass,
				rule_id(v.rule), v.by_centre);
		assert_int_equal(v.claim, v.pass);
	}
	shelf_fini(&s);
}

static void the_finding_says_where(void **state)
{
	static const struct setting setting = DEFAULT;
	struct shelf s = shelf_with_records();
	struct gate_verdict v;

	(void)state;
	judge(&s, &setting, "origin/a/wis2/de-dwd/" OTHER, WITHOUT, &v);
	assert_int_equal(v.finding.level, 5);
	assert_int_equal(v.finding.offset, strlen("origin/a/wis2/de-dwd/"));
	assert_int_equal(v.check, CHECK_METADATA);
	judge(&s, &setting, "origin/a/wis2/fr-meteofrance/" TAIL, WITH(OWN), &v);
	assert_string_equal(v.finding.path, "/properties/metadata_id");
	assert_int_equal(WITH(OWN)[v.finding.offset], '"');
	shelf_fini(&s);
}

static void without_a_shelf_or_a_list_everything_passes(void **state)
{
	static const struct setting setting = DEFAULT;
	struct shelf empty;
	struct gate_verdict v;

	(void)state;
	shelf_init(&empty);
	judge(NULL, &setting, "origin/a/wis2/de-dwd/" OTHER, WITHOUT, &v);
	assert_true(v.pass);
	judge(&empty, &setting, "origin/a/wis2/de-dwd/" OTHER, WITHOUT, &v);
	assert_true(v.pass);
}

static void a_metadata_notification_is_noticed(void **state)
{
	static const struct setting setting = DEFAULT;
	struct shelf s = shelf_with_records();
	struct gate_verdict v;

	(void)state;
	judge(&s, &setting, "origin/a/wis2/de-dwd/" TAIL, WITHOUT, &v);
	judge(&s, &setting, "origin/a/wis2/de-dwd/metadata", "{", &v);
	assert_false(s.noticed);
	judge(&s, &setting, "origin/a/wis2/de-dwd/metadata", WITH(OWN), &v);
	assert_true(s.noticed);
	judge(&s, &setting, "origin/a/wis2/fr-meteofrance/metadata", DELETED(OWN), &v);
	assert_int_equal(s.gone[0], 0); /* not its own */
	judge(&s, &setting, "cache/a/wis2/de-dwd/metadata", DELETED(OWN), &v);
	assert_int_equal(s.gone[0], shelf_hash(&s, view_of(OWN)));
	shelf_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_data_message_needs_a_record),
		cmocka_unit_test(the_finding_says_where),
		cmocka_unit_test(without_a_shelf_or_a_list_everything_passes),
		cmocka_unit_test(a_metadata_notification_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
