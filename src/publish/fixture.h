/* publish/fixture.h - for *_test.c only: a journal, a broker played by the test, and a target fed from one
 * to the other; of a cluster when fixture_init_cluster() made it */
#ifndef PUBLISH_FIXTURE_H
#define PUBLISH_FIXTURE_H

#include "uplink/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "commit/commit.h"
#include "publish/internal.h"

struct fixture {
	char dir[64];
	char *file;
	struct commit *commit; /* of a cluster; it has the journal then */
	struct journal *journal;
	struct loop *loop;
	struct resolver *resolver;
	struct publisher *publisher;
	struct publish_config config;
	struct peer peer;
};

static inline void fixture_open(struct fixture *f)
{
	struct publisher_settings settings = {.centre_id = "io-wis2dev-global-broker",
		.file = f->file,
		.node = f->commit ? "node-1" : NULL,
		.commit = f->commit,
		.journal = f->journal,
		.loops = &f->loop,
		.loop_count = 1,
		.resolver = f->resolver};

	f->publisher = publisher_new(&settings);
	f->publisher->uplinks.times.pause_most_ms = 1;
	f->publisher->times.patience_ms = 1;
}

static inline void fixture_open_journal(struct fixture *f, const struct journal_config *config)
{
	char *why = NULL;

	assert_int_equal(journal_open(&f->journal, config, &why), 0);
}

static inline void fixture_open_commit(struct fixture *f, const struct journal_config *config)
{
	struct commit_config c = {.journal = *config, .window_ms = 3600000, .ids = 10000};
	char *why = NULL;

	assert_int_equal(commit_open(&f->commit, &c, &why), 0);
	f->journal = commit_journal(f->commit);
}

static inline void fixture_make(
	struct fixture *f, void (*open)(struct fixture *f, const struct journal_config *config))
{
	struct journal_config journal = {.keep_ms = 3600000,
		.size_bytes = 64u << 20,
		.index_keep_ms = 3600000,
		.least_ms = 3600000,
		.sync = JOURNAL_SYNC_NEVER};
	char *dir;

	*f = (struct fixture){0};
	log_configure(LOG_ERROR + 1, false);
	snprintf(f->dir, sizeof(f->dir),
		"/tmp/isobar-publish-"
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(f->dir));
	f->file = mem_printf("%s/publish", f->dir);
	dir = mem_printf("%s/journal", f->dir);
	journal.dir = dir;
	open(f, &journal);
	free(dir);
	f->loop = loop_new();
	f->resolver = resolver_new();
	peer_init(&f->peer, f->loop);
	f->config = (struct publish_config){.tls_verify = true,
		.url = mem_printf("mqtt://127.0.0.1:%u", address_port(&f->peer.at))};
	fixture_open(f);
}

static inline void fixture_init(struct fixture *f)
{
	fixture_make(f, fixture_open_journal);
}

static inline void fixture_init_cluster(struct fixture *f)
{
	fixture_make(f, fixture_open_commit);
}

static inline void fixture_apply(struct fixture *f)
{
	publisher_apply(f->publisher, &f->config, 1);
}

static inline struct target *fixture_target(struct fixture *f)
{
	return f->publisher->list[0];
}

static inline struct publish_figures *fixture_figures(struct fixture *f)
{
	return &fixture_target(f)->figures;
}

/* --- the journal ----------------------------------------------------------- */

/* A message with what the test wants in it; wakes the loop as commit does. */
static inline void append(struct fixture *f, struct journal_message m)
{
	const struct journal_message *one = &m;

	journal_lock(f->journal);
	assert_int_equal(
		journal_reserve(f->journal, m.topic.n + m.payload.n + m.properties.n + 16, 1), 0);
	assert_int_equal(journal_append(f->journal, &one, 1), 0);
	journal_unlock(f->journal);
	loop_wake(f->loop);
}

static inline void append_text(struct fixture *f, const char *topic, const char *payload)
{
	append(f, (struct journal_message){.topic = view_of(topic), .payload = view_of(payload)});
}

#define TOPIC "origin/a/wis2/de-dwd/x"

static inline void append_numbers(struct fixture *f, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", i);
		append_text(f, TOPIC, text);
	}
}

/* --- driving ---------------------------------------------------------------- */

struct awaited {
	const count *figure;
	uint64_t want;
};

static inline bool figure_is(void *context)
{
	const struct awaited *a = context;

	return count_read(a->figure) == a->want;
}

static inline void await_figure(struct fixture *f, const count *figure, uint64_t want)
{
	struct awaited a = {figure, want};

	drive_until(f->loop, figure_is, &a);
}

static inline struct mqtt_packet greet_with(struct fixture *f, bool present, struct view properties)
{
	struct mqtt_packet connack = {.type = MQTT_CONNACK, .connack.session_present = present};
	struct mqtt_packet connect = peer_read_connect(&f->peer);

	connack.properties.raw = properties;
	peer_send(&f->peer, &connack);
	await_figure(f, &fixture_figures(f)->connected, 1);
	return connect;
}

static inline void greet(struct fixture *f)
{
	greet_with(f, false, (struct view){"", 0});
}

static inline struct mqtt_publish expect(struct fixture *f, const char *payload)
{
	struct mqtt_packet packet = peer_read(&f->peer, MQTT_PUBLISH);

	assert_true(view_equal(packet.publish.payload, view_of(payload)));
	assert_int_equal(packet.publish.qos, 1);
	return packet.publish;
}

static inline void answer(struct fixture *f, uint16_t packet_id, uint8_t reason)
{
	peer_send(&f->peer, &(struct mqtt_packet){.type = MQTT_PUBACK, .ack = {packet_id, reason}});
}

/* Nothing comes, however often the loop turns. */
static inline void expect_silence(struct fixture *f)
{
	drive_turns(f->loop, 50);
	assert_false(fd_is_readable(&f->peer.fd));
}

/* --- taking down --------------------------------------------------------------- */

struct stopping {
	struct fixture *fixture;
	atomic_bool stopped;
};

static inline void *stop_and_say(void *context)
{
	struct stopping *s = context;

	publisher_stop(s->fixture->publisher);
	atomic_store(&s->stopped, true);
	loop_wake(s->fixture->loop);
	return NULL;
}

static inline bool is_stopped(void *context)
{
	return atomic_load(&((struct stopping *)context)->stopped);
}

static inline void fixture_close(struct fixture *f)
{
	struct stopping s = {.fixture = f};
	pthread_t thread;

	f->publisher->times.drain_ms = 1;
	pthread_create(&thread, NULL, stop_and_say, &s);
	drive_until(f->loop, is_stopped, &s);
	pthread_join(thread, NULL);
	publisher_free(f->publisher);
}

static inline void fixture_fini(struct fixture *f)
{
	char command[128];

	fixture_close(f);
	peer_fini(&f->peer);
	resolver_free(f->resolver);
	loop_free(f->loop);
	if (f->commit)
		commit_close(f->commit);
	else
		journal_close(f->journal);
	publish_config_fini(&f->config);
	free(f->file);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
}

#endif
