#include "broker/sys.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
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

/* What an annex has told. */
struct told {
	char *topic;
	struct buf text;
	bool here; /* this time as well */
};

struct sys {
	struct broker *broker;
	struct sys_annex annex;
	uint64_t start_ms;
	_Atomic uint64_t wanted_ms;
	pthread_mutex_t lock; /* what follows; taken only when something is published */
	struct broker_figures past[MINUTE];
	uint32_t samples;
	uint64_t published_ms;
	struct buf last[TOPICS];
	struct map told; /* topic -> struct told */
};

/* --- publishing --------------------------------------------------------- */

static void append(struct broker *b, struct view topic, struct view payload)
{
	struct journal_message m = {
		.topic = topic,
		.payload = payload,
		.publisher = PUBLISHER,
		.qos = 1,
		.flags = JOURNAL_RETAIN | JOURNAL_UTF8,
	};
	uint64_t seq;

	uuid_random(&m.id);
	if (commit_append(b->commit, &m, &seq) < 0)
		log_debug("broker", "sys-not-published", "topic=%.*s", VIEW_ARG(topic));
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

/* --- the annex ------------------------------------------------------------ */

struct telling {
	struct sys *sys;
	bool everything;
};

static void say(void *to, struct view topic, struct view text)
{
	struct telling *t = to;
	struct told *told = map_get(&t->sys->told, topic);
	bool is_new = told == NULL;

	if (is_new) {
		told = mem_new(sizeof(*told));
		told->topic = mem_text_of(topic);
		map_put(&t->sys->told, view_of(told->topic), told);
	}
	told->here = true;
	if (!is_new && !t->everything && view_equal(buf_view(&told->text), text))
		return;
	buf_clear(&told->text);
	buf_append(&told->text, text.p, text.n);
	append(t->sys->broker, topic, text);
}

static void told_free(struct told *told)
{
	free(told->topic);
	buf_fini(&told->text);
	free(told);
}

static void clear_untold(struct sys *s)
{
	struct told *told;
	size_t at = 0;

	while ((told = map_next(&s->told, &at)) != NULL) {
		if (told->here)
			continue;
		append(s->broker, view_of(told->topic), VIEW(""));
		map_remove(&s->told, view_of(told->topic));
		told_free(told);
		at = 0;
	}
}

static void publish_annex(struct sys *s, bool everything)
{
	struct telling telling = {s, everything};
	struct told *told;

	for (size_t at = 0; (told = map_next(&s->told, &at)) != NULL;)
		told->here = false;
	s->annex.tell(s->annex.context, say, &telling);
	clear_untold(s);
}

/* --- all ------------------------------------------------------------------ */

/* With the lock: what has changed, or everything. */
static void publish(struct sys *s, bool everything)
{
	struct buf texts[TOPICS] = {{0}};
	struct sys_values v = {0};

	take_values(s, &v);
	print_values(&v, texts);
	for (size_t i = 0; i < TOPICS; i++) {
		if (everything || !view_equal(buf_view(&texts[i]), buf_view(&s->last[i])))
			append(s->broker, view_of(topics[i]), buf_view(&texts[i]));
		buf_fini(&s->last[i]);
		s->last[i] = texts[i];
	}
	if (s->annex.tell)
		publish_annex(s, everything);
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
	append(b, VIEW(LOST), buf_view(&text));
	buf_fini(&text);
	wake_workers(b);
}

/* --- who asks ----------------------------------------------------------- */

static void on_match(void *context, void *value)
{
	(void)value;
	*(bool *)context = true;
}

struct asked {
	const struct broker_worker *worker;
	bool is_so;
};

static void look_at(void *to, struct view topic, struct view text)
{
	struct asked *asked = to;

	(void)text;
	if (!asked->is_so)
		filter_tree_match(asked->worker->groups.tree, topic, on_match, &asked->is_so);
}

static bool is_wanted(const struct broker_worker *w)
{
	const struct sys_annex *annex = &w->broker->sys->annex;
	struct asked asked = {w, false};

	for (size_t i = 0; i < TOPICS; i++)
		look_at(&asked, view_of(topics[i]), VIEW(""));
	if (!asked.is_so && annex->tell)
		annex->tell(annex->context, look_at, &asked);
	return asked.is_so;
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

void broker_set_annex(struct broker *b, const struct sys_annex *annex)
{
	b->sys->annex = *annex;
}

void sys_free(struct sys *s)
{
	struct told *told;

	for (size_t at = 0; (told = map_next(&s->told, &at)) != NULL;)
		told_free(told);
	map_fini(&s->told);
	for (size_t i = 0; i < TOPICS; i++)
		buf_fini(&s->last[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
