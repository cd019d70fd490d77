/* broker/roam.c - what the broker asks of the cluster and does for it */
#include "broker/roam.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/addresses.h"
#include "broker/client.h"
#include "broker/passport.h"
#include "broker/walk.h"

#define TTL_MARGIN_MS 60000u /* the machine that has it ends it first */
#define ID_LEAP 32768u       /* as after a crash (broker/persist.c) */
#define PACKET_IDS 65535u

struct roam_ask {
	struct roaming_take take;
	struct task task;
	struct client *client; /* NULL: gone meanwhile */
	struct broker_worker *worker;
	void (*on_answer)(struct client *c);
	bool is_answered;
};

/* Another machine has taken a session. */
struct roam_leave {
	struct task task;
	struct broker *broker;
	struct broker_worker *at;
	struct buf key;
	uint32_t owner;
	bool is_ours; /* it was taken for this machine, later than the client could wait */
};

static struct passport_desk desk_of(struct broker_worker *w)
{
	return (struct passport_desk){w->broker->commit, w->journal, &w->roam_reader};
}

void roam_worker_init(struct broker_worker *w)
{
	journal_reader_open(w->journal, &w->roam_reader);
	atomic_store(&w->roam_mark, w->live);
}

void roam_worker_fini(struct broker_worker *w)
{
	journal_reader_close(&w->roam_reader);
	buf_fini(&w->passport);
}

/* --- asking --------------------------------------------------------------------- */

static void ask_free(struct roam_ask *ask)
{
	roaming_take_fini(&ask->take);
	free(ask);
}

static void on_home(struct task *task)
{
	struct roam_ask *ask = container_of(task, struct roam_ask, task);

	ask->is_answered = true;
	if (ask->client)
		ask->on_answer(ask->client);
	else
		ask_free(ask);
}

static void on_taken(struct roaming_take *take)
{
	struct roam_ask *ask = container_of(take, struct roam_ask, take);

	loop_post(ask->worker->loop, &ask->task);
}

struct roam_ask *roam_ask(struct client *c, struct view key, void (*on_answer)(struct client *c))
{
	const struct roaming *roaming = &c->worker->broker->roaming;
	struct roam_ask *ask;

	if (roaming->take == NULL)
		return NULL;
	ask = mem_new(sizeof(*ask));
	ask->client = c;
	ask->worker = c->worker;
	ask->on_answer = on_answer;
	ask->task.run = on_home;
	ask->take.on_taken = on_taken;
	buf_append(&ask->take.key, key.p, key.n);
	ask->take.address = address_key(&c->conn.peer);
	ask->take.is_scoped = c->account->address_scope;
	roaming->take(roaming->context, &ask->take);
	return ask;
}

void roam_forget(struct roam_ask *ask)
{
	if (ask == NULL)
		return;
	ask->client = NULL;
	if (ask->is_answered)
		ask_free(ask);
}

bool roam_is_unknown(const struct roam_ask *ask)
{
	return ask && !ask->take.is_known;
}

bool roam_is_refused(const struct roam_ask *ask)
{
	return ask && ask->take.is_refused;
}

bool roam_is_stale(const struct roam_ask *ask, const struct session *s)
{
	return ask && ask->take.is_known && ask->take.before && s->owner != ask->take.before;
}

void roam_own(const struct roam_ask *ask, struct session *s)
{
	if (ask == NULL || !ask->take.is_known)
		return;
	s->owner = ask->take.owner;
	s->saved_hash = 0; /* written under the new number */
}

/* --- coming ----------------------------------------------------------------------- */

static void fill_window(struct session *s, const struct passport *p, uint64_t tail)
{
	const struct row *row = &p->row;
	uint16_t next = row->next_id;

	if (p->kind != PASSPORT_EXACT)
		next = (uint16_t)((next + ID_LEAP - 1) % PACKET_IDS + 1);
	inflight_restore(&s->window, row->first_id, row->slots.p,
		(uint16_t)(row->slots.n / sizeof(uint64_t)), next, tail);
}

static void fill_received(struct session *s, const struct passport *p)
{
	if (p->kind != PASSPORT_EXACT)
		return;
	for (size_t at = 0; at < p->row.received.n; at += sizeof(uint16_t)) {
		uint16_t id;

		memcpy(&id, p->row.received.p + at, sizeof(id));
		if (id)
			received_add(&s->received, id);
	}
}

static bool fill(struct session *s, const struct passport *p)
{
	uint64_t tail = journal_tail(s->worker->journal);

	/* Where they were made is said in positions of the other machine: they all begin where the
	 * session stands. */
	if (!view_equal(p->row.key, session_key(s)) || will_decode(p->row.will, &s->will) < 0 ||
		subscriptions_restore(&s->subscriptions, p->row.subscriptions, 0) < 0)
		return false;
	s->worker->broker->subscriptions += s->subscriptions.count;
	walks_restore(s);
	s->address = p->row.address;
	s->position = p->row.position;
	fill_window(s, p, tail);
	fill_received(s, p);
	s->had = mem_new(sizeof(*s->had));
	*s->had = p->got;
	return true;
}

bool roam_fill(const struct roam_ask *ask, struct session *s)
{
	struct passport_desk desk = desk_of(s->worker);
	struct passport p;
	bool is_filled;
	int err;

	if (ask == NULL || !ask->take.is_known || buf_length(&ask->take.row) == 0)
		return false;
	err = passport_read(&desk, buf_view(&ask->take.row), buf_view(&ask->take.mark), &p);
	is_filled = err == 0 && fill(s, &p);
	if (!is_filled)
		log_error("broker", "session-unreadable", "why=\"%s\": it begins anew",
			err_text(err ? err : ERR_CORRUPT));
	passport_fini(&p);
	return is_filled;
}

bool roam_has_had(const struct session *s, const struct journal_entry *e)
{
	return s->had && e->log_id && e->log_id <= s->had->place[e->shard];
}

/* --- going ------------------------------------------------------------------------- */

static uint64_t ttl_of(const struct session *s)
{
	if (s->client || s->expiry_ms == UINT64_MAX)
		return 0;
	return s->expiry_ms + TTL_MARGIN_MS;
}

static struct view passport_of(struct session *s, const struct row *row, enum passport_kind kind)
{
	struct passport_desk desk = desk_of(s->worker);

	buf_clear(&s->worker->passport);
	passport_write(&desk, row, kind, &s->worker->passport);
	return buf_view(&s->worker->passport);
}

void roam_saved(struct session *s, const struct row *row)
{
	const struct roaming *roaming = &s->worker->broker->roaming;
	enum passport_kind kind = row->position == ROW_LIVE ? PASSPORT_LIVE
				  : s->client               ? PASSPORT_AWAY
							    : PASSPORT_EXACT;

	if (roaming->put && s->owner)
		roaming->put(roaming->context, session_key(s), s->owner, passport_of(s, row, kind),
			ttl_of(s));
}

void roam_ended(struct session *s)
{
	const struct roaming *roaming = &s->worker->broker->roaming;

	if (roaming->drop && s->owner)
		roaming->drop(roaming->context, session_key(s), s->owner);
	s->owner = 0;
}

void roam_checkpoint(struct broker_worker *w)
{
	struct broker *b = w->broker;
	struct vector at;
	uint64_t least = UINT64_MAX;

	atomic_store(&w->roam_mark, w->persist.mark);
	if (b->roaming.mark == NULL || w->number != 0)
		return;
	for (unsigned i = 0; i < b->worker_count; i++) {
		uint64_t mark = atomic_load(&b->workers[i].roam_mark);

		least = mark < least ? mark : least;
	}
	journal_reader_enter(&w->roam_reader);
	commit_vector_at(b->commit, &w->roam_reader, least, &at);
	journal_reader_leave(&w->roam_reader);
	buf_clear(&w->passport);
	vector_write(&w->passport, &at);
	b->roaming.mark(b->roaming.context, buf_view(&w->passport));
}

/* --- taken away ----------------------------------------------------------------------- */

/* Closes its connection and gives what there is; the session is gone afterwards. */
static void let_go(struct session *s, uint32_t owner)
{
	const struct roaming *roaming = &s->worker->broker->roaming;
	struct buf key = {0};
	struct row row;

	buf_append(&key, s->key, s->key_bytes);
	/* Its end here is none elsewhere. */
	s->owner = 0;
	if (s->client && !client_let_go(s)) {
		roaming->give(roaming->context, buf_view(&key), owner - 1, (struct view){NULL, 0});
		buf_fini(&key);
		return;
	}
	persist_row(s, &row);
	roaming->give(
		roaming->context, buf_view(&key), owner - 1, passport_of(s, &row, PASSPORT_EXACT));
	will_forget(s); /* the client is back, elsewhere */
	session_end(s);
	buf_fini(&key);
}

/* What happened to the session meanwhile is this machine's: its row counts. */
static void own_late(struct session *s, uint32_t owner)
{
	s->owner = owner;
	s->saved_hash = 0;
	persist_save(s);
}

static void on_leave(struct task *task)
{
	struct roam_leave *leave = container_of(task, struct roam_leave, task);
	const struct roaming *roaming = &leave->broker->roaming;
	struct broker_worker *owner;
	struct session *s = session_find(leave->at, buf_view(&leave->key), &owner);

	if (s == NULL && owner) {
		leave->at = owner;
		loop_post(owner->loop, task);
		return;
	}
	if (leave->is_ours) {
		if (s)
			own_late(s, leave->owner);
	} else if (s && s->owner + 1 == leave->owner) {
		let_go(s, leave->owner);
	} else {
		roaming->give(roaming->context, buf_view(&leave->key), leave->owner - 1,
			(struct view){NULL, 0});
	}
	buf_fini(&leave->key);
	free(leave);
}

/* On the cluster's thread. */
static void find(struct broker *b, struct view key, uint32_t owner, bool is_ours)
{
	struct roam_leave *leave = mem_new(sizeof(*leave));

	leave->task.run = on_leave;
	leave->broker = b;
	leave->at = &b->workers[0];
	leave->owner = owner;
	leave->is_ours = is_ours;
	buf_append(&leave->key, key.p, key.n);
	loop_post(leave->at->loop, &leave->task);
}

static void on_taken_away(void *context, struct view key, uint32_t owner)
{
	find(context, key, owner, false);
}

static void on_late(void *context, struct view key, uint32_t owner)
{
	find(context, key, owner, true);
}

struct roaming_host broker_roaming_host(struct broker *b)
{
	return (struct roaming_host){on_taken_away, on_late, will_inherit, b};
}

void broker_set_roaming(struct broker *b, const struct roaming *roaming)
{
	b->roaming = *roaming;
}
