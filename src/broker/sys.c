#include "broker/sys.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/worker.h"
#include "journal/journal.h"
#include "mqtt/tree.h"

#define EVERY_MS 10000u
#define FRESH_MS 1000u
#define WANTED_MS (2 * EVERY_MS + FRESH_MS) /* since a worker last saw somebody ask */
#define MINUTE 6u                           /* times EVERY_MS */
#define PUBLISHER 0xffffu                   /* neither a source nor an account */
#define ROOT "$SYS/broker/"
#define LOST ROOT "isobar/lost"

struct sys_values {
	struct broker_figures now;
	struct broker_figures before; /* a minute ago, or at the start */
	uint64_t uptime_s;
};

#define TEXT(topic, text) ROOT topic,
#define X(topic, format, value) ROOT topic,
static const char *const topics[] = {
#include "broker/sys.def"
};
#undef TEXT
#undef X
#define TOPICS (sizeof(topics) / sizeof(topics[0]))

struct sys {
	struct broker *broker;
	uint64_t start_ms;
	_Atomic uint64_t wanted_ms;
	pthread_mutex_t lock; /* what follows; taken only when something is published */
	struct broker_figures past[MINUTE];
	uint32_t samples;
	uint64_t published_ms;
	struct buf last[TOPICS];
};

/* --- publishing --------------------------------------------------------- */

static void append(struct broker *b, const char *topic, struct view payload)
{
	struct journal_message m = {
		.topic = view_of(topic),
		.payload = payload,
		.publisher = PUBLISHER,
		.qos = 1,
		.flags = JOURNAL_RETAIN | JOURNAL_UTF8,
	};
	uint64_t seq;

	uuid_random(&m.id);
	if (commit_append(b->commit, &m, &seq) < 0)
		log_debug("broker", "sys-not-published", "topic=%s", topic);
}

static void wake_workers(struct broker *b)
{
	for (unsigned i = 0; i < b->worker_count; i++)
		loop_wake(b->workers[i].loop);
}

static void print_values(const struct sys_values *v, struct buf out[TOPICS])
{
	struct buf *at = out;

#define TEXT(topic, text) buf_text(at++, text);
#define X(topic, format, value) buf_printf(at++, format, (unsigned long long)(value));
#include "broker/sys.def"
#undef TEXT
#undef X
}

static void take_values(struct sys *s, struct sys_values *v)
{
	broker_figures(s->broker, &v->now);
	if (s->samples >= MINUTE)
		v->before = s->past[s->samples % MINUTE];
	v->uptime_s = (clock_mono_ms() - s->start_ms) / 1000;
}

/* With the lock: what has changed, or everything. */
static void publish(struct sys *s, bool everything)
{
	struct buf texts[TOPICS] = {{0}};
	struct sys_values v = {0};

	take_values(s, &v);
	print_values(&v, texts);
	for (size_t i = 0; i < TOPICS; i++) {
		if (everything || !view_equal(buf_view(&texts[i]), buf_view(&s->last[i])))
			append(s->broker, topics[i], buf_view(&texts[i]));
		buf_fini(&s->last[i]);
		s->last[i] = texts[i];
	}
	s->published_ms = clock_mono_ms();
	wake_workers(s->broker);
}

void sys_refresh(struct broker_worker *w)
{
	struct sys *s = w->broker->sys;

	atomic_store(&s->wanted_ms, clock_mono_ms());
	pthread_mutex_lock(&s->lock);
	if (s->published_ms == 0 || clock_mono_ms() - s->published_ms >= FRESH_MS)
		publish(s, true);
	pthread_mutex_unlock(&s->lock);
}

void sys_tell_lost(
	struct broker *b, struct view client_id, uint64_t records, uint64_t wanted, bool exact)
{
	struct buf text = {0};

	buf_text(&text, "{\"client_id\":");
	buf_json_string(&text, client_id);
	buf_printf(&text, ",\"records\":%llu,\"wanted\":%llu,\"exact\":%s}",
		(unsigned long long)records, (unsigned long long)wanted, exact ? "true" : "false");
	append(b, LOST, buf_view(&text));
	buf_fini(&text);
	wake_workers(b);
}

/* --- who asks ----------------------------------------------------------- */

static void on_match(void *context, void *value)
{
	(void)value;
	*(bool *)context = true;
}

static bool is_wanted(const struct broker_worker *w)
{
	bool found = false;

	for (size_t i = 0; i < TOPICS && !found; i++)
		filter_tree_match(w->groups.tree, view_of(topics[i]), on_match, &found);
	return found;
}

/* The first worker's: samples for the figures of a minute, and what is due. */
static void tick(struct sys *s)
{
	pthread_mutex_lock(&s->lock);
	if (clock_mono_ms() - atomic_load(&s->wanted_ms) < WANTED_MS)
		publish(s, false);
	broker_figures(s->broker, &s->past[s->samples % MINUTE]);
	s->samples++;
	pthread_mutex_unlock(&s->lock);
}

static void on_time(struct timer *t)
{
	struct broker_worker *w = container_of(t, struct broker_worker, sys_watch.timer);
	struct sys *s = w->broker->sys;

	timer_start(w->loop, t, EVERY_MS);
	if (is_wanted(w))
		atomic_store(&s->wanted_ms, clock_mono_ms());
	if (w->number == 0)
		tick(s);
}

void sys_watch_start(struct broker_worker *w)
{
	w->sys_watch.timer.on_time = on_time;
	timer_start(w->loop, &w->sys_watch.timer, EVERY_MS);
}

void sys_watch_stop(struct broker_worker *w)
{
	timer_stop(w->loop, &w->sys_watch.timer);
}

/* --- life --------------------------------------------------------------- */

struct sys *sys_new(struct broker *b)
{
	struct sys *s = mem_new(sizeof(*s));

	s->broker = b;
	s->start_ms = clock_mono_ms();
	s->wanted_ms = s->start_ms - WANTED_MS;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void sys_free(struct sys *s)
{
	for (size_t i = 0; i < TOPICS; i++)
		buf_fini(&s->last[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
