/* cluster/sessions.c - orders and letters to those who obey them
 *
 *     other threads --order--> inbox --> takes.h, rows.h, wills.h
 *     other nodes --"taken"--> giving --> the broker --order--> rows.h --"given"--> them
 */
#include "cluster/sessions.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/takes.h"
#include "cluster/wills.h"

/* What another thread asks; obey() uses what it needs. */
struct order {
	struct list link;
	void (*obey)(struct sessions *s, struct order *o);
	struct buf key;
	struct buf text;
	struct buf run;
	enum row_kind kind;
	uint32_t owner;
	unsigned flags;
	uint64_t ms;
	uint64_t address;
	struct uuid id;
	struct roaming_take *take;
	struct receipt *receipt;
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
	struct mail *mail;
	struct roaming_host host;
	char *run; /* this one's */
	struct list givings;
	struct takes *takes;
	struct rows *rows;
	struct wills *wills;
	pthread_mutex_t lock; /* of the inbox */
	struct list inbox;
	struct task task;
};

void sessions_scripts(const char *out[SESSIONS_SCRIPTS])
{
	out[0] = takes_script();
	out[1] = wills_script();
	rows_scripts(&out[2]);
}

/* --- letters ---------------------------------------------------------------------- */

static void on_given(void *context, const struct letter *letter)
{
	struct sessions *s = context;

	takes_given(s->takes, letter->key, (uint32_t)letter->number);
}

static void give_away(void *context, const struct letter *letter)
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
	s->host.on_taken_away(s->host.context, letter->key, g->owner, letter->is_clean);
}

static void giving_free(struct giving *g)
{
	list_remove(&g->link);
	buf_fini(&g->key);
	buf_fini(&g->to);
	free(g);
}

static struct giving *find_giving(struct sessions *s, struct view key, uint32_t owner)
{
	for (struct list *at = s->givings.next; at != &s->givings; at = at->next) {
		struct giving *g = container_of(at, struct giving, link);

		if (g->owner == owner && view_equal(buf_view(&g->key), key))
			return g;
	}
	return NULL;
}

/* What is to be given is in Redis, or there was nothing. */
static void tell_given(void *context, struct view key, uint32_t owner)
{
	struct sessions *s = context;
	struct giving *g = find_giving(s, key, owner + 1);

	if (g == NULL)
		return;
	mail_send(s->mail, buf_view(&g->to),
		&(struct letter){.kind = VIEW("given"), .key = key, .number = g->owner});
	giving_free(g);
}

/* Its letter may have been lost, or come later. */
static void on_refused(void *context, struct view key, uint32_t owner)
{
	struct sessions *s = context;

	if (s->host.on_lost && find_giving(s, key, owner + 1) == NULL)
		s->host.on_lost(s->host.context, key, owner);
}

/* --- orders of other threads ----------------------------------------------------------------- */

static void obey_take(struct sessions *s, struct order *o)
{
	takes_take(s->takes, o->take);
}

static void obey_claim(struct sessions *s, struct order *o)
{
	takes_claim(s->takes, buf_view(&o->key), o->flags, o->address, o->ms);
}

/* Takes key and text. */
static void obey_row(struct sessions *s, struct order *o)
{
	struct row_order *row;

	if (o->owner == 0) {
		takes_unclaim(s->takes, buf_view(&o->key), o->kind == ROW_DROP);
		return;
	}
	if (o->kind == ROW_GIVE && buf_length(&o->text) == 0) {
		tell_given(s, buf_view(&o->key), o->owner);
		return;
	}
	row = mem_new(sizeof(*row));
	*row = (struct row_order){
		.kind = o->kind, .owner = o->owner, .ttl_ms = o->ms, .key = o->key, .row = o->text};
	o->key = o->text = (struct buf){0};
	rows_put(s->rows, row);
}

static void obey_touch(struct sessions *s, struct order *o)
{
	rows_touch(s->rows, buf_view(&o->key));
}

static void obey_confirm(struct sessions *s, struct order *o)
{
	rows_confirm(s->rows, o->receipt);
}

static void obey_mark(struct sessions *s, struct order *o)
{
	rows_mark(s->rows, buf_view(&o->text));
}

static void obey_will(struct sessions *s, struct order *o)
{
	wills_put(s->wills, buf_view(&o->key),
		&(struct roaming_will){o->id, o->ms, buf_view(&o->text)});
}

static void obey_will_done(struct sessions *s, struct order *o)
{
	wills_done(s->wills, buf_view(&o->run), buf_view(&o->key), &o->id);
}

static void order_free(struct order *o)
{
	buf_fini(&o->key);
	buf_fini(&o->text);
	buf_fini(&o->run);
	free(o);
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
		o->obey(s, o);
		order_free(o);
	}
}

/* Copies both texts. */
static void hand_over(
	struct sessions *s, const struct order *what, struct view key, struct view text)
{
	struct order *o = mem_new(sizeof(*o));
	bool was_empty;

	*o = *what;
	list_init(&o->link);
	buf_append(&o->key, key.p, key.n);
	buf_append(&o->text, text.p, text.n);
	pthread_mutex_lock(&s->lock);
	was_empty = list_is_empty(&s->inbox);
	list_append(&s->inbox, &o->link);
	pthread_mutex_unlock(&s->lock);
	if (was_empty)
		loop_post(s->core->loop, &s->task);
}

static const struct view no_text = {NULL, 0};

static void take(void *context, struct roaming_take *t)
{
	hand_over(context, &(struct order){.obey = obey_take, .take = t}, no_text, no_text);
}

static void claim(void *context, struct view key, unsigned flags, uint64_t address, uint64_t age_ms)
{
	hand_over(context,
		&(struct order){
			.obey = obey_claim, .flags = flags, .address = address, .ms = age_ms},
		key, no_text);
}

static void send_row(void *context, enum row_kind kind, struct view key, uint32_t owner,
	struct view row, uint64_t ttl_ms)
{
	hand_over(context,
		&(struct order){.obey = obey_row, .kind = kind, .owner = owner, .ms = ttl_ms}, key,
		row);
}

static void put(void *context, struct view key, uint32_t owner, struct view row, uint64_t ttl_ms)
{
	send_row(context, ROW_PUT, key, owner, row, ttl_ms);
}

static void give(void *context, struct view key, uint32_t owner, struct view row)
{
	send_row(context, ROW_GIVE, key, owner, row, 0);
}

static void bare(void *context, struct view key, uint32_t owner)
{
	send_row(context, ROW_BARE, key, owner, no_text, ROAMING_KEEP_MS);
}

static void touch(void *context, struct view key)
{
	hand_over(context, &(struct order){.obey = obey_touch}, key, no_text);
}

static void drop(void *context, struct view key, uint32_t owner)
{
	send_row(context, ROW_DROP, key, owner, no_text, 0);
}

static void confirm(void *context, struct receipt *r)
{
	hand_over(context, &(struct order){.obey = obey_confirm, .receipt = r}, no_text, no_text);
}

static void mark(void *context, struct view text)
{
	hand_over(context, &(struct order){.obey = obey_mark}, no_text, text);
}

static void will(void *context, struct view key, const struct roaming_will *what)
{
	hand_over(context, &(struct order){.obey = obey_will, .id = what->id, .ms = what->delay_ms},
		key, what->bytes);
}

static void will_done(void *context, struct view run, struct view key, const struct uuid *id)
{
	struct order o = {.obey = obey_will_done, .id = *id};

	buf_append(&o.run, run.p, run.n);
	hand_over(context, &o, key, no_text);
}

struct roaming sessions_roaming(struct sessions *s)
{
	return (struct roaming){
		take, claim, put, give, bare, touch, drop, confirm, mark, will, will_done, s};
}

/* --- life ---------------------------------------------------------------------------------------- */

/* A claim was done when its session had ended. */
static void on_ended(void *context, struct view key, uint32_t owner)
{
	struct sessions *s = context;
	struct row_order *row = mem_new(sizeof(*row));

	*row = (struct row_order){.kind = ROW_DROP, .owner = owner};
	buf_append(&row->key, key.p, key.n);
	rows_put(s->rows, row);
}

struct sessions *sessions_new(struct cluster_core *core, struct members *members, struct mail *mail)
{
	struct sessions *s = mem_new(sizeof(*s));
	struct buf run = {0};

	s->core = core;
	s->mail = mail;
	mail_listen(mail, "given", on_given, s);
	mail_listen(mail, "taken", give_away, s);
	node_run(&run, core->settings->node, core->start);
	s->run = mem_text_of(buf_view(&run));
	buf_fini(&run);
	s->rows = rows_new(core, s->run, tell_given, on_refused, s);
	s->wills = wills_new(core, members, s->run, &s->host);
	s->takes = takes_new(&(struct takes_config){.core = core,
		.members = members,
		.mail = s->mail,
		.wills = s->wills,
		.run = s->run,
		.host = &s->host,
		.on_ended = on_ended,
		.context = s});
	s->task.run = on_inbox;
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
	rows_begin(s->rows);
	takes_begin(s->takes);
	wills_begin(s->wills);
}

void sessions_free(struct sessions *s)
{
	if (s == NULL)
		return;
	takes_free(s->takes);
	rows_free(s->rows);
	wills_free(s->wills);
	while (!list_is_empty(&s->givings))
		giving_free(container_of(s->givings.next, struct giving, link));
	while (!list_is_empty(&s->inbox)) {
		struct order *o = container_of(s->inbox.next, struct order, link);

		list_remove(&o->link);
		order_free(o);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->run);
	free(s);
}
