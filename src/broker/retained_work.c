/* What the store's thread does for retained messages: rows of what has changed, once a second, and
 * messages that the journal's newest part no longer has, appended again for walks.
 *
 * A topic is looked at under the lock and its bytes are found outside it; what was found holds only as
 * long as the topic is the same (`set_at`).
 */
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "broker/group.h"
#include "broker/retained_inside.h"
#include "broker/retained_row.h"
#include "mqtt/filter.h"

#define MARK_EVERY 60u     /* times WRITE_EVERY_MS: the mark moves also when nothing changed */
#define SWEEP_TOPICS 4096u /* looked at in one piece off the workers */
#define REVIVE_BYTES (4u << 20)
#define HELD_PAUSE_NS 100000000L

/* --- a message's bytes -------------------------------------------------- */

struct journal_message retained_message_of(
	const struct journal_segment *segment, const struct journal_entry *e)
{
	const char *packet = (const char *)segment->packets + e->offset;
	struct view topic = record_topic(segment, e);
	const char *end = packet + e->packet_bytes;

	return (struct journal_message){
		.topic = topic,
		.payload = {topic.p + topic.n, (size_t)(end - topic.p) - topic.n},
		.properties = {end, e->property_bytes},
		.id = e->id,
		.expiry_s = e->expiry_s,
		.publisher = e->publisher,
		.flags = e->flags & (JOURNAL_RETAIN | JOURNAL_UTF8),
		.qos = journal_entry_qos(e),
		.origin = journal_entry_origin(e),
	};
}

/* What is asked of a topic outside the lock. */
struct glimpse {
	uint64_t set_at;
	uint64_t position;
	uint64_t expires_ms;
	uint64_t place;
	uint8_t shard;
	bool is_cut;
};

static struct glimpse glimpse_of(const struct retained_topic *t)
{
	return (struct glimpse){
		t->set_at, t->position, t->expires_ms, t->place, t->shard, t->is_cut};
}

/* From the journal, else from the store (into r->row, which the views then borrow from). Within the
 * reader's brackets. False: neither has it. */
static bool find_bytes(struct retained *r, const struct glimpse *g, struct retained_row *out)
{
	const struct journal_segment *segment =
		g->position == RETAINED_AWAY ? NULL : journal_find(r->journal, g->position);
	const struct journal_entry *e;

	if (segment) {
		e = &segment->entries[g->position - segment->base];
		*out = (struct retained_row){.message = retained_message_of(segment, e),
			.set_at = g->set_at ? g->set_at - 1 : 0,
			.time_ms = e->time_ms};
		return true;
	}
	buf_clear(&r->row);
	return r->store && store_get(r->store, buf_view(&r->name), &r->row) &&
	       retained_row_decode(buf_view(&r->row), out) == 0;
}

/* The topic in r->name if it still is as it was. With the lock. */
static struct retained_topic *same(struct retained *r, uint64_t set_at)
{
	struct retained_topic *t = retained_set_find(&r->set, buf_view(&r->name));

	return t && t->set_at == set_at ? t : NULL;
}

/* Neither journal nor store has it: it cannot be delivered any more. */
static void give_up(struct retained *r, uint64_t set_at)
{
	char quoted[LOG_QUOTE_BYTES];
	struct retained_topic *t;

	pthread_mutex_lock(&r->lock);
	t = same(r, set_at);
	if (t)
		retained_forget(r, t);
	pthread_mutex_unlock(&r->lock);
	if (t && !view_starts_with(buf_view(&r->name), VIEW("$SYS/")))
		log_error("broker", "retained-lost", "topic=%s",
			log_quote((const char *)buf_bytes(&r->name), buf_length(&r->name), quoted));
}

/* --- writing ------------------------------------------------------------ */

/* The oldest change: its topic into r->name. False: there is none. */
static bool take_change(struct retained *r, struct glimpse *g)
{
	struct retained_topic *t;

	pthread_mutex_lock(&r->lock);
	t = r->changed;
	if (t) {
		r->changed = t->next_changed;
		if (r->changed == NULL)
			r->changed_end = &r->changed;
		r->changed_count--;
		t->is_changed = false;
		*g = glimpse_of(t);
		retained_move_to(&r->name, retained_topic_name(t));
		if (t->is_cut)
			free(t);
	}
	pthread_mutex_unlock(&r->lock);
	return t != NULL;
}

static void write_change(struct retained *r, const struct glimpse *g)
{
	struct retained_row row;
	struct buf bytes = {0};

	if (g->is_cut) {
		store_remove(r->store, buf_view(&r->name));
		return;
	}
	if (!find_bytes(r, g, &row)) {
		give_up(r, g->set_at);
		return;
	}
	row.message.log_id = g->place;
	row.message.shard = g->shard;
	retained_row_encode(&row, &bytes);
	store_put(r->store, buf_view(&r->name), buf_view(&bytes), false);
	buf_fini(&bytes);
}

/* Drops some of what has expired. */
static void sweep(struct retained *r)
{
	uint64_t now = journal_now(r->journal);
	struct retained_topic *next;
	struct retained_topic *t;

	pthread_mutex_lock(&r->lock);
	t = retained_set_from(&r->set, buf_view(&r->sweep), false);
	buf_clear(&r->sweep);
	for (uint32_t looked = 0; t; t = next, looked++) {
		next = t->next[0];
		if (looked == SWEEP_TOPICS) {
			retained_move_to(&r->sweep, retained_topic_name(t));
			break;
		}
		if (now >= t->expires_ms)
			retained_forget(r, t);
	}
	pthread_mutex_unlock(&r->lock);
}

/* Everything that was set below the mark is in the list when it is read: under the journal's lock the
 * hook has run for what lies below the tail. */
static void write_all(struct retained *r)
{
	struct glimpse g;
	uint64_t mark;
	uint64_t n;

	sweep(r);
	journal_lock(r->journal);
	mark = journal_tail(r->journal);
	journal_unlock(r->journal);
	pthread_mutex_lock(&r->lock);
	n = r->changed_count;
	pthread_mutex_unlock(&r->lock);
	for (; n && take_change(r, &g); n--) {
		journal_reader_enter(&r->reader);
		write_change(r, &g);
		journal_reader_leave(&r->reader);
	}
	if (r->moves_mark)
		store_mark(r->store, 0, mark);
}

void retained_run_write(struct store_job *job)
{
	struct retained *r = container_of(job, struct retained, write);

	write_all(r);
	atomic_store(&r->is_writing, false);
}

void retained_on_write_time(struct timer *timer)
{
	struct retained *r = container_of(timer, struct retained, timer);

	timer_start(r->loop, timer, WRITE_EVERY_MS);
	if (atomic_exchange(&r->is_writing, true))
		return;
	pthread_mutex_lock(&r->lock);
	r->moves_mark = r->changed || ++r->rounds % MARK_EVERY == 0;
	pthread_mutex_unlock(&r->lock);
	store_run(r->store, &r->write);
}

/* --- revival ------------------------------------------------------------ */

/* The next topic behind the cursor that is not at hand: into r->name. */
static bool next_cold(struct retained *r, struct retained_revival *v, struct glimpse *g)
{
	struct view filter = buf_view(&v->filter);
	struct view prefix = retained_prefix(filter);
	const struct retained_topic *t;
	uint32_t looked = 0;
	bool found = false;

	pthread_mutex_lock(&r->lock);
	t = retained_behind(r, prefix, &v->cursor);
	for (; t && !found && looked < SWEEP_TOPICS && retained_may_follow(t, filter, prefix);
		t = t->next[0], looked++) {
		retained_move_to(&v->cursor, retained_topic_name(t));
		found = filter_match(filter, retained_topic_name(t)) &&
			(t->position == RETAINED_AWAY || !journal_is_warm(r->journal, t->position));
		if (!found)
			continue;
		*g = glimpse_of(t);
		retained_move_to(&r->name, retained_topic_name(t));
	}
	pthread_mutex_unlock(&r->lock);
	return found;
}

/* Appends it again, with what is left of its time. Gives its bytes, 0: not done, negative: not now. */
static int revive(struct retained *r, const struct glimpse *g)
{
	struct retained_row row;
	struct retained_topic *t;
	uint64_t now = journal_now(r->journal);
	uint64_t seq;
	int err;

	if (now >= g->expires_ms)
		return 0;
	if (!find_bytes(r, g, &row)) {
		give_up(r, g->set_at);
		return 0;
	}
	row.message.flags |= JOURNAL_RETAIN | JOURNAL_HIDDEN;
	row.message.log_id = 0; /* this record is none of the shared log */
	if (g->expires_ms != UINT64_MAX)
		row.message.expiry_s = (uint32_t)((g->expires_ms - now + 999) / 1000);
	err = commit_append(r->commit, &row.message, &seq);
	if (err)
		return err;
	pthread_mutex_lock(&r->lock);
	t = same(r, g->set_at);
	if (t)
		t->position = seq;
	pthread_mutex_unlock(&r->lock);
	return (int)(row.message.topic.n + row.message.payload.n + row.message.properties.n);
}

/* The journal takes nothing at present: whoever asked will ask again, but not at once. */
static void pause_while_held(void)
{
	nanosleep(&(struct timespec){.tv_nsec = HELD_PAUSE_NS}, NULL);
}

static void run_revival(struct store_job *job)
{
	struct retained_revival *v = container_of(job, struct retained_revival, job);
	struct retained *r = v->retained;
	struct glimpse g;
	int64_t bytes = 0;
	int got = 0;

	for (uint32_t n = 0; n < RETAINED_LOOK && bytes < REVIVE_BYTES && got >= 0; n++) {
		if (!next_cold(r, v, &g))
			break;
		journal_reader_enter(&r->reader);
		got = revive(r, &g);
		journal_reader_leave(&r->reader);
		bytes += got;
	}
	if (got < 0)
		pause_while_held();
	loop_post(v->loop, &v->task);
}

void retained_revive(struct retained *r, struct retained_revival *v)
{
	v->retained = r;
	v->job.run = run_revival;
	if (r->store)
		store_run(r->store, &v->job);
	else
		run_revival(&v->job); /* nobody is kept waiting: no network */
}
