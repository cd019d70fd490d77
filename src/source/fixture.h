/* source/fixture.h - for *_test.c only: a broker played by the test, and a source connected to it
 *
 * One thread: the test drives the source's loop until something holds, and reads and writes the
 * peer's end of the connection itself, packet by packet, through mqtt/.
 */
#ifndef SOURCE_FIXTURE_H
#define SOURCE_FIXTURE_H

#include "uplink/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "commit/fixture.h"
#include "journal/system.h"
#include "source/internal.h"

#define OWN_CENTRE "io-wis2dev-global-broker"
#define SYNOP "/data/core/weather/surface-based-observations/synop"
#define DWD_TOPIC "origin/a/wis2/de-dwd" SYNOP
#define ID_FORMAT "8893163b-1bef-4e36-a874-%012u"
#define CONTENT "\"content\":{\"encoding\":\"utf-8\",\"size\":1,\"value\":\"x\"}"

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct loop *loop;
	struct commit_port *port;
	struct resolver *resolver;
	struct hierarchy *hierarchy;
	struct sources *sources;
	struct source_config config;
	struct peer peer;
};

/* --- setting up -------------------------------------------------------- */

static inline void fixture_open_port(
	struct fixture *f, enum journal_sync sync, const struct journal_system *sys)
{
	f->commit = fixture_open_commit_in(f->dir, 100000, sync, sys);
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
	*f = (struct fixture){0};
	log_configure(LOG_ERROR + 1, false);
	fixture_make_dir(f->dir);
	f->hierarchy = hierarchy_built_in();
	fixture_open_port(f, sync, sys);
	fixture_open_sources(f);
	peer_init(&f->peer, f->loop);
	fixture_config(&f->config, "dwd", address_port(&f->peer.at));
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

/* From the connection to the granted subscription. */
static inline void peer_greet(struct fixture *f)
{
	peer_read_connect(&f->peer);
	peer_send_connack(&f->peer, 0);
	peer_read(&f->peer, MQTT_SUBSCRIBE);
	peer_send_suback(&f->peer, "\1", 1);
	await_state(f, UPLINK_CONNECTED);
}

static inline void peer_publish_raw(
	struct peer *p, const char *topic, const char *payload, size_t n, uint16_t packet_id)
{
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};

	packet.publish.topic = view_of(topic);
	packet.publish.payload = (struct view){payload, n};
	packet.publish.packet_id = packet_id;
	packet.publish.qos = packet_id ? 1 : 0;
	peer_send(p, &packet);
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

static inline void peer_publish(struct peer *p, unsigned number, uint16_t packet_id)
{
	char payload[1024];
	size_t n = notification(payload, sizeof(payload), number, "");

	peer_publish_raw(p, DWD_TOPIC, payload, n, packet_id);
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
	fixture_close_sources(f);
	peer_fini(&f->peer);
	commit_port_free(f->port);
	loop_free(f->loop);
	commit_close(f->commit);
	hierarchy_unref(f->hierarchy);
	source_config_fini(&f->config);
	fixture_remove_dir(f->dir);
}

#endif
