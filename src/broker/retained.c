/* **Invariant:** a topic that is not in the list of changed ones has a row in the store that says what
 * the set says (or none, and is not in the set). */
#include "broker/retained.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/group.h"
#include "broker/retained_row.h"
#include "broker/retained_set.h"
#include "commit/gate.h"
#include "mqtt/filter.h"

#define WRITE_EVERY_MS 1000u
#define MARK_EVERY 60u     /* times WRITE_EVERY_MS: the mark moves also when nothing changed */
#define SWEEP_TOPICS 4096u /* looked at in one piece off the workers */
#define REVIVE_BYTES (4u << 20)
#define HELD_PAUSE_NS 100000000L

struct retained {
	struct commit *commit;
	struct journal *journal;
	struct store *store; /* NULL: memory only */
	pthread_mutex_t lock;
	struct retained_set set;
	struct retained_topic *changed; /* oldest change first */
	struct retained_topic **changed_end;
	uint64_t changed_count;
	struct retained_figures figures;
	/* the store's thread, after the start */
	struct store_job write;
	struct journal_reader reader;
	struct buf name;
	struct buf row;
	struct buf sweep; /* the next topic to look at */
	bool moves_mark;
	atomic_bool is_writing;
	/* the worker's */
	struct loop *loop;
	struct timer timer;
	uint32_t rounds;
};

/* --- the set, under the lock ------------------------------------------- */

static bool is_sys(struct view topic)
{
	return view_starts_with(topic, VIEW("$SYS/"));
}

/* What is told under $SYS is made anew by each process. */
static void note_change(struct retained *r, struct retained_topic *t)
{
	if (t->is_changed || r->store == NULL || is_sys(retained_topic_name(t)))
		return;
	t->is_changed = true;
	t->next_changed = NULL;
	*r->changed_end = t;
	r->changed_end = &t->next_changed;
	r->changed_count++;
}

static void count_topic(struct retained *r, const struct retained_topic *t, int sign)
{
	if (is_sys(retained_topic_name(t)))
		return;
	r->figures.count += (uint64_t)sign;
	r->figures.bytes += (uint64_t)sign * t->bytes;
}

/* It stays in memory until its row is removed. */
static void forget(struct retained *r, struct retained_topic *t)
{
	count_topic(r, t, -1);
	retained_set_cut(&r->set, t);
	note_change(r, t);
	if (!t->is_changed)
		free(t);
}

/* The record at seq is the topic's from now on. An empty payload clears it and is not kept itself. */
static struct retained_topic *set(
	struct retained *r, const struct journal_message *m, uint64_t seq, uint64_t time_ms)
{
	struct retained_topic *t = retained_set_find(&r->set, m->topic);

	if (m->payload.n == 0) { /* [MQTT-3.3.1-6], [MQTT-3.3.1-7] */
		if (t)
			forget(r, t);
		return NULL;
	}
	if (t)
		count_topic(r, t, -1);
	else
		t = retained_set_add(&r->set, m->topic);
	t->set_at = seq + 1;
	t->position = seq; /* [MQTT-3.3.1-5] */
	t->expires_ms = m->expiry_s ? time_ms + m->expiry_s * 1000ull : UINT64_MAX;
	t->bytes = (uint32_t)(m->topic.n + m->payload.n + m->properties.n);
	count_topic(r, t, 1);
	return t;
}

/* The journal's lock is held. */
static void on_retain(void *context, const struct journal_message *m, uint64_t seq)
{
	struct retained *r = context;
	struct retained_topic *t;

	pthread_mutex_lock(&r->lock);
	t = set(r, m, seq, journal_now(r->journal));
	if (t)
		note_change(r, t);
	pthread_mutex_unlock(&r->lock);
}

/* --- questions --------------------------------------------------------- */

int retained_check(struct retained *r, struct view topic, size_t bytes)
{
	const struct retained_topic *t;
	uint64_t all;
	int err;

	pthread_mutex_lock(&r->lock);
	t = retained_set_find(&r->set, topic);
	all = r->figures.bytes + bytes - (t ? t->bytes : 0);
	err = (t == NULL && r->figures.count >= RETAINED_COUNT_MOST) || all > RETAINED_BYTES_MOST
		      ? ERR_QUOTA
		      : 0;
	r->figures.refused += err < 0;
	pthread_mutex_unlock(&r->lock);
	return err;
}

void retained_figures(struct retained *r, struct retained_figures *out)
{
	pthread_mutex_lock(&r->lock);
	*out = r->figures;
	pthread_mutex_unlock(&r->lock);
}

/* What every topic that the filter matches begins with. */
static struct view prefix_of(struct view filter)
{
	size_t n = 0;

	while (n < filter.n && filter.p[n] != '+' && filter.p[n] != '#')
		n++;
	if (n && n < filter.n && filter.p[n] == '#')
		n--; /* "a/#" matches "a" */
	return (struct view){filter.p, n};
}

/* The first topic behind the cursor that may match; NULL: none is left. */
static struct retained_topic *first_behind(
	const struct retained *r, struct view prefix, const struct buf *cursor)
{
	return buf_length(cursor) ? retained_set_from(&r->set, buf_view(cursor), true)
				  : retained_set_from(&r->set, prefix, false);
}

static bool may_follow(const struct retained_topic *t, struct view filter, struct view prefix)
{
	struct view name = retained_topic_name(t);

	return view_starts_with(name, prefix) && (prefix.n < filter.n || name.n == filter.n);
}

static void move_to(struct buf *cursor, struct view topic)
{
	buf_clear(cursor);
	buf_append(cursor, topic.p, topic.n);
}

bool retained_may_match(struct retained *r, struct view filter)
{
	struct view prefix = prefix_of(filter);
	const struct retained_topic *t;
	bool may;

	pthread_mutex_lock(&r->lock);
	t = first_behind(r, prefix, &(struct buf){0});
	may = t && may_follow(t, filter, prefix);
	pthread_mutex_unlock(&r->lock);
	return may;
}

uint32_t retained_next(struct retained *r, struct view filter, struct buf *cursor,
	struct retained_hit *hits, bool *is_end)
{
	struct view prefix = prefix_of(filter);
	uint64_t now = journal_now(r->journal);
	const struct retained_topic *last = NULL;
	const struct retained_topic *t;
	uint32_t count = 0;
	uint32_t looked = 0;

	pthread_mutex_lock(&r->lock);
	t = first_behind(r, prefix, cursor);
	for (; t && looked < RETAINED_LOOK && count < RETAINED_HITS; t = t->next[0], looked++) {
		if (!may_follow(t, filter, prefix)) {
			t = NULL;
			break;
		}
		last = t;
		if (now < t->expires_ms && filter_match(filter, retained_topic_name(t)))
			hits[count++] = (struct retained_hit){t->set_at, t->position};
	}
	if (last)
		move_to(cursor, retained_topic_name(last));
	*is_end = t == NULL;
	pthread_mutex_unlock(&r->lock);
	return count;
}

/* --- a message's bytes, on the store's thread --------------------------- */

/* The message of a record; its views borrow from the journal's map. */
static struct journal_message message_of(
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
	bool is_cut;
};

static struct glimpse glimpse_of(const struct retained_topic *t)
{
	return (struct glimpse){t->set_at, t->position, t->expires_ms, t->is_cut};
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
		*out = (struct retained_row){.message = message_of(segment, e),
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
		forget(r, t);
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
		move_to(&r->name, retained_topic_name(t));
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
			move_to(&r->sweep, retained_topic_name(t));
			break;
		}
		if (now >= t->expires_ms)
			forget(r, t);
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

static void run_write(struct store_job *job)
{
	struct retained *r = container_of(job, struct retained, write);

	write_all(r);
	atomic_store(&r->is_writing, false);
}

static void on_write_time(struct timer *timer)
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
	struct view prefix = prefix_of(filter);
	const struct retained_topic *t;
	uint32_t looked = 0;
	bool found = false;

	pthread_mutex_lock(&r->lock);
	t = first_behind(r, prefix, &v->cursor);
	for (; t && !found && looked < SWEEP_TOPICS && may_follow(t, filter, prefix);
		t = t->next[0], looked++) {
		move_to(&v->cursor, retained_topic_name(t));
		found = filter_match(filter, retained_topic_name(t)) &&
			(t->position == RETAINED_AWAY || !journal_is_warm(r->journal, t->position));
		if (!found)
			continue;
		*g = glimpse_of(t);
		move_to(&r->name, retained_topic_name(t));
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

/* --- life --------------------------------------------------------------- */

static int check_row(struct view bytes)
{
	struct retained_row row;

	return retained_row_decode(bytes, &row);
}

static const struct store_kind retained_kind = {"retained", RETAINED_ROW_VERSION, check_row};

/* Is the record that the row speaks of still there? After damage or in another journal its number may
 * stand for another one. */
static bool has_record(const struct retained *r, const struct retained_row *row)
{
	const struct journal_segment *segment = journal_find(r->journal, row->set_at);
	const struct journal_entry *e;

	if (segment == NULL)
		return false;
	e = &segment->entries[row->set_at - segment->base];
	return e->flags & JOURNAL_RETAIN && memcmp(&e->id, &row->message.id, sizeof(e->id)) == 0;
}

static bool on_row(void *context, struct view bytes)
{
	struct retained *r = context;
	struct retained_topic *t;
	struct retained_row row;

	if (retained_row_decode(bytes, &row) < 0 || row.message.payload.n == 0)
		return true;
	t = set(r, &row.message, row.set_at, row.time_ms);
	if (!has_record(r, &row)) {
		t->set_at = 0;
		t->position = RETAINED_AWAY;
	}
	return true;
}

/* What was retained after the last rows were written. */
static void read_journal(struct retained *r, uint64_t from)
{
	uint64_t tail = journal_tail(r->journal);
	uint64_t head = journal_head(r->journal);
	const struct journal_segment *segment = NULL;

	for (uint64_t seq = from > head ? from : head; seq < tail; seq++) {
		const struct journal_entry *e;
		struct journal_message m;

		if (segment == NULL || seq >= segment->end)
			segment = journal_find(r->journal, seq);
		if (segment == NULL)
			return;
		e = &segment->entries[seq - segment->base];
		if ((e->flags & (JOURNAL_RETAIN | JOURNAL_HIDDEN)) != JOURNAL_RETAIN)
			continue;
		m = message_of(segment, e);
		if (!is_sys(m.topic)) {
			struct retained_topic *t = set(r, &m, seq, e->time_ms);

			if (t)
				note_change(r, t);
		}
	}
}

static void load(struct retained *r)
{
	const struct store_past *past = store_past(r->store);
	uint64_t tail = journal_tail(r->journal);
	uint64_t mark = past->wall_ms && past->live < tail ? past->live : tail;

	journal_reader_enter(&r->reader);
	store_walk(r->store, on_row, r);
	read_journal(r, mark);
	journal_reader_leave(&r->reader);
	store_begin(r->store, 1, mark);
	log_info("broker", "retained", "messages=%llu bytes=%llu",
		(unsigned long long)r->figures.count, (unsigned long long)r->figures.bytes);
}

int retained_open(struct retained **out, struct commit *c, const char *dir)
{
	struct store_config config = {.kind = &retained_kind, .dir = dir};
	struct retained *r = mem_new(sizeof(*r));
	char *why = NULL;
	int err = 0;

	if (dir)
		err = store_open(&r->store, &config, &why);
	if (err < 0) {
		log_error(
			"broker", "cannot-open-retained", "why=\"%s\"", why ? why : err_text(err));
		free(why);
		free(r);
		return err;
	}
	r->commit = c;
	r->journal = commit_journal(c);
	r->changed_end = &r->changed;
	r->write.run = run_write;
	r->timer.on_time = on_write_time;
	pthread_mutex_init(&r->lock, NULL);
	journal_reader_open(r->journal, &r->reader);
	if (r->store)
		load(r);
	commit_on_retain(c, on_retain, r);
	*out = r;
	return 0;
}

void retained_start(struct retained *r, struct loop *l)
{
	r->loop = l;
	if (r->store)
		timer_start(l, &r->timer, WRITE_EVERY_MS);
}

void retained_stop(struct retained *r)
{
	if (r->store == NULL)
		return;
	while (atomic_exchange(&r->is_writing, true))
		store_flush(r->store);
	r->moves_mark = true;
	store_run(r->store, &r->write);
	store_flush(r->store);
	atomic_store(&r->is_writing, true); /* the timer has nothing to do any more */
	store_stop(r->store, true);
}

void retained_free(struct retained *r)
{
	struct retained_topic *t;

	if (r->store) {
		timer_stop(r->loop, &r->timer);
		store_close(r->store);
	}
	commit_on_retain(r->commit, NULL, NULL);
	while ((t = r->changed) != NULL) {
		r->changed = t->next_changed;
		if (t->is_cut)
			free(t);
	}
	retained_set_fini(&r->set);
	journal_reader_close(&r->reader);
	buf_fini(&r->name);
	buf_fini(&r->row);
	buf_fini(&r->sweep);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
