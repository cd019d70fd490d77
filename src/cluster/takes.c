/* cluster/takes.c - one struct a take, from the script to the answer and behind it */
#include "cluster/takes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/wills.h"
#include "cluster/take_script.h" /* made of take.lua by tools/embed.awk */

#define CLAIMS_BUSY 64u
#define CLAIMS_AGAIN_MS 200u
#define CLAIMS_YIELD_MS \
	3000u /* others' takes of which nobody waited for the answer are undone by then */

struct taking {
	struct redis_request q;
	struct list link; /* in takes->expecting; a claim that is not under way: ->waiting */
	struct takes *takes;
	struct roaming_take *take; /* NULL: answered, or a claim */
	struct timer patience;
	struct buf key;
	struct buf run; /* who had it */
	struct buf by;  /* who wrote the row */
	uint64_t number;
	uint64_t since_ms;  /* its CONNECT came then */
	uint64_t yields_ms; /* a claim: another has the session, for so long; 0: not so */
	uint32_t owner;
	unsigned flags;     /* enum roaming_flag */
	bool is_claim : 1;  /* and in takes->claims */
	bool is_scoped : 1; /* a session of another address is left to that */
	bool is_busy : 1;   /* q is under way */
	bool is_done : 1;   /* the script has answered */
	bool is_told : 1;   /* a letter went to who had it */
	bool is_given : 1;  /* and was answered */
	bool is_ended : 1;  /* a claim that is not wanted any more: its session has ended */
	bool is_moved : 1;  /* the same: has gone to another node */
	bool is_anew : 1;   /* another CONNECT came meanwhile */
};

struct takes {
	struct takes_config config;
	char sha[REDIS_SHA_BYTES];
	bool has_begun;
	uint64_t last; /* number given */
	struct list expecting;
	struct map claims;
	struct map lates; /* takes that are still to be undone; the claims of their keys wait */
	struct list waiting;
	uint32_t busy; /* claims under way */
	struct timer again;
};

const char *takes_script(void)
{
	return take_lua;
}

static struct taking *taking_new(struct takes *t, struct view key, unsigned flags)
{
	struct taking *g = mem_new(sizeof(*g));

	g->takes = t;
	g->flags = flags;
	g->number = ++t->last;
	buf_append(&g->key, key.p, key.n);
	list_init(&g->link);
	return g;
}

static void taking_free(struct taking *g)
{
	if (map_get(&g->takes->lates, buf_view(&g->key)) == g)
		map_remove(&g->takes->lates, buf_view(&g->key));
	list_remove(&g->link);
	timer_stop(g->takes->config.core->loop, &g->patience);
	buf_fini(&g->q.command);
	buf_fini(&g->key);
	buf_fini(&g->run);
	buf_fini(&g->by);
	free(g);
}

static void answer(struct taking *g, bool is_known)
{
	struct roaming_take *take = g->take;

	list_remove(&g->link);
	timer_stop(g->takes->config.core->loop, &g->patience);
	g->take = NULL;
	take->is_known = is_known;
	take->on_taken(take);
	if (!g->is_busy)
		taking_free(g);
	else if (!g->is_told)
		map_put(&g->takes->lates, buf_view(&g->key), g);
}

static void set_text(struct buf *b, const struct resp *text)
{
	buf_clear(b);
	if (text)
		buf_append(b, text->text.p, text->text.n);
}

/* False: the client takes nothing now. */
static bool submit(struct taking *g, uint16_t slot,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err))
{
	g->q.limit_ms = SESSIONS_TAKE_MS;
	g->q.repeatable = true;
	g->q.on_reply = on_reply;
	g->q.on_done = on_done;
	g->is_busy = redis_submit(g->takes->config.core->redis, slot, &g->q) == 0;
	return g->is_busy;
}

/* --- what is read behind a take -------------------------------------------------- */

/* The next of these; who waits for the answer waits no longer than this. */
static void read_next(struct taking *g, uint16_t slot,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err))
{
	g->q.acknowledge = 0;
	if (g->take)
		timer_start(g->takes->config.core->loop, &g->patience, SESSIONS_TAKE_MS);
	if (submit(g, slot, on_reply, on_done))
		return;
	if (g->take)
		answer(g, true);
	else
		taking_free(g);
}

static void begin_reading(struct taking *g, uint32_t words, const char *verb)
{
	buf_clear(&g->q.command);
	resp_begin(&g->q.command, words);
	resp_bytes(&g->q.command, view_of(verb));
}

/* True: nobody waits for more. */
static bool is_late(struct taking *g)
{
	g->is_busy = false;
	if (g->take)
		return false;
	taking_free(g);
	return true;
}

static void on_mark_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);

	if (reply->type == RESP_STRING && g->take)
		set_text(&g->take->mark, reply);
}

static void on_mark_read(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	(void)err;
	if (!is_late(g))
		answer(g, true);
}

/* How far the session got whose row says no more than "live". */
static void read_mark(struct taking *g)
{
	struct view row = buf_view(&g->take->row);
	struct buf key = {0};
	uint16_t slot;

	if (row.n == 0 || row.p[0] != ROAMING_LIVE) {
		answer(g, true);
		return;
	}
	slot = rows_key(&key, MARK_KEY, buf_view(&g->by));
	begin_reading(g, 2, "GET");
	resp_bytes(&g->q.command, buf_view(&key));
	buf_fini(&key);
	read_next(g, slot, on_mark_reply, on_mark_read);
}

static void on_row_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);
	const struct resp *row = resp_item(reply, 0, RESP_STRING);

	if (row == NULL || g->take == NULL)
		return;
	set_text(&g->take->row, row);
	set_text(&g->by, resp_item(reply, 1, RESP_STRING));
}

static void on_row_read(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	(void)err;
	if (!is_late(g))
		read_mark(g);
}

/* Who had it has written its last row, or had long enough to. */
static void read_row(struct taking *g)
{
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->key));

	list_remove(&g->link);
	begin_reading(g, 4, "HMGET");
	resp_bytes(&g->q.command, buf_view(&key));
	resp_bytes(&g->q.command, VIEW("row"));
	resp_bytes(&g->q.command, VIEW("by"));
	buf_fini(&key);
	read_next(g, slot, on_row_reply, on_row_read);
}

static void on_will_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);

	if (reply->type == RESP_STRING)
		wills_return(g->takes->config.wills, buf_view(&g->run), buf_view(&g->key),
			reply->text, (g->flags & ROAMING_CLEAN) != 0);
}

static void on_will_read(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	(void)err;
	if (is_late(g))
		return;
	if (g->is_told)
		read_row(g);
	else
		read_mark(g);
}

/* Nobody else says it before its client is back, or takes it away. */
static void read_will(struct taking *g)
{
	struct buf key = {0};
	uint16_t slot = rows_key(&key, WILLS_KEY, buf_view(&g->run));

	list_remove(&g->link);
	begin_reading(g, 3, "HGET");
	resp_bytes(&g->q.command, buf_view(&key));
	resp_bytes(&g->q.command, buf_view(&g->key));
	buf_fini(&key);
	read_next(g, slot, on_will_reply, on_will_read);
}

/* --- the script -------------------------------------------------------------------- */

static bool has_other(const struct taking *g)
{
	return buf_length(&g->run) && !view_equal(buf_view(&g->run), view_of(g->takes->config.run));
}

/* The letter goes out before replicas have the take: if that is undone then, no row is given under
 * its number, and the one in Redis stands. */
static void tell_other(struct taking *g)
{
	const struct takes_config *c = &g->takes->config;
	struct view run = buf_view(&g->run);
	struct view node = run;

	if (g->is_told || g->owner == 0 || !has_other(g) || !members_has_run(c->members, run))
		return;
	if (g->take == NULL && !g->is_claim) /* it will be undone */
		return;
	g->is_told = true;
	mail_send(c->mail, view_cut(&node, '/'),
		&(struct letter){.kind = VIEW("taken"),
			.key = buf_view(&g->key),
			.number = g->owner,
			.is_clean = (g->flags & ROAMING_CLEAN) != 0});
	if (g->take)
		list_append(&g->takes->expecting, &g->link);
}

static void on_take_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);
	const struct resp *owner = resp_item(reply, 0, RESP_INTEGER);

	if (owner == NULL)
		return;
	g->is_done = true;
	g->owner = (uint32_t)owner->integer;
	set_text(&g->run, resp_item(reply, 1, RESP_STRING));
	set_text(&g->by, resp_item(reply, 3, RESP_STRING));
	if (g->take) {
		g->take->owner = g->owner;
		g->take->before = buf_length(&g->run) && g->owner ? g->owner - 1 : 0;
		set_text(&g->take->row, resp_item(reply, 2, RESP_STRING));
	}
	tell_other(g);
}

static uint16_t put_take(struct taking *g, const char *what)
{
	struct takes *t = g->takes;
	struct buf *b = &g->q.command;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->key));
	char address[20] = "";

	if (g->take)
		snprintf(address, sizeof(address), "%016" PRIx64, g->take->address);
	buf_clear(b);
	resp_begin(b, 12);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(t->sha));
	resp_number(b, 1);
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, view_of(t->config.run));
	resp_number(b, g->number);
	resp_bytes(b, view_of(what));
	resp_number(b, loop_now_ms(t->config.core->loop) - g->since_ms);
	resp_number(b, ROAMING_KEEP_MS);
	resp_number(b, (g->flags & ROAMING_LASTS) != 0);
	resp_bytes(b, view_of(address));
	resp_number(b, g->is_scoped);
	buf_fini(&key);
	g->q.acknowledge = census_needed_at(t->config.core->census, slot);
	return slot;
}

static bool is_short(const struct taking *g)
{
	struct census *census = g->takes->config.core->census;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->key));

	buf_fini(&key);
	return g->q.replicas < census_needed_at(census, slot);
}

static void on_take_done(struct redis_request *q, int err);

static void send_take(struct taking *g)
{
	uint16_t slot = put_take(g, "take");

	if (!submit(g, slot, on_take_reply, on_take_done))
		answer(g, g->owner != 0);
}

/* Taken: what the other one still has to say. */
static void go_on(struct taking *g)
{
	if (!has_other(g))
		read_mark(g);
	else if (g->is_given)
		read_row(g);
	else if (g->is_told)
		timer_start(g->takes->config.core->loop, &g->patience, SESSIONS_PATIENCE_MS);
	else
		read_will(g);
}

/* It exists while it has a row, or its node lives: of a client that was to last no longer than its
 * connection nothing else is known, and what its dead node left in Redis keeps nobody away. */
static void leave_it(struct taking *g)
{
	if (g->is_scoped && (buf_length(&g->take->row) || !has_other(g) ||
				    members_has_run(g->takes->config.members, buf_view(&g->run)))) {
		g->take->is_refused = true;
		answer(g, true);
		return;
	}
	g->is_scoped = g->is_done = false;
	send_take(g);
}

static void on_undone(struct redis_request *q, int err)
{
	(void)err;
	taking_free(container_of(q, struct taking, q));
}

/* Its client was refused, or is served under a claim: who had the session has it still. */
static void undo(struct taking *g, int err)
{
	if (err == ERR_SHUTDOWN || g->owner == 0 ||
		!submit(g, put_take(g, "undo"), NULL, on_undone))
		taking_free(g);
}

static void on_take_done(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	g->is_busy = false;
	if (g->take == NULL && !g->is_told) {
		undo(g, err);
		return;
	}
	if (g->take == NULL) {
		taking_free(g);
		return;
	}
	if (!err && g->is_done && g->owner == 0) {
		leave_it(g);
	} else if (err || g->owner == 0) {
		answer(g, false);
	} else if (is_short(g)) {
		census_hurry(g->takes->config.core->census);
		send_take(g);
	} else {
		go_on(g);
	}
}

/* The letter does not come, or Redis does not answer. */
static void on_patience(struct timer *t)
{
	struct taking *g = container_of(t, struct taking, patience);

	if (g->is_busy)
		answer(g, g->owner != 0);
	else
		read_will(g);
}

void takes_take(struct takes *t, struct roaming_take *take)
{
	struct taking *g = taking_new(t, buf_view(&take->key), take->flags);

	g->take = take;
	g->is_scoped = take->is_scoped;
	g->since_ms = loop_now_ms(t->config.core->loop);
	g->patience.on_time = on_patience;
	if (!t->has_begun) {
		answer(g, false);
		return;
	}
	timer_start(t->config.core->loop, &g->patience, SESSIONS_TAKE_MS);
	send_take(g);
}

void takes_given(struct takes *t, struct view key, uint32_t owner)
{
	for (struct list *at = t->expecting.next; at != &t->expecting; at = at->next) {
		struct taking *g = container_of(at, struct taking, link);

		if (g->owner != owner || !view_equal(buf_view(&g->key), key))
			continue;
		g->is_given = true;
		if (!g->is_busy)
			read_row(g);
		return;
	}
}

/* --- claims ---------------------------------------------------------------------------- */

static void on_claimed(struct redis_request *q, int err);

static void pump(struct takes *t)
{
	struct list *next;

	for (struct list *at = t->waiting.next; at != &t->waiting; at = next) {
		struct taking *g = container_of(at, struct taking, link);

		next = at->next;
		if (!t->has_begun || t->busy == CLAIMS_BUSY)
			return;
		if (map_get(&t->lates, buf_view(&g->key)) ||
			!submit(g, put_take(g, "claim"), on_take_reply, on_claimed)) {
			timer_start(t->config.core->loop, &t->again, CLAIMS_AGAIN_MS);
			continue;
		}
		list_remove(&g->link);
		t->busy++;
	}
}

static void on_again(struct timer *timer)
{
	pump(container_of(timer, struct takes, again));
}

/* One that was not answered keeps its number, as it may have been done. */
static void claim_again(struct taking *g)
{
	struct takes *t = g->takes;

	if (g->is_anew)
		g->number = ++t->last;
	g->is_anew = g->is_done = g->is_told = false;
	g->owner = 0;
	list_append(&t->waiting, &g->link);
	if (t->again.place == 0)
		timer_start(t->config.core->loop, &t->again, CLAIMS_AGAIN_MS);
}

static void end_claim(struct taking *g)
{
	const struct takes_config *c = &g->takes->config;
	const struct roaming_host *host = c->host;

	map_remove(&g->takes->claims, buf_view(&g->key));
	g->is_claim = false;
	if (g->is_ended && g->owner)
		c->on_ended(c->context, buf_view(&g->key), g->owner);
	else if (!g->is_ended && !g->is_moved && g->owner == 0)
		host->on_lost(host->context, buf_view(&g->key), 0);
	else if (!g->is_ended && !g->is_moved)
		host->on_late(host->context, buf_view(&g->key), g->owner);
	if (g->owner && has_other(g) && !g->is_told)
		read_will(g);
	else
		taking_free(g);
}

/* Another seems to have a later CONNECT: it may be one that was not answered. */
static bool yields_still(struct taking *g)
{
	uint64_t now = loop_now_ms(g->takes->config.core->loop);

	if (g->owner)
		return false;
	if (g->yields_ms == 0)
		g->yields_ms = now;
	return now - g->yields_ms < CLAIMS_YIELD_MS;
}

static void on_claimed(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);
	struct takes *t = g->takes;

	t->busy--;
	g->is_busy = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err || !g->is_done || g->is_anew || (yields_still(g) && !g->is_ended && !g->is_moved))
		claim_again(g);
	else
		end_claim(g);
	if (!err)
		pump(t);
}

void takes_claim(struct takes *t, struct view key, unsigned flags, uint64_t age_ms)
{
	struct taking *g = map_get(&t->claims, key);

	if (g == NULL) {
		g = taking_new(t, key, flags);
		g->is_claim = true;
		map_put(&t->claims, buf_view(&g->key), g);
		list_append(&t->waiting, &g->link);
	}
	g->is_anew = g->is_busy;
	g->is_ended = g->is_moved = false;
	g->yields_ms = 0;
	g->flags = flags;
	g->since_ms = loop_now_ms(t->config.core->loop) - age_ms;
	pump(t);
}

void takes_unclaim(struct takes *t, struct view key, bool is_ended)
{
	struct taking *g = map_get(&t->claims, key);

	if (g == NULL)
		return;
	if (g->is_busy) {
		g->is_ended = is_ended;
		g->is_moved = !is_ended;
		g->is_anew = false;
		return;
	}
	map_remove(&t->claims, key);
	taking_free(g);
}

/* --- life -------------------------------------------------------------------------------- */

struct takes *takes_new(const struct takes_config *config)
{
	struct takes *t = mem_new(sizeof(*t));

	t->config = *config;
	redis_script_sha(take_lua, t->sha);
	list_init(&t->expecting);
	list_init(&t->waiting);
	t->again.on_time = on_again;
	return t;
}

void takes_begin(struct takes *t)
{
	t->has_begun = true;
	pump(t);
}

void takes_free(struct takes *t)
{
	struct taking *g;

	if (t == NULL)
		return;
	while (!list_is_empty(&t->expecting))
		answer(container_of(t->expecting.next, struct taking, link), false);
	for (size_t at = 0; (g = map_next(&t->claims, &at)) != NULL;)
		taking_free(g);
	map_fini(&t->claims);
	map_fini(&t->lates);
	free(t);
}
