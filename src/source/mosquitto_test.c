/* A source and a real mosquitto: the session that waits, TLS, and a certificate that has expired. */
#include "source/fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "net/harness_tls.h"

struct node {
	struct fixture f;
	struct identity identity;
	bool tls;
	uint16_t port;
	pid_t pid;
};

static uint16_t free_port(void)
{
	struct address at;
	int fd = listen_on_loopback(&at);

	close(fd);
	return address_port(&at);
}

static void start_mosquitto(struct node *n)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/mosquitto.conf", n->f.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "user root\nallow_anonymous true\nlog_type none\nlistener %u 127.0.0.1\n",
		n->port);
	if (n->tls)
		fprintf(file, "certfile %s\nkeyfile %s\n", n->identity.certificate_file,
			n->identity.key_file);
	fclose(file);
	n->pid = fork();
	assert_true(n->pid >= 0);
	if (n->pid == 0) {
		execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
		_exit(127);
	}
}

static void node_init(struct node *n, bool tls, long valid_s)
{
	*n = (struct node){.tls = tls};
	fixture_init(&n->f);
	n->f.sources->uplinks.times.pause_most_ms = 20;
	n->port = free_port();
	free(n->f.config.endpoints[0].url);
	n->f.config.endpoints[0].url =
		mem_printf("%s://localhost:%u", tls ? "mqtts" : "mqtt", n->port);
	if (tls) {
		identity_make(
			&n->identity, n->f.dir, "localhost", "DNS:localhost", valid_s, NULL, false);
		n->f.config.tls_ca = mem_text(n->identity.certificate_file);
	}
	start_mosquitto(n);
}

static void node_fini(struct node *n)
{
	kill(n->pid, SIGTERM);
	waitpid(n->pid, NULL, 0);
	if (n->tls)
		identity_free(&n->identity);
	fixture_fini(&n->f);
}

/* --- the WIS2 Node that publishes, over plain MQTT 3.1.1 ------------------ */

static void exchange(int fd, const struct mqtt_packet *packet, enum mqtt_type want)
{
	struct buf out = {0};
	uint8_t answer[4];

	assert_int_equal(mqtt_encode(&out, MQTT_3_1_1, packet), 0);
	assert_int_equal(write(fd, out.data, buf_length(&out)), buf_length(&out));
	assert_int_equal(recv(fd, answer, 4, MSG_WAITALL), 4);
	assert_int_equal(answer[0] >> 4, want);
	buf_fini(&out);
}

static void publish(const struct node *n, unsigned from, unsigned count_of)
{
	struct mqtt_packet packet = {.type = MQTT_CONNECT};
	struct address at = loopback(n->port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char payload[1024];

	assert_int_equal(connect(fd, &at.any, address_length(&at)), 0);
	packet.connect = (struct mqtt_connect){
		.version = MQTT_3_1_1, .clean_start = true, .client_id = VIEW("node")};
	exchange(fd, &packet, MQTT_CONNACK);
	for (unsigned i = from; i < from + count_of; i++) {
		packet = (struct mqtt_packet){.type = MQTT_PUBLISH};
		packet.publish = (struct mqtt_publish){.topic = VIEW(DWD_TOPIC),
			.qos = 1,
			.packet_id = (uint16_t)(i + 1),
			.payload = {payload, notification(payload, sizeof(payload), i, "")}};
		exchange(fd, &packet, MQTT_PUBACK);
	}
	close(fd);
}

static void what_is_published_while_the_source_is_away_arrives(void **state)
{
	struct node n;

	(void)state;
	node_init(&n, false, 0);
	fixture_apply(&n.f);
	await_state(&n.f, UPLINK_CONNECTED);
	publish(&n, 0, 30);
	await_figure(&n.f, &fixture_source(&n.f)->figures.published, 30);
	fixture_close_sources(&n.f);
	publish(&n, 30, 70);
	fixture_open_sources(&n.f);
	fixture_apply(&n.f);
	await_figure(&n.f, &fixture_source(&n.f)->figures.published, 70);
	assert_int_equal(count_read(&fixture_source(&n.f)->figures.duplicates), 0);
	assert_int_equal(journal_tail(commit_journal(n.f.commit)), 100);
	node_fini(&n);
}

static void a_broker_that_restarts_is_found_again(void **state)
{
	struct node n;

	(void)state;
	node_init(&n, false, 0);
	fixture_apply(&n.f);
	await_state(&n.f, UPLINK_CONNECTED);
	kill(n.pid, SIGKILL);
	waitpid(n.pid, NULL, 0);
	await_figure(&n.f, &fixture_source(&n.f)->figures.connected, 0);
	start_mosquitto(&n);
	await_state(&n.f, UPLINK_CONNECTED);
	publish(&n, 0, 3);
	await_figure(&n.f, &fixture_source(&n.f)->figures.published, 3);
	node_fini(&n);
}

static void tls_is_verified_against_the_ca_given(void **state)
{
	struct node n;

	(void)state;
	node_init(&n, true, DAY);
	fixture_apply(&n.f);
	await_state(&n.f, UPLINK_CONNECTED);
	assert_int_equal(fixture_source(&n.f)->uplink.version, MQTT_5);
	node_fini(&n);
}

struct wanted {
	struct fixture *f;
	const char *text;
};

static void on_source(void *context, const struct source_view *v)
{
	struct wanted *w = context;

	if (strstr(v->last_error, w->text))
		w->f = NULL;
}

static bool error_is_shown(void *context)
{
	struct wanted w = *(struct wanted *)context;

	sources_each(w.f->sources, on_source, &w);
	return w.f == NULL;
}

static void an_expired_certificate_is_told_and_tried_again(void **state)
{
	struct wanted expired;
	struct node n;

	(void)state;
	node_init(&n, true, -60);
	expired = (struct wanted){&n.f, "expired"};
	fixture_apply(&n.f);
	drive_until(n.f.loop, error_is_shown, &expired);
	assert_int_equal(count_read(&fixture_source(&n.f)->figures.connected), 0);
	n.f.config.tls_verify = false; /* the operator's way out */
	fixture_apply(&n.f);
	await_state(&n.f, UPLINK_CONNECTED);
	node_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_published_while_the_source_is_away_arrives),
		cmocka_unit_test(a_broker_that_restarts_is_found_again),
		cmocka_unit_test(tls_is_verified_against_the_ca_given),
		cmocka_unit_test(an_expired_certificate_is_told_and_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
