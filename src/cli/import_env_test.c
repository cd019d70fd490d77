/* .env files of the three programs, and what becomes of each key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/config_keys.h"
#include "cli/import_env.h"

static const struct row {
	const char *name;
	const char *text;
	const char *want;  /* the YAML; NULL: refused */
	const char *notes; /* each line in order; "" : none */
} rows[] = {
	{"the least", "MQTT_SUB_BROKER=mqtts://x.example.org:8883\nMQTT_SUB_VERIFYCERT=true",
		"centre_id: \"de-dwd\"\nkind: node\nurl: \"mqtts://x.example.org:8883\"\n", ""},
	{"comments, quotes, blanks, carriage returns",
		"# a comment\r\n\r\n CENTRE_ID = 'jp-jma' # why\r\nMQTT_SUB_BROKER=\"mqtt://x\"\r\n"
		"MQTT_SUB_TOPIC=origin/a/wis2/jp-jma/#, monitor/a/wis2/jp-jma/# # both\r\n"
		"MQTT_SUB_VERIFYCERT=1",
		"centre_id: \"jp-jma\"\nkind: node\nurl: \"mqtt://x\"\ntopics:\n"
		"  - \"origin/a/wis2/jp-jma/#\"\n  - \"monitor/a/wis2/jp-jma/#\"\n",
		""},
	{"of an editor and for a shell",
		"\xef\xbb\xbf"
		"export MQTT_SUB_BROKER=\"mqtts://x\"\r\nexport  CENTRE_ID=it-meteoam\n"
		"MQTT_SUB_VERIFYCERT=true",
		"centre_id: \"it-meteoam\"\nkind: node\nurl: \"mqtts://x\"\n", ""},
	{"everything of the Node-RED and Go antiloops",
		"CENTRE_ID=jp-jma-global-cache\nMQTT_SUB_BROKER=mqtts://x\nMQTT_SUB_USERNAME=u\n"
		"MQTT_SUB_PASSWORD=a=${b}\nMQTT_SUB_BROKERVERSION=4\nMQTT_SUB_VERIFYCERT=false\n"
		"MQTT_SUB_QOS=2\nMQTT_SUB_TLS12FORCE=true\nMQTT_SUB_BROKER_BACKUP=mqtts://y\n"
		"MQTT_SUB_USERNAME_BACKUP=v\nMQTT_SUB_PASSWORD_BACKUP=w\nMSG_CHECK_OPTION=verify\n"
		"TOPIC_CHECK_OPTION=discard\nMETADATA_CHECK_OPTION=no\nDELETE_CONTENT_OPTION="
		"discard",
		"centre_id: \"jp-jma-global-cache\"\nkind: cache\nurls:\n  - \"mqtts://x\"\n"
		"  - url: \"mqtts://y\"\n    username: \"v\"\n    password: \"w\"\nusername: "
		"\"u\"\n"
		"password: \"a=$${b}\"\ntls: {verify: no, max: 1.2, legacy: yes}\nprotocol: 3.1.1\n"
		"qos: 2\nchecks: {topic: discard, message: verify, metadata: off}\n"
		"strip_content: yes\n",
		""},
	{"a second address whose certificates are judged otherwise",
		"MQTT_SUB_BROKER=mqtts://x\nMQTT_SUB_VERIFYCERT=true\n"
		"MQTT_SUB_BROKER_BACKUP=mqtts://y\nMQTT_SUB_VERIFYCERT_BACKUP=false\n",
		"centre_id: \"de-dwd\"\nkind: node\nurls:\n  - \"mqtts://x\"\n"
		"  - url: \"mqtts://y\"\n    tls: {verify: no}\n",
		""},
	{"a second address with old ciphers only, and a first that is not verified",
		"MQTT_SUB_BROKER=mqtts://x\nMQTT_SUB_VERIFYCERT=false\n"
		"MQTT_SUB_BROKER_BACKUP=mqtts://y\nMQTT_SUB_TLS12FORCE_BACKUP=true\n",
		"centre_id: \"de-dwd\"\nkind: node\nurls:\n  - \"mqtts://x\"\n"
		"  - url: \"mqtts://y\"\n    tls: {verify: no, max: 1.2, legacy: yes}\n"
		"tls: {verify: no}\n",
		""},
	{"the Python reference implementation",
		"SUB_CENTRE_ID=fr-meteofrance-global-broker\nSUB_BROKER_URL=mqtts://a:b@x:8883\n"
		"SUB_TOPICS=origin/a/wis2/# "
		"cache/a/wis2/#\nVERIFY_MESSAGE=True\nVERIFY_TOPIC=False\n"
		"VERIFY_CENTRE_ID=True",
		"centre_id: \"fr-meteofrance-global-broker\"\nkind: broker\n"
		"url: \"mqtts://a:b@x:8883\"\ntopics:\n  - \"origin/a/wis2/#\"\n"
		"  - \"cache/a/wis2/#\"\nchecks: {topic: off, centre: discard, message: discard}\n",
		""},
	{"words that were no words there either",
		"MQTT_SUB_BROKER=mqtt://x\nMQTT_SUB_VERIFYCERT=true\nMSG_CHECK_OPTION=Discard\n"
		"TOPIC_CHECK_OPTION=ignore\nMETADATA_CHECK_OPTION=",
		"centre_id: \"de-dwd\"\nkind: node\nurl: \"mqtt://x\"\n"
		"checks: {topic: off, message: off, metadata: off}\n",
		"MSG_CHECK_OPTION: neither discard nor verify: the check was not made there, and "
		"is "
		"off here\n"},
	{"keys that are not taken",
		"MQTT_SUB_BROKER=mqtt://"
		"x\nMQTT_SUB_KEEPALIVE=60\nREDIS_URL=[]\nMQTT_PUB_BROKER_2=x\n"
		"NONSENSE=1\nnonsense\nMQTT_SUB_QOS=0",
		"centre_id: \"de-dwd\"\nkind: node\nurl: \"mqtt://x\"\n",
		"MQTT_SUB_KEEPALIVE: ignored: the keep alive of sources is fixed\n"
		"REDIS_URL: ignored: the antiloop is built in; see cluster in the configuration\n"
		"MQTT_PUB_BROKER_2: ignored: Isobar serves subscribers itself; see listeners and "
		"publish in the configuration\n"
		"NONSENSE: ignored: not a key known\nnonsense: ignored: not KEY=VALUE\n"
		"MQTT_SUB_VERIFYCERT: not given: certificates were not verified there and are "
		"here; "
		"tls: {verify: no} turns it off\n"
		"MQTT_SUB_QOS: 1 instead of 0: the Guide to WIS asks for it, and nothing is lost "
		"in a "
		"break\n"},
	{"no address", "CENTRE_ID=de-dwd\n", NULL, ""},
	{"nothing", "", NULL, ""},
};

static void assert_same(const char *name, const struct buf *got, const char *want)
{
	if (!view_equal(buf_view(got), view_of(want)))
		fail_msg("%s: got\n%.*s\nwant\n%s", name, VIEW_ARG(buf_view(got)), want);
}

/* What was written is a source without a fault. */
static void assert_is_source(const char *name, const struct buf *yaml)
{
	struct buf text = {0};
	struct faults faults = {&text, 0};
	struct config_reader r = {&faults, "x.yaml", "", ""};
	struct config config = {0};
	struct source_config source;

	gate_settings_default(&config.checks);
	config_read_source(&r, buf_view(yaml), "x", &config, &source);
	if (faults.count)
		fail_msg("%s: %.*s", name, VIEW_ARG(buf_view(&text)));
	source_config_fini(&source);
	buf_fini(&text);
}

static void each_key_is_taken_or_named_with_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct buf out = {0}, notes = {0};
		struct view centre;
		bool made = import_env(view_of(row->text), VIEW("de-dwd"), &out, &notes, &centre);

		if (made != (row->want != NULL))
			fail_msg("%s: %s", row->name, made ? "taken" : "refused");
		assert_same(row->name, &notes, row->notes);
		if (made) {
			assert_same(row->name, &out, row->want);
			assert_is_source(row->name, &out);
		}
		buf_fini(&out);
		buf_fini(&notes);
	}
}

static void a_password_is_read_back_as_it_was(void **state)
{
	struct buf out = {0}, notes = {0}, text = {0};
	struct faults faults = {&text, 0};
	struct config_reader r = {&faults, "x.yaml", "", ""};
	struct config config = {0};
	struct source_config source;
	struct view centre;

	(void)state;
	gate_settings_default(&config.checks);
	assert_true(import_env(
		VIEW("MQTT_SUB_BROKER=mqtt://x\nMQTT_SUB_PASSWORD=a\\b\"${HOME}$!file x"),
		VIEW("de-dwd"), &out, &notes, &centre));
	config_read_source(&r, buf_view(&out), "x", &config, &source);
	assert_string_equal(source.password, "a\\b\"${HOME}$!file x");
	source_config_fini(&source);
	buf_fini(&out);
	buf_fini(&notes);
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_is_taken_or_named_with_the_reason),
		cmocka_unit_test(a_password_is_read_back_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
