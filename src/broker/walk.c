#include "broker/walk.h"

#include <stdlib.h>

#include "base/mem.h"
#include "broker/client.h"
#include "broker/own.h"
#include "broker/retained.h"
#include "broker/worker.h"

#define PIECES 16u /* questions asked of the set for one batch */

/* A question to the store's thread; outlives the walk if that ends meanwhile. */
struct walk_ticket {
	struct retained_revival revival;
	struct session *session; /* NULL: gone meanwhile */
};

/* --- the list ----------------------------------------------------------- */

static struct view filter_of(const struct walk *walk)
{
	return (struct view){walk->filter, walk->filter_bytes};
}

static void drop_ticket(struct walk *walk)
{
	if (walk->ticket)
		walk->ticket->session = NULL;
	walk->ticket = NULL;
}

static void walk_free(struct walk *walk)
{
	drop_ticket(walk);
	buf_fini(&walk->cursor);
	buf_fini(&walk->reached);
	buf_fini(&walk->ahead);
	free(walk);
}

void walk_remove(struct session *s, struct view filter)
{
	for (struct walk **at = &s->walks; *at; at = &(*at)->next) {
		struct walk *walk = *at;

		if (!view_equal(filter_of(walk), filter))
			continue;
		*at = walk->next;
		walk_free(walk);
		return;
	}
}

void walk_add(struct session *s, struct view filter, uint64_t at)
{
	struct walk *walk = mem_new(sizeof(*walk) + filter.n);
	struct walk **end = &s->walks;

	walk_remove(s, filter);
	walk->at = at;
	walk->filter_bytes = (uint16_t)filter.n;
	memcpy(walk->filter, filter.p, filter.n);
	while (*end)
		end = &(*end)->next;
	*end = walk;
}

bool walk_is_pending(const struct session *s, struct view filter)
{
	for (const struct walk *walk = s->walks; walk; walk = walk->next) {
		if (view_equal(filter_of(walk), filter))
			return true;
	}
	return false;
}

void walks_free(struct session *s)
{
	while (s->walks) {
		struct walk *walk = s->walks;

		s->walks = walk->next;
		walk_free(walk);
	}
}

void walks_pause(struct session *s)
{
	if (s->walks)
		drop_ticket(s->walks);
}

void walks_restore(struct session *s)
{
	struct subscription one;
	uint32_t at = 0;

	while (subscriptions_next(&s->subscriptions, &at, &one)) {
		if (one.options & SUBSCRIPTION_WALKS)
			walk_add(s, one.filter, one.from);
	}
}

/* --- messages that are not at hand --------------------------------------- */

static void on_revived(struct task *task)
{
	struct walk_ticket *t = container_of(task, struct walk_ticket, revival.task);

	if (t->session) {
		t->session->walks->ticket = NULL;
		session_ready(t->session);
	}
	buf_fini(&t->revival.filter);
	buf_fini(&t->revival.cursor);
	free(t);
}

static void ask(struct broker_worker *w, struct session *s)
{
	struct walk *walk = s->walks;
	struct walk_ticket *t;

	if (walk->ticket)
		return;
	t = mem_new(sizeof(*t));
	t->session = s;
	t->revival.task.run = on_revived;
	t->revival.loop = w->loop;
	buf_append(&t->revival.filter, walk->filter, walk->filter_bytes);
	buf_append(&t->revival.cursor, buf_bytes(&walk->reached), buf_length(&walk->reached));
	walk->ticket = t;
	retained_revive(w->broker->retained, &t->revival);
}

/* --- a batch ------------------------------------------------------------- */

static bool find_subscription(const struct session *s, struct view filter, struct subscription *one)
{
	uint32_t at = 0;

	while (subscriptions_next(&s->subscriptions, &at, one)) {
		if (!one->share && view_equal(one->filter, filter))
			return true;
	}
	return false;
}

static void copy(struct buf *to, struct view bytes)
{
	buf_clear(to);
	buf_append(to, bytes.p, bytes.n);
}

/* One batch being made. */
struct filling {
	struct broker_worker *worker;
	struct session *session;
	struct batch_form form;
	struct subscription subscription;
};

/* Its segment; NULL: not at hand. */
static const struct journal_segment *segment_of(
	const struct broker_worker *w, const struct retained_hit *hit)
{
	if (hit->position == RETAINED_AWAY || !journal_is_warm(w->journal, hit->position))
		return NULL;
	return journal_find(w->journal, hit->position);
}

static bool is_wanted(const struct filling *f, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq)
{
	const struct session *s = f->session;

	if (f->subscription.options & SUBSCRIPTION_NO_LOCAL && session_published(s, entry, seq))
		return false; /* [MQTT-3.8.3-3] */
	return !account_is_denied(s->client->account, record_topic(segment, entry));
}

/* False: it does not fit any more. */
static bool add_hit(struct filling *f, const struct journal_segment *segment, uint64_t seq)
{
	const struct journal_entry *entry = &segment->entries[seq - segment->base];
	enum batch_answer answer;

	if (!is_wanted(f, segment, entry, seq))
		return true;
	answer = batch_add(f->worker->batch, &f->form, segment, entry, seq,
		qos_least(f->subscription.qos, journal_entry_qos(entry)));
	if (answer == BATCH_IS_FULL)
		return false;
	worker_count_dropped(f->worker, answer);
	return true;
}

enum piece { PIECE_WHOLE, PIECE_FULL, PIECE_COLD };

/* Adds hits [0, n); moves `reached` behind those done. */
static enum piece add_hits(struct filling *f, const struct retained_hit *hits, uint32_t n)
{
	struct walk *walk = f->session->walks;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t seq = hits[i].position;
		const struct journal_segment *segment;

		if (hits[i].set_at > walk->at)
			continue; /* comes as a record */
		segment = segment_of(f->worker, &hits[i]);
		if (segment == NULL)
			return PIECE_COLD;
		if (!add_hit(f, segment, seq))
			return PIECE_FULL;
		copy(&walk->reached, record_topic(segment, &segment->entries[seq - segment->base]));
	}
	return PIECE_WHOLE;
}

bool walk_fill(struct broker_worker *w, struct session *s, const struct batch_form *form)
{
	struct walk *walk = s->walks;
	struct filling f = {.worker = w, .session = s, .form = *form};
	struct retained_hit hits[RETAINED_HITS];
	enum piece piece = PIECE_WHOLE;

	batch_clear(w->batch);
	copy(&walk->reached, buf_view(&walk->cursor));
	walk->is_end = !find_subscription(s, filter_of(walk), &f.subscription);
	f.form.retain = true;
	f.form.is_direct = false;
	f.form.ids = NULL;
	f.form.id = f.subscription.id;
	for (uint32_t i = 0; i < PIECES && piece == PIECE_WHOLE && !walk->is_end; i++) {
		bool is_end;
		uint32_t n;

		copy(&walk->ahead, buf_view(&walk->reached));
		n = retained_next(
			w->broker->retained, filter_of(walk), &walk->ahead, hits, &is_end);
		piece = add_hits(&f, hits, n);
		if (piece != PIECE_WHOLE)
			break;
		copy(&walk->reached, buf_view(&walk->ahead));
		walk->is_end = is_end;
	}
	if (piece == PIECE_COLD)
		ask(w, s);
	return piece != PIECE_COLD || w->batch->count;
}

/* --- what left ------------------------------------------------------------ */

static void finish(struct session *s)
{
	struct walk *walk = s->walks;

	s->walks = walk->next;
	subscriptions_unmark(&s->subscriptions, filter_of(walk), SUBSCRIPTION_WALKS);
	walk_free(walk);
}

void walk_sent(struct broker_worker *w, struct session *s, uint32_t sent)
{
	const struct batch *b = w->batch;
	struct walk *walk = s->walks;

	if (sent == b->count) {
		copy(&walk->cursor, buf_view(&walk->reached));
		if (walk->is_end)
			finish(s);
	} else if (sent) {
		uint64_t seq = b->records[sent - 1].seq;
		const struct journal_segment *segment = journal_find(w->journal, seq);

		copy(&walk->cursor, record_topic(segment, &segment->entries[seq - segment->base]));
	}
}
