/* broker/roam.c - what the broker asks of the cluster and does for it */
#include "broker/roam.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/addresses.h"
#include "broker/client.h"
#include "broker/passport.h"
#include "broker/touch.h"
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
	bool is_used; /* the session has the number */
	struct errand errand;
};

/* What the cluster has to say about a session. */
enum news {
	NEWS_TAKEN, /* another machine has taken it under the number */
	NEWS_LOST,  /* the same, while this machine had that number; 0: had claimed it */
	NEWS_LATE,  /* what was claimed is here under the number */
	NEWS_BACK,  /* it was taken under the number for a client that did not get it */
};

/* On the way to the session's worker. */
struct roam_news {
	struct task task;
	struct broker *broker;
	struct broker_worker *at;
	struct buf key;
	uint32_t owner;
	enum news news;
	bool is_clean;
	struct errand errand;
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

static void send_news(
	struct broker *b, struct view key, uint32_t owner, enum news news, bool is_clean);

static void ask_free(struct roam_ask *ask)
{
	errand_end(&ask->errand);
	roaming_take_fini(&ask->take);
	free(ask);
}

static void ask_drop(struct errand *e)
{
	ask_free(container_of(e, struct roam_ask, errand));
}

/* A session that stays with another client of this machine has the number then, or its rows would
 * count no more. */
static void ask_end(struct roam_ask *ask)
{
	if (ask->take.is_known && !ask->take.is_refused && !ask->is_used)
		send_news(ask->worker->broker, buf_view(&ask->take.key), ask->take.owner, NEWS_BACK,
			false);
	ask_free(ask);
}

static void on_home(struct task *task)
{
	struct roam_ask *ask = container_of(task, struct roam_ask, task);

	ask->is_answered = true;
	if (ask->client)
		ask->on_answer(ask->client);
	else
		ask_end(ask);
}

static void on_taken(struct roaming_take *take)
{
	struct roam_ask *ask = container_of(take, struct roam_ask, take);

	loop_post(ask->worker->loop, &ask->task);
}

struct roam_ask *roam_ask(
	struct client *c, struct view key, unsigned flags, void (*on_answer)(struct client *c))
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
	ask->take.flags = flags;
	buf_append(&ask->take.key, key.p, key.n);
	ask->take.address = address_key(&c->conn.peer);
	ask->take.is_scoped = c->account->address_scope;
	errand_begin(&c->worker->broker->errands, &ask->errand, ask_drop);
	roaming->take(roaming->context, &ask->take);
	return ask;
}

void roam_forget(struct roam_ask *ask)
{
	if (ask == NULL)
		return;
	ask->client = NULL;
	if (ask->is_answered)
		ask_end(ask);
}

bool roam_is_unknown(const struct roam_ask *ask)
{
	return ask && !ask->take.is_known;
}

bool roam_is_refused(const struct roam_ask *ask)
{
	return ask && ask->take.is_refused;
}

/* One that is claimed was served here while the cluster could not know. */
bool roam_is_stale(const struct roam_ask *ask, const struct session *s)
{
	return ask && ask->take.is_known && ask->take.before && !s->is_claimed &&
	       s->owner != ask->take.before;
}

static void claim(struct session *s, unsigned flags, uint64_t address, uint64_t age_ms)
{
	const struct roaming *roaming = &s->worker->broker->roaming;

	s->is_claimed = true;
	roaming->claim(roaming->context, session_key(s), flags, address, age_ms);
}

/* Its number has come another way, or it goes to another machine. */
static void unclaim(struct session *s)
{
	const struct roaming *roaming = &s->worker->broker->roaming;

	if (s->is_claimed)
		roaming->give(roaming->context, session_key(s), 0, (struct view){NULL, 0});
	s->is_claimed = false;
}

void roam_own(struct roam_ask *ask, struct session *s)
{
	const struct roaming *roaming = &s->worker->broker->roaming;

	if (ask == NULL)
		return;
	if (!ask->take.is_known) {
		claim(s, ask->take.flags, ask->take.address, 0);
		return;
	}
	unclaim(s);
	ask->is_used = true;
	s->owner = ask->take.owner;
	s->saved_hash = 0; /* written under the new number */
	if (!(ask->take.flags & ROAMING_LASTS) && buf_length(&ask->take.row))
		roaming->bare(roaming->context, session_key(s), s->owner);
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

/* Who is connected is told of again and again (broker/touch.h); when that ends its machine
 * is gone, and nobody else ends the session. */
static uint64_t ttl_of(const struct session *s)
{
	if (s->expiry_ms == UINT64_MAX)
		return 0;
	return s->expiry_ms + (s->client ? ROAMING_LIVE_MS : TTL_MARGIN_MS);
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
	if (s->is_claimed)
		roaming->drop(roaming->context, session_key(s), 0);
	s->owner = 0;
	s->is_claimed = false;
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

/* --- what other machines do ------------------------------------------------------------ */

/* Closes its connection and gives what there is under the number before `owner` (0: nothing); the session
 * is gone afterwards. */
static void let_go(struct session *s, uint32_t owner, bool is_clean)
{
	const struct roaming *roaming = &s->worker->broker->roaming;
	struct view last = {NULL, 0};
	struct buf key = {0};
	struct row row;

	buf_append(&key, s->key, s->key_bytes);
	/* Its end here is none elsewhere. */
	unclaim(s);
	s->owner = 0;
	if (s->client && !client_let_go(s))
		s = NULL;
	if (s && owner) {
		persist_row(s, &row);
		last = passport_of(s, &row, PASSPORT_EXACT);
	}
	if (owner)
		roaming->give(roaming->context, buf_view(&key), owner - 1, last);
	if (s && !is_clean)
		will_forget(s); /* the client is back, elsewhere [MQTT-3.1.3-9] */
	if (s)
		session_end(s);
	buf_fini(&key);
}

/* Its number has been taken by another machine without this one hearing of it, or its client has been
 * elsewhere since it was claimed. */
static void lose(struct session *s, uint32_t owner)
{
	struct view id = session_client_id(s);
	char quoted[LOG_QUOTE_BYTES];
	uint64_t tail = journal_tail(s->worker->journal);
	uint64_t position = session_position(s);

	log_info("broker", "session-elsewhere",
		"client_id=%s connected=%d subscriptions=%u behind=%llu why=\"its client has been "
		"on "
		"another node since\"",
		log_quote(id.p, id.n, quoted), s->client != NULL, s->subscriptions.count,
		(unsigned long long)(position < tail ? tail - position : 0));
	let_go(s, owner ? owner + 1 : 0, false);
}

/* What happened to the session meanwhile is this machine's: its row counts. */
static void own(struct session *s, uint32_t owner)
{
	const struct roaming *roaming = &s->worker->broker->roaming;

	s->is_claimed = false;
	s->owner = owner;
	s->saved_hash = 0;
	if (s->expiry_ms)
		persist_save(s);
	else
		roaming->bare(roaming->context, session_key(s), owner);
}

/* Is it this session, as it is here, that the news are about? */
static bool is_meant(const struct roam_news *n, const struct session *s)
{
	if (s == NULL || n->news == NEWS_LATE)
		return s != NULL;
	if (n->news == NEWS_BACK)
		return s->owner < n->owner;
	if (n->news == NEWS_TAKEN)
		return s->owner + 1 == n->owner;
	return n->owner ? s->owner == n->owner : s->is_claimed;
}

static void take_news(struct roam_news *n, struct session *s)
{
	if (n->news == NEWS_TAKEN)
		let_go(s, n->owner, n->is_clean);
	else if (n->news == NEWS_LOST)
		lose(s, n->owner);
	else
		own(s, n->owner);
}

static void news_free(struct roam_news *n)
{
	errand_end(&n->errand);
	buf_fini(&n->key);
	free(n);
}

static void news_drop(struct errand *e)
{
	news_free(container_of(e, struct roam_news, errand));
}

static void on_news(struct task *task)
{
	struct roam_news *n = container_of(task, struct roam_news, task);
	const struct roaming *roaming = &n->broker->roaming;
	struct view key = buf_view(&n->key);
	struct broker_worker *owner;
	struct session *s = session_find(n->at, key, &owner);

	if (s == NULL && owner) {
		n->at = owner;
		loop_post(owner->loop, task);
		return;
	}
	if (is_meant(n, s))
		take_news(n, s);
	else if (n->news == NEWS_TAKEN)
		roaming->give(roaming->context, key, n->owner - 1, (struct view){NULL, 0});
	news_free(n);
}

/* Any thread. */
static void send_news(
	struct broker *b, struct view key, uint32_t owner, enum news news, bool is_clean)
{
	struct roam_news *n = mem_new(sizeof(*n));

	n->task.run = on_news;
	n->broker = b;
	n->at = &b->workers[0];
	n->owner = owner;
	n->news = news;
	n->is_clean = is_clean;
	buf_append(&n->key, key.p, key.n);
	errand_begin(&b->errands, &n->errand, news_drop);
	loop_post(n->at->loop, &n->task);
}

static void on_taken_away(void *context, struct view key, uint32_t owner, bool is_clean)
{
	send_news(context, key, owner, NEWS_TAKEN, is_clean);
}

static void on_late(void *context, struct view key, uint32_t owner)
{
	send_news(context, key, owner, NEWS_LATE, false);
}

static void on_lost(void *context, struct view key, uint32_t owner)
{
	send_news(context, key, owner, NEWS_LOST, false);
}

struct roaming_host broker_roaming_host(struct broker *b)
{
	return (struct roaming_host){on_taken_away, on_late, on_lost, will_inherit, b};
}

/* What was made here without the cluster, by an earlier process, is claimed as well. */
void broker_set_roaming(struct broker *b, const struct roaming *roaming)
{
	uint64_t now = clock_wall_ms();
	struct session *s;

	b->roaming = *roaming;
	touch_start(b);
	for (size_t at = 0; (s = map_next(&b->registry.sessions, &at)) != NULL;) {
		if (s->owner == 0)
			claim(s, ROAMING_LASTS, s->address,
				now > s->offline_ms ? now - s->offline_ms : 0);
	}
}
