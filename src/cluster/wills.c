/* cluster/wills.c - changes on their way to Redis, and the round over the runs that are dead */
#include "cluster/wills.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "cluster/holders.h"
#include "cluster/members.h"
#include "cluster/slots.h"
#include "cluster/will_value.h"
#include "cluster/unwill_script.h" /* made of unwill.lua by tools/embed.awk */

#define RUNS_KEY "{isobar}:wills"
#define LOOK_MS 1000u
#define AGAIN_MS 200u
#define WRITE_LIMIT_MS 5000u
#define BUSY_MOST 256u  /* changes under way to Redis */
#define GIVEN_MOST 256u /* wills that the broker is publishing */
#define SCAN_COUNT 64u
#define PASS_MOST_MS 30000u /* between two passes over what still waits its delay */
#define RUN_MOST (NODE_NAME_MOST + 21u)

enum change { CHANGE_NONE, CHANGE_PUT, CHANGE_DONE, CHANGE_DROP };

/* Of one session of one run: what Redis does not have yet, or what the broker is at. */
struct kept {
	struct redis_request q;
	struct list link; /* in wills->waiting, or alone */
	struct wills *wills;
	struct buf name;    /* run LF session's key */
	struct buf value;   /* of CHANGE_PUT */
	struct uuid id;     /* of CHANGE_DONE, or the value's */
	enum change change; /* wanted */
	enum change busy;   /* under way */
	bool is_given;      /* to the broker: told when it is done */
	bool is_good;       /* Redis' answer */
	uint16_t run_bytes;
};

/* A run that does not live any more and has wills. */
struct dead {
	struct list link;
	char *run;
	uint64_t since_ms; /* seen first */
	uint64_t pass_ms;  /* looked through again then */
	bool is_listed;    /* in the last reply */
};

/* One pass over the hash of a dead run. */
struct pass {
	struct redis_request q;
	struct dead *dead; /* NULL: none is under way */
	struct buf cursor;
	uint64_t found;
	uint64_t next_ms; /* the shortest delay left */
	bool is_good;
};

struct wills {
	struct cluster_core *core;
	struct members *members;
	const char *run;
	const struct roaming_host *host;
	char sha[REDIS_SHA_BYTES];
	struct map by_name; /* struct kept */
	struct list waiting;
	uint32_t busy;
	uint32_t given;
	struct timer again;
	struct timer look;
	struct redis_request join;
	struct redis_request list;
	struct redis_request leave;
	bool is_leaving;
	bool has_begun;
	struct list dead;
	struct pass pass;
};

const char *wills_script(void)
{
	return unwill_lua;
}

/* --- changes ------------------------------------------------------------------------ */

static struct view run_of(const struct kept *k)
{
	return (struct view){(const char *)buf_bytes(&k->name), k->run_bytes};
}

static struct view key_of(const struct kept *k)
{
	return view_skip(buf_view(&k->name), k->run_bytes + 1u);
}

static uint16_t put_run_key(struct buf *key, struct view run)
{
	buf_text(key, WILLS_KEY);
	buf_append(key, run.p, run.n);
	return slot_of(buf_view(key));
}

static void kept_free(struct kept *k)
{
	map_remove(&k->wills->by_name, buf_view(&k->name));
	list_remove(&k->link);
	k->wills->given -= k->is_given;
	buf_fini(&k->q.command);
	buf_fini(&k->name);
	buf_fini(&k->value);
	free(k);
}

static void put_command(struct kept *k, struct view run_key)
{
	struct buf *b = &k->q.command;

	buf_clear(b);
	if (k->busy == CHANGE_DONE) {
		resp_begin(b, 6);
		resp_bytes(b, VIEW("EVALSHA"));
		resp_bytes(b, view_of(k->wills->sha));
		resp_number(b, 1);
	} else {
		resp_begin(b, k->busy == CHANGE_PUT ? 4 : 3);
		resp_bytes(b, k->busy == CHANGE_PUT ? VIEW("HSET") : VIEW("HDEL"));
	}
	resp_bytes(b, run_key);
	resp_bytes(b, key_of(k));
	if (k->busy == CHANGE_DONE)
		resp_bytes(b, (struct view){(const char *)&k->id, WILL_ID_BYTES});
	else if (k->busy == CHANGE_PUT)
		resp_bytes(b, buf_view(&k->value));
}

/* False: the client takes nothing now. */
static bool write_out(struct kept *k)
{
	struct wills *w = k->wills;
	struct buf run_key = {0};
	uint16_t slot = put_run_key(&run_key, run_of(k));

	k->busy = k->change;
	k->change = CHANGE_NONE;
	put_command(k, buf_view(&run_key));
	buf_fini(&run_key);
	if (redis_submit(w->core->redis, slot, &k->q) == 0) {
		w->busy++;
		return true;
	}
	k->change = k->busy;
	k->busy = CHANGE_NONE;
	return false;
}

static void pump(struct wills *w)
{
	while (w->has_begun && !list_is_empty(&w->waiting) && w->busy < BUSY_MOST) {
		struct kept *k = container_of(w->waiting.next, struct kept, link);

		list_remove(&k->link);
		if (write_out(k))
			continue;
		list_append(&w->waiting, &k->link);
		timer_start(w->core->loop, &w->again, AGAIN_MS);
		return;
	}
}

static void on_again(struct timer *t)
{
	pump(container_of(t, struct wills, again));
}

static void on_write_reply(struct redis_request *q, const struct resp *reply)
{
	container_of(q, struct kept, q)->is_good = reply->type != RESP_ERROR;
}

static void on_written(struct redis_request *q, int err)
{
	struct kept *k = container_of(q, struct kept, q);
	struct wills *w = k->wills;
	bool is_good = err == 0 && k->is_good;

	w->busy--;
	if (err == ERR_SHUTDOWN)
		return;
	if (!is_good && k->change == CHANGE_NONE)
		k->change = k->busy;
	k->busy = CHANGE_NONE;
	if (k->change == CHANGE_NONE) {
		kept_free(k);
		pump(w);
		return;
	}
	list_append(&w->waiting, &k->link);
	if (is_good)
		pump(w);
	else
		timer_start(w->core->loop, &w->again, AGAIN_MS);
}

static struct kept *find(struct wills *w, struct view run, struct view key, bool may_make)
{
	struct buf name = {0};
	struct kept *k;

	buf_append(&name, run.p, run.n);
	buf_append(&name, "\n", 1);
	buf_append(&name, key.p, key.n);
	k = map_get(&w->by_name, buf_view(&name));
	if (k || !may_make) {
		buf_fini(&name);
		return k;
	}
	k = mem_new(sizeof(*k));
	k->wills = w;
	k->name = name;
	k->run_bytes = (uint16_t)run.n;
	k->q.repeatable = true;
	k->q.limit_ms = WRITE_LIMIT_MS;
	k->q.on_reply = on_write_reply;
	k->q.on_done = on_written;
	list_init(&k->link);
	map_put(&w->by_name, buf_view(&k->name), k);
	return k;
}

/* It takes the place of what has not been sent yet. */
static void want(struct kept *k, enum change change)
{
	struct wills *w = k->wills;

	k->change = change;
	if (k->busy == CHANGE_NONE && list_is_empty(&k->link))
		list_append(&w->waiting, &k->link);
	pump(w);
}

void wills_put(struct wills *w, struct view key, const struct roaming_will *will)
{
	struct kept *k = find(w, view_of(w->run), key, true);

	if (will->bytes.n == 0) {
		want(k, CHANGE_DROP);
		return;
	}
	k->id = will->id;
	buf_clear(&k->value);
	will_value_put(&k->value, will);
	want(k, CHANGE_PUT);
}

void wills_done(struct wills *w, struct view run, struct view key, const struct uuid *id)
{
	struct kept *k = find(w, run.n ? run : view_of(w->run), key, true);
	bool is_written = k->change == CHANGE_PUT || k->busy == CHANGE_PUT;

	if (k->change == CHANGE_DROP || (is_written && memcmp(&k->id, id, WILL_ID_BYTES) != 0))
		return; /* what is on its way leaves nothing of this will */
	if (k->change != CHANGE_PUT)
		k->id = *id;
	/* What was never sent would have taken the place of an earlier one. */
	want(k, k->change == CHANGE_PUT ? CHANGE_DROP : CHANGE_DONE);
}

/* --- a pass over what a dead run left ------------------------------------------------- */

/* Unless the broker has enough for now. */
static void give(struct wills *w, struct view run, struct view key, const struct roaming_will *will)
{
	struct kept *k;

	if (w->given >= GIVEN_MOST)
		return;
	k = find(w, run, key, true);
	k->is_given = true;
	w->given++;
	w->host->on_will(w->host->context, run, key, will);
}

/* False: it is dropped. */
static bool read_value(struct wills *w, struct view run, struct view key, struct view value,
	struct roaming_will *out)
{
	if (will_value_parse(value, out) == 0)
		return true;
	log_error("cluster", "will-unreadable", "run=%.*s", VIEW_ARG(run));
	want(find(w, run, key, true), CHANGE_DROP);
	return false;
}

static void take_field(struct wills *w, struct view key, struct view value)
{
	struct pass *p = &w->pass;
	struct view run = view_of(p->dead->run);
	uint64_t gone = loop_now_ms(w->core->loop) - p->dead->since_ms;
	struct roaming_will will;

	p->found++;
	if (find(w, run, key, false) || !read_value(w, run, key, value, &will))
		return;
	if (will.delay_ms <= gone) {
		give(w, run, key, &will);
		p->next_ms = 0;
	} else if (will.delay_ms - gone < p->next_ms) {
		p->next_ms = will.delay_ms - gone;
	}
}

/* What does not fit now is found by the pass over its run, once that is known to be dead. */
void wills_return(
	struct wills *w, struct view run, struct view key, struct view value, bool is_clean)
{
	struct roaming_will will;

	if (run.n > RUN_MOST || find(w, run, key, false) || !read_value(w, run, key, value, &will))
		return;
	if (will.delay_ms == 0 || is_clean) /* [MQTT-3.1.2-8] */
		give(w, run, key, &will);
	else
		wills_done(w, run, key, &will.id); /* [MQTT-3.1.3-9] */
}

/* [cursor, [key, value, ...]] */
static void on_scan(struct redis_request *q, const struct resp *reply)
{
	struct wills *w = container_of(q, struct wills, pass.q);
	const struct resp *cursor = resp_item(reply, 0, RESP_STRING);
	const struct resp *fields = resp_item(reply, 1, RESP_ARRAY);

	w->pass.is_good = cursor && fields;
	if (!w->pass.is_good)
		return;
	buf_clear(&w->pass.cursor);
	buf_append(&w->pass.cursor, cursor->text.p, cursor->text.n);
	for (uint32_t i = 0; i + 1 < fields->count; i += 2) {
		const struct resp *key = resp_item(fields, i, RESP_STRING);
		const struct resp *value = resp_item(fields, i + 1, RESP_STRING);

		if (key && value)
			take_field(w, key->text, value->text);
	}
}

static bool scan(struct wills *w)
{
	struct pass *p = &w->pass;
	struct buf *b = &p->q.command;
	struct buf key = {0};
	uint16_t slot = put_run_key(&key, view_of(p->dead->run));

	buf_clear(b);
	resp_begin(b, 5);
	resp_bytes(b, VIEW("HSCAN"));
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, buf_view(&p->cursor));
	resp_bytes(b, VIEW("COUNT"));
	resp_number(b, SCAN_COUNT);
	buf_fini(&key);
	return redis_submit(w->core->redis, slot, &p->q) == 0;
}

/* The last of its wills is gone. */
static void leave(struct wills *w, const struct dead *d)
{
	struct buf *b = &w->leave.command;

	if (w->is_leaving)
		return;
	log_info("cluster", "wills-done", "run=%s", d->run);
	buf_clear(b);
	resp_begin(b, 3);
	resp_bytes(b, VIEW("SREM"));
	resp_bytes(b, VIEW(RUNS_KEY));
	resp_bytes(b, view_of(d->run));
	w->is_leaving = redis_submit(w->core->redis, slot_of(VIEW(RUNS_KEY)), &w->leave) == 0;
}

static void on_left(struct redis_request *q, int err)
{
	(void)err;
	container_of(q, struct wills, leave)->is_leaving = false;
}

static void end_pass(struct wills *w, bool is_whole)
{
	struct pass *p = &w->pass;
	struct dead *d = p->dead;

	p->dead = NULL;
	if (is_whole && p->found == 0)
		leave(w, d);
	d->pass_ms = loop_now_ms(w->core->loop) + (is_whole ? p->next_ms : 0);
}

static void on_scanned(struct redis_request *q, int err)
{
	struct wills *w = container_of(q, struct wills, pass.q);
	struct pass *p = &w->pass;

	if (err == ERR_SHUTDOWN)
		return;
	if (err || !p->is_good)
		end_pass(w, false);
	else if (view_equal(buf_view(&p->cursor), VIEW("0")))
		end_pass(w, true);
	else if (!scan(w))
		end_pass(w, false);
}

/* --- who is dead ------------------------------------------------------------------------ */

/* A run that had just come when the set was read is among the nodes by now. */
static bool is_mine(const struct wills *w, const struct dead *d)
{
	const struct nodes *nodes = members_nodes(w->members);
	const struct node *first = holder_first(nodes, d->run);

	return nodes->taken_ms > d->since_ms && first &&
	       strcmp(first->name, w->core->settings->node) == 0;
}

static void next_pass(struct wills *w)
{
	struct pass *p = &w->pass;
	uint64_t now = loop_now_ms(w->core->loop);

	for (struct list *at = w->dead.next; at != &w->dead && p->dead == NULL; at = at->next) {
		struct dead *d = container_of(at, struct dead, link);

		if (d->pass_ms > now || !is_mine(w, d))
			continue;
		p->dead = d;
		p->found = 0;
		p->next_ms = PASS_MOST_MS;
		buf_clear(&p->cursor);
		buf_text(&p->cursor, "0");
		list_remove(&d->link); /* the others' turn comes first then */
		list_append(&w->dead, &d->link);
		if (!scan(w))
			end_pass(w, false);
		return;
	}
}

static struct dead *find_dead(struct wills *w, struct view run)
{
	for (struct list *at = w->dead.next; at != &w->dead; at = at->next) {
		struct dead *d = container_of(at, struct dead, link);

		if (view_equal(view_of(d->run), run))
			return d;
	}
	return NULL;
}

static void note_run(struct wills *w, struct view run)
{
	struct dead *d = find_dead(w, run);

	if (members_has_run(w->members, run) || view_equal(run, view_of(w->run)) ||
		run.n > RUN_MOST)
		return;
	if (d == NULL) {
		d = mem_new(sizeof(*d));
		d->run = mem_text_of(run);
		d->since_ms = loop_now_ms(w->core->loop);
		list_append(&w->dead, &d->link);
	}
	d->is_listed = true;
}

static void dead_free(struct dead *d)
{
	list_remove(&d->link);
	free(d->run);
	free(d);
}

static void on_listed(struct redis_request *q, const struct resp *reply)
{
	struct wills *w = container_of(q, struct wills, list);
	struct list *at = w->dead.next;

	if (reply->type != RESP_ARRAY || members_is_cut_off(w->members))
		return;
	for (uint32_t i = 0; i < reply->count; i++) {
		const struct resp *run = resp_item(reply, i, RESP_STRING);

		if (run)
			note_run(w, run->text);
	}
	while (at != &w->dead) {
		struct dead *d = container_of(at, struct dead, link);

		at = at->next;
		if (!d->is_listed && d != w->pass.dead)
			dead_free(d);
		else
			d->is_listed = false;
	}
	next_pass(w);
}

static void on_list_done(struct redis_request *q, int err)
{
	struct wills *w = container_of(q, struct wills, list);

	if (err != ERR_SHUTDOWN)
		timer_start(w->core->loop, &w->look, LOOK_MS);
}

static void look_at(struct wills *w, struct redis_request *q)
{
	if (redis_submit(w->core->redis, slot_of(VIEW(RUNS_KEY)), q) != 0)
		timer_start(w->core->loop, &w->look, LOOK_MS);
}

static void on_joined(struct redis_request *q, int err)
{
	struct wills *w = container_of(q, struct wills, join);

	if (err != ERR_SHUTDOWN)
		look_at(w, &w->list);
}

/* Said again and again: a node that was cut off for a while has been taken out as dead. */
static void on_look(struct timer *t)
{
	struct wills *w = container_of(t, struct wills, look);

	look_at(w, &w->join);
}

/* --- life ---------------------------------------------------------------------------------- */

static void prepare(struct redis_request *q,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err))
{
	q->repeatable = true;
	q->on_reply = on_reply;
	q->on_done = on_done;
}

struct wills *wills_new(struct cluster_core *core, struct members *members, const char *run,
	const struct roaming_host *host)
{
	struct wills *w = mem_new(sizeof(*w));

	w->core = core;
	w->members = members;
	w->run = run;
	w->host = host;
	redis_script_sha(unwill_lua, w->sha);
	list_init(&w->waiting);
	list_init(&w->dead);
	w->again.on_time = on_again;
	w->look.on_time = on_look;
	prepare(&w->join, NULL, on_joined);
	prepare(&w->list, on_listed, on_list_done);
	prepare(&w->leave, NULL, on_left);
	prepare(&w->pass.q, on_scan, on_scanned);
	resp_begin(&w->join.command, 3);
	resp_bytes(&w->join.command, VIEW("SADD"));
	resp_bytes(&w->join.command, VIEW(RUNS_KEY));
	resp_bytes(&w->join.command, view_of(run));
	resp_words(&w->list.command, "SMEMBERS " RUNS_KEY);
	return w;
}

void wills_begin(struct wills *w)
{
	w->has_begun = true;
	pump(w);
	on_look(&w->look);
}

void wills_free(struct wills *w)
{
	struct kept *k;
	size_t at = 0;

	if (w == NULL)
		return;
	while ((k = map_next(&w->by_name, &at)) != NULL) {
		kept_free(k);
		at = 0;
	}
	map_fini(&w->by_name);
	while (!list_is_empty(&w->dead))
		dead_free(container_of(w->dead.next, struct dead, link));
	buf_fini(&w->join.command);
	buf_fini(&w->list.command);
	buf_fini(&w->leave.command);
	buf_fini(&w->pass.q.command);
	buf_fini(&w->pass.cursor);
	free(w);
}
