/* cluster/takes.c - one struct a take, from the script to the answer and behind it */
#include "cluster/takes_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/wills.h"
#include "cluster/take_script.h" /* made of take.lua by tools/embed.awk */

const char *takes_script(void)
{
	return take_lua;
}

struct taking *taking_new(struct takes *t, struct view key)
{
	struct taking *g = mem_new(sizeof(*g));

	g->takes = t;
	g->number = ++t->last;
	buf_append(&g->key, key.p, key.n);
	list_init(&g->link);
	list_init(&g->all);
	list_append(&t->all, &g->all);
	return g;
}

void taking_free(struct taking *g)
{
	if (map_get(&g->takes->lates, buf_view(&g->key)) == g)
		map_remove(&g->takes->lates, buf_view(&g->key));
	list_remove(&g->all);
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

bool taking_submit(struct taking *g, uint16_t slot,
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
	if (taking_submit(g, slot, on_reply, on_done))
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
static bool is_late(struct taking *g, int err)
{
	if (err == ERR_SHUTDOWN)
		return true;
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

	if (!is_late(g, err))
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

	if (row == NULL || g->take == NULL || resp_item(reply, 2, RESP_STRING))
		return;
	set_text(&g->take->row, row);
	set_text(&g->by, resp_item(reply, 1, RESP_STRING));
}

static void on_row_read(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	if (!is_late(g, err))
		read_mark(g);
}

/* Who had it has written its last row, or had long enough to. */
static void read_row(struct taking *g)
{
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->key));

	list_remove(&g->link);
	begin_reading(g, 5, "HMGET");
	resp_bytes(&g->q.command, buf_view(&key));
	resp_bytes(&g->q.command, VIEW("row"));
	resp_bytes(&g->q.command, VIEW("by"));
	resp_bytes(&g->q.command, VIEW("new")); /* there: the row counts no more */
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

	if (is_late(g, err))
		return;
	if (g->is_told)
		read_row(g);
	else
		read_mark(g);
}

void taking_read_will(struct taking *g)
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

bool taking_has_other(const struct taking *g)
{
	return buf_length(&g->run) && !view_equal(buf_view(&g->run), view_of(g->takes->config.run));
}

/* A node that began within the last second may not be known yet: it is told, and waited for as one that
 * does not answer, or two connections of one client would stay.
 * The letter goes out before replicas have the take: if that is undone then, no row is given under
 * its number, and the one in Redis stands. */
static void tell_other(struct taking *g)
{
	const struct takes_config *c = &g->takes->config;
	struct view run = buf_view(&g->run);
	struct view node = run;

	if (g->is_told || g->owner == 0 || !taking_has_other(g) ||
		!members_may_have_run(c->members, run))
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

void taking_on_reply(struct redis_request *q, const struct resp *reply)
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

uint16_t taking_put(struct taking *g, const char *what)
{
	struct takes *t = g->takes;
	struct buf *b = &g->q.command;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->key));
	char address[20] = "";

	if (g->address)
		snprintf(address, sizeof(address), "%016" PRIx64, g->address);
	buf_clear(b);
	resp_begin(b, 13);
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
	resp_number(b, (g->flags & ROAMING_CLEAN) != 0);
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
	uint16_t slot = taking_put(g, "take");

	if (!taking_submit(g, slot, taking_on_reply, on_take_done))
		answer(g, g->owner != 0);
}

/* Taken: what the other one still has to say. */
static void go_on(struct taking *g)
{
	if (!taking_has_other(g))
		read_mark(g);
	else if (g->is_given)
		read_row(g);
	else if (g->is_told)
		timer_start(g->takes->config.core->loop, &g->patience, SESSIONS_PATIENCE_MS);
	else
		taking_read_will(g);
}

/* It exists while it has a row, or its node lives: of a client that was to last no longer than its
 * connection nothing else is known, and what its dead node left in Redis keeps nobody away. */
static void leave_it(struct taking *g)
{
	if (g->is_scoped && (buf_length(&g->take->row) || !taking_has_other(g) ||
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
	if (err != ERR_SHUTDOWN)
		taking_free(container_of(q, struct taking, q));
}

/* Its client was refused, or is served under a claim: who had the session has it still. */
static void undo(struct taking *g)
{
	if (g->owner == 0 || !taking_submit(g, taking_put(g, "undo"), NULL, on_undone))
		taking_free(g);
}

static void on_take_done(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	if (err == ERR_SHUTDOWN)
		return;
	g->is_busy = false;
	if (g->take == NULL && !g->is_told) {
		undo(g);
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
		taking_read_will(g);
}

void takes_take(struct takes *t, struct roaming_take *take)
{
	struct taking *g = taking_new(t, buf_view(&take->key));

	g->take = take;
	g->flags = take->flags;
	g->address = take->address;
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

/* --- life -------------------------------------------------------------------------------- */

struct takes *takes_new(const struct takes_config *config)
{
	struct takes *t = mem_new(sizeof(*t));

	t->config = *config;
	redis_script_sha(take_lua, t->sha);
	list_init(&t->all);
	list_init(&t->expecting);
	claims_init(t);
	return t;
}

void takes_begin(struct takes *t)
{
	t->has_begun = true;
	claims_begin(t);
}

void takes_free(struct takes *t)
{
	if (t == NULL)
		return;
	while (!list_is_empty(&t->all))
		taking_free(container_of(t->all.next, struct taking, all));
	claims_fini(t);
	map_fini(&t->lates);
	free(t);
}
