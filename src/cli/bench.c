/* cli/bench.c - `isobar bench`: load on a broker, and a count of what became of it
 *
 * Connects everybody, waits until all subscriptions are granted, then lets the publishers go and
 * ends when every message has reached every subscriber whose filter matches it, or when time is
 * up. Between the first message and the last the broker's CPU time is taken, if its pid is known.
 */
#include "cli/bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/generate.h"
#include "mqtt/filter.h"

#define SETTLE_MS 200u /* before the first message and after the last */
#define CLOSE_MS 2000u /* for connections to go at the end */
#define LINKS_MOST 60000u
#define STOPPED_BUFFER 4096u /* bytes that one who does not read takes */

#define AT(field) offsetof(struct bench_config, field)
static const struct argument rows[] = {
	{'b', "broker", ARGUMENT_TEXT, AT(where.url), 0, 0, "URL",
		"broker (mqtt://127.0.0.1:1883)"},
	{'u', "username", ARGUMENT_TEXT, AT(where.user), 0, 0, "USER", "of the subscribers"},
	{'P', "password-file", ARGUMENT_TEXT, AT(where.password_file), 0, 0, "FILE",
		"of the subscribers"},
	{0, "publish-url", ARGUMENT_TEXT, AT(publish_url), 0, 0, "URL",
		"where publishers connect, with their user and password (as --broker)"},
	{0, "publish-username", ARGUMENT_TEXT, AT(publish_user), 0, 0, "USER", "of the publishers"},
	{0, "publish-password-file", ARGUMENT_TEXT, AT(publish_password_file), 0, 0, "FILE",
		"of the publishers"},
	{'s', "subscribers", ARGUMENT_NUMBER, AT(counts[BENCH_SUBSCRIBER]), 0, LINKS_MOST, "N",
		"that count what arrives (1)"},
	{0, "stopped", ARGUMENT_NUMBER, AT(counts[BENCH_STOPPED]), 0, LINKS_MOST, "N",
		"subscribers that never read"},
	{0, "idle", ARGUMENT_NUMBER, AT(counts[BENCH_IDLE]), 0, LINKS_MOST, "N",
		"connections without a subscription"},
	{'p', "publishers", ARGUMENT_NUMBER, AT(counts[BENCH_PUBLISHER]), 0, 65535, "N",
		"publishers (1)"},
	{'f', "filter", ARGUMENT_LIST, AT(filters), 0, 0, "FILTER",
		"of subscribers; several are taken in turn (origin/a/wis2/#)"},
	{'q', "qos", ARGUMENT_NUMBER, AT(qos), 0, 2, "QOS", "of subscriptions (0)"},
	{0, "publish-qos", ARGUMENT_NUMBER, AT(publish_qos), 0, 2, "QOS",
		"of publishing (as subscriptions)"},
	{'m', "messages", ARGUMENT_NUMBER, AT(messages), 0, UINT32_MAX, "N",
		"of all publishers together (100000)"},
	{'r', "rate", ARGUMENT_NUMBER, AT(rate), 0, 100000000, "R",
		"messages a second of all publishers; 0: as fast as they are taken"},
	{0, "size", ARGUMENT_NUMBER, AT(size), GENERATE_SIZE_LEAST, GENERATE_SIZE_MOST, "BYTES",
		"of a payload; at least about 1100 (1200)"},
	{0, "topics", ARGUMENT_NUMBER, AT(topics), 1, 100000, "T", "published on in turn (16)"},
	{0, "window", ARGUMENT_NUMBER, AT(window), 1, 65535, "N",
		"messages a publisher has unacknowledged (1000)"},
	{0, "ahead", ARGUMENT_NUMBER, AT(ahead), 0, UINT32_MAX, "N",
		"messages publishers may be ahead of the subscribers' average; 0: any number"},
	{0, "receive-maximum", ARGUMENT_NUMBER, AT(receive_maximum), 1, 65535, "N",
		"of subscribers (MQTT 5)"},
	{0, "keep-alive", ARGUMENT_NUMBER, AT(keep_alive_s), 0, 65535, "SECONDS",
		"keep alive (60)"},
	{0, "protocol", ARGUMENT_PROTOCOL, AT(version), 0, 0, "VERSION", "5 (default) or 3.1.1"},
	{0, "timeout", ARGUMENT_DURATION, AT(timeout_ms), 0, 0, "TIME", "longest run (60s)"},
	{0, "name", ARGUMENT_TEXT, AT(name), 0, 0, "NAME",
		"client identifiers of subscribers: NAME0, NAME1 ... (random ones)"},
	{0, "session-expiry", ARGUMENT_DURATION, AT(session_expiry_ms), 0, 0, "TIME",
		"of subscribers' sessions (0)"},
	{0, "run", ARGUMENT_NUMBER, AT(run), 1, UINT32_MAX, "N",
		"number of this run, by which its messages are told (random)"},
	{0, "resume", ARGUMENT_FLAG, AT(resume), 0, 0, NULL,
		"publish nothing; subscribers take up their sessions at once and expect what --run "
		"N "
		"with the same --messages, --publishers and --topics has published"},
	{0, "hold", ARGUMENT_DURATION, AT(hold_ms), 0, 0, "TIME", "stay connected after the end"},
	{0, "pid", ARGUMENT_NUMBER, AT(pid), 1, UINT32_MAX, "PID",
		"of the broker: its CPU time and memory are reported"},
};
static const struct argument_table table = {"isobar bench [options]",
	"Subscribes, publishes numbered notifications, counts what arrives and prints one JSON "
	"line.\n"
	"Exit status 1 when anything was lost, repeated, out of order or refused.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- phases ----------------------------------------------------------- */

static void start(struct bench *b)
{
	b->phase = BENCH_RUNNING;
	b->broker_cpu[0] = b->config.pid ? bench_cpu_seconds(b->config.pid) : -1;
	b->start_ns = b->end_ns = clock_mono_ns();
	timer_start(b->loop, &b->timeout, b->config.timeout_ms);
	if (b->config.rate)
		timer_start(b->loop, &b->tick, 1);
}

/* The last message has arrived (or never will): the broker's last acknowledgements follow. */
static void finish(struct bench *b)
{
	if (b->phase >= BENCH_ENDING)
		return;
	if (b->phase == BENCH_RUNNING)
		b->end_ns = clock_mono_ns();
	b->phase = BENCH_ENDING;
	timer_stop(b->loop, &b->timeout);
	timer_stop(b->loop, &b->tick);
	timer_start(b->loop, &b->timer, SETTLE_MS + b->config.hold_ms);
}

static void close_all(struct bench *b)
{
	b->phase = BENCH_CLOSING;
	if (b->config.pid) {
		b->broker_cpu[1] = bench_cpu_seconds(b->config.pid);
		b->broker_anon_kib = bench_anon_kib(b->config.pid);
	}
	bench_close_all(b);
	timer_start(b->loop, &b->timer, CLOSE_MS);
	if (b->gone == b->opened)
		loop_stop(b->loop);
}

static void on_timer(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, timer);

	if (b->phase == BENCH_STARTING)
		start(b);
	else if (b->phase == BENCH_ENDING)
		close_all(b);
	else
		loop_stop(b->loop);
}

static void on_timeout(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, timeout);

	b->timed_out = true;
	finish(b);
}

/* What was sent until then is still waited for, and told. */
static void on_signal(struct signals *s, int number)
{
	struct bench *b = container_of(s, struct bench, signals);

	(void)number;
	if (b->phase == BENCH_RUNNING && b->sent < b->config.messages)
		bench_end_publishing(b);
	else
		finish(b);
}

static void on_tick(struct timer *t)
{
	struct bench *b = container_of(t, struct bench, tick);

	timer_start(b->loop, t, 1); /* the turn's hook publishes */
}

static bool on_turn(struct turn_hook *h)
{
	struct bench *b = container_of(h, struct bench, hook);
	bool more;

	if (b->phase != BENCH_RUNNING)
		return false;
	more = bench_publish(b);
	if (b->settled == b->config.messages && b->delivered == b->expected)
		finish(b);
	return more;
}

void bench_on_ready(struct bench_link *l)
{
	struct bench *b = l->bench;

	if (l->is_ready)
		return;
	l->is_ready = true;
	if (l->role == BENCH_STOPPED)
		conn_pause(&l->client.conn);
	b->ready++;
	bench_open_more(b);
	if (b->ready == b->to_open && b->phase == BENCH_CONNECTING) {
		b->phase = BENCH_STARTING;
		timer_start(b->loop, &b->timer, SETTLE_MS);
	}
}

void bench_on_gone(struct bench_link *l, int err, const char *why)
{
	struct bench *b = l->bench;

	l->is_gone = true;
	b->gone++;
	if (b->phase != BENCH_CLOSING) {
		if (!b->failed)
			fprintf(stderr, "isobar bench: %s: %s\n",
				b->targets[l->role == BENCH_PUBLISHER].shown, why);
		b->failed = true;
		b->refused_connection |= err == ERR_DENIED || err == ERR_CREDENTIALS;
		finish(b);
	} else if (b->gone == b->opened) {
		loop_stop(b->loop);
	}
}

/* --- set-up ----------------------------------------------------------- */

static void set_filter(struct bench *b, struct bench_filter *f, const char *text)
{
	uint64_t topics = b->config.topics;

	f->text = view_of(text);
	f->rank = mem_new(topics * sizeof(*f->rank));
	f->before = mem_new(topics * sizeof(*f->before));
	for (uint64_t i = 0; i < topics; i++) {
		bool matched = filter_match(f->text, view_of(b->templates[i].topic));

		f->before[i] = f->matched;
		f->rank[i] = matched ? (int64_t)f->matched : -1;
		f->matched += matched;
	}
}

static void set_load(struct bench *b)
{
	struct bench_config *c = &b->config;
	struct random random = {clock_mono_ns()};

	b->run = c->run ? (uint32_t)c->run : (uint32_t)random_next(&random);
	b->templates = mem_new(c->topics * sizeof(*b->templates));
	for (uint32_t i = 0; i < c->topics; i++)
		bench_template_init(&b->templates[i], i, (uint32_t)c->size, (uint8_t)c->publish_qos,
			c->version);
	for (uint32_t i = 0; i < c->filters.count; i++)
		set_filter(b, &b->filters[i], c->filters.items[i]);
	bench_links_new(b);
}

static void unset_load(struct bench *b)
{
	bench_links_free(b);
	for (uint32_t i = 0; i < b->config.topics; i++)
		bench_template_fini(&b->templates[i]);
	free(b->templates);
	for (uint32_t i = 0; i < b->config.filters.count; i++) {
		free(b->filters[i].rank);
		free(b->filters[i].before);
	}
}

static int set_targets(struct bench *b)
{
	struct bench_config *c = &b->config;
	struct client_options to = {.url = c->publish_url ? c->publish_url : c->where.url,
		.user = c->publish_user || c->publish_url ? c->publish_user : c->where.user,
		.password_file = c->publish_user || c->publish_url ? c->publish_password_file
								   : c->where.password_file};
	int status = cli_client_target_open(&b->targets[0], &c->where);

	if (status == CLI_DONE)
		status = cli_client_target_open(&b->targets[1], &to);
	for (unsigned role = 0; role < BENCH_ROLES; role++)
		b->settings[role] =
			(struct client_settings){.target = &b->targets[role == BENCH_PUBLISHER],
				.version = c->version,
				.keep_alive_s = (uint16_t)c->keep_alive_s,
				.receive_maximum = (uint16_t)c->receive_maximum};
	b->settings[BENCH_SUBSCRIBER].session_expiry_s = (uint32_t)(c->session_expiry_ms / 1000);
	b->settings[BENCH_STOPPED].keep_alive_s = 0; /* it does not read PINGRESP */
	b->settings[BENCH_STOPPED].receive_buffer_bytes = STOPPED_BUFFER;
	return status;
}

/* Every connection is a descriptor. */
static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int run(struct bench *b)
{
	b->loop = loop_new();
	b->signals.on_signal = on_signal;
	if (b->loop == NULL || signals_open(&b->signals, b->loop) < 0) {
		perror("isobar bench");
		return CLI_ENVIRONMENT;
	}
	raise_descriptor_limit();
	b->hook.on_turn = on_turn;
	b->timer.on_time = on_timer;
	b->timeout.on_time = on_timeout;
	b->tick.on_time = on_tick;
	loop_add_hook(b->loop, &b->hook);
	timer_start(b->loop, &b->timeout, b->config.timeout_ms);
	if (b->config.resume)
		start(b);
	bench_open_more(b);
	loop_run(b->loop);
	signals_close(&b->signals);
	loop_remove_hook(b->loop, &b->hook);
	loop_free(b->loop);
	if (b->start_ns == 0)
		return b->refused_connection ? CLI_NO : CLI_ENVIRONMENT;
	return bench_report(b) ? CLI_DONE : CLI_NO;
}

static const struct bench_config defaults = {.where = {.url = "mqtt://127.0.0.1:1883"},
	.counts = {[BENCH_SUBSCRIBER] = 1, [BENCH_PUBLISHER] = 1},
	.publish_qos = UINT64_MAX,
	.messages = 100000,
	.size = 1200,
	.topics = 16,
	.window = 1000,
	.keep_alive_s = 60,
	.timeout_ms = 60000,
	.version = MQTT_5};

/* What the options leave open, and what they may not say together. */
static int complete(struct bench_config *c)
{
	uint64_t links = 0;

	for (unsigned role = 0; role < BENCH_ROLES; role++)
		links += c->counts[role];
	if (links == 0 || links > LINKS_MOST) {
		fprintf(stderr, "isobar bench: from 1 to %u connections in all\n", LINKS_MOST);
		return CLI_USAGE;
	}
	for (uint32_t i = 0; i < c->filters.count; i++) {
		if (!filter_is_valid(view_of(c->filters.items[i]))) {
			fprintf(stderr, "isobar bench: %s is no topic filter\n",
				c->filters.items[i]);
			return CLI_USAGE;
		}
	}
	if (c->resume && (c->name == NULL || c->run == 0 || c->session_expiry_ms < 1000)) {
		fprintf(stderr,
			"isobar bench: --resume needs --name, --run and --session-expiry\n");
		return CLI_USAGE;
	}
	if (c->publish_qos > 2)
		c->publish_qos = c->qos;
	if (c->counts[BENCH_PUBLISHER] == 0)
		c->messages = 0;
	if (c->filters.count == 0)
		c->filters.items[c->filters.count++] = "origin/a/wis2/#";
	return CLI_DONE;
}

int cli_bench(int argc, char **argv)
{
	struct bench *b = mem_new(sizeof(*b));
	int first, status;

	b->config = defaults;
	first = arguments_read(&table, argc, argv, &b->config);
	status = first < 0 ? arguments_status(first) : CLI_DONE;
	if (first >= 0 && first < argc) {
		fprintf(stderr, "isobar bench: %s is not understood; see isobar bench --help\n",
			argv[first]);
		status = CLI_USAGE;
	}
	if (first >= 0 && status == CLI_DONE)
		status = complete(&b->config);
	if (first >= 0 && status == CLI_DONE) {
		status = set_targets(b);
		if (status == CLI_DONE) {
			set_load(b);
			status = run(b);
			unset_load(b);
		}
		cli_client_target_close(&b->targets[0]);
		cli_client_target_close(&b->targets[1]);
	}
	free(b);
	return status;
}
