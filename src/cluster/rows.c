/* cluster/rows.c - kept rows by key, in the order of their coming */
#include "cluster/rows.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/receipts.h"
#include "commit/roaming.h"
#include "cluster/put_script.h"   /* made of put.lua by tools/embed.awk */
#include "cluster/touch_script.h" /* made of touch.lua */

#define AGAIN_MS 200u
#define MARK_TTL_MS 604800000u /* a run that has been dead for a week has no sessions */
#define TOUCHES_MOST 256u      /* under way */

/* A row that Redis does not have yet. */
struct kept {
	struct redis_request q;
	struct list link; /* in rows->kept, in the order of the numbers of `now` */
	struct rows *rows;
	uint16_t slot;
	struct row_order *now;  /* being written */
	struct row_order *next; /* came meanwhile */
	bool waits;             /* is written when `again` ends */
	bool is_good;           /* Redis' answer: it is one, and says */
	bool is_taken;          /* that the row was taken */
};

struct rows {
	struct cluster_core *core;
	const char *run;
	rows_told *on_given;
	rows_told *on_refused;
	void *context;
	bool has_begun;
	char sha[REDIS_SHA_BYTES];
	char touch_sha[REDIS_SHA_BYTES];
	struct map by_key; /* struct kept */
	struct list kept;
	struct timer again;
	struct receipts receipts;
	uint64_t taken; /* rows, and marks */
	struct redis_request marking;
	bool is_marking;
	struct buf mark; /* the next one */
	bool has_mark;
	uint64_t mark_after; /* rows up to this number come before it */
	uint32_t touches;
};

static void order_free(struct row_order *o)
{
	if (o == NULL)
		return;
	buf_fini(&o->key);
	buf_fini(&o->row);
	free(o);
}

uint16_t rows_key(struct buf *key, const char *front, struct view rest)
{
	buf_clear(key);
	buf_text(key, front);
	buf_append(key, rest.p, rest.n);
	return slot_of(buf_view(key));
}

/* --- rows ------------------------------------------------------------------------ */

static void send_mark(struct rows *r);

static struct view word_of(enum row_kind kind)
{
	static const char *const words[] = {
		[ROW_PUT] = "put", [ROW_GIVE] = "give", [ROW_BARE] = "bare", [ROW_DROP] = "drop"};

	return view_of(words[kind]);
}

static void write_later(struct kept *k)
{
	struct rows *r = k->rows;

	k->waits = true;
	if (r->has_begun && r->again.place == 0)
		timer_start(r->core->loop, &r->again, AGAIN_MS);
}

static void write_row(struct kept *k)
{
	struct rows *r = k->rows;
	struct row_order *o = k->now;
	struct buf *b = &k->q.command;
	struct buf key = {0};

	k->waits = false;
	k->slot = rows_key(&key, SESSION_KEY, buf_view(&o->key));
	buf_clear(b);
	resp_begin(b, 9);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(r->sha));
	resp_number(b, 1);
	resp_bytes(b, buf_view(&key));
	resp_number(b, o->owner);
	resp_bytes(b, view_of(r->run));
	resp_bytes(b, buf_view(&o->row));
	resp_number(b, o->ttl_ms);
	resp_bytes(b, word_of(o->kind));
	buf_fini(&key);
	k->q.acknowledge = o->kind == ROW_PUT ? census_needed_at(r->core->census, k->slot) : 0;
	if (!r->has_begun || redis_submit(r->core->redis, k->slot, &k->q) != 0)
		write_later(k);
}

static void kept_free(struct kept *k)
{
	list_remove(&k->link);
	order_free(k->now);
	order_free(k->next);
	buf_fini(&k->q.command);
	free(k);
}

/* The later one takes the place of the one that is done with; false: there is none. */
static bool go_on(struct kept *k)
{
	struct rows *r = k->rows;

	map_remove(&r->by_key, buf_view(&k->now->key));
	order_free(k->now);
	k->now = k->next;
	k->next = NULL;
	if (k->now == NULL)
		return false;
	map_put(&r->by_key, buf_view(&k->now->key), k);
	return true;
}

/* Most are among the latest. */
static void put_in_order(struct kept *k)
{
	struct list *at = k->rows->kept.prev;

	while (at != &k->rows->kept &&
		container_of(at, struct kept, link)->now->number > k->now->number)
		at = at->prev;
	list_append(at->next, &k->link);
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct kept *k = container_of(q, struct kept, q);

	k->is_good = reply->type == RESP_INTEGER;
	k->is_taken = k->is_good && reply->integer != 0;
}

/* The later one says all, and keeps the place of the earlier. */
static void fail(struct kept *k)
{
	if (k->next && k->now->kind != ROW_GIVE) {
		k->next->number = k->now->number;
		list_splice(&k->now->receipts, &k->next->receipts);
		list_splice(&k->next->receipts, &k->now->receipts);
		go_on(k);
	}
	write_later(k);
}

static bool is_short(const struct kept *k)
{
	return k->now->kind == ROW_PUT && k->is_taken &&
	       k->q.replicas < census_needed_at(k->rows->core->census, k->slot);
}

/* Redis has it, or it is another's to write. */
static void tell(struct kept *k)
{
	struct rows *r = k->rows;
	struct row_order *o = k->now;

	if (o->kind == ROW_PUT && !is_short(k))
		receipts_resume(&r->receipts);
	receipts_tell(&o->receipts);
	if (o->kind == ROW_GIVE)
		r->on_given(r->context, buf_view(&o->key), o->owner);
	else if (o->kind == ROW_PUT && !k->is_taken)
		r->on_refused(r->context, buf_view(&o->key), o->owner);
}

static void on_written(struct redis_request *q, int err)
{
	struct kept *k = container_of(q, struct kept, q);
	struct rows *r = k->rows;

	if (err == ERR_SHUTDOWN)
		return;
	if (err || !k->is_good) {
		fail(k);
		return;
	}
	if (is_short(k) && !list_is_empty(&k->now->receipts)) {
		census_hurry(r->core->census);
		write_later(k);
		return;
	}
	tell(k);
	if (go_on(k)) {
		list_remove(&k->link);
		put_in_order(k);
		write_row(k);
	} else {
		kept_free(k);
	}
	send_mark(r);
}

void rows_put(struct rows *r, struct row_order *o)
{
	struct kept *k = map_get(&r->by_key, buf_view(&o->key));

	o->number = ++r->taken;
	list_init(&o->receipts);
	if (k) {
		if (k->next)
			list_splice(&o->receipts, &k->next->receipts);
		order_free(k->next);
		k->next = o;
		return;
	}
	k = mem_new(sizeof(*k));
	k->rows = r;
	k->now = o;
	k->q.repeatable = true;
	k->q.on_reply = on_reply;
	k->q.on_done = on_written;
	list_append(&r->kept, &k->link);
	map_put(&r->by_key, buf_view(&o->key), k);
	write_row(k);
}

void rows_confirm(struct rows *r, struct receipt *receipt)
{
	struct kept *k = map_get(&r->by_key, buf_view(&receipt->key));

	if (k)
		receipts_wait(
			&r->receipts, receipt, k->next ? &k->next->receipts : &k->now->receipts);
	else
		receipt->on_done(receipt);
}

/* What could not be handed over to the client, or not be written. */
static void write_again(struct rows *r)
{
	for (struct list *at = r->kept.next; at != &r->kept; at = at->next) {
		struct kept *k = container_of(at, struct kept, link);

		if (k->waits)
			write_row(k);
	}
}

static void on_again(struct timer *t)
{
	write_again(container_of(t, struct rows, again));
}

/* --- marks -------------------------------------------------------------------------- */

static void on_marked(struct redis_request *q, int err)
{
	struct rows *r = container_of(q, struct rows, marking);

	r->is_marking = false;
	if (err != ERR_SHUTDOWN)
		send_mark(r);
}

static void send_mark(struct rows *r)
{
	struct kept *first = container_of(r->kept.next, struct kept, link);
	struct buf *b = &r->marking.command;
	struct buf key = {0};
	uint16_t slot;

	if (!r->has_begun || r->is_marking || !r->has_mark ||
		(!list_is_empty(&r->kept) && first->now->number <= r->mark_after))
		return;
	slot = rows_key(&key, MARK_KEY, view_of(r->run));
	buf_clear(b);
	resp_begin(b, 5);
	resp_bytes(b, VIEW("SET"));
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, buf_view(&r->mark));
	resp_bytes(b, VIEW("PX"));
	resp_number(b, MARK_TTL_MS);
	buf_fini(&key);
	r->has_mark = false;
	r->is_marking = redis_submit(r->core->redis, slot, &r->marking) == 0;
}

/* A later one takes the place of one that waits. */
void rows_mark(struct rows *r, struct view mark)
{
	buf_clear(&r->mark);
	buf_append(&r->mark, mark.p, mark.n);
	r->has_mark = true;
	r->mark_after = r->taken;
	send_mark(r);
}

/* --- touches ------------------------------------------------------------------------ */

struct touch {
	struct redis_request q;
	struct rows *rows;
};

static void on_touched(struct redis_request *q, int err)
{
	struct touch *t = container_of(q, struct touch, q);

	(void)err;
	t->rows->touches--;
	buf_fini(&q->command);
	free(t);
}

void rows_touch(struct rows *r, struct view session)
{
	struct touch *t;
	struct buf *b;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, session);

	if (r->has_begun && r->touches < TOUCHES_MOST) {
		t = mem_new(sizeof(*t));
		t->rows = r;
		t->q.repeatable = true;
		t->q.on_done = on_touched;
		b = &t->q.command;
		resp_begin(b, 6);
		resp_bytes(b, VIEW("EVALSHA"));
		resp_bytes(b, view_of(r->touch_sha));
		resp_number(b, 1);
		resp_bytes(b, buf_view(&key));
		resp_bytes(b, view_of(r->run));
		resp_number(b, ROAMING_KEEP_MS);
		r->touches++;
		if (redis_submit(r->core->redis, slot, &t->q) != 0)
			on_touched(&t->q, ERR_FULL);
	}
	buf_fini(&key);
}

/* --- life ----------------------------------------------------------------------------- */

struct rows *rows_new(struct cluster_core *core, const char *run, rows_told *on_given,
	rows_told *on_refused, void *context)
{
	struct rows *r = mem_new(sizeof(*r));

	r->core = core;
	r->run = run;
	r->on_given = on_given;
	r->on_refused = on_refused;
	r->context = context;
	redis_script_sha(put_lua, r->sha);
	redis_script_sha(touch_lua, r->touch_sha);
	receipts_init(&r->receipts, core->loop, "sessions");
	r->marking.repeatable = true;
	r->marking.on_done = on_marked;
	r->again.on_time = on_again;
	list_init(&r->kept);
	return r;
}

void rows_begin(struct rows *r)
{
	r->has_begun = true;
	write_again(r);
	send_mark(r);
}

void rows_free(struct rows *r)
{
	if (r == NULL)
		return;
	receipts_fini(&r->receipts);
	while (!list_is_empty(&r->kept))
		kept_free(container_of(r->kept.next, struct kept, link));
	map_fini(&r->by_key);
	buf_fini(&r->marking.command);
	buf_fini(&r->mark);
	free(r);
}

void rows_scripts(const char *out[ROWS_SCRIPTS])
{
	out[0] = put_lua;
	out[1] = touch_lua;
}
