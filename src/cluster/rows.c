/* cluster/rows.c - kept rows by key, in the order of their coming */
#include "cluster/rows.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/put_script.h" /* made of put.lua by tools/embed.awk */

#define AGAIN_MS 200u
#define MARK_TTL_MS 604800000u /* a run that has been dead for a week has no sessions */

/* A row that Redis does not have yet. */
struct kept {
	struct redis_request q;
	struct list link; /* in rows->kept, in the order of the numbers of `now` */
	struct rows *rows;
	struct row_order *now;  /* being written */
	struct row_order *next; /* came meanwhile */
	bool waits;             /* the client was full: written when `again` ends */
};

struct rows {
	struct cluster_core *core;
	const char *run;
	void (*on_given)(void *context, struct view key, uint32_t owner);
	void *context;
	char sha[REDIS_SHA_BYTES];
	struct map by_key; /* struct kept */
	struct list kept;
	struct timer again;
	uint64_t taken; /* rows, and marks */
	struct redis_request marking;
	bool is_marking;
	struct buf mark; /* the next one */
	bool has_mark;
	uint64_t mark_after; /* rows up to this number come before it */
};

void row_order_free(struct row_order *o)
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

static void write_row(struct kept *k)
{
	struct rows *r = k->rows;
	struct row_order *o = k->now;
	struct buf *b = &k->q.command;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&o->key));

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
	resp_bytes(b, o->kind == ROW_GIVE ? VIEW("1") : VIEW("0"));
	buf_fini(&key);
	k->waits = redis_submit(r->core->redis, slot, &k->q) != 0;
	if (k->waits)
		timer_start(r->core->loop, &r->again, AGAIN_MS);
}

static void kept_free(struct kept *k)
{
	list_remove(&k->link);
	row_order_free(k->now);
	row_order_free(k->next);
	buf_fini(&k->q.command);
	free(k);
}

/* The later one takes the place of the one that is done with; false: there is none. */
static bool go_on(struct kept *k)
{
	struct rows *r = k->rows;

	map_remove(&r->by_key, buf_view(&k->now->key));
	row_order_free(k->now);
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

static void on_written(struct redis_request *q, int err)
{
	struct kept *k = container_of(q, struct kept, q);
	struct rows *r = k->rows;

	if (err == ERR_SHUTDOWN)
		return;
	if (err) {
		/* The later one says all, and keeps the place of the earlier. */
		if (k->next && k->now->kind != ROW_GIVE) {
			k->next->number = k->now->number;
			go_on(k);
		}
		write_row(k);
		return;
	}
	if (k->now->kind == ROW_GIVE)
		r->on_given(r->context, buf_view(&k->now->key), k->now->owner);
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
	if (k) {
		row_order_free(k->next);
		k->next = o;
		return;
	}
	k = mem_new(sizeof(*k));
	k->rows = r;
	k->now = o;
	k->q.repeatable = true;
	k->q.on_done = on_written;
	list_init(&k->link);
	list_append(&r->kept, &k->link);
	map_put(&r->by_key, buf_view(&o->key), k);
	write_row(k);
}

/* What could not be handed over to the client. */
static void on_again(struct timer *t)
{
	struct rows *r = container_of(t, struct rows, again);

	for (struct list *at = r->kept.next; at != &r->kept; at = at->next) {
		struct kept *k = container_of(at, struct kept, link);

		if (k->waits)
			write_row(k);
	}
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

	if (r->is_marking || !r->has_mark ||
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

/* --- life ----------------------------------------------------------------------------- */

struct rows *rows_new(struct cluster_core *core, const char *run,
	void (*on_given)(void *context, struct view key, uint32_t owner), void *context)
{
	struct rows *r = mem_new(sizeof(*r));

	r->core = core;
	r->run = run;
	r->on_given = on_given;
	r->context = context;
	redis_script_sha(put_lua, r->sha);
	r->marking.repeatable = true;
	r->marking.on_done = on_marked;
	r->again.on_time = on_again;
	list_init(&r->kept);
	return r;
}

void rows_free(struct rows *r)
{
	if (r == NULL)
		return;
	while (!list_is_empty(&r->kept))
		kept_free(container_of(r->kept.next, struct kept, link));
	map_fini(&r->by_key);
	buf_fini(&r->marking.command);
	buf_fini(&r->mark);
	free(r);
}

const char *rows_script(void)
{
	return put_lua;
}
