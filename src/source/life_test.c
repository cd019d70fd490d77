/* One source from configuration to connection and back, and the set of them. */
#include "source/fixture.h"

#include "net/websocket.h"

struct shown {
	const char *name;
	char url[URL_TEXT_BYTES];
	char state[64];
	char error[256];
	uint8_t protocol;
	int count;
	char names[256];
};

static void on_source(void *context, const struct source_view *v)
{
	struct shown *s = context;

	s->count++;
	snprintf(s->url, sizeof(s->url), "%s", v->url);
	snprintf(s->state, sizeof(s->state), "%s", v->state);
	snprintf(s->error, sizeof(s->error), "%s", v->last_error);
	snprintf(s->names + strlen(s->names), sizeof(s->names) - strlen(s->names), "%s ", v->name);
	s->protocol = v->protocol;
}

static struct shown look(struct fixture *f)
{
	struct shown s = {0};

	sources_each(f->sources, on_source, &s);
	return s;
}

static void assert_contains(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not hold \"%s\"", text, part);
}

/* --- CONNECT and SUBSCRIBE ---------------------------------------------- */

static void connect_and_subscribe_say_what_the_contract_says(void **state)
{
	struct mqtt_subscription sub;
	struct mqtt_packet packet;
	struct view rest;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.username = mem_text("user");
	f.config.password = mem_text("secret");
	fixture_apply(&f);
	packet = peer_read_connect(&f.peer);
	assert_int_equal(packet.connect.version, MQTT_5);
	assert_true(view_equal(packet.connect.client_id, VIEW(OWN_CENTRE "-dwd-0")));
	assert_false(packet.connect.clean_start);
	assert_int_equal(packet.connect.keep_alive_s, 60);
	assert_true(view_equal(packet.connect.user_name, VIEW("user")));
	assert_true(view_equal(packet.connect.password, VIEW("secret")));
	assert_int_equal(
		mqtt_number(&packet.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, 0), 86400);
	assert_int_equal(mqtt_number(&packet.properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, 0), 100);
	assert_false(mqtt_has(&packet.properties, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM));
	peer_send_connack(&f.peer, 0);
	packet = peer_read(&f.peer, MQTT_SUBSCRIBE);
	rest = packet.list.items;
	assert_true(mqtt_next_subscription(&rest, &sub));
	assert_true(view_equal(sub.filter, VIEW("origin/a/wis2/de-dwd/#")));
	assert_int_equal(sub.qos, 1);
	assert_int_equal(packet.list.count, 1);
	peer_send_suback(&f.peer, "\1", 1);
	await_figure(&f, &fixture_source(&f)->figures.connected, 1);
	assert_string_equal(look(&f).state, "connected");
	assert_int_equal(count_read(&fixture_source(&f)->figures.connects), 1);
	fixture_fini(&f);
}

static void topics_follow_from_the_kind(void **state)
{
	static const struct {
		enum source_kind kind;
		const char *want;
	} rows[] = {
		{SOURCE_NODE, "origin/a/wis2/de-dwd/# origin/a/wis2/de-x/# "},
		{SOURCE_CACHE, "cache/a/wis2/# "},
		{SOURCE_BROKER, "origin/a/wis2/# cache/a/wis2/# "},
		{SOURCE_CATALOGUE, "origin/a/wis2/de-dwd/metadata origin/a/wis2/de-x/metadata "},
		{SOURCE_MONITOR, "monitor/a/wis2/+ "},
	};
	char *centres[] = {"de-x"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct source_config c = {.kind = rows[i].kind,
			.centre_id = "de-dwd",
			.centres = centres,
			.centre_count = 1};
		struct source_filters filters;
		char got[256] = "";

		source_filters_for(&filters, &c);
		for (uint32_t k = 0; k < filters.count; k++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s ",
				filters.texts[k]);
		assert_string_equal(got, rows[i].want);
		source_filters_fini(&filters);
	}
}

/* --- refusals ------------------------------------------------------------ */

static void a_refusal_is_told_in_words_and_tried_again(void **state)
{
	static const struct {
		uint8_t protocol;
		uint8_t reason;
		const char *want;
	} rows[] = {
		{MQTT_5, 0x86, "bad user name or password (user everyone)"},
		{MQTT_5, 0x88, "Server unavailable"},
		{MQTT_3_1_1, 4, "bad user name or password"},
		{MQTT_3_1_1, 5, "not authorized"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		fixture_init(&f);
		f.config.protocol = rows[i].protocol;
		fixture_apply(&f);
		assert_int_equal(peer_read_connect(&f.peer).connect.version, rows[i].protocol);
		peer_send_connack(&f.peer, rows[i].reason);
		peer_expect_close(&f.peer);
		assert_contains(look(&f).error, rows[i].want);
		assert_int_equal(count_read(&fixture_source(&f)->figures.connected), 0);
		peer_greet(&f);
		assert_string_equal(look(&f).error, "");
		fixture_fini(&f);
	}
}

static void a_refused_subscription_is_told_and_tried_again(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_read_connect(&f.peer);
	peer_send_connack(&f.peer, 0);
	peer_read(&f.peer, MQTT_SUBSCRIBE);
	peer_send_suback(&f.peer, "\x87", 1);
	peer_expect_close(&f.peer);
	assert_contains(
		look(&f).error, "subscription refused (Not authorized): origin/a/wis2/de-dwd/#");
	assert_int_equal(count_read(&fixture_source(&f)->figures.connects), 0);
	peer_greet(&f);
	fixture_fini(&f);
}

static void a_peer_without_mqtt_5_is_spoken_to_in_3_1_1(void **state)
{
	static const struct {
		const char *name;
		const char *answer;
		size_t n;
		int times;
	} rows[] = {
		{"CONNACK 0x84", "\x20\x03\x00\x84\x00", 5, 1},
		{"CONNACK 1 in the form of 3.1.1", "\x20\x02\x00\x01", 4, 1},
		{"closed twice", "", 0, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		fixture_init(&f);
		fixture_apply(&f);
		for (int k = 0; k < rows[i].times; k++) {
			assert_int_equal(peer_read_connect(&f.peer).connect.version, MQTT_5);
			if (rows[i].n)
				peer_send_bytes(&f.peer, rows[i].answer, rows[i].n);
			else
				shutdown(f.peer.fd, SHUT_RDWR);
			peer_expect_close(&f.peer);
		}
		peer_greet(&f);
		assert_int_equal(f.peer.version, MQTT_3_1_1);
		assert_int_equal(look(&f).protocol, MQTT_3_1_1);
		peer_close(&f.peer); /* and it is remembered */
		peer_greet(&f);
		assert_int_equal(f.peer.version, MQTT_3_1_1);
		peer_publish(&f.peer, 1, 1);
		peer_expect_ack(&f.peer, 1);
		fixture_fini(&f);
	}
}

/* --- losing a connection -------------------------------------------------- */

static void a_lost_connection_comes_back_and_open_packets_are_repeats(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_greet(&f);
	peer_publish(&f.peer, 1, 1);
	await_figure(&f, &fixture_source(&f)->figures.published, 1);
	peer_close(&f.peer);
	await_figure(&f, &fixture_source(&f)->figures.connected, 0);
	peer_greet(&f);
	assert_int_equal(count_read(&fixture_source(&f)->figures.connects), 2);
	peer_publish(&f.peer, 1, 1);
	peer_expect_ack(&f.peer, 1);
	assert_int_equal(count_read(&fixture_source(&f)->figures.duplicates), 1);
	fixture_fini(&f);
}

static void being_taken_over_is_told(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_greet(&f);
	peer_send(&f.peer, &(struct mqtt_packet){.type = MQTT_DISCONNECT, .reason.reason = 0x8e});
	peer_expect_close(&f.peer);
	assert_contains(look(&f).error, "another client connected with our client id");
	peer_greet(&f);
	fixture_fini(&f);
}

static void a_silent_peer_is_asked_and_then_left(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.sources->uplinks.times.keep_alive_s = 1;
	f.sources->uplinks.times.ping_limit_ms = 300;
	fixture_apply(&f);
	peer_greet(&f);
	peer_read(&f.peer, MQTT_PINGREQ);
	peer_send(&f.peer, &(struct mqtt_packet){.type = MQTT_PINGRESP});
	peer_read(&f.peer, MQTT_PINGREQ);
	assert_int_equal(count_read(&fixture_source(&f)->figures.connected), 1);
	peer_expect_close(&f.peer);
	assert_contains(look(&f).error, "no answer to PINGREQ");
	fixture_fini(&f);
}

static void a_peer_that_does_not_answer_connect_is_left(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.sources->uplinks.times.handshake_ms = 50;
	fixture_apply(&f);
	peer_read_connect(&f.peer);
	peer_expect_close(&f.peer);
	assert_contains(look(&f).error, "in time");
	fixture_fini(&f);
}

static void what_is_no_mqtt_is_left(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_read_connect(&f.peer);
	peer_send_bytes(&f.peer, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	peer_expect_close(&f.peer);
	peer_greet(&f);
	fixture_fini(&f);
}

/* --- endpoints -------------------------------------------------------------- */

static void add_endpoint_before(struct source_config *c, const char *url)
{
	c->endpoints = mem_resize(c->endpoints, 2 * sizeof(*c->endpoints));
	c->endpoints[1] = c->endpoints[0];
	c->endpoints[0] = (struct uplink_endpoint){.url = mem_text(url)};
	c->endpoint_count = 2;
}

static void endpoints_are_tried_in_order(void **state)
{
	static const char *const bad[] = {
		"ws://127.0.0.1:1/mqtt", "mqtt://127.0.0.1:1", "mqtt://no-such-host.invalid"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fixture f;

		fixture_init(&f);
		add_endpoint_before(&f.config, bad[i]);
		fixture_apply(&f);
		peer_greet(&f);
		assert_string_equal(look(&f).url, f.config.endpoints[1].url);
		fixture_fini(&f);
	}
}

/* A socket that has its port but refuses connections until it listens. */
static int bind_on_loopback(struct address *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*at);

	assert_true(address_parse(VIEW("127.0.0.1"), 0, at));
	assert_int_equal(bind(fd, &at->any, address_length(at)), 0);
	assert_int_equal(getsockname(fd, &at->any, &size), 0);
	return fd;
}

/* Connections that say nothing and close; then one with a CONNECT. */
static unsigned count_silent(struct fixture *f)
{
	struct mqtt_packet packet;
	unsigned n = 0;

	for (;; n++) {
		peer_accept(&f->peer);
		if (peer_try_read(&f->peer, &packet))
			break;
		peer_close(&f->peer);
	}
	assert_int_equal(packet.type, MQTT_CONNECT);
	f->peer.version = packet.connect.version;
	return n;
}

static void a_source_returns_to_its_first_address_once_it_was_reached_twice(void **state)
{
	struct address first;
	int listening = bind_on_loopback(&first), backup;
	char *url = mem_printf("mqtt://127.0.0.1:%u", address_port(&first));
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.sources->uplinks.times.probe_ms = 1;
	add_endpoint_before(&f.config, url);
	fixture_apply(&f);
	peer_greet(&f);
	assert_string_equal(look(&f).url, f.config.endpoints[1].url);
	peer_publish(&f.peer, 1, 7);
	peer_expect_ack(&f.peer, 7);
	assert_int_equal(listen(listening, 8), 0);
	peer_read(&f.peer, MQTT_DISCONNECT);
	peer_close(&f.peer);
	backup = f.peer.listening;
	f.peer.listening = listening;
	assert_int_equal(count_silent(&f), 2);
	peer_send_connack(&f.peer, 0);
	peer_read(&f.peer, MQTT_SUBSCRIBE);
	peer_send_suback(&f.peer, "\1", 1);
	await_state(&f, UPLINK_CONNECTED);
	assert_string_equal(look(&f).url, url);
	close(backup);
	free(url);
	fixture_fini(&f);
}

/* Reads the request of a probe at the first address and answers; then it is gone. */
static void answer_probe(struct fixture *f, int listening, bool agrees)
{
	char text[1024] = "", accept_text[WEBSOCKET_ACCEPT_BYTES] = "none";
	const char *key;
	ssize_t n;
	int fd;

	drive_awake(f->loop, fd_is_readable, &listening);
	fd = accept(listening, NULL, NULL);
	drive_awake(f->loop, fd_is_readable, &fd);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	key = strstr(text, "Sec-WebSocket-Key: ");
	assert_non_null(key);
	if (agrees)
		websocket_accept((struct view){key + 19, 24}, accept_text);
	n = snprintf(text, sizeof(text),
		"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		accept_text);
	assert_int_equal(write(fd, text, (size_t)n), n);
	do {
		drive_awake(f->loop, fd_is_readable, &fd);
		n = read(fd, text, sizeof(text));
		if (n > 0) /* nothing but Close, masked */
			assert_int_equal((uint8_t)text[0], 0x88);
	} while (n > 0);
	close(fd);
}

static void a_first_address_is_reached_only_when_its_websocket_is(void **state)
{
	struct address first;
	int listening = listen_on_loopback(&first);
	char *url = mem_printf("ws://127.0.0.1:%u", address_port(&first));
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.sources->uplinks.times.probe_ms = 1;
	add_endpoint_before(&f.config, url);
	fixture_apply(&f);
	answer_probe(&f, listening, false); /* this one was the source itself */
	peer_greet(&f);
	for (int i = 0; i < 3; i++)
		answer_probe(&f, listening, false);
	assert_string_equal(look(&f).state, "connected");
	answer_probe(&f, listening, true);
	answer_probe(&f, listening, true);
	peer_read(&f.peer, MQTT_DISCONNECT);
	peer_expect_close(&f.peer);
	close(listening);
	free(url);
	fixture_fini(&f);
}

static bool has_error(void *context)
{
	return look(context).error[0] != '\0';
}

static void an_endpoint_that_cannot_be_used_says_why(void **state)
{
	static const struct {
		const char *url;
		const char *want;
	} rows[] = {
		{"https://127.0.0.1/mqtt", "begins with mqtt://, mqtts://, ws:// or wss://"},
		{"ws://127.0.0.1:1/mqtt", "refused"},
		{"mqtt://127.0.0.1:1", "refused"},
		{"mqtt://no-such-host.invalid", "host no-such-host.invalid not found"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		fixture_init(&f);
		free(f.config.endpoints[0].url);
		f.config.endpoints[0].url = mem_text(rows[i].url);
		fixture_apply(&f);
		drive_until(f.loop, has_error, &f);
		assert_contains(look(&f).error, rows[i].want);
		fixture_fini(&f);
	}
}

static void a_ca_file_that_is_not_there_says_why(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	free(f.config.endpoints[0].url);
	f.config.endpoints[0].url = mem_text("mqtts://127.0.0.1");
	f.config.tls_ca = mem_text("/nonexistent/ca.pem");
	fixture_apply(&f);
	drive_until(f.loop, has_error, &f);
	assert_contains(look(&f).error, "/nonexistent/ca.pem");
	fixture_fini(&f);
}

static void the_local_address_is_bound(void **state)
{
	struct address peer;
	socklen_t size = sizeof(peer);
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.bind_count = 2;
	f.config.bind = mem_new(2 * sizeof(char *));
	f.config.bind[0] = mem_text("::1"); /* another family */
	f.config.bind[1] = mem_text("127.0.0.7");
	fixture_apply(&f);
	peer_greet(&f);
	assert_int_equal(getpeername(f.peer.fd, &peer.any, &size), 0);
	assert_int_equal(ntohl(peer.v4.sin_addr.s_addr), 0x7f000007);
	fixture_fini(&f);
}

/* --- the set ------------------------------------------------------------------ */

static void an_unchanged_source_goes_on_and_a_changed_one_reconnects(void **state)
{
	struct mqtt_packet packet;
	struct view rest, filter;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_greet(&f);
	peer_publish(&f.peer, 1, 1);
	peer_expect_ack(&f.peer, 1);
	fixture_apply(&f);
	peer_publish(&f.peer, 2, 2);
	peer_expect_ack(&f.peer, 2);
	assert_int_equal(count_read(&fixture_source(&f)->figures.connects), 1);
	f.config.topic_count = 1;
	f.config.topics = mem_new(sizeof(char *));
	f.config.topics[0] = mem_text("origin/a/wis2/de-dwd/data/#");
	fixture_apply(&f);
	packet = peer_read(&f.peer, MQTT_DISCONNECT);
	assert_int_equal(packet.reason.reason, 0);
	peer_expect_close(&f.peer);
	peer_read_connect(&f.peer);
	peer_send_connack(&f.peer, 0);
	peer_read(&f.peer, MQTT_SUBSCRIBE);
	packet = peer_read(&f.peer, MQTT_UNSUBSCRIBE);
	rest = packet.list.items;
	assert_true(mqtt_next_filter(&rest, &filter));
	assert_true(view_equal(filter, VIEW("origin/a/wis2/de-dwd/#")));
	assert_int_equal(count_read(&fixture_source(&f)->figures.published), 2); /* counters keep */
	fixture_fini(&f);
}

static void a_source_taken_out_disconnects_and_its_figures_go(void **state)
{
	struct source_config both[2];
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_config(&both[0], "zamg", 1);
	fixture_config(&both[1], "dwd", address_port(&f.peer.at));
	sources_apply(f.sources, both, 2);
	assert_string_equal(look(&f).names, "dwd zamg ");
	peer_greet(&f);
	sources_apply(f.sources, both, 1);
	assert_string_equal(look(&f).names, "zamg ");
	peer_read(&f.peer, MQTT_DISCONNECT);
	peer_expect_close(&f.peer);
	sources_apply(f.sources, both, 2);
	assert_int_equal(count_read(&fixture_source(&f)->figures.connects), 0);
	peer_greet(&f);
	source_config_fini(&both[0]);
	source_config_fini(&both[1]);
	fixture_fini(&f);
}

static void a_disabled_source_and_one_whose_date_has_passed_stay_away(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_greet(&f);
	f.config.until_ms = clock_wall_ms() - 1;
	fixture_apply(&f);
	peer_expect_close(&f.peer);
	await_state(&f, UPLINK_DISABLED);
	f.config.until_ms = 0;
	fixture_apply(&f);
	peer_greet(&f);
	f.config.enabled = false;
	fixture_apply(&f);
	peer_expect_close(&f.peer);
	await_state(&f, UPLINK_DISABLED);
	fixture_fini(&f);
}

static void stopping_says_goodbye_and_keeps_the_session(void **state)
{
	struct mqtt_packet packet;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_apply(&f);
	peer_greet(&f);
	fixture_close_sources(&f);
	fixture_open_sources(&f);
	packet = peer_read(&f.peer, MQTT_DISCONNECT);
	assert_int_equal(packet.reason.reason, 0);
	assert_false(mqtt_has(&packet.properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL));
	fixture_fini(&f);
}

static void a_configured_centre_counts_as_known(void **state)
{
	char payload[1024];
	struct fixture f;

	(void)state;
	fixture_init(&f);
	free(f.config.centre_id);
	f.config.centre_id = mem_text("de-unheard-of");
	fixture_apply(&f);
	peer_greet(&f);
	peer_publish_raw(&f.peer, "origin/a/wis2/de-unheard-of" SYNOP, payload,
		notification(payload, sizeof(payload), 1, ""), 1);
	peer_expect_ack(&f.peer, 1);
	assert_int_equal(count_read(&fixture_source(&f)->figures.published), 1);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect_and_subscribe_say_what_the_contract_says),
		cmocka_unit_test(topics_follow_from_the_kind),
		cmocka_unit_test(a_refusal_is_told_in_words_and_tried_again),
		cmocka_unit_test(a_refused_subscription_is_told_and_tried_again),
		cmocka_unit_test(a_peer_without_mqtt_5_is_spoken_to_in_3_1_1),
		cmocka_unit_test(a_lost_connection_comes_back_and_open_packets_are_repeats),
		cmocka_unit_test(being_taken_over_is_told),
		cmocka_unit_test(a_silent_peer_is_asked_and_then_left),
		cmocka_unit_test(a_peer_that_does_not_answer_connect_is_left),
		cmocka_unit_test(what_is_no_mqtt_is_left),
		cmocka_unit_test(endpoints_are_tried_in_order),
		cmocka_unit_test(a_source_returns_to_its_first_address_once_it_was_reached_twice),
		cmocka_unit_test(a_first_address_is_reached_only_when_its_websocket_is),
		cmocka_unit_test(an_endpoint_that_cannot_be_used_says_why),
		cmocka_unit_test(a_ca_file_that_is_not_there_says_why),
		cmocka_unit_test(the_local_address_is_bound),
		cmocka_unit_test(an_unchanged_source_goes_on_and_a_changed_one_reconnects),
		cmocka_unit_test(a_source_taken_out_disconnects_and_its_figures_go),
		cmocka_unit_test(a_disabled_source_and_one_whose_date_has_passed_stay_away),
		cmocka_unit_test(stopping_says_goodbye_and_keeps_the_session),
		cmocka_unit_test(a_configured_centre_counts_as_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
