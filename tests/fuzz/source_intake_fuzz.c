/* A source whose broker sends anything: whatever comes behind (or instead of) the CONNACK.
 *
 * Input: one byte of choices (bit 0: 3.1.1, bit 1: no CONNACK first, bit 2: strip content, bit 3: one
 * byte at a time), then the peer's bytes. Held to: no crash, every connection ends, and what was
 * received is accounted for (MON-03).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "source/internal.h"

enum choice { OLD_VERSION = 1, NO_CONNACK = 2, STRIP = 4, SINGLE_BYTES = 8 };

static char dir[64]; /* of the journal; removed at exit */

struct fuzz {
	struct commit *commit;
	struct loop *loop;
	struct commit_port *port;
	struct resolver *resolver;
	struct hierarchy *hierarchy;
	struct sources *sources;
	struct source_config config;
	int listening;
	struct turn_hook hook;
	bool (*done)(struct fuzz *f);
};

static bool on_turn(struct turn_hook *h)
{
	struct fuzz *f = container_of(h, struct fuzz, hook);

	if (f->done(f))
		loop_stop(f->loop);
	return true;
}

static void drive(struct fuzz *f, bool (*done)(struct fuzz *f))
{
	f->done = done;
	loop_run(f->loop);
}

static int listen_somewhere(struct address *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*at);

	check(address_parse(VIEW("127.0.0.1"), 0, at));
	check(bind(fd, &at->any, address_length(at)) == 0 && listen(fd, 16) == 0);
	check(getsockname(fd, &at->any, &size) == 0);
	return fd;
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command) != 0)
		fprintf(stderr, "cannot remove %s\n", dir);
}

static void set_up_commit(struct fuzz *f)
{
	struct commit_config config = {
		.journal = {.dir = dir,
			.keep_ms = 60000,
			.size_bytes = 32u << 20,
			.index_keep_ms = 60000,
			.sync = JOURNAL_SYNC_NEVER},
		.window_ms = 60000,
		.ids = 1000,
	};
	char *why;

	snprintf(dir, sizeof(dir),
		"/tmp/isobar-fuzz-"
		"XX"
		"XX"
		"XX");
	check(mkdtemp(dir) && atexit(remove_folder) == 0);
	check(commit_open(&f->commit, &config, &why) == 0);
	f->loop = loop_new();
	f->port = commit_port_new(f->commit, f->loop, 0);
}

static struct fuzz *set_up(void)
{
	struct sources_settings settings = {
		.centre_id = "io-wis2dev-global-broker", .packet_size = 4096};
	struct fuzz *f = mem_new(sizeof(*f));
	struct address at;

	log_configure(LOG_ERROR + 1, false);
	set_up_commit(f);
	f->resolver = resolver_new();
	f->hierarchy = hierarchy_built_in();
	settings.hierarchy = f->hierarchy;
	f->sources = sources_new(&f->port, 1, f->resolver, &settings);
	f->sources->uplinks.times.pause_most_ms = 0;
	f->sources->uplinks.times.handshake_ms = 50; /* ends connections that the input leaves open */
	f->listening = listen_somewhere(&at);
	source_config_default(&f->config);
	f->config.name = mem_text("fuzz");
	f->config.centre_id = mem_text("de-dwd");
	f->config.endpoint_count = 1;
	f->config.endpoints = mem_new(sizeof(*f->config.endpoints));
	f->config.endpoints[0].url = mem_printf("mqtt://127.0.0.1:%u", address_port(&at));
	f->hook.on_turn = on_turn;
	list_init(&f->hook.link);
	loop_add_hook(f->loop, &f->hook);
	return f;
}

static bool is_waiting_for_connack(struct fuzz *f)
{
	return f->sources->list[0]->uplink.state == UPLINK_CONNACK;
}

static bool is_elsewhere(struct fuzz *f)
{
	return !f->sources->list[0]->uplink.has_conn;
}

static bool is_gone(struct fuzz *f)
{
	return list_is_empty(&f->sources->workers[0].all);
}

static void send_some(struct fuzz *f, int fd, const void *p, size_t n, size_t piece)
{
	const uint8_t *at = p;

	while (n && f->sources->list[0]->uplink.has_conn) {
		size_t now = n < piece ? n : piece;

		if (send(fd, at, now, MSG_NOSIGNAL) < 0)
			return;
		at += now;
		n -= now;
	}
}

/* Each message in one of the outcomes; what is under way when the source goes is done by then. */
static void check_accounts(const struct source *s)
{
	const struct source_figures *g = &s->figures;
	uint64_t errors = 0;

	for (int c = 0; c < CHECK_COUNT; c++)
		errors += count_read(&g->checks[c]);
	check(count_read(&g->received) ==
		count_read(&g->published) + count_read(&g->duplicates) + errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz *f; /* the fuzzer's calls share one journal and one loop */
	uint8_t choice = size ? data[0] : 0;
	bool old = choice & OLD_VERSION;
	int fd;

	if (size == 0 || size > 100000)
		return 0;
	if (f == NULL)
		f = set_up();
	f->config.protocol = old ? MQTT_3_1_1 : MQTT_5;
	f->config.strip_content = choice & STRIP;
	sources_apply(f->sources, &f->config, 1);
	drive(f, is_waiting_for_connack);
	fd = accept(f->listening, NULL, NULL);
	check(fd >= 0);
	if (!(choice & NO_CONNACK))
		send_some(f, fd, old ? "\x20\x02\0\0" : "\x20\x03\0\0\0", old ? 4 : 5, 16);
	send_some(f, fd, data + 1, size - 1, choice & SINGLE_BYTES ? 1 : size);
	shutdown(fd, SHUT_WR);
	drive(f, is_elsewhere);
	close(fd);
	check_accounts(f->sources->list[0]);
	sources_apply(f->sources, NULL, 0);
	drive(f, is_gone);
	while ((fd = accept(f->listening, NULL, NULL)) >= 0)
		close(fd);
	return 0;
}
