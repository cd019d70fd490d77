/* The set under its lock, what is asked of it, and its start and end. What takes longer happens on the
 * store's thread: retained_work.c.
 *
 * **Invariant:** a topic that is not in the list of changed ones has a row in the store that says what
 * the set says (or none, and is not in the set).
 */
#include "broker/retained.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/retained_inside.h"
#include "broker/retained_row.h"
#include "mqtt/filter.h"

/* --- the set, under the lock ------------------------------------------- */

static bool is_sys(struct view topic)
{
	return view_starts_with(topic, VIEW("$SYS/"));
}

/* What is told under $SYS is made anew by each process. */
void retained_note_change(struct retained *r, struct retained_topic *t)
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

void retained_forget(struct retained *r, struct retained_topic *t)
{
	count_topic(r, t, -1);
	retained_set_cut(&r->set, t);
	retained_note_change(r, t);
	if (!t->is_changed)
		free(t);
}

/* An empty payload clears the topic and is not kept itself; neither is what came too late. */
struct retained_topic *retained_put(
	struct retained *r, const struct journal_message *m, uint64_t seq, uint64_t time_ms)
{
	struct retained_topic *t = retained_set_find(&r->set, m->topic);

	if (t && m->log_id && m->log_id < t->place)
		return NULL; /* the cluster has had a newer one, see retained_adopt.c */
	if (m->payload.n == 0 || m->flags & JOURNAL_HIDDEN) { /* [MQTT-3.3.1-6], [MQTT-3.3.1-7] */
		if (t)
			retained_forget(r, t);
		return NULL;
	}
	if (t)
		count_topic(r, t, -1);
	else
		t = retained_set_add(&r->set, m->topic);
	t->set_at = seq + 1;
	t->position = seq; /* [MQTT-3.3.1-5] */
	t->place = m->log_id;
	t->shard = m->shard;
	t->is_adopted = false;
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
	t = retained_put(r, m, seq, journal_now(r->journal));
	if (t)
		retained_note_change(r, t);
	pthread_mutex_unlock(&r->lock);
}

/* --- questions --------------------------------------------------------- */

bool retained_fits(const struct retained *r, struct view topic, size_t bytes)
{
	const struct retained_topic *t = retained_set_find(&r->set, topic);
	uint64_t all = r->figures.bytes + bytes - (t ? t->bytes : 0);

	return (t || r->figures.count < RETAINED_COUNT_MOST) && all <= RETAINED_BYTES_MOST;
}

int retained_check(struct retained *r, struct view topic, size_t bytes)
{
	int err;

	pthread_mutex_lock(&r->lock);
	err = retained_fits(r, topic, bytes) ? 0 : ERR_QUOTA;
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

struct view retained_prefix(struct view filter)
{
	size_t n = 0;

	while (n < filter.n && filter.p[n] != '+' && filter.p[n] != '#')
		n++;
	if (n && n < filter.n && filter.p[n] == '#')
		n--; /* "a/#" matches "a" */
	return (struct view){filter.p, n};
}

struct retained_topic *retained_behind(
	const struct retained *r, struct view prefix, const struct buf *cursor)
{
	return buf_length(cursor) ? retained_set_from(&r->set, buf_view(cursor), true)
				  : retained_set_from(&r->set, prefix, false);
}

bool retained_may_follow(const struct retained_topic *t, struct view filter, struct view prefix)
{
	struct view name = retained_topic_name(t);

	return view_starts_with(name, prefix) && (prefix.n < filter.n || name.n == filter.n);
}

void retained_move_to(struct buf *cursor, struct view topic)
{
	buf_clear(cursor);
	buf_append(cursor, topic.p, topic.n);
}

bool retained_may_match(struct retained *r, struct view filter)
{
	struct view prefix = retained_prefix(filter);
	const struct retained_topic *t;
	bool may;

	pthread_mutex_lock(&r->lock);
	t = retained_behind(r, prefix, &(struct buf){0});
	may = t && retained_may_follow(t, filter, prefix);
	pthread_mutex_unlock(&r->lock);
	return may;
}

uint32_t retained_next(struct retained *r, struct view filter, struct buf *cursor,
	struct retained_hit *hits, bool *is_end)
{
	struct view prefix = retained_prefix(filter);
	uint64_t now = journal_now(r->journal);
	const struct retained_topic *last = NULL;
	const struct retained_topic *t;
	uint32_t count = 0;
	uint32_t looked = 0;

	pthread_mutex_lock(&r->lock);
	t = retained_behind(r, prefix, cursor);
	for (; t && looked < RETAINED_LOOK && count < RETAINED_HITS; t = t->next[0], looked++) {
		if (!retained_may_follow(t, filter, prefix)) {
			t = NULL;
			break;
		}
		last = t;
		if (now < t->expires_ms && filter_match(filter, retained_topic_name(t)))
			hits[count++] =
				(struct retained_hit){t->is_adopted ? 0 : t->set_at, t->position};
	}
	if (last)
		retained_move_to(cursor, retained_topic_name(last));
	*is_end = t == NULL;
	pthread_mutex_unlock(&r->lock);
	return count;
}

/* --- life --------------------------------------------------------------- */

static int check_row(struct view bytes)
{
	struct retained_row row;

	return retained_row_decode(bytes, &row);
}

const struct store_kind retained_kind = {"retained", RETAINED_ROW_VERSION, check_row};

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
	t = retained_put(r, &row.message, row.set_at, row.time_ms);
	if (t && !has_record(r, &row)) {
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
		m = retained_message_of(segment, e);
		m.log_id = e->log_id;
		m.shard = e->shard;
		if (!is_sys(m.topic)) {
			struct retained_topic *t = retained_put(r, &m, seq, e->time_ms);

			if (t)
				retained_note_change(r, t);
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
	r->write.run = retained_run_write;
	r->timer.on_time = retained_on_write_time;
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
