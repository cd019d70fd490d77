/* What passes the gate, and which rule decides when it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "commit/gate.h"

#define ID "8893163b-1bef-4e36-a874-0e01cbd2bd7a"
#define CONFORMS "\"conformsTo\":[\"http://wis.wmo.int/spec/wnm/1/conf/core\"],"
#define FEATURE "\"type\":\"Feature\",\"geometry\":null,"
#define PROPERTIES                                                              \
	"\"properties\":{\"pubtime\":\"2026-01-01T00:00:00Z\",\"data_id\":\"d/" \
	"1\",\"datetime\":null},"
#define LINKS "\"links\":[{\"rel\":\"canonical\",\"href\":\"http://example.org/1\"}]}"
#define VALID "{\"id\":\"" ID "\"," CONFORMS FEATURE PROPERTIES LINKS
#define NO_ID "{" CONFORMS FEATURE PROPERTIES LINKS
#define BAD_TYPE \
	"{\"id\":\"" ID "\"," CONFORMS "\"type\":\"feature\",\"geometry\":null," PROPERTIES LINKS
/* Breaks WNM-10 and WNM-34. */
#define TWICE_BAD                                                                                \
	"{\"id\":\"" ID "\"," CONFORMS "\"type\":\"feature\",\"geometry\":null,\"properties\":{" \
	"\"pubtime\":\"2026-01-01T00:00:00Z\",\"data_id\":\"\",\"datetime\":null}," LINKS
#define EVENT                                                                                    \
	"{\"id\":\"" ID "\",\"specversion\":\"1.0\",\"type\":\"int.wmo.wis.wme.event\","         \
	"\"source\":\"de-dwd-global-cache\",\"subject\":\"de-dwd\",\"time\":\"2026-05-04T10:11:" \
	"12Z\","                                                                                 \
	"\"datacontenttype\":\"application/json\",\"dataschema\":\"https://schemas.wmo.int/wme/" \
	"1.0.0/schemas/wis2-event-message-bundled.json\",\"data\":{\"conformsTo\":[\"http://"    \
	"wis.wmo.int/spec/wme/1/conf/monitoring-event-message-core\"],\"severity\":\"INFO\","    \
	"\"content\":{\"title\":\"A title\"}}}"

#define SYNOP "/data/core/weather/surface-based-observations/synop"
#define DWD "origin/a/wis2/de-dwd" SYNOP

static struct hierarchy *hierarchy;

static void policy_init(struct gate_policy *p, unsigned channels, const char *centre)
{
	*p = (struct gate_policy){.channels = channels, .any_centre = centre == NULL};
	gate_settings_default(&p->settings);
	if (centre) {
		p->centres = mem_new(sizeof(char *));
		p->centres[0] = mem_text(centre);
		p->centre_count = 1;
	}
	gate_policy_compile(p);
}

static struct gate_verdict judge(
	const struct gate_policy *p, const char *topic, const char *payload)
{
	struct gate_verdict v;

	gate_judge(hierarchy, p, view_of(topic), view_of(payload), &v);
	return v;
}

static const struct row {
	const char *name;
	unsigned channels;
	const char *centre; /* NULL: any */
	bool metadata_only;
	const char *topic;
	const char *payload;
	enum rule want; /* RULE_NONE: passes */
} rows[] = {
	{"a valid notification", GATE_ORIGIN, "de-dwd", false, DWD, VALID, RULE_NONE},
	{"a foreign centre", GATE_ORIGIN, "fr-meteofrance", false, DWD, VALID, RULE_WTH_22},
	{"a foreign centre before a wrong topic", GATE_ORIGIN, "fr-meteofrance", false,
		"origin/a/wis2/de-dwd/data/nonsense", VALID, RULE_WTH_22},
	{"a foreign channel", GATE_ORIGIN, "de-dwd", false, "cache/a/wis2/de-dwd" SYNOP, VALID,
		RULE_WTH_23},
	{"centre before channel, by number", GATE_ORIGIN, "fr-meteofrance", false,
		"cache/a/wis2/de-dwd" SYNOP, VALID, RULE_WTH_22},
	{"any centre through a cache", GATE_CACHE, NULL, false, "cache/a/wis2/de-dwd" SYNOP, VALID,
		RULE_NONE},
	{"data from a catalogue", GATE_ORIGIN, "de-dwd", true, DWD, VALID, RULE_WTH_23},
	{"metadata from a catalogue", GATE_ORIGIN, "de-dwd", true, "origin/a/wis2/de-dwd/metadata",
		VALID, RULE_NONE},
	{"a wrong topic before a wrong message", GATE_ORIGIN, "de-dwd", false,
		"origin/a/wis2/de-dwd/data/core/whether/x", "{", RULE_WTH_11},
	{"a topic that ends before the centre", GATE_ORIGIN, "de-dwd", false, "origin/a/wis2",
		VALID, RULE_WTH_12},
	{"an empty level 4", GATE_ORIGIN, "de-dwd", false, "origin/a/wis2//data", VALID,
		RULE_WTH_02},
	{"a topic outside the trees", GATE_ORIGIN, "de-dwd", false, "sandbox/a", VALID,
		RULE_WTH_04},
	{"a wrong message", GATE_ORIGIN, "de-dwd", false, DWD, BAD_TYPE, RULE_WNM_10},
	{"an empty message", GATE_ORIGIN, "de-dwd", false, DWD, "", RULE_WNM_01},
	{"an event", GATE_MONITOR, NULL, false, "monitor/a/wis2/de-dwd", EVENT, RULE_NONE},
	{"an event without an id", GATE_MONITOR, NULL, false, "monitor/a/wis2/de-dwd", "{\"a\":1}",
		RULE_MON_22},
	{"an event that is no JSON", GATE_MONITOR, NULL, false, "monitor/a/wis2/de-dwd", "{\"a\":1",
		RULE_MON_21},
	{"an event one level too deep", GATE_MONITOR, NULL, false, "monitor/a/wis2/de-dwd/x", EVENT,
		RULE_WTH_20},
};

static void each_message_is_judged_by_the_lowest_rule_of_the_first_stage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct gate_policy p;
		struct gate_verdict v;

		policy_init(&p, r->channels, r->centre);
		p.metadata_only = r->metadata_only;
		v = judge(&p, r->topic, r->payload);
		if (v.rule != r->want || v.pass != (r->want == RULE_NONE))
			fail_msg("%s: got %s, want %s", r->name, rule_id(v.rule), rule_id(r->want));
		assert_int_equal(v.claim, v.pass);
		if (v.rule != RULE_NONE) {
			assert_int_equal(v.finding.rule, v.rule);
			assert_int_equal(v.check, rule_check(v.rule));
		}
		gate_policy_fini(&p);
	}
}

static void an_unknown_centre_comes_with_the_nearest_known_one(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;

	(void)state;
	policy_init(&p, GATE_ORIGIN, "de-dwd");
	v = judge(&p, "origin/a/wis2/fr-meteofranc" SYNOP, VALID);
	assert_int_equal(v.rule, RULE_WTH_22);
	assert_true(view_equal(v.finding.nearest, VIEW("fr-meteofrance")));
	v = judge(&p, "origin/a/wis2/fr-meteofrance" SYNOP, VALID);
	assert_int_equal(v.rule, RULE_WTH_22);
	assert_null(v.finding.nearest.p);
	gate_policy_fini(&p);
}

static void a_cache_may_describe_itself_only(void **state)
{
	static const struct {
		const char *topic;
		enum rule want;
	} cases[] = {
		{"origin/a/wis2/de-dwd-global-cache/metadata", RULE_NONE},
		{"origin/a/wis2/de-dwd/metadata", RULE_WTH_23},
		{"origin/a/wis2/de-dwd-global-cache" SYNOP, RULE_WTH_23},
		{"monitor/a/wis2/de-dwd-global-cache", RULE_WTH_23},
		{"cache/a/wis2/de-dwd" SYNOP, RULE_NONE},
	};
	struct gate_policy p;

	(void)state;
	policy_init(&p, GATE_CACHE, "de-dwd-global-cache");
	p.any_centre = p.own_metadata = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gate_verdict v = judge(&p, cases[i].topic, VALID);

		if (v.rule != cases[i].want)
			fail_msg("%s: got %s", cases[i].topic, rule_id(v.rule));
	}
	p.own_metadata = false;
	assert_int_equal(judge(&p, cases[0].topic, VALID).rule, RULE_WTH_23);
	gate_policy_fini(&p);
}

static void the_identity_is_the_id_of_the_message(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;
	struct uuid id;

	(void)state;
	assert_true(uuid_parse(VIEW(ID), &id));
	policy_init(&p, GATE_ORIGIN, "de-dwd");
	v = judge(&p, DWD, VALID);
	assert_memory_equal(v.identity.b, id.b, sizeof(id.b));
	gate_policy_fini(&p);
	policy_init(&p, GATE_MONITOR, NULL);
	v = judge(&p, "monitor/a/wis2/de-dwd", EVENT);
	assert_memory_equal(v.identity.b, id.b, sizeof(id.b));
	gate_policy_fini(&p);
}

static void verify_lets_through_and_names_the_rule(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;

	(void)state;
	policy_init(&p, GATE_ORIGIN, "de-dwd");
	p.settings.checks[CHECK_MESSAGE] = GATE_VERIFY;
	gate_policy_compile(&p);
	v = judge(&p, DWD, BAD_TYPE);
	assert_true(v.pass);
	assert_int_equal(v.rule, RULE_WNM_10);
	p.settings.checks[CHECK_TOPIC] = GATE_VERIFY;
	gate_policy_compile(&p);
	v = judge(&p, "origin/a/wis2/de-dwd/data/core/whether/x", BAD_TYPE);
	assert_true(v.pass);
	assert_int_equal(v.rule, RULE_WTH_11); /* the first stage names it */
	p.settings.checks[CHECK_MESSAGE] = GATE_DISCARD;
	gate_policy_compile(&p);
	v = judge(&p, "origin/a/wis2/de-dwd/data/core/whether/x", BAD_TYPE);
	assert_false(v.pass);
	assert_int_equal(v.rule, RULE_WNM_10); /* the one that decides */
	gate_policy_fini(&p);
}

static void off_names_nothing(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;

	(void)state;
	policy_init(&p, GATE_ORIGIN, "fr-meteofrance");
	for (int c = 0; c < CHECK_COUNT; c++)
		p.settings.checks[c] = GATE_OFF;
	gate_policy_compile(&p);
	v = judge(&p, "origin/a/wis2/de-dwd/x", "no JSON at all");
	assert_true(v.pass && v.claim);
	assert_int_equal(v.rule, RULE_NONE);
	gate_policy_fini(&p);
}

static void a_rule_of_its_own_mode_overrides_its_check(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;

	(void)state;
	policy_init(&p, GATE_ORIGIN, "de-dwd");
	p.settings.rules[RULE_WNM_10] = GATE_OFF;
	gate_policy_compile(&p);
	assert_int_equal(judge(&p, DWD, BAD_TYPE).rule, RULE_NONE);
	assert_int_equal(judge(&p, DWD, TWICE_BAD).rule, RULE_WNM_34);
	p.settings.rules[RULE_WNM_10] = GATE_VERIFY;
	gate_policy_compile(&p);
	assert_true(judge(&p, DWD, BAD_TYPE).pass);
	v = judge(&p, DWD, TWICE_BAD); /* a higher-numbered rule discards */
	assert_false(v.pass);
	assert_int_equal(v.rule, RULE_WNM_34);
	p.settings.rules[RULE_WNM_34] = GATE_VERIFY;
	gate_policy_compile(&p);
	v = judge(&p, DWD, TWICE_BAD); /* both let through: the lowest is named */
	assert_true(v.pass);
	assert_int_equal(v.rule, RULE_WNM_10);
	gate_policy_fini(&p);
}

static void a_rule_named_by_the_operator_counts_in_every_mode(void **state)
{
	struct gate_policy p;

	(void)state;
	policy_init(&p, GATE_CACHE, NULL);
	/* WNM-47 (global-cache on cache topics) is strict only. */
	assert_int_equal(judge(&p, "cache/a/wis2/de-dwd" SYNOP, VALID).rule, RULE_NONE);
	p.settings.rules[RULE_WNM_47] = GATE_DISCARD;
	gate_policy_compile(&p);
	assert_int_equal(judge(&p, "cache/a/wis2/de-dwd" SYNOP, VALID).rule, RULE_WNM_47);
	gate_policy_fini(&p);
}

static void without_an_id_topic_and_bytes_are_the_identity(void **state)
{
	struct gate_policy p;
	struct gate_verdict a, b, c, d;

	(void)state;
	policy_init(&p, GATE_ORIGIN | GATE_CACHE, NULL);
	p.settings.checks[CHECK_MESSAGE] = GATE_VERIFY;
	gate_policy_compile(&p);
	a = judge(&p, DWD, NO_ID);
	b = judge(&p, DWD, NO_ID);
	c = judge(&p, "cache/a/wis2/de-dwd" SYNOP, NO_ID);
	d = judge(&p, DWD, NO_ID " ");
	assert_true(a.pass && a.claim && a.rule == RULE_WNM_11);
	assert_memory_equal(&a.identity, &b.identity, sizeof(a.identity));
	assert_memory_not_equal(&a.identity, &c.identity, sizeof(a.identity));
	assert_memory_not_equal(&a.identity, &d.identity, sizeof(a.identity));
	gate_policy_fini(&p);
}

static void outside_the_trees_an_account_is_not_judged(void **state)
{
	struct gate_policy p;
	struct gate_verdict v;

	(void)state;
	policy_init(&p, GATE_ORIGIN, NULL);
	p.outside_passes = true;
	v = judge(&p, "sandbox/a", "anything");
	assert_true(v.pass && !v.claim && v.rule == RULE_NONE);
	assert_false(judge(&p, DWD, "anything").pass);
	assert_true(gate_is_wis2(VIEW("cache/x")));
	assert_false(gate_is_wis2(VIEW("cache")));
	assert_false(gate_is_wis2(VIEW("cached/x")));
	gate_policy_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_centre_comes_with_the_nearest_known_one),
		cmocka_unit_test(a_cache_may_describe_itself_only),
		cmocka_unit_test(each_message_is_judged_by_the_lowest_rule_of_the_first_stage),
		cmocka_unit_test(the_identity_is_the_id_of_the_message),
		cmocka_unit_test(verify_lets_through_and_names_the_rule),
		cmocka_unit_test(off_names_nothing),
		cmocka_unit_test(a_rule_of_its_own_mode_overrides_its_check),
		cmocka_unit_test(a_rule_named_by_the_operator_counts_in_every_mode),
		cmocka_unit_test(without_an_id_topic_and_bytes_are_the_identity),
		cmocka_unit_test(outside_the_trees_an_account_is_not_judged),
	};
	int failed;

	hierarchy = hierarchy_built_in();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	hierarchy_unref(hierarchy);
	return failed;
}
