#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/config_keys.h"

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))
#define URL "url: mqtt://127.0.0.1:1\n"
#define MINIMAL "centre_id: ca-eccc-msc\n" URL

static struct source_config read_text(const char *text, struct buf *faults)
{
	struct faults list = {faults, 0};
	struct config_reader r = {&list, "s.yaml", "", ""};
	struct config config = {0};
	struct source_config out;

	gate_settings_default(&config.checks);
	config.checks.checks[CHECK_TOPIC] = GATE_VERIFY;
	config.checks.rules[1] = GATE_OFF;
	config_read_source(&r, view_of(text), "ca-eccc-msc", &config, &out);
	return out;
}

static struct source_config read_good(const char *text)
{
	struct buf faults = {0};
	struct source_config s = read_text(text, &faults);

	if (buf_length(&faults))
		fail_msg("%s: %.*s", text, VIEW_ARG(buf_view(&faults)));
	buf_fini(&faults);
	return s;
}

static void a_source_of_two_lines_has_every_default(void **state)
{
	struct source_config s = read_good(MINIMAL);

	(void)state;
	assert_string_equal(s.name, "ca-eccc-msc");
	assert_string_equal(s.centre_id, "ca-eccc-msc");
	assert_int_equal(s.kind, SOURCE_NODE);
	assert_int_equal(s.endpoint_count, 1);
	assert_string_equal(s.endpoints[0].url, "mqtt://127.0.0.1:1");
	assert_null(s.endpoints[0].username);
	assert_string_equal(s.username, "everyone");
	assert_string_equal(s.password, "everyone");
	assert_int_equal(s.topic_count, 0);
	assert_int_equal(s.centre_count, 0);
	assert_true(s.tls_verify);
	assert_null(s.tls_ca);
	assert_null(s.tls_max);
	assert_false(s.tls_legacy);
	assert_int_equal(s.protocol, 5);
	assert_int_equal(s.qos, 1);
	assert_int_equal(s.receive_maximum, 100);
	assert_int_equal(s.rate, 0);
	assert_false(s.strip_content);
	assert_int_equal(s.bind_count, 0);
	assert_int_equal(s.until_ms, 0);
	assert_true(s.enabled);
	source_config_fini(&s);
}

static void checks_are_the_global_ones_unless_the_source_says_otherwise(void **state)
{
	struct source_config s =
		read_good(MINIMAL "checks: {metadata: off, rules: {WNM-65: verify}, leaf: only}\n");

	(void)state;
	assert_int_equal(s.checks.checks[CHECK_TOPIC], GATE_VERIFY);
	assert_int_equal(s.checks.checks[CHECK_METADATA], GATE_OFF);
	assert_int_equal(s.checks.rules[1], GATE_OFF);
	assert_int_equal(s.checks.rules[rule_by_id(VIEW("WNM-65"))], GATE_VERIFY);
	assert_true(s.checks.leaf_only);
	assert_true(s.checks.test_centres);
	source_config_fini(&s);
}

static void a_gateway_without_topic_check_has_no_metadata_check(void **state)
{
	static const struct {
		const char *text;
		enum gate_mode want;
	} sources[] = {
		{MINIMAL "kind: gateway\nchecks: {topic: off}\n", GATE_OFF},
		{MINIMAL "kind: gateway\nchecks: {topic: off, metadata: verify}\n", GATE_VERIFY},
		{MINIMAL "kind: gateway\n", GATE_DISCARD},
		{MINIMAL "checks: {topic: off}\n", GATE_DISCARD},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct source_config s = read_good(sources[i].text);

		assert_int_equal(s.checks.checks[CHECK_METADATA], sources[i].want);
		source_config_fini(&s);
	}
}

static void every_key_is_read(void **state)
{
	struct source_config s = read_good(
		"centre_id: int-ecmwf\nkind: cache\n"
		"urls:\n  - mqtts://a.example.org\n"
		"  - {url: \"mqtt://b.example.org:1884\", username: bob, password: builder}\n"
		"  - ws://c.example.org/path\n"
		"  - {url: \"wss://u:p@d.example.org\", tls: {ca: /etc/d.pem, legacy: yes}}\n"
		"username: me\npassword: mine\ntopics: [cache/a/wis2/#, cache/a/wis2/+/metadata]\n"
		"tls: {verify: no, ca: /etc/ca.pem, max: 1.2, legacy: yes}\n"
		"centres: [aa-b, cc-d]\nprotocol: 3.1.1\nqos: 0\nreceive_maximum: 5\nrate: 10\n"
		"strip_content: yes\nbind: [127.0.0.2]\nuntil: 2026-12-31\nenabled: false\n");

	(void)state;
	assert_int_equal(s.kind, SOURCE_CACHE);
	assert_int_equal(s.endpoint_count, 4);
	assert_string_equal(s.endpoints[1].username, "bob");
	assert_string_equal(s.endpoints[1].password, "builder");
	assert_string_equal(s.endpoints[2].url, "ws://c.example.org/path");
	assert_string_equal(s.endpoints[3].url, "wss://u:p@d.example.org");
	assert_false(s.endpoints[2].has_tls);
	assert_true(
		s.endpoints[3].has_tls && s.endpoints[3].tls_verify && s.endpoints[3].tls_legacy);
	assert_string_equal(s.endpoints[3].tls_ca, "/etc/d.pem");
	assert_null(s.endpoints[3].tls_max);
	assert_string_equal(s.username, "me");
	assert_int_equal(s.topic_count, 2);
	assert_string_equal(s.topics[1], "cache/a/wis2/+/metadata");
	assert_false(s.tls_verify);
	assert_string_equal(s.tls_ca, "/etc/ca.pem");
	assert_string_equal(s.tls_max, "1.2");
	assert_true(s.tls_legacy);
	assert_int_equal(s.centre_count, 2);
	assert_string_equal(s.centres[1], "cc-d");
	assert_int_equal(s.protocol, 4);
	assert_int_equal(s.qos, 0);
	assert_int_equal(s.receive_maximum, 5);
	assert_int_equal(s.rate, 10);
	assert_true(s.strip_content);
	assert_int_equal(s.bind_count, 1);
	assert_int_equal(s.until_ms, 1798761600000);
	assert_false(s.enabled);
	source_config_fini(&s);
}

static const struct {
	const char *name;
	const char *text;
	const char *want;
} faulty[] = {
	{"empty", "", "s.yaml:1:1: is empty; centre_id and url are needed\n"},
	{"no centre", URL, "s.yaml:1:1: centre_id: is missing; such as ca-eccc-msc is right\n"},
	{"no address", "centre_id: aa-b\n",
		"s.yaml:1:1: url: is missing; such as mqtts://host.example.org:8883 is right\n"},
	{"both addresses", MINIMAL "urls: [mqtt://127.0.0.1:2]\n",
		"s.yaml:3:7: urls: url and urls are both given; keep one of them\n"},
	{"no addresses", "centre_id: aa-b\nurls: []\n",
		"s.yaml:2:7: urls: is empty; at least one address is needed\n"},
	{"list in url", "centre_id: aa-b\nurl: [mqtt://127.0.0.1:2]\n",
		"s.yaml:2:6: url: is not one address; several stand under urls\n"},
	{"web socket of unknown kind", "centre_id: aa-b\nurl: wsx://user:secret@127.0.0.1:2/mqtt\n",
		"s.yaml:2:6: url: the value has an unknown scheme; known are mqtt, mqtts, ws, wss, "
		"http, "
		"https; such as mqtts://host.example.org:8883 is right\n"},
	{"web address", "centre_id: aa-b\nurl: https://user:secret@127.0.0.1:2/mqtt\n",
		"s.yaml:2:6: url: the value is of another kind of address; such as "
		"mqtts://host.example.org:8883 is right\n"},
	{"tls of an address", "centre_id: aa-b\nurls: [{url: mqtts://h, tls: {max: 1.1}}]\n",
		"s.yaml:2:36: urls.tls.max: \"1.1\" is not a version of TLS known here; 1.3 or 1.2 "
		"is right\n"},
	{"address without url", "centre_id: aa-b\nurls: [{username: x}]\n",
		"s.yaml:2:8: urls.url: is missing; such as mqtts://host:8883 is right\n"},
	{"kind", MINIMAL "kind: knot\n",
		"s.yaml:3:7: kind: \"knot\" is not a kind of source; node, gateway, cache, broker, "
		"catalogue or monitor is right\n"},
	{"protocol", MINIMAL "protocol: 3.1\n",
		"s.yaml:3:11: protocol: \"3.1\" is not a version of MQTT known here; 5 or 3.1.1 is "
		"right\n"},
	{"filter", MINIMAL "topics: [a/#/b]\n",
		"s.yaml:3:10: topics: \"a/#/b\" is not a topic filter; filters such as "
		"origin/a/wis2/# "
		"are right\n"},
	{"shared", MINIMAL "topics: [$share/g/a]\n",
		"s.yaml:3:10: topics: \"$share/g/a\" is not a topic filter; filters such as "
		"origin/a/wis2/# are right\n"},
	{"centres", MINIMAL "centres: [x]\n",
		"s.yaml:3:11: centres: \"x\" is not of the form of a centre-id; centre-ids such as "
		"ca-eccc-msc are right\n"},
	{"date", MINIMAL "until: 2026-02-30\n",
		"s.yaml:3:8: until: \"2026-02-30\" is not a date; none, a day such as 2026-12-31 "
		"or a "
		"time such as 2026-12-31T12:00:00Z is right\n"},
	{"password", MINIMAL "password: [secret]\n",
		"s.yaml:3:11: password: is a list; one value is right\n"},
	{"override", MINIMAL "checks: {metadata_owner: all}\n",
		"s.yaml:3:26: checks.metadata_owner: \"all\" is not among the words known; "
		"check, any are right\n"},
};

static void every_fault_is_told_with_its_place(void **state)
{
	uint32_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(faulty); i++) {
		struct buf faults = {0};
		struct source_config s = read_text(faulty[i].text, &faults);

		if (!view_equal(buf_view(&faults), view_of(faulty[i].want))) {
			print_message("%s:\n got %.*s\nwant %s\n", faulty[i].name,
				VIEW_ARG(buf_view(&faults)), faulty[i].want);
			wrong++;
		}
		source_config_fini(&s);
		buf_fini(&faults);
	}
	assert_int_equal(wrong, 0);
}

static void centre_ids_are_judged_by_their_form(void **state)
{
	static const struct {
		const char *id;
		bool good;
	} rows[] = {
		{"de-dwd", true},
		{"io-wis2dev-11-test", true},
		{"data-metoffice-noaa-global-cache", true},
		{"a-b", false},
		{"dwd", false},
		{"de-", false},
		{"-dwd", false},
		{"DE-dwd", false},
		{"d1-dwd", false},
		{"de_dwd", false},
		{"de-dwd-", false},
		{"de-d/wd", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf faults = {0};
		char text[128];
		struct source_config s;

		snprintf(text, sizeof(text), "centre_id: \"%s\"\n" URL, rows[i].id);
		s = read_text(text, &faults);
		if ((buf_length(&faults) == 0) != rows[i].good)
			fail_msg("%s: %.*s", rows[i].id, VIEW_ARG(buf_view(&faults)));
		source_config_fini(&s);
		buf_fini(&faults);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_of_two_lines_has_every_default),
		cmocka_unit_test(checks_are_the_global_ones_unless_the_source_says_otherwise),
		cmocka_unit_test(a_gateway_without_topic_check_has_no_metadata_check),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(every_fault_is_told_with_its_place),
		cmocka_unit_test(centre_ids_are_judged_by_their_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
