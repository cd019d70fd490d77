/* source/fixture.h - for *_test.c only: a broker played by the test, and a source connected to it
 *
 * One thread: the test drives the source's loop until something holds, and reads and writes the
 * peer's end of the connection itself, packet by packet, through mqtt/.
 */
#ifndef SOURCE_FIXTURE_H
#define SOURCE_FIXTURE_H

#include "net/harness.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "journal/system.h"
#include "source/internal.h"

#define OWN_CENTRE "io-wis2dev-global-broker"
#define SYNOP "/data/core/weather/surface-based-observations/synop"
#define DWD_TOPIC "origin/a/wis2/de-dwd" SYNOP
#define ID_FORMAT "8893163b-1bef-4e36-a874-%012u"
#define CONTENT "\"content\":{\"encoding\":\"utf-8\",\"size\":1,\"value\":\"x\"}"

struct fixture {
	char dir[64];
	struct commit *commit;
	struct loop *loop;
	struct commit_port *port;
	struct resolver *resolver;
	struct hierarchy *hierarchy;
	struct sources *sources;
	struct source_config config;
	int listening;
	struct address at;
	int fd;          /* the peer's end; -1: none */
	uint8_t version; /* what its CONNECT said */
	struct buf in;
	struct buf packet; /* the last one read; its views live here */
};

/* --- setting up -------------------------------------------------------- */

static inline void fixture_open_commit(
	struct fixture *f, enum journal_sync sync, const struct journal_system *sys)
{
	struct commit_config config = {
		.journal = {.dir = f->dir,
			.keep_ms = 3600000,
			.size_bytes = 64u << 20,
			.index_keep_ms = 3600000,
			.least_ms = 3600000,
			.sync = sync,
			.sync_ms = 10,
			.system = sys},
		.window_ms = 3600000,
		.ids = 100000,
	};
	char *why = NULL;

	assert_int_equal(commit_open(&f->commit, &config, &why), 0);
	f->loop = loop_new();
	f->port = commit_port_new(f->commit, f->loop, 0);
}

static inline void fixture_open_sources(struct fixture *f)
{
	struct sources_settings settings = {
		.centre_id = OWN_CENTRE, .hierarchy = f->hierarchy, .packet_size = 32768};

	f->resolver = resolver_new();
	f->sources = sources_new(&f->port, 1, f->resolver, &settings);
	f->sources->uplinks.times.pause_most_ms = 1;
}

static inline void fixture_config(struct source_config *c, const char *name, uint16_t port)
{
	source_config_default(c);
	c->name = mem_text(name);
	c->centre_id = mem_text("de-dwd");
	c->endpoint_count = 1;
	c->endpoints = mem_new(sizeof(*c->endpoints));
	c->endpoints[0].url = mem_printf("mqtt://127.0.0.1:%u", port);
}

static inline void fixture_init_with(
	struct fixture *f, enum journal_sync sync, const struct journal_system *sys)
{
	*f = (struct fixture){.fd = -1};
	log_configure(LOG_ERROR + 1, false);
	snprintf(f->dir, sizeof(f->dir),
		"/tmp/isobar-source-"
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(f->dir));
	f->hierarchy = hierarchy_built_in();
	fixture_open_commit(f, sync, sys);
	fixture_open_sources(f);
	f->listening = listen_on_loopback(&f->at);
	fixture_config(&f->config, "dwd", address_port(&f->at));
}

static inline void fixture_init(struct fixture *f)
{
	fixture_init_with(f, JOURNAL_SYNC_NEVER, NULL);
}

static inline void fixture_apply(struct fixture *f)
{
	sources_apply(f->sources, &f->config, 1);
}

static inline struct source *fixture_source(struct fixture *f)
{
	assert_true(f->sources->count > 0);
	return f->sources->list[0];
}

/* --- driving ----------------------------------------------------------- */

static inline bool fd_is_readable(void *context)
{
	struct pollfd p = {.fd = *(int *)context, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static inline void drive_awake(struct loop *l, bool (*done)(void *context), void *context)
{
	struct turn_hook awake = {.on_turn = drive_keep_awake};

	loop_add_hook(l, &awake);
	drive_until(l, done, context);
	loop_remove_hook(l, &awake);
}

struct awaited {
	const count *figure;
	uint64_t want;
};

static inline bool figure_is_there(void *context)
{
	const struct awaited *a = context;

	return count_read(a->figure) >= a->want;
}

static inline void await_figure(struct fixture *f, const count *figure, uint64_t want)
{
	struct awaited a = {figure, want};

	drive_until(f->loop, figure_is_there, &a);
	assert_int_equal(count_read(figure), want);
}

static inline bool state_is(void *context)
{
	const struct awaited *a = context;

	return count_read(a->figure) == a->want;
}

static inline void await_state(struct fixture *f, enum uplink_state want)
{
	struct awaited a = {&fixture_source(f)->figures.state, want};

	drive_until(f->loop, state_is, &a);
}

/* --- the peer ---------------------------------------------------------- */

static inline void peer_accept(struct fixture *f)
{
	drive_awake(f->loop, fd_is_readable, &f->listening);
	f->fd = accept(f->listening, NULL, NULL);
	assert_true(f->fd >= 0);
	buf_clear(&f->in);
}

static inline void peer_close(struct fixture *f)
{
	close(f->fd);
	f->fd = -1;
	buf_clear(&f->in);
}

static inline void peer_send_bytes(struct fixture *f, const void *p, size_t n)
{
	assert_int_equal(write(f->fd, p, n), n);
}

static inline void peer_send(struct fixture *f, const struct mqtt_packet *packet)
{
	struct buf out = {0};

	assert_int_equal(mqtt_encode(&out, f->version, packet), 0);
	peer_send_bytes(f, out.data, buf_length(&out));
	buf_fini(&out);
}

/* The next packet from the source; false: it has closed. */
static inline bool peer_try_read(struct fixture *f, struct mqtt_packet *out)
{
	for (;;) {
		uint8_t bytes[4096];
		int64_t used;
		ssize_t n;

		buf_clear(&f->packet);
		buf_append(&f->packet, buf_bytes(&f->in), buf_length(&f->in));
		used = buf_length(&f->in) == 0
			       ? 0
			       : mqtt_decode(f->packet.data, buf_length(&f->packet),
					 MQTT_FROM_CLIENT, f->version, 1u << 20, out, NULL);
		assert_true(used >= 0);
		if (used > 0) {
			buf_consume(&f->in, (size_t)used);
			return true;
		}
		drive_awake(f->loop, fd_is_readable, &f->fd);
		n = read(f->fd, bytes, sizeof(bytes));
		if (n <= 0)
			return false;
		buf_append(&f->in, bytes, (size_t)n);
	}
}

static inline struct mqtt_packet peer_read(struct fixture *f, enum mqtt_type type)
{
	struct mqtt_packet packet;

	assert_true(peer_try_read(f, &packet));
	assert_string_equal(mqtt_type_name(packet.type), mqtt_type_name(type));
	return packet;
}

static inline void peer_expect_ack(struct fixture *f, uint16_t packet_id)
{
	struct mqtt_packet packet = peer_read(f, MQTT_PUBACK);

	assert_int_equal(packet.ack.packet_id, packet_id);
	assert_int_equal(packet.ack.reason, 0);
}

static inline void peer_expect_close(struct fixture *f)
{
	struct mqtt_packet packet;

	while (peer_try_read(f, &packet))
		;
	peer_close(f);
}

static inline struct mqtt_packet peer_read_connect(struct fixture *f)
{
	struct mqtt_packet packet;

	peer_accept(f);
	packet = peer_read(f, MQTT_CONNECT);
	f->version = packet.connect.version;
	return packet;
}

static inline void peer_send_connack(struct fixture *f, uint8_t reason)
{
	peer_send(f, &(struct mqtt_packet){.type = MQTT_CONNACK, .connack.reason = reason});
}

static inline void peer_send_suback(struct fixture *f, const char *codes, size_t n)
{
	peer_send(f,
		&(struct mqtt_packet){.type = MQTT_SUBACK, .list = {1, {codes, n}, (uint32_t)n}});
}

/* From the connection to the granted subscription. */
static inline void peer_greet(struct fixture *f)
{
	peer_read_connect(f);
	peer_send_connack(f, 0);
	peer_read(f, MQTT_SUBSCRIBE);
	peer_send_suback(f, "\1", 1);
	await_state(f, UPLINK_CONNECTED);
}

static inline void peer_publish_raw(
	struct fixture *f, const char *topic, const char *payload, size_t n, uint16_t packet_id)
{
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};

	packet.publish.topic = view_of(topic);
	packet.publish.payload = (struct view){payload, n};
	packet.publish.packet_id = packet_id;
	packet.publish.qos = packet_id ? 1 : 0;
	peer_send(f, &packet);
}

/* A valid notification with this number as id; extra goes into its properties. */
static inline size_t notification(char *out, size_t size, unsigned number, const char *extra)
{
	return (size_t)snprintf(out, size,
		"{\"id\":\"" ID_FORMAT
		"\",\"conformsTo\":[\"http://wis.wmo.int/spec/wnm/1/conf/core\"],"
		"\"type\":\"Feature\",\"geometry\":null,\"properties\":{"
		"\"pubtime\":\"2026-01-01T00:00:00Z\",\"data_id\":\"d/%u\"%s,\"datetime\":null},"
		"\"links\":[{\"rel\":\"canonical\",\"href\":\"http://example.org/1\"}]}",
		number, number, extra);
}

static inline void peer_publish(struct fixture *f, unsigned number, uint16_t packet_id)
{
	char payload[1024];
	size_t n = notification(payload, sizeof(payload), number, "");

	peer_publish_raw(f, DWD_TOPIC, payload, n, packet_id);
}

/* --- taking down ------------------------------------------------------- */

static inline bool is_stopped(void *context)
{
	return atomic_load((atomic_bool *)context);
}

struct stopping {
	struct sources *sources;
	struct loop *loop;
	atomic_bool stopped;
};

static inline void *stop_and_say(void *context)
{
	struct stopping *s = context;

	sources_stop(s->sources);
	atomic_store(&s->stopped, true);
	loop_wake(s->loop);
	return NULL;
}

static inline void fixture_close_sources(struct fixture *f)
{
	struct stopping s = {.sources = f->sources, .loop = f->loop};
	pthread_t thread;

	pthread_create(&thread, NULL, stop_and_say, &s);
	drive_until(f->loop, is_stopped, &s.stopped);
	pthread_join(thread, NULL);
	sources_free(f->sources);
	resolver_free(f->resolver);
}

static inline void fixture_fini(struct fixture *f)
{
	char command[128];

	fixture_close_sources(f);
	if (f->fd >= 0)
		close(f->fd);
	close(f->listening);
	commit_port_free(f->port);
	loop_free(f->loop);
	commit_close(f->commit);
	hierarchy_unref(f->hierarchy);
	source_config_fini(&f->config);
	buf_fini(&f->in);
	buf_fini(&f->packet);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
}

#endif
