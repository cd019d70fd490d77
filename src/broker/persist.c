#include "broker/persist.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/roam.h"
#include "broker/row.h"
#include "broker/session.h"
#include "broker/shared.h"
#include "broker/store.h"
#include "broker/walk.h"
#include "broker/will.h"
#include "broker/worker.h"

#define CHECKPOINT_MS 400u
#define CHECKPOINT_NS 2000000u /* of one turn */
/* Packet ids are stored in steps while a session is connected; after a crash they begin half of all
 * ids later, so that none is taken that the client may still hold open for an older message. */
#define ID_STEP 8192u
#define ID_LEAP 32768u
#define PACKET_IDS 65535u

/* --- a session's row -------------------------------------------------- */

/* A live session's newer messages are found again behind the position that all share; not so what
 * came by a shared subscription. */
static bool is_left_out(const struct session *s, uint16_t i, uint64_t limit)
{
	uint16_t share = inflight_share(&s->window, i);

	if (share == 0)
		return inflight_seq(&s->window, i) >= limit;
	return inflight_qos(&s->window, i) == 1 && shared_holds(s, share);
}

/* Slots whose position is below `limit` into out; gives the packet id of the first. */
static uint16_t put_slots(const struct session *s, uint64_t limit, struct buf *out)
{
	const struct inflight *w = &s->window;
	static const uint64_t acked = INFLIGHT_ACKED;
	uint16_t first = 0;
	uint16_t behind = 0; /* the last one kept */

	buf_clear(out);
	for (uint16_t i = 0; i < w->count; i++) {
		if (inflight_raw(w, i) == INFLIGHT_ACKED || is_left_out(s, i, limit))
			continue;
		if (buf_length(out) == 0)
			first = behind = i;
		for (; behind < i; behind++)
			buf_append(out, &acked, sizeof(acked));
		buf_append(out, &(uint64_t){inflight_raw(w, i)}, sizeof(uint64_t));
		behind = (uint16_t)(i + 1);
	}
	return inflight_id(w, first);
}

static void make_row(struct persist *p, const struct session *s, struct row *row)
{
	const struct inflight *w = &s->window;
	bool is_live = s->state == SESSION_LIVE;
	uint16_t next = inflight_next_id(w);

	*row = (struct row){
		.key = session_key(s),
		.subscriptions = subscriptions_view(&s->subscriptions),
		.received = {(const char *)s->received.ids, s->received.count * sizeof(uint16_t)},
		.position = is_live ? ROW_LIVE : s->position,
		.expiry_ms = s->expiry_ms,
		.offline_ms = s->offline_ms,
		.address = s->address,
		.owner = s->owner,
		.next_id = (uint16_t)(s->client ? next - next % ID_STEP : next),
	};
	row->first_id = put_slots(s, is_live ? p->mark : INFLIGHT_ACKED, &p->slots);
	row->slots = buf_view(&p->slots);
	buf_clear(&p->will);
	will_encode(s->will, &p->will);
	row->will = buf_view(&p->will);
	if (row->slots.n == 0)
		row->first_id = row->next_id;
}

static void save(struct session *s, bool is_urgent)
{
	struct persist *p = &s->worker->persist;
	struct store *store = s->worker->broker->store;
	struct row row;
	uint64_t hash;

	if (store == NULL)
		return;
	if (s->expiry_ms == 0) {
		persist_drop(s);
		return;
	}
	make_row(p, s, &row);
	buf_clear(&p->row);
	row_encode(&row, &p->row);
	hash = XXH3_64bits(buf_bytes(&p->row), buf_length(&p->row)) | 1; /* 0: not stored */
	if (hash == s->saved_hash)
		return;
	s->saved_hash = hash;
	roam_saved(s, &row);
	store_put(store, session_key(s), buf_view(&p->row), is_urgent);
}

void persist_row(struct session *s, struct row *row)
{
	make_row(&s->worker->persist, s, row);
}

void persist_save(struct session *s)
{
	save(s, true);
}

void persist_drop(struct session *s)
{
	list_remove(&s->touched);
	if (s->saved_hash)
		store_remove(s->worker->broker->store, session_key(s));
	s->saved_hash = 0;
}

void persist_touch(struct session *s)
{
	if (s->expiry_ms && s->worker->broker->store && list_is_empty(&s->touched))
		list_append(&s->worker->persist.touched, &s->touched);
}

/* --- checkpoints ------------------------------------------------------ */

static void look_at(struct session *s)
{
	list_remove(&s->touched);
	save(s, s->shared != NULL);
	if (s->window.count)
		persist_touch(s);
}

/* Goes on with the round; false: enough for this turn. Members of shared subscriptions wait for the
 * rows of groups. */
static bool look_at_some(struct persist *p)
{
	uint64_t begun_ns = clock_mono_ns();

	while (!list_is_empty(&p->round)) {
		struct session *s = container_of(p->round.next, struct session, touched);

		if (clock_mono_ns() - begun_ns >= CHECKPOINT_NS)
			return false;
		if (s->shared == NULL) {
			look_at(s);
			continue;
		}
		list_remove(&s->touched);
		persist_touch(s);
	}
	return true;
}

/* In one go with the rows of groups: what goes from a hand to a window meanwhile would be in neither. */
static void look_at_members(struct persist *p)
{
	struct list others;

	list_init(&others);
	list_splice(&p->round, &p->touched);
	while (!list_is_empty(&p->round)) {
		struct session *s = container_of(p->round.next, struct session, touched);

		if (s->shared) {
			look_at(s);
			continue;
		}
		list_remove(&s->touched);
		list_append(&others, &s->touched);
	}
	list_splice(&p->touched, &others);
}

/* What a crowd of sessions takes is spread over turns. A row may be older than the mark by the length of
 * the round: then what was acknowledged in it comes again after a crash. */
static void on_checkpoint(struct timer *t)
{
	struct broker_worker *w = container_of(t, struct broker_worker, persist.timer);
	struct persist *p = &w->persist;

	if (p->begun_ms == 0) {
		p->begun_ms = loop_now_ms(w->loop);
		list_splice(&p->round, &p->touched);
	}
	if (!look_at_some(p)) {
		timer_start(w->loop, t, 1);
		return;
	}
	look_at_members(p);
	store_mark(w->broker->store, w->number, p->mark);
	roam_checkpoint(w);
	shared_checkpoint(w, p->begun_ms);
	p->begun_ms = 0;
	p->mark = w->live;
	timer_start(w->loop, t, CHECKPOINT_MS);
}

void persist_worker_init(struct broker_worker *w)
{
	list_init(&w->persist.touched);
	list_init(&w->persist.round);
	w->persist.timer.on_time = on_checkpoint;
	w->persist.mark = w->live;
}

void persist_worker_fini(struct broker_worker *w)
{
	timer_stop(w->loop, &w->persist.timer);
	buf_fini(&w->persist.row);
	buf_fini(&w->persist.slots);
	buf_fini(&w->persist.will);
}

/* --- start ------------------------------------------------------------ */

struct load {
	struct broker *broker;
	const struct store_past *past;
	uint64_t wall_ms;
	uint64_t tail;
	uint32_t most;
	uint32_t loaded;
	uint32_t expired;
	uint32_t over_limit;
	uint32_t faulty;
};

/* Seen from now: how long it stays; 0: it has expired. */
static uint64_t time_left(const struct load *l, const struct session *s)
{
	uint64_t gone = l->wall_ms > s->offline_ms ? l->wall_ms - s->offline_ms : 0;

	if (s->expiry_ms == UINT64_MAX)
		return UINT64_MAX;
	return gone < s->expiry_ms ? s->expiry_ms - gone : 0;
}

/* After a crash the ids given since the last checkpoint are not known. */
static void restore_window(const struct load *l, const struct row *row, struct session *s)
{
	uint16_t next = row->next_id;

	if (!l->past->is_clean)
		next = (uint16_t)((next + ID_LEAP - 1) % PACKET_IDS + 1);
	inflight_restore(&s->window, row->first_id, row->slots.p,
		(uint16_t)(row->slots.n / sizeof(uint64_t)), next, l->tail);
}

/* After a crash the set may name ids that the client has used anew since: a message would be taken
 * for a repeat and be lost. Without it one may come twice; the antiloop catches WIS2 messages. */
static void restore_received(const struct load *l, const struct row *row, struct session *s)
{
	if (!l->past->is_clean)
		return;
	for (size_t at = 0; at < row->received.n; at += sizeof(uint16_t)) {
		uint16_t id;

		memcpy(&id, row->received.p + at, sizeof(id));
		if (id)
			received_add(&s->received, id);
	}
}

static struct session *restore(const struct load *l, const struct row *row, struct broker_worker *w)
{
	struct session *s;

	if (row->key.n > SESSION_KEY_MOST)
		return NULL;
	s = session_new(w, row->key);
	if (will_decode(row->will, &s->will) < 0 ||
		subscriptions_restore(&s->subscriptions, row->subscriptions, l->tail) < 0) {
		session_discard(s);
		return NULL;
	}
	if (w->broker->roams)
		will_free(&s->will); /* as the last run's, it is the cluster's */
	w->broker->subscriptions += s->subscriptions.count;
	walks_restore(s);
	s->expiry_ms = row->expiry_ms;
	s->address = row->address;
	s->owner = row->owner;
	s->offline_ms = row->offline_ms ? row->offline_ms : l->past->wall_ms;
	s->position = row->position == ROW_LIVE ? l->past->live : row->position;
	if (s->position > l->tail)
		s->position = l->tail; /* the journal was cut or begun anew */
	restore_window(l, row, s);
	restore_received(l, row, s);
	shared_fit(s);
	return s;
}

static void take_in(struct load *l, const struct row *row, struct session *s)
{
	struct registry *r = &l->broker->registry;
	uint64_t left = time_left(l, s);

	s->saved_hash = 1;
	s->is_kept = users_keep(&l->broker->users, s->key, 0, 0);
	map_put(&r->sessions, session_key(s), s);
	if (left == 0) {
		l->expired++;
		session_end(s);
		return;
	}
	l->loaded++;
	if (left != UINT64_MAX)
		timer_start(s->worker->loop, &s->expiry, left);
	will_disconnected(s);
	session_leave_behind(s);
	/* A position that all shared must be its own before the shared one moves on. */
	if (row->offline_ms == 0 || (row->will.n && s->will == NULL))
		persist_save(s);
}

static bool on_row(void *context, struct view bytes)
{
	struct load *l = context;
	struct broker *b = l->broker;
	struct session *s = NULL;
	struct row decoded;
	const struct row *row = &decoded;

	if (row_decode(bytes, &decoded) < 0)
		return true; /* the store dropped it */

	if (shared_is_row(row)) {
		shared_load(b, row, l->tail);
		return true;
	}
	if (l->loaded >= l->most)
		l->over_limit++;
	else if (map_get(&b->registry.sessions, row->key) == NULL)
		s = restore(l, row, &b->workers[l->loaded % b->worker_count]);
	if (s) {
		take_in(l, row, s);
		return true;
	}
	l->faulty += l->loaded < l->most;
	store_remove(b->store, row->key);
	return true;
}

static int check_row(struct view bytes)
{
	struct row row;

	return row_decode(bytes, &row);
}

const struct store_kind persist_kind = {"sessions", ROW_VERSION, check_row};

int persist_open(struct broker *b, const char *dir)
{
	struct store_config config = {.kind = &persist_kind, .dir = dir};
	char *why = NULL;
	int err;

	if (dir == NULL)
		return 0;
	err = store_open(&b->store, &config, &why);
	if (err < 0)
		log_error(
			"broker", "cannot-open-sessions", "why=\"%s\"", why ? why : err_text(err));
	free(why);
	return err;
}

void persist_start(struct broker *b, uint32_t sessions_most)
{
	struct load l = {.broker = b, .most = sessions_most, .wall_ms = clock_wall_ms()};

	if (b->store == NULL)
		return;
	l.past = store_past(b->store);
	l.tail = journal_tail(b->journal);
	store_walk(b->store, on_row, &l);
	shared_loaded(b);
	store_begin(b->store, b->worker_count, l.tail);
	for (unsigned i = 0; i < b->worker_count; i++)
		timer_start(b->workers[i].loop, &b->workers[i].persist.timer, CHECKPOINT_MS);
	log_info("broker", "sessions", "loaded=%u expired=%u after=%s", l.loaded, l.expired,
		l.past->is_clean ? "stop" : "crash-or-first-start");
	if (l.over_limit || l.faulty)
		log_error("broker", "sessions-dropped", "over_limit=%u damaged=%u", l.over_limit,
			l.faulty);
}

void persist_stop(struct broker *b)
{
	if (b->store == NULL)
		return;
	shared_save_all(b);
	store_stop(b->store, true);
}

void persist_close(struct broker *b)
{
	if (b->store)
		store_close(b->store);
}
