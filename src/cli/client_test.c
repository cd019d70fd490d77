/* The small client against a peer that says what the test says: one loop, one socket pair's worth
 * of loopback. */
#include "cli/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/listener.h"

/* Answers the n-th packet that arrives with answers[n]; NULL closes. */
struct scene {
	struct loop *loop;
	struct listener *listener;
	struct conn peer;
	struct cli_client client;
	struct client_target target;
	struct client_settings settings;
	const struct view *answers;
	size_t answered;
	uint8_t types[16]; /* of what the peer got */
	size_t type_count;
	unsigned shown; /* PUBLISH packets shown to the owner */
	uint8_t qos;
	int err;
	char *why;
	unsigned open; /* ends that are not closed */
	struct timer timeout;
};

static void leave(struct scene *s)
{
	if (--s->open == 0)
		loop_stop(s->loop);
}

static ssize_t peer_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct scene *s = container_of(c, struct scene, peer);
	int64_t length = mqtt_packet_length(p, n, 1000);

	if (length <= 0 || (size_t)length > n)
		return 0;
	if (s->type_count < sizeof(s->types))
		s->types[s->type_count++] = p[0] >> 4;
	if (s->answers[s->answered].p == NULL)
		return (ssize_t)length;
	conn_push(c, s->answers[s->answered].p, s->answers[s->answered].n);
	s->answered++;
	return (ssize_t)length;
}

static void peer_on_close(struct conn *c, int err, const char *why)
{
	(void)err, (void)why;
	leave(container_of(c, struct scene, peer));
}

static void on_accept(void *context, const struct arrival *a)
{
	static const struct conn_handler handler = {
		.on_bytes = peer_on_bytes, .on_close = peer_on_close};
	static const struct conn_options options = {0};
	struct scene *s = context;

	assert_int_equal(conn_accept(&s->peer, s->loop, a, &options, &handler), 0);
	s->open++;
}

static void on_connected(struct cli_client *c, const struct mqtt_packet *connack)
{
	struct scene *s = container_of(c, struct scene, client);
	struct view filter = VIEW("a/#");

	(void)connack;
	cli_client_subscribe(c, &filter, 1, s->qos);
}

static void on_packet(struct cli_client *c, const struct mqtt_packet *p)
{
	struct scene *s = container_of(c, struct scene, client);

	if (p->type != MQTT_PUBLISH)
		return;
	if (view_equal(p->publish.payload, VIEW("end")))
		cli_client_close(c);
	else
		s->shown++;
}

static void on_close(struct cli_client *c, int err, const char *why)
{
	struct scene *s = container_of(c, struct scene, client);

	s->err = err;
	s->why = mem_text(why);
	conn_close(&s->peer, 0, NULL);
	leave(s);
}

static void on_timeout(struct timer *t)
{
	(void)t;
	fail_msg("the scene does not end");
}

static void play(struct scene *s, const struct view *answers, uint8_t version)
{
	static const struct client_handler handler = {
		.on_connected = on_connected, .on_packet = on_packet, .on_close = on_close};
	struct client_options options = {.url = "mqtt://someone:secret@127.0.0.1:1"};

	s->loop = loop_new();
	s->answers = answers;
	s->timeout.on_time = on_timeout;
	timer_start(s->loop, &s->timeout, 10000);
	assert_int_equal(cli_client_target_open(&s->target, &options), 0);
	assert_true(address_parse(VIEW("127.0.0.1"), 0, &s->target.address));
	assert_int_equal(
		listener_open(&s->listener, s->loop, &s->target.address, false, on_accept, s), 0);
	s->target.address = listener_address(s->listener);
	s->settings = (struct client_settings){.target = &s->target, .version = version};
	s->open = 1;
	assert_int_equal(cli_client_open(&s->client, s->loop, &s->settings, &handler), 0);
	loop_run(s->loop);
	listener_close(s->listener);
	loop_free(s->loop);
	cli_client_target_close(&s->target);
}

#define BYTES(literal) ((struct view){"" literal, sizeof(literal) - 1})
#define CONNACK BYTES("\x20\x03\0\0\0")
#define END "\x30\x07\0\1a\0end"

static void a_refusal_names_its_reason(void **state)
{
	static const struct {
		const char *name;
		uint8_t version;
		struct view connack;
		int err;
		const char *why;
	} rows[] = {
		{"bad password, 5", 5, {"\x20\x03\0\x86\0", 5}, ERR_CREDENTIALS,
			"Bad User Name or Password (0x86)"},
		{"with reason string", 5, {"\x20\x07\0\x87\x04\x1f\0\1x", 9}, ERR_DENIED,
			"Not authorized (0x87): x"},
		{"busy", 5, {"\x20\x03\0\x89\0", 5}, ERR_CLOSED, "Server busy (0x89)"},
		{"bad password, 3.1.1", 4, {"\x20\x02\0\4", 4}, ERR_CREDENTIALS,
			"bad user name or password (4)"},
		{"not authorized, 3.1.1", 4, {"\x20\x02\0\5", 4}, ERR_DENIED, "not authorized (5)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct view answers[] = {rows[i].connack, {NULL, 0}};
		struct scene s = {.qos = 0};

		play(&s, answers, rows[i].version);
		if (s.err != rows[i].err || strcmp(s.why, rows[i].why) != 0)
			fail_msg("%s: %d %s", rows[i].name, s.err, s.why);
		free(s.why);
	}
}

static void qos_1_is_acknowledged(void **state)
{
	const struct view answers[] = {CONNACK,
		BYTES("\x90\x04\0\1\0\1"
		      "\x32\x08\0\1a\0\5\0hi"),
		BYTES(END), {NULL, 0}};
	struct scene s = {.qos = 1};

	(void)state;
	play(&s, answers, MQTT_5);
	assert_int_equal(s.err, 0);
	assert_int_equal(s.shown, 1);
	assert_memory_equal(s.types, ((uint8_t[]){MQTT_CONNECT, MQTT_SUBSCRIBE, MQTT_PUBACK}), 3);
	free(s.why);
}

/* The same packet id comes twice before PUBREL, and a third time behind it. */
static void qos_2_is_shown_once_until_it_is_released(void **state)
{
	const struct view answers[] = {CONNACK,
		BYTES("\x90\x04\0\1\0\2"
		      "\x34\x07\0\1a\0\5\0x"),
		BYTES("\x3c\x07\0\1a\0\5\0x"), BYTES("\x62\x02\0\5"), BYTES("\x34\x07\0\1a\0\5\0y"),
		BYTES(END), {NULL, 0}};
	struct scene s = {.qos = 2};

	(void)state;
	play(&s, answers, MQTT_5);
	assert_int_equal(s.shown, 2);
	assert_memory_equal(s.types,
		((uint8_t[]){MQTT_CONNECT, MQTT_SUBSCRIBE, MQTT_PUBREC, MQTT_PUBREC, MQTT_PUBCOMP,
			MQTT_PUBREC}),
		6);
	free(s.why);
}

static void packets_out_of_place_end_the_connection(void **state)
{
	static const struct view first[] = {{"\x30\x04\0\1a\0", 6},
		{"\x20\x03\0\0\0\x20\x03\0\0\0", 10}, {"\xf0\x00", 2}, {"\x10\x00", 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		const struct view answers[] = {first[i], {NULL, 0}};
		struct scene s = {.qos = 0};

		play(&s, answers, MQTT_5);
		assert_true(s.err == ERR_PROTOCOL || s.err == ERR_MALFORMED);
		free(s.why);
	}
}

static void accounts_come_from_options_then_url_then_custom(void **state)
{
	static const struct {
		const char *url, *user, *want_user, *want_password;
	} rows[] = {
		{"mqtt://127.0.0.1", NULL, "everyone", "everyone"},
		{"mqtt://a:b@127.0.0.1", NULL, "a", "b"},
		{"mqtt://127.0.0.1", "c", "c", ""},
		{"mqtt://127.0.0.1", "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct client_options o = {.url = rows[i].url, .user = rows[i].user};
		struct client_target t;

		assert_int_equal(cli_client_target_open(&t, &o), 0);
		assert_string_equal(t.url.user, rows[i].want_user);
		assert_string_equal(t.url.password, rows[i].want_password);
		assert_int_equal(t.anonymous, rows[i].want_user[0] == '\0');
		cli_client_target_close(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_names_its_reason),
		cmocka_unit_test(qos_1_is_acknowledged),
		cmocka_unit_test(qos_2_is_shown_once_until_it_is_released),
		cmocka_unit_test(packets_out_of_place_end_the_connection),
		cmocka_unit_test(accounts_come_from_options_then_url_then_custom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
