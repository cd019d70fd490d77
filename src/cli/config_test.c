/* The main file: defaults, values, and what each fault is answered with. */
#include "cli/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "cli/config_keys.h"

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))
#define HOUR 3600000ull

static struct config *read_text(const char *text, struct buf *faults)
{
	struct faults list = {faults, 0};
	struct config_reader r = {&list, "f.yaml", "dir/", ""};
	struct config *c = mem_new(sizeof(*c));

	yaml_free(config_read_main(&r, view_of(text), c));
	faults_end(&list);
	return c;
}

/* --- defaults --------------------------------------------------------- */

static void assert_defaults(const struct config *c)
{
	const struct {
		const char *key;
		uint64_t got;
		uint64_t want;
	} rows[] = {
		{"limits.connections", c->limits.connections, 100000},
		{"limits.sessions", c->limits.sessions, 1000000},
		{"limits.sessions_per_account", c->limits.sessions_per_account, 0},
		{"limits.sessions_per_address", c->limits.sessions_per_address, 100},
		{"the same from loopback", c->limits.loopback_leaves_any, true},
		{"limits.connections_per_address", c->limits.connections_per_address, 0},
		{"limits.connect_rate_per_address", c->limits.connect_rate_per_address, 0},
		{"limits.packet_size", c->limits.packet_bytes, 256 << 10},
		{"limits.subscriptions_per_session", c->limits.subscriptions_per_session, 1000},
		{"limits.subscription_bytes_per_session", c->limits.subscription_bytes_per_session,
			64 << 10},
		{"limits.send_buffer", c->limits.send_buffer_bytes, 256 << 10},
		{"limits.in_flight", c->limits.in_flight, 1024},
		{"limits.receive_maximum", c->limits.receive_maximum, 100},
		{"limits.session_expiry", c->limits.session_expiry_ms, 24 * HOUR},
		{"limits.keep_alive", c->limits.keep_alive_s, 600},
		{"journal.keep", c->journal_keep_ms, 24 * HOUR},
		{"journal.size", c->journal_size_bytes, 64ull << 30},
		{"journal.sync", c->journal_sync, JOURNAL_SYNC_INTERVAL},
		{"journal.sync", c->journal_sync_ms, 1000},
		{"antiloop.window", c->window_ms, 24 * HOUR},
		{"antiloop.ids", c->ids, 20000000},
		{"checks.topic", c->checks.checks[CHECK_TOPIC], GATE_DISCARD},
		{"checks.centre", c->checks.checks[CHECK_CENTRE], GATE_DISCARD},
		{"checks.message", c->checks.checks[CHECK_MESSAGE], GATE_DISCARD},
		{"checks.metadata", c->checks.checks[CHECK_METADATA], GATE_DISCARD},
		{"checks.message_mode", c->checks.message_mode, MODE_STANDARD},
		{"checks.leaf", c->checks.leaf_only, false},
		{"checks.metadata_subtopics", c->checks.metadata_subtopics, false},
		{"checks.test_centres", c->checks.test_centres, true},
		{"bind", c->bind_count, 0},
		{"shadow", c->shadow, false},
		{"log.level", c->log_level, LOG_INFO},
		{"log.format", c->log_json, false},
		{"workers", c->workers, (uint64_t)sysconf(_SC_NPROCESSORS_ONLN)},
		{"listeners", c->listener_count, 2},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (rows[i].got != rows[i].want)
			fail_msg("%s: got %llu, want %llu", rows[i].key,
				(unsigned long long)rows[i].got, (unsigned long long)rows[i].want);
	for (size_t i = 0; i < RULE_COUNT; i++)
		assert_int_equal(c->checks.rules[i], -1);
}

static void an_empty_file_has_every_default(void **state)
{
	static const char *const empty[] = {"", "# nothing\n", "{}", "limits:\ncluster:\n"};
	struct buf faults = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(empty); i++) {
		struct config *c = read_text(empty[i], &faults);

		assert_int_equal(buf_length(&faults), 0);
		assert_defaults(c);
		assert_string_equal(c->centre_id, "io-wis2dev-global-broker");
		assert_string_equal(c->data_dir, "/var/lib/isobar");
		assert_string_equal(c->sources_dir, "dir/sources.d");
		assert_string_equal(c->accounts_file, "/etc/isobar/accounts.yaml");
		assert_string_equal(c->tls_certificate, "/etc/isobar/fullchain.pem");
		assert_string_equal(c->tls_key, "/etc/isobar/privkey.pem");
		assert_null(c->tls_client_ca);
		assert_string_equal(c->listeners[0].text, "mqtt://127.0.0.1:1883");
		assert_string_equal(c->listeners[1].text, "http://127.0.0.1:8080");
		config_free(c);
	}
	buf_fini(&faults);
}

static void what_is_the_default_anyway_may_be_written(void **state)
{
	static const char text[] =
		"http_public: [ui, metrics, status, sources, rejects]\nwebsocket_paths: [/mqtt]\n"
		"websocket_origins: []\nantiloop: {compatible: no}\n"
		"checks: {metadata_owner: check, metadata_fallback: yes, rules: {}}\n"
		"topic_hierarchy: built-in\nmetadata: {catalogues: [], refresh: 15m, grace: 14d}\n"
		"publish: []\nbind: []\nshadow: no\nsources: sources.d\nworkers: auto\n"
		"listeners:\n  - mqtt://127.0.0.1:1883\n  - http://127.0.0.1:8080\n"
		"log: {level: info, format: text}\n";
	struct buf faults = {0};
	struct config *c = read_text(text, &faults);

	(void)state;
	if (buf_length(&faults))
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	assert_defaults(c);
	config_free(c);
	buf_fini(&faults);
}

static void without_a_file_data_lies_in_the_working_folder(void **state)
{
	struct buf faults = {0};
	struct config *c;

	(void)state;
	if (access("/etc/isobar", F_OK) == 0)
		return;
	assert_int_equal(config_load(NULL, &c, &faults), 0);
	assert_string_equal(c->data_dir, "./isobar-data");
	assert_int_equal(c->source_count, 0);
	assert_int_equal(c->accounts->count, 1);
	assert_string_equal(c->accounts->list[0].user, "everyone");
	config_free(c);
	buf_fini(&faults);
}

/* --- values ----------------------------------------------------------- */

static void values_arrive_where_they_belong(void **state)
{
	static const char text[] =
		"centre_id: fr-meteofrance-global-broker\ndata_dir: data\nworkers: 3\n"
		"limits: {packet_size: 1MiB, keep_alive: 2m, in_flight: 5}\n"
		"journal:\n  keep: 6h\n  size: 1GiB\n  sync: always\n"
		"checks:\n  topic: verify\n  metadata: off\n  rules: {WNM-65: verify, WTH-07: "
		"off}\n"
		"  message_mode: strict\n  leaf: only\n  test_centres: no\n"
		"  metadata_owner: any\n  metadata_fallback: no\n"
		"metadata: {catalogues: [\"https://a.example/items?q=x\"], refresh: 1h, grace: "
		"0s}\n"
		"bind: [192.0.2.1, \"2001:db8::1\"]\nshadow: yes\nlog: {level: debug, format: "
		"json}\n"
		"listeners: [\"mqtt://[::1]:0\", {url: http://localhost:9090}, "
		"{url: \"ws://127.0.0.1:0\", proxy_protocol_from: [10.0.0.0/8, \"::1\"], "
		"client_certificate: required}]\n"
		"websocket_paths: [/a, /b]\nwebsocket_origins: [https://a.example]\n";
	struct buf faults = {0};
	struct config *c = read_text(text, &faults);

	(void)state;
	if (buf_length(&faults))
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	assert_string_equal(c->centre_id, "fr-meteofrance-global-broker");
	assert_string_equal(c->data_dir, "dir/data");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->limits.packet_bytes, 1 << 20);
	assert_int_equal(c->limits.keep_alive_s, 120);
	assert_int_equal(c->limits.in_flight, 5);
	assert_int_equal(c->journal_keep_ms, 6 * HOUR);
	assert_int_equal(c->journal_size_bytes, 1 << 30);
	assert_int_equal(c->journal_sync, JOURNAL_SYNC_ALWAYS);
	assert_int_equal(c->checks.checks[CHECK_TOPIC], GATE_VERIFY);
	assert_int_equal(c->checks.checks[CHECK_METADATA], GATE_OFF);
	assert_int_equal(c->checks.rules[rule_by_id(VIEW("WNM-65"))], GATE_VERIFY);
	assert_int_equal(c->checks.rules[rule_by_id(VIEW("WTH-07"))], GATE_OFF);
	assert_int_equal(c->checks.message_mode, MODE_STRICT);
	assert_true(c->checks.leaf_only);
	assert_false(c->checks.test_centres);
	assert_true(c->checks.metadata_any_owner);
	assert_false(c->checks.metadata_fallback);
	assert_int_equal(c->catalogue_count, 1);
	assert_string_equal(c->catalogues[0], "https://a.example/items?q=x");
	assert_int_equal(c->metadata_refresh_ms, HOUR);
	assert_int_equal(c->metadata_grace_ms, 0);
	assert_int_equal(c->bind_count, 2);
	assert_string_equal(c->bind[1], "2001:db8::1");
	assert_int_equal(c->websocket_path_count, 2);
	assert_string_equal(c->websocket_paths[1], "/b");
	assert_int_equal(c->websocket_origin_count, 1);
	assert_string_equal(c->websocket_origins[0], "https://a.example");
	assert_true(c->shadow);
	assert_int_equal(c->log_level, LOG_DEBUG);
	assert_true(c->log_json);
	assert_int_equal(c->listener_count, 3);
	assert_string_equal(c->listeners[0].url.host, "::1");
	assert_int_equal(c->listeners[2].url.scheme, URL_WS);
	assert_int_equal(c->listeners[1].proxy_network_count, 0);
	assert_int_equal(c->listeners[2].proxy_network_count, 2);
	assert_string_equal(c->listeners[2].proxy_networks[1], "::1");
	assert_true(c->listeners[2].client_certificate_required);
	assert_int_equal(c->listeners[0].url.port, 0);
	assert_string_equal(c->listeners[1].url.host, "127.0.0.1");
	config_free(c);
	buf_fini(&faults);
}

static void words_for_yes_and_no_are_taken(void **state)
{
	static const char *const words[] = {"no", "off", "false", "yes", "on", "true", "\"yes\""};
	struct buf faults = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		char *text = mem_printf("shadow: %s\n", words[i]);
		struct config *c = read_text(text, &faults);

		assert_int_equal(buf_length(&faults), 0);
		assert_int_equal(c->shadow, i >= 3);
		config_free(c);
		free(text);
	}
	buf_fini(&faults);
}

static void a_share_of_the_disk_becomes_bytes(void **state)
{
	struct buf faults = {0};
	struct config *c = read_text("data_dir: /nowhere/at/all\njournal: {size: 50%}\n", &faults);

	(void)state;
	assert_int_equal(buf_length(&faults), 0);
	assert_int_equal(c->journal_size_percent, 50);
	assert_int_not_equal(c->journal_size_bytes, 64ull << 30);
	assert_true(c->journal_size_bytes > 1 << 20);
	config_free(c);
	buf_fini(&faults);
}

static void variables_are_put_in_and_never_shown(void **state)
{
	struct buf faults = {0};
	struct config *c;

	(void)state;
	setenv("ISOBAR_TEST_CENTRE", "fr-meteofrance", 1);
	setenv("ISOBAR_TEST_SECRET", "hush", 1);
	c = read_text("centre_id: ${ISOBAR_TEST_CENTRE}-global-broker\n", &faults);
	assert_int_equal(buf_length(&faults), 0);
	assert_string_equal(c->centre_id, "fr-meteofrance-global-broker");
	config_free(c);
	c = read_text("data_dir: /a$${b}\n", &faults);
	assert_string_equal(c->data_dir, "/a${b}");
	config_free(c);
	c = read_text("limits: {connections: \"${ISOBAR_TEST_SECRET}\"}\n", &faults);
	buf_append(&faults, "", 1);
	assert_string_equal((const char *)buf_bytes(&faults),
		"f.yaml:1:23: limits.connections: the value is not a whole number; a whole number "
		"is "
		"right\n");
	config_free(c);
	buf_fini(&faults);
}

/* --- faults ----------------------------------------------------------- */

#define RIGHT_MODES "; discard, verify, off are right\n"

static const struct {
	const char *name;
	const char *text;
	const char *want;
} faulty[] = {
	{"unknown key", "centre_id: aa-b\njournl: {}\n",
		"f.yaml:2:1: journl: unknown key; journal is the nearest one known\n"},
	{"unknown key below", "limits:\n  conections: 5\n",
		"f.yaml:2:3: limits.conections: unknown key; limits.connections is the nearest one "
		"known\n"},
	{"unlike any key", "log: {zzzzzzzz: 1}\n",
		"f.yaml:1:7: log.zzzzzzzz: unknown key; known here are level, format\n"},
	{"dotted key", "limits.connections: 5\n",
		"f.yaml:1:1: limits.connections: unknown key; write the parts below each other, "
		"indented\n"},
	{"twice", "shadow: no\nlog: {}\nshadow: yes\n",
		"f.yaml:3:1: shadow: given twice, first in line 1; keep one of them\n"},
	{"several", "shadow: maybe\nworkers: 0\n",
		"f.yaml:1:9: shadow: \"maybe\" is not yes or no; yes or no (on, off, true, false) "
		"is "
		"right\n"
		"f.yaml:2:10: workers: \"0\" is less than 1; auto, or a whole number, is right\n"},
	{"no unit", "journal: {keep: 24}\n",
		"f.yaml:1:17: journal.keep: \"24\" has no unit; a number with ms, s, m, h or d "
		"such as "
		"90s or 24h is right\n"},
	{"list for value", "centre_id: [a]\n",
		"f.yaml:1:12: centre_id: is a list; one value is right\n"},
	{"nothing for value", "shadow: no\ncentre_id:\n",
		"f.yaml:2:1: centre_id: has no value; give one value or leave the line out\n"},
	{"value for group", "limits: 5\n",
		"f.yaml:1:9: limits: is one value; a mapping is right\n"},
	{"not a mapping", "- a\n", "f.yaml:1:1: not a mapping; \"key: value\" lines are right\n"},
	{"choice", "checks: {topic: drop}\n",
		"f.yaml:1:17: checks.topic: \"drop\" is not among the words known" RIGHT_MODES},
	{"rule", "checks:\n  rules: {WNM-999: off}\n",
		"f.yaml:2:11: checks.rules: no rule has the id \"WNM-999\"; ids look like WNM-35 "
		"or "
		"WTH-07\n"},
	{"mode of a rule", "checks:\n  rules: {WNM-65: no}\n",
		"f.yaml:2:19: checks.rules: \"no\" for WNM-65 is not a mode; discard, verify or "
		"off is "
		"right\n"},
	{"list as mode of a rule", "checks:\n  rules: {WNM-65: [off]}\n",
		"f.yaml:2:19: checks.rules: \"\" for WNM-65 is not a mode; discard, verify or off "
		"is "
		"right\n"},
	{"rule twice", "checks:\n  rules: {WNM-65: off, WNM-65: verify}\n",
		"f.yaml:2:24: checks.rules: the same rule twice; keep one of them\n"},
	{"centre", "centre_id: Meteo\n",
		"f.yaml:1:12: centre_id: \"Meteo\" is not of the form of a centre-id; a top-level "
		"domain, "
		"a dash and a name in a-z 0-9 - such as ca-eccc-msc is right\n"},
	{"number above", "limits: {in_flight: 65536}\n",
		"f.yaml:1:21: limits.in_flight: \"65536\" is more than 65535; a whole number is "
		"right\n"},
	{"bind", "bind: [localhost]\n",
		"f.yaml:1:8: bind: \"localhost\" is not an IP address; addresses such as 192.0.2.1 "
		"or "
		"2001:db8::1 are right\n"},
	{"variable", "centre_id: ${ISOBAR_TEST_NOT_SET}\n",
		"f.yaml:1:12: centre_id: environment variable ISOBAR_TEST_NOT_SET is not set; set "
		"it for "
		"the process\n"},
	{"bad variable", "centre_id: ${}\n",
		"f.yaml:1:12: centre_id: ${ is not followed by a name and }; ${NAME} takes a "
		"variable, "
		"$${ is ${ itself\n"},
	{"secret file", "data_dir: !file nothing-here\n",
		"f.yaml:1:17: data_dir: cannot read dir/nothing-here: No such file or directory; "
		"name a "
		"readable file\n"},
	{"tag", "data_dir: !secret x\n",
		"f.yaml:1:19: data_dir: unknown tag !secret; only !file PATH is known\n"},
	{"publish to no address", "publish:\n  - {url: \"http://emqx.example.org\"}\n",
		"f.yaml:2:11: publish.url: the value is of another kind of address; such as "
		"mqtts://host.example.org:8883 is right\n"},
	{"publish without an address", "publish:\n  - {topics: [a/#]}\n",
		"f.yaml:2:5: publish.url: is missing; such as mqtts://emqx.example.org:8883 is "
		"right\n"},
	{"publish twice to one broker", "publish: [mqtt://a:1883, \"mqtt://u:p@a\"]\n",
		"f.yaml:1:26: publish: mqtt://a:1883 again; each broker stands once, with all its "
		"topics\n"},
	{"publish as no list", "publish: mqtt://a\n",
		"f.yaml:1:10: publish: is not a list; a list of addresses such as - "
		"mqtts://emqx.example.org:8883 is right\n"},
	{"publish what is no filter", "publish: [{url: mqtt://a, topics: [a/#/b]}]\n",
		"f.yaml:1:36: publish.topics: \"a/#/b\" is not a topic filter; filters such as "
		"origin/a/wis2/# are right\n"},
	{"publish twice by one name",
		"publish: [{name: x, url: mqtt://a}, {name: x, url: mqtt://b}]\n",
		"f.yaml:1:37: publish: x again; each broker stands once, with all its topics\n"},
	{"publish with a name that is none", "publish: [{name: \"a b\", url: mqtt://a}]\n",
		"f.yaml:1:18: publish.name: \"a b\" is not a name; 1 to 63 characters in a-z A-Z "
		"0-9 "
		"- _ . such as emqx are right\n"},
	{"publish with an unknown key", "publish: [{url: mqtt://a, qos: 1}]\n",
		"f.yaml:1:27: publish.qos: unknown key; tls is the nearest one known\n"},
	{"a catalogue of no web address", "metadata: {catalogues: [mqtt://a.example.org]}\n",
		"f.yaml:1:25: metadata.catalogues: \"mqtt://a.example.org\" is of another kind of "
		"address; "
		"addresses such as https://host.example.org/items are right\n"},
	{"a catalogue twice", "metadata: {catalogues: [https://a.example, https://a.example]}\n",
		"f.yaml:1:11: metadata.catalogues: names the same address twice; each once is "
		"right\n"},
	{"refresh", "metadata: {refresh: 5s}\n",
		"f.yaml:1:21: metadata.refresh: \"5s\" is less than 1m; a number with ms, s, m, h "
		"or d "
		"such as 90s or 24h is right\n"},
	{"compatible", "antiloop: {compatible: wis2gb}\n",
		"f.yaml:1:24: antiloop.compatible: shares the duplicate filter in the antiloop's "
		"Redis Cluster, and there is no cluster section; cluster: {redis: [...]} with that "
		"one's addresses, or no, is right\n"},
	{"compatible with what", "antiloop: {compatible: yes}\n",
		"f.yaml:1:24: antiloop.compatible: \"yes\" is not among the words known; no, "
		"wis2gb "
		"are right\n"},
	{"http_public", "http_public: [ui, everything]\n",
		"f.yaml:1:19: http_public: \"everything\" is not among the words known; ui, "
		"metrics, "
		"status, sources, rejects, messages, clients are right\n"},
	{"path of a web socket listener", "listeners: [\"ws://127.0.0.1:8000/other\"]\n",
		"f.yaml:1:13: listeners: a path on ws; paths of all listeners stand in "
		"websocket_paths\n"},
	{"websocket_paths", "websocket_paths: [mqtt]\n",
		"f.yaml:1:19: websocket_paths: \"mqtt\" is not a path; paths beginning with / are "
		"right\n"},
	{"listener's name", "listeners: [mqtt://broker.example.org]\n",
		"f.yaml:1:13: listeners.url: the value does not name an IP address; such as "
		"mqtt://127.0.0.1:1883 or mqtts://[::]:8883, with an IP address, is right\n"},
	{"listener's secret", "listeners: [mqtt://user:secret@127.0.0.1]\n",
		"f.yaml:1:13: listeners.url: the value holds a user name or password; such as "
		"mqtt://127.0.0.1:1883 or mqtts://[::]:8883, with an IP address, is right\n"},
	{"listener twice", "listeners:\n  - mqtt://127.0.0.1:1883\n  - http://127.0.0.1:1883\n",
		"f.yaml:3:5: listeners: the address of line 2 again; each stands once\n"},
	{"listener without url", "listeners:\n  - {certificate: a.pem}\n",
		"f.yaml:2:5: listeners.url: is missing; such as mqtt://127.0.0.1:1883 is right\n"},
	{"certificate on plain", "listeners:\n  - {url: \"mqtt://127.0.0.1\", certificate: a}\n",
		"f.yaml:2:5: listeners: certificates on mqtt; they belong to mqtts, wss and "
		"https listeners\n"},
	{"proxy",
		"listeners:\n  - {url: \"mqtt://127.0.0.1\", proxy_protocol_from: [10.0.0.1/8]}\n",
		"f.yaml:2:53: listeners.proxy_protocol_from: \"10.0.0.1/8\" is not a network; "
		"networks such as 10.0.0.0/8 or 2001:db8::/32, or single addresses, are right\n"},
	{"client certificate on plain",
		"listeners:\n  - {url: \"mqtt://127.0.0.1\", client_certificate: optional}\n",
		"f.yaml:2:5: listeners: client_certificate on mqtt; it belongs to mqtts and wss "
		"listeners, or beside proxy_protocol_from where the load balancer verifies "
		"certificates\n"},
	{"not YAML", "a: [1, 2\n",
		"f.yaml:2:1: not YAML: flow sequence without a closing bracket; YAML 1.2 is "
		"expected "
		"here\n"},
	{"alias", "a: *b\n",
		"f.yaml:1:4: aliases (*name) are not used here; write the value itself\n"},
	{"anchor", "a: &b 1\n",
		"f.yaml:1:7: anchors (&name) are not used here; write the value where it is "
		"needed\n"},
	{"two documents", "shadow: no\n---\nshadow: yes\n",
		"f.yaml:2:1: a second document begins; a file holds one\n"},
	{"not UTF-8", "shadow: no\nlog: \xff\n",
		"f.yaml:2:6: not UTF-8 text; save the file as UTF-8\n"},
	{"NUL", "a: \"x\\0y\"\n", "f.yaml:1:4: a value holds a NUL character; leave it out\n"},
};

static void every_fault_is_told_with_its_place(void **state)
{
	uint32_t wrong = 0;

	(void)state;
	unsetenv("ISOBAR_TEST_NOT_SET");
	for (size_t i = 0; i < COUNT_OF(faulty); i++) {
		struct buf faults = {0};

		config_free(read_text(faulty[i].text, &faults));
		if (!view_equal(buf_view(&faults), view_of(faulty[i].want))) {
			print_message("%s:\n got %.*s\nwant %s\n", faulty[i].name,
				VIEW_ARG(buf_view(&faults)), faulty[i].want);
			wrong++;
		}
		buf_fini(&faults);
	}
	assert_int_equal(wrong, 0);
}

static void faults_beyond_two_hundred_are_counted(void **state)
{
	struct buf text = {0};
	struct buf faults = {0};

	(void)state;
	for (int i = 0; i < 250; i++)
		buf_printf(&text, "zzzzzzzzzzzz%d: 1\n", i);
	buf_append(&text, "", 1);
	config_free(read_text((const char *)buf_bytes(&text), &faults));
	assert_true(view_ends_with(buf_view(&faults), VIEW("\nand 50 more faults\n")));
	buf_fini(&text);
	buf_fini(&faults);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_has_every_default),
		cmocka_unit_test(what_is_the_default_anyway_may_be_written),
		cmocka_unit_test(without_a_file_data_lies_in_the_working_folder),
		cmocka_unit_test(values_arrive_where_they_belong),
		cmocka_unit_test(words_for_yes_and_no_are_taken),
		cmocka_unit_test(a_share_of_the_disk_becomes_bytes),
		cmocka_unit_test(variables_are_put_in_and_never_shown),
		cmocka_unit_test(every_fault_is_told_with_its_place),
		cmocka_unit_test(faults_beyond_two_hundred_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
