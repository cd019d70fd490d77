/* cluster/sessions.c - takes, letters, and what other threads ask
 *
 *     other threads --order--> inbox --> taking: take.lua, letter, mark --> on_taken()
 *                                        rows and marks: rows.h
 */
#include "cluster/sessions.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/wills.h"
#include "cluster/take_script.h" /* made of take.lua by tools/embed.awk */

/* What another thread asks: one of these. */
struct order {
	struct list link;
	struct row_order *row;
	struct roaming_take *take;
	struct will_order *will;
	struct buf mark;
};

struct will_order {
	struct roaming_will will; /* its bytes: in `bytes` */
	struct buf run;
	struct buf key;
	struct buf bytes;
	bool is_done;
};

/* One take from the script to the answer; and on, when that comes late. */
struct taking {
	struct redis_request q;
	struct list link; /* in sessions->takings while it waits for a letter */
	struct sessions *sessions;
	struct roaming_take *take; /* NULL: answered */
	struct timer patience;
	bool is_busy; /* q is under way */
	uint32_t owner;
	struct buf key;
	bool is_left;   /* it was left to another address */
	struct buf run; /* who had it */
	struct buf by;  /* who wrote the row */
};

/* Asked for by another node, not answered by the broker yet. */
struct giving {
	struct list link;
	struct buf key;
	struct buf to;
	uint32_t owner; /* the new one */
};

struct sessions {
	struct cluster_core *core;
	struct members *members;
	struct mail *mail;
	struct roaming_host host;
	char take_sha[REDIS_SHA_BYTES];
	char *run; /* this one's */
	bool has_begun;
	struct list takings;
	struct list givings;
	struct rows *rows;
	struct wills *wills;
	pthread_mutex_t lock; /* of the inbox */
	struct list inbox;
	struct task task;
};

void sessions_scripts(const char *out[SESSIONS_SCRIPTS])
{
	out[0] = take_lua;
	out[1] = rows_script();
	out[2] = wills_script();
}

/* --- taking ------------------------------------------------------------------- */

static void taking_free(struct taking *g)
{
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
	timer_stop(g->sessions->core->loop, &g->patience);
	g->take = NULL;
	take->is_known = is_known;
	take->on_taken(take);
	if (!g->is_busy)
		taking_free(g);
}

static void set_text(struct buf *b, const struct resp *text)
{
	buf_clear(b);
	if (text)
		buf_append(b, text->text.p, text->text.n);
}

/* The next request of a taking, with its command made. */
static void submit(struct taking *g, uint16_t slot,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err))
{
	g->q.limit_ms = SESSIONS_TAKE_MS;
	g->q.on_reply = on_reply;
	g->q.on_done = on_done;
	g->is_busy = redis_submit(g->sessions->core->redis, slot, &g->q) == 0;
	if (!g->is_busy)
		answer(g, g->owner != 0);
}

static void on_mark_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);

	if (reply->type == RESP_STRING && g->take)
		set_text(&g->take->mark, reply);
}

/* True: the answer has been given without it. */
static bool is_late(struct taking *g)
{
	g->is_busy = false;
	if (g->take)
		return false;
	taking_free(g);
	return true;
}

static void on_mark_read(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);

	(void)err;
	if (!is_late(g))
		answer(g, true);
}

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
	buf_clear(&g->q.command);
	resp_begin(&g->q.command, 2);
	resp_bytes(&g->q.command, VIEW("GET"));
	resp_bytes(&g->q.command, buf_view(&key));
	buf_fini(&key);
	submit(g, slot, on_mark_reply, on_mark_read);
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
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->take->key));

	list_remove(&g->link);
	timer_stop(g->sessions->core->loop, &g->patience);
	buf_clear(&g->q.command);
	resp_begin(&g->q.command, 4);
	resp_bytes(&g->q.command, VIEW("HMGET"));
	resp_bytes(&g->q.command, buf_view(&key));
	resp_bytes(&g->q.command, VIEW("row"));
	resp_bytes(&g->q.command, VIEW("by"));
	buf_fini(&key);
	submit(g, slot, on_row_reply, on_row_read);
}

/* The letter does not come, or Redis does not answer. */
static void on_patience(struct timer *t)
{
	struct taking *g = container_of(t, struct taking, patience);

	if (g->is_busy)
		answer(g, g->owner != 0);
	else
		read_row(g);
}

static void on_take_reply(struct redis_request *q, const struct resp *reply)
{
	struct taking *g = container_of(q, struct taking, q);
	const struct resp *owner = resp_item(reply, 0, RESP_INTEGER);

	if (owner == NULL)
		return;
	g->owner = (uint32_t)owner->integer;
	g->is_left = g->owner == 0;
	set_text(&g->run, resp_item(reply, 1, RESP_STRING));
	if (g->take == NULL)
		return;
	g->take->owner = g->owner;
	set_text(&g->take->row, resp_item(reply, 2, RESP_STRING));
	set_text(&g->by, resp_item(reply, 3, RESP_STRING));
	g->take->before = buf_length(&g->run) && !g->is_left ? g->owner - 1 : 0;
}

static void send_take(struct taking *g, bool is_scoped);

/* It exists while it has a row, or its node lives: of a client that was to last no longer than its
 * connection nothing else is known, and what its dead node left in Redis keeps nobody away. */
static void leave_it(struct taking *g)
{
	const struct sessions *s = g->sessions;
	struct view run = buf_view(&g->run);

	if (buf_length(&g->take->row) || view_equal(run, view_of(s->run)) ||
		members_has_run(s->members, run)) {
		g->take->is_refused = true;
		answer(g, true);
		return;
	}
	send_take(g, false);
}

static void on_take_done(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);
	struct sessions *s = g->sessions;
	struct view run = buf_view(&g->run);
	struct view node = run;

	if (run.n && !g->is_left)
		wills_cancel(s->wills, run, buf_view(&g->key));
	if (g->take == NULL && g->owner && s->host.on_late)
		s->host.on_late(s->host.context, buf_view(&g->key), g->owner);
	if (is_late(g))
		return;
	if (!err && g->is_left) {
		leave_it(g);
		return;
	}
	if (err || g->owner == 0) {
		answer(g, false);
		return;
	}
	if (run.n && !view_equal(run, view_of(s->run)) && members_has_run(s->members, run)) {
		mail_send(s->mail, view_cut(&node, '/'),
			&(struct letter){
				VIEW("taken"), buf_view(&g->take->key), g->take->owner, {NULL, 0}});
		list_append(&s->takings, &g->link);
		timer_start(s->core->loop, &g->patience, SESSIONS_PATIENCE_MS);
		return;
	}
	read_mark(g);
}

static void send_take(struct taking *g, bool is_scoped)
{
	const struct sessions *s = g->sessions;
	struct buf *b = &g->q.command;
	struct buf key = {0};
	uint16_t slot = rows_key(&key, SESSION_KEY, buf_view(&g->take->key));
	char address[20];

	snprintf(address, sizeof(address), "%016" PRIx64, g->take->address);
	buf_clear(b);
	resp_begin(b, 7);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(s->take_sha));
	resp_number(b, 1);
	resp_bytes(b, buf_view(&key));
	resp_bytes(b, view_of(s->run));
	resp_bytes(b, view_of(address));
	resp_bytes(b, is_scoped ? VIEW("1") : VIEW("0"));
	buf_fini(&key);
	/* Once more would be another number: what is not answered is not known. */
	g->q.repeatable = false;
	submit(g, slot, on_take_reply, on_take_done);
}

static void begin_taking(struct sessions *s, struct roaming_take *take)
{
	struct taking *g = mem_new(sizeof(*g));

	g->sessions = s;
	g->take = take;
	g->patience.on_time = on_patience;
	buf_append(&g->key, buf_bytes(&take->key), buf_length(&take->key));
	list_init(&g->link);
	if (!s->has_begun) {
		answer(g, false);
		return;
	}
	timer_start(s->core->loop, &g->patience, SESSIONS_TAKE_MS);
	send_take(g, take->is_scoped);
}

/* --- letters ---------------------------------------------------------------------- */

static void on_given(void *context, const struct letter *letter)
{
	struct sessions *s = context;

	for (struct list *at = s->takings.next; at != &s->takings; at = at->next) {
		struct taking *g = container_of(at, struct taking, link);

		if (g->owner == letter->number &&
			view_equal(buf_view(&g->take->key), letter->key)) {
			read_row(g);
			return;
		}
	}
}

static void on_taken_away(void *context, const struct letter *letter)
{
	struct sessions *s = context;
	struct giving *g;

	if (s->host.on_taken_away == NULL)
		return;
	g = mem_new(sizeof(*g));
	buf_append(&g->key, letter->key.p, letter->key.n);
	buf_append(&g->to, letter->from.p, letter->from.n);
	g->owner = (uint32_t)letter->number;
	list_init(&g->link);
	list_append(&s->givings, &g->link);
	s->host.on_taken_away(s->host.context, letter->key, g->owner);
}

/* What is to be given is in Redis, or there was nothing. */
static void tell_given(void *context, struct view key, uint32_t owner)
{
	struct sessions *s = context;

	for (struct list *at = s->givings.next; at != &s->givings; at = at->next) {
		struct giving *g = container_of(at, struct giving, link);

		if (g->owner != owner + 1 || !view_equal(buf_view(&g->key), key))
			continue;
		mail_send(s->mail, buf_view(&g->to),
			&(struct letter){VIEW("given"), key, g->owner, {NULL, 0}});
		list_remove(&g->link);
		buf_fini(&g->key);
		buf_fini(&g->to);
		free(g);
		return;
	}
}

/* --- orders of other threads ----------------------------------------------------------------- */

static void obey_will(struct sessions *s, struct will_order *o)
{
	o->will.bytes = buf_view(&o->bytes);
	if (o->is_done)
		wills_done(s->wills, buf_view(&o->run), buf_view(&o->key), &o->will.id);
	else
		wills_put(s->wills, buf_view(&o->key), &o->will);
}

static void will_order_free(struct will_order *o)
{
	if (o == NULL)
		return;
	buf_fini(&o->run);
	buf_fini(&o->key);
	buf_fini(&o->bytes);
	free(o);
}

static void order_free(struct order *o)
{
	row_order_free(o->row);
	will_order_free(o->will);
	buf_fini(&o->mark);
	free(o);
}

static void obey(struct sessions *s, struct order *o)
{
	if (o->take)
		begin_taking(s, o->take);
	else if (o->will)
		obey_will(s, o->will);
	else if (o->row == NULL)
		rows_mark(s->rows, buf_view(&o->mark));
	else if (o->row->kind == ROW_GIVE && buf_length(&o->row->row) == 0)
		tell_given(s, buf_view(&o->row->key), o->row->owner);
	else {
		rows_put(s->rows, o->row);
		o->row = NULL;
	}
	order_free(o);
}

static void on_inbox(struct task *t)
{
	struct sessions *s = container_of(t, struct sessions, task);
	struct list orders;

	list_init(&orders);
	pthread_mutex_lock(&s->lock);
	list_splice(&orders, &s->inbox);
	pthread_mutex_unlock(&s->lock);
	while (!list_is_empty(&orders)) {
		struct order *o = container_of(orders.next, struct order, link);

		list_remove(&o->link);
		obey(s, o);
	}
}

/* Takes what it points to. */
static void hand_over(struct sessions *s, const struct order *what)
{
	struct order *o = mem_new(sizeof(*o));
	bool was_empty;

	*o = *what;
	list_init(&o->link);
	pthread_mutex_lock(&s->lock);
	was_empty = list_is_empty(&s->inbox);
	list_append(&s->inbox, &o->link);
	pthread_mutex_unlock(&s->lock);
	if (was_empty)
		loop_post(s->core->loop, &s->task);
}

static void send_row(struct sessions *s, struct row_order what, struct view key, struct view row)
{
	struct row_order *copy = mem_new(sizeof(*copy));

	*copy = what;
	buf_append(&copy->key, key.p, key.n);
	buf_append(&copy->row, row.p, row.n);
	hand_over(s, &(struct order){.row = copy});
}

static void take(void *context, struct roaming_take *t)
{
	hand_over(context, &(struct order){.take = t});
}

static void put(void *context, struct view key, uint32_t owner, struct view row, uint64_t ttl_ms)
{
	send_row(context, (struct row_order){.kind = ROW_PUT, .owner = owner, .ttl_ms = ttl_ms},
		key, row);
}

static void give(void *context, struct view key, uint32_t owner, struct view row)
{
	send_row(context, (struct row_order){.kind = ROW_GIVE, .owner = owner}, key, row);
}

static void drop(void *context, struct view key, uint32_t owner)
{
	send_row(context, (struct row_order){.kind = ROW_DROP, .owner = owner}, key,
		(struct view){NULL, 0});
}

static void mark(void *context, struct view text)
{
	struct order o = {0};

	buf_append(&o.mark, text.p, text.n);
	hand_over(context, &o);
}

static void will(void *context, struct view key, const struct roaming_will *what)
{
	struct will_order *o = mem_new(sizeof(*o));

	o->will = *what;
	buf_append(&o->key, key.p, key.n);
	buf_append(&o->bytes, what->bytes.p, what->bytes.n);
	hand_over(context, &(struct order){.will = o});
}

static void will_done(void *context, struct view run, struct view key, const struct uuid *id)
{
	struct will_order *o = mem_new(sizeof(*o));

	o->is_done = true;
	o->will.id = *id;
	buf_append(&o->run, run.p, run.n);
	buf_append(&o->key, key.p, key.n);
	hand_over(context, &(struct order){.will = o});
}

struct roaming sessions_roaming(struct sessions *s)
{
	return (struct roaming){take, put, give, drop, mark, will, will_done, s};
}

/* --- life ---------------------------------------------------------------------------------------- */

struct sessions *sessions_new(struct cluster_core *core, struct members *members, struct mail *mail)
{
	struct sessions *s = mem_new(sizeof(*s));
	struct buf run = {0};

	s->core = core;
	s->members = members;
	s->mail = mail;
	mail_listen(mail, "given", on_given, s);
	mail_listen(mail, "taken", on_taken_away, s);
	node_run(&run, core->settings->node, core->start);
	s->run = mem_text_of(buf_view(&run));
	buf_fini(&run);
	redis_script_sha(take_lua, s->take_sha);
	s->rows = rows_new(core, s->run, tell_given, s);
	s->wills = wills_new(core, members, s->run, &s->host);
	s->task.run = on_inbox;
	list_init(&s->takings);
	list_init(&s->givings);
	list_init(&s->inbox);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

void sessions_set_host(struct sessions *s, const struct roaming_host *host)
{
	s->host = *host;
}

void sessions_begin(struct sessions *s)
{
	s->has_begun = true;
	wills_begin(s->wills);
}

void sessions_free(struct sessions *s)
{
	if (s == NULL)
		return;
	rows_free(s->rows);
	wills_free(s->wills);
	while (!list_is_empty(&s->givings)) {
		struct giving *g = container_of(s->givings.next, struct giving, link);

		list_remove(&g->link);
		buf_fini(&g->key);
		buf_fini(&g->to);
		free(g);
	}
	while (!list_is_empty(&s->inbox)) {
		struct order *o = container_of(s->inbox.next, struct order, link);

		list_remove(&o->link);
		order_free(o);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->run);
	free(s);
}
