/* cli/simulate.c - `isobar simulate`: a broker on which the notifications of N centres appear
 *
 * The broker is our own, over a journal in a temporary folder, so that subscribers with persistent
 * sessions find what came while they were away. A timer on its only loop draws messages
 * (cli/story.h) and commits them without the antiloop, so that repeats pass.
 *
 *   main thread: sets up, waits for signals or the end, takes down
 *   loop thread: broker, generator
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/broker.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/story.h"
#include "commit/commit.h"
#include "net/listener.h"

#define BATCH 64u
#define TICK_MS 5u
#define QUIET_TICKS 100u /* TICK_MS each without an acknowledgement: everybody has all */
#define SIGNAL_LINGER_MS 2000u
#define JOURNAL_BYTES (2ull << 30)

struct simulate {
	const char *listen;
	const char *centres;
	uint64_t nodes;
	uint64_t rate;
	uint64_t count;   /* 0: no end */
	uint64_t life_ms; /* 0: no end */
	uint64_t linger_ms;
	uint64_t wait;
	uint64_t seed;
	uint64_t size;
	double duplicates;
	double invalid;
	bool no_foreign;
	bool list_centres;

	struct story story;
	char dir[64];
	struct commit *commit;
	struct commit_port *port;
	struct hierarchy *hierarchy;
	struct accounts *accounts;
	struct broker *broker;
	struct loop *loop;
	struct listener *listener;
	struct timer timer;
	struct commit_owner owner;
	struct commit_waiter waiter;
	bool is_held;
	struct story_message batch[BATCH];
	uint32_t batched; /* drawn and not yet taken by the journal */
	uint64_t committed;
	uint64_t start_ms;     /* of publishing; 0: not yet */
	uint64_t last_ms;      /* the last message was published */
	uint64_t acknowledged; /* as of the last tick */
	uint32_t quiet_ticks;
	atomic_bool stopping; /* a signal came: publish no more */
	atomic_bool finished;
};

#define AT(field) offsetof(struct simulate, field)
static const struct argument rows[] = {
	{'l', "listen", ARGUMENT_TEXT, AT(listen), 0, 0, "URL",
		"where to serve; port 0: a free one (mqtt://127.0.0.1:11883)"},
	{'n', "nodes", ARGUMENT_NUMBER, AT(nodes), 1, 10000, "N",
		"centres, with made-up names (10)"},
	{0, "centres", ARGUMENT_TEXT, AT(centres), 0, 0, "A,B,C", "centre-ids instead"},
	{0, "list-centres", ARGUMENT_FLAG, AT(list_centres), 0, 0, NULL,
		"print their names and end"},
	{'r', "rate", ARGUMENT_NUMBER, AT(rate), 1, 1000000, "R", "messages a second in all (50)"},
	{'d', "duplicates", ARGUMENT_SHARE, AT(duplicates), 0, 0, "P",
		"share of messages that repeat one (0)"},
	{'i', "invalid", ARGUMENT_SHARE, AT(invalid), 0, 0, "Q",
		"share of messages that are broken (0)"},
	{0, "no-foreign", ARGUMENT_FLAG, AT(no_foreign), 0, 0, NULL,
		"no broken message is on another centre's topic"},
	{'c', "count", ARGUMENT_NUMBER, AT(count), 1, UINT64_MAX, "N",
		"end after so many, when they are acknowledged"},
	{0, "seconds", ARGUMENT_DURATION, AT(life_ms), 0, 0, "TIME", "publish so long, then end"},
	{0, "linger", ARGUMENT_DURATION, AT(linger_ms), 0, 0, "TIME",
		"longest wait at the end for subscribers to take everything (30s)"},
	{'w', "wait", ARGUMENT_NUMBER, AT(wait), 0, 1000000, "N",
		"begin when so many subscriptions are there (0)"},
	{0, "seed", ARGUMENT_NUMBER, AT(seed), 0, UINT64_MAX, "S",
		"same seed, same story (random)"},
	{0, "size", ARGUMENT_NUMBER, AT(size), GENERATE_SIZE_LEAST, GENERATE_SIZE_MOST, "BYTES",
		"of a payload, at least about 1000 (1200)"},
};
static const struct argument_table table = {"isobar simulate [options]",
	"Stands in for WIS2 Nodes: an MQTT broker (everyone/everyone) on which their "
	"notifications\n"
	"appear. Prints where it listens, and at the end what it sent, as one JSON line.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- publishing: on the loop ------------------------------------------- */

static void submit(struct simulate *s)
{
	struct commit_request requests[BATCH];

	for (uint32_t i = 0; i < s->batched; i++) {
		const struct story_message *m = &s->batch[i];

		requests[i] = (struct commit_request){.message = {.topic = buf_view(&m->topic),
							      .payload = buf_view(&m->payload),
							      .id = m->id,
							      .qos = 1}};
	}
	s->is_held = commit_submit(s->port, &s->owner, requests, s->batched) < 0;
	if (s->is_held)
		commit_wait(s->port, &s->waiter);
	else
		s->batched = 0;
}

static void on_ready(struct commit_waiter *w)
{
	submit(container_of(w, struct simulate, waiter));
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct simulate *s = container_of(o, struct simulate, owner);

	(void)token, (void)outcome;
	s->committed++;
}

static void draw(struct simulate *s, uint64_t due)
{
	uint64_t now_ms = loop_wall_ms(s->loop);

	while (s->story.sent < due && !s->is_held) {
		while (s->batched < BATCH && s->story.sent < due)
			story_next(&s->story, now_ms, &s->batch[s->batched++]);
		submit(s);
	}
}

/* How many should have been published by now; *all: there will be no more. */
static uint64_t count_due(const struct simulate *s, uint64_t now_ms, bool *all)
{
	uint64_t age_ms = now_ms - s->start_ms;
	uint64_t due;

	*all = atomic_load(&s->stopping);
	if (*all)
		return s->story.sent;
	if (s->life_ms && age_ms > s->life_ms)
		age_ms = s->life_ms;
	due = age_ms * s->rate / 1000;
	if (s->count && due > s->count)
		due = s->count;
	*all = (s->count && due == s->count) || (s->life_ms && age_ms == s->life_ms);
	return due;
}

/* Everybody who is connected has acknowledged everything, and nobody is away with something
 * waiting; or waiting for that has lasted long enough. */
static bool is_over(struct simulate *s, uint64_t now_ms)
{
	bool stopping = atomic_load(&s->stopping);
	uint64_t waited_ms = now_ms - s->last_ms;
	struct broker_figures f;

	broker_figures(s->broker, &f);
	s->quiet_ticks = f.acknowledged != s->acknowledged ? 0 : s->quiet_ticks + 1;
	s->acknowledged = f.acknowledged;
	if (waited_ms > (stopping ? SIGNAL_LINGER_MS : s->linger_ms))
		return true;
	return s->committed == s->story.sent && f.behind == 0 &&
	       (stopping || f.sessions_offline == 0) && s->quiet_ticks >= QUIET_TICKS;
}

/* Begins when the subscriptions waited for are there. */
static bool has_begun(struct simulate *s, uint64_t now_ms)
{
	struct broker_figures f;

	if (s->start_ms)
		return true;
	broker_figures(s->broker, &f);
	if (f.subscriptions < s->wait && !atomic_load(&s->stopping))
		return false;
	s->start_ms = s->last_ms = now_ms;
	return true;
}

static void on_time(struct timer *t)
{
	struct simulate *s = container_of(t, struct simulate, timer);
	uint64_t now_ms = loop_now_ms(s->loop);
	bool all;

	timer_start(s->loop, t, TICK_MS);
	if (!has_begun(s, now_ms))
		return;
	draw(s, count_due(s, now_ms, &all));
	if (!all)
		s->last_ms = now_ms;
	else if (is_over(s, now_ms))
		atomic_store(&s->finished, true);
}

static void on_accept(void *context, const struct arrival *a)
{
	struct simulate *s = context;

	broker_accept(broker_worker(s->broker, 0), a);
}

/* --- set-up and end: main thread --------------------------------------- */

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "isobar simulate: %s: %s\n", what, why);
	return CLI_ENVIRONMENT;
}

/* everyone/everyone, who may read everything and stay away for a day. */
static struct accounts *make_accounts(void)
{
	struct account *a = mem_new(sizeof(*a));

	account_default(a);
	a->user = mem_text("everyone");
	a->password = mem_text("everyone");
	a->read = mem_new(sizeof(*a->read));
	a->read[0] = mem_text("#");
	a->read_count = 1;
	a->max_qos = 2;
	a->session_expiry_ms = UINT64_MAX;
	gate_settings_default(&a->policy.settings);
	gate_policy_compile(&a->policy);
	return accounts_new(a, 1);
}

static int open_journal(struct simulate *s)
{
	const uint64_t day_ms = 86400000;
	struct commit_config config = {.window_ms = 1000,
		.ids = 1,
		.journal = {.keep_ms = day_ms,
			.size_bytes = JOURNAL_BYTES,
			.index_keep_ms = 1000,
			.sync = JOURNAL_SYNC_NEVER}};
	const char *base = getenv("TMPDIR");
	char *why = NULL;
	int status;

	snprintf(
		s->dir, sizeof(s->dir), "%s/isobar-simulate-XXXXXX", base && *base ? base : "/tmp");
	if (mkdtemp(s->dir) == NULL) {
		status = complain(s->dir, strerror(errno));
		s->dir[0] = '\0';
		return status;
	}
	config.journal.dir = s->dir;
	if (commit_open(&s->commit, &config, &why) == 0)
		return CLI_DONE;
	status = complain(s->dir, why ? why : "cannot be opened");
	free(why);
	return status;
}

static int open_broker(struct simulate *s)
{
	struct broker_settings settings;

	s->loop = loop_new();
	if (s->loop == NULL)
		return complain("event loop", strerror(errno));
	s->port = commit_port_new(s->commit, s->loop, 0);
	s->hierarchy = hierarchy_built_in();
	s->accounts = make_accounts();
	settings = (struct broker_settings){.hierarchy = s->hierarchy, .accounts = s->accounts};
	broker_limits_default(&settings.limits);
	s->broker = broker_new(s->commit, &s->port, 1, &settings);
	s->owner.on_done = on_done;
	s->waiter.on_ready = on_ready;
	list_init(&s->waiter.link);
	s->timer.on_time = on_time;
	timer_start(s->loop, &s->timer, 0);
	return CLI_DONE;
}

static int open_listener(struct simulate *s)
{
	const char *why = "only mqtt:// with a numeric address is served";
	char text[ADDRESS_TEXT_BYTES];
	struct address at;
	struct url url;

	if (url_parse(view_of(s->listen), &url, &why) < 0 || url.scheme != URL_MQTT ||
		!address_parse(view_of(url.host), url.port, &at)) {
		complain(s->listen, why);
		return CLI_USAGE;
	}
	if (listener_open(&s->listener, s->loop, &at, false, on_accept, s) < 0)
		return complain(s->listen, strerror(errno));
	at = listener_address(s->listener);
	address_format(&at, text);
	printf("listening mqtt://%s\n", text);
	fflush(stdout);
	return CLI_DONE;
}

static void *run_loop(void *context)
{
	loop_run(context);
	return NULL;
}

/* The end of the story, which SIGINT or SIGTERM (blocked in all threads) bring nearer; a second
 * signal ends at once. */
static void wait_for_end(struct simulate *s, const sigset_t *ends)
{
	const struct timespec look = {.tv_nsec = 20000000};

	while (!atomic_load(&s->finished)) {
		if (sigtimedwait(ends, NULL, &look) > 0 && atomic_exchange(&s->stopping, true))
			break;
	}
}

static void print_report(struct simulate *s)
{
	struct broker_figures figures;
	struct buf out = {0};

	broker_figures(s->broker, &figures);
	buf_text(&out, "{");
	story_report(&s->story, &out);
	buf_printf(&out, ",\"committed\":%llu,\"delivered\":%llu,\"acknowledged\":%llu}\n",
		(unsigned long long)s->committed, (unsigned long long)figures.delivered,
		(unsigned long long)figures.acknowledged);
	fwrite(buf_bytes(&out), 1, buf_length(&out), stdout);
	fflush(stdout);
	buf_fini(&out);
}

static int serve(struct simulate *s, const sigset_t *ends)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, run_loop, s->loop);

	if (err)
		return complain("thread", strerror(err));
	wait_for_end(s, ends);
	broker_stop(s->broker);
	loop_stop(s->loop);
	pthread_join(thread, NULL);
	print_report(s);
	return CLI_DONE;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st, (void)type, (void)walk;
	return remove(path);
}

static void close_all(struct simulate *s)
{
	if (s->listener)
		listener_close(s->listener);
	if (s->port)
		commit_forget(s->port, &s->owner);
	if (s->broker)
		broker_free(s->broker);
	if (s->port)
		commit_port_free(s->port);
	if (s->commit)
		commit_close(s->commit);
	if (s->loop)
		loop_free(s->loop);
	accounts_unref(s->accounts);
	if (s->hierarchy)
		hierarchy_unref(s->hierarchy);
	if (s->dir[0])
		nftw(s->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static int run(struct simulate *s)
{
	sigset_t ends, before;
	int status;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, &before);
	log_configure(LOG_WARN, false);
	status = open_journal(s);
	if (status == CLI_DONE)
		status = open_broker(s);
	if (status == CLI_DONE)
		status = open_listener(s);
	if (status == CLI_DONE)
		status = serve(s, &ends);
	close_all(s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return status;
}

/* --- options ------------------------------------------------------------ */

static int set_centres(struct simulate *s)
{
	struct view rest = view_of(s->centres);

	for (uint32_t i = 0; s->centres == NULL && i < s->nodes; i++) {
		char name[GENERATE_CENTRE_BYTES];

		generate_centre(i, name);
		story_add_centre(&s->story, view_of(name));
	}
	while (rest.p) {
		struct view name = view_cut(&rest, ',');

		if (!story_add_centre(&s->story, name)) {
			fprintf(stderr, "isobar simulate: %.*s is no centre-id\n", VIEW_ARG(name));
			return CLI_USAGE;
		}
	}
	return CLI_DONE;
}

static int set_story(struct simulate *s)
{
	if (s->duplicates + s->invalid > 1) {
		fprintf(stderr, "isobar simulate: --duplicates and --invalid exceed 100%%\n");
		return CLI_USAGE;
	}
	story_init(&s->story, s->seed ? s->seed : clock_mono_ns());
	s->story.duplicates = s->duplicates;
	s->story.invalid = s->invalid;
	s->story.foreign = !s->no_foreign;
	s->story.size_bytes = (uint32_t)s->size;
	return set_centres(s);
}

static int run_or_list(struct simulate *s)
{
	int status = set_story(s);

	if (status != CLI_DONE || !s->list_centres)
		return status == CLI_DONE ? run(s) : status;
	for (uint32_t i = 0; i < s->story.centre_count; i++)
		puts(s->story.centres[i].name);
	return CLI_DONE;
}

int cli_simulate(int argc, char **argv)
{
	struct simulate *s = mem_new(sizeof(*s));
	int first, status;

	s->listen = "mqtt://127.0.0.1:11883";
	s->nodes = 10;
	s->rate = 50;
	s->size = 1200;
	s->linger_ms = 30000;
	first = arguments_read(&table, argc, argv, s);
	if (first < 0) {
		status = arguments_status(first);
	} else if (first < argc) {
		fprintf(stderr,
			"isobar simulate: %s is not understood; see isobar simulate --help\n",
			argv[first]);
		status = CLI_USAGE;
	} else {
		status = run_or_list(s);
	}
	for (uint32_t i = 0; i < BATCH; i++) {
		buf_fini(&s->batch[i].topic);
		buf_fini(&s->batch[i].payload);
	}
	story_fini(&s->story);
	free(s);
	return status;
}
