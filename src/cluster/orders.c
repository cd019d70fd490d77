#include "cluster/orders.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/order_script.h" /* made of order.lua by tools/embed.awk */
#include "cluster/orders_read_script.h"

#define KEY "{isobar}:orders"
#define EVERY_MS 500u
#define LIMIT_MS 2000u
#define PASSING_MOST 64u /* orders that do not last */

const char *const orders_scripts[ORDERS_SCRIPTS] = {order_lua, orders_read_lua};

struct waiting {
	struct list link;
	char *about;
	struct buf text;
};

struct orders {
	struct cluster_core *core;
	char tell_sha[REDIS_SHA_BYTES];
	char read_sha[REDIS_SHA_BYTES];
	char *file; /* has the number up to which all is done */
	uint64_t known;
	bool has_looked;
	struct timer timer;
	struct redis_request read;
	struct redis_request tell;
	bool telling;
	struct task task;
	pthread_mutex_t lock; /* of these */
	struct list queue;
	uint32_t queued;
};

/* --- reading ---------------------------------------------------------------- */

/* 1 to 18 digits. */
static bool parse_number(struct view text, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(text.p[i] - '0');
	}
	return text.n > 0 && text.n <= 18;
}

bool order_entry_parse(struct view value, struct order_entry *out)
{
	if (!parse_number(view_cut(&value, ' '), &out->number))
		return false;
	out->run = view_cut(&value, ' ');
	out->text = value;
	return out->run.n > 0 && value.p && value.n > 0 && value.n <= ORDER_LARGEST;
}

static void load_known(struct orders *o)
{
	FILE *f = fopen(o->file, "r");
	char text[32] = "";

	if (f == NULL)
		return;
	if (fgets(text, sizeof(text), f) == NULL ||
		!parse_number((struct view){text, strcspn(text, "\n")}, &o->known))
		o->known = 0;
	fclose(f);
}

static void keep_known(struct orders *o, uint64_t number)
{
	struct buf text = {0};

	o->known = number;
	buf_printf(&text, "%" PRIu64 "\n", number);
	if (file_make_folder(o->core->settings->dir) < 0 ||
		file_replace(o->file, buf_view(&text), 0640) < 0)
		log_warn("cluster", "orders_not_kept", "file=%s", o->file);
	buf_fini(&text);
}

/* The order with the smallest number above `after`; false: none. Orders are few. */
static bool next_order(
	struct orders *o, const struct resp *all, uint64_t after, struct order_entry *out)
{
	bool found = false;

	for (uint32_t i = 0; i + 1 < all->count; i += 2) {
		const struct resp *field = resp_item(all, i, RESP_STRING);
		const struct resp *value = resp_item(all, i + 1, RESP_STRING);
		struct order_entry e;

		if (field == NULL || value == NULL || field->text.n == 0 ||
			!order_entry_parse(value->text, &e) || e.number <= after)
			continue;
		if (!o->has_looked && field->text.p[0] == '~')
			continue; /* of before this run */
		if (!found || e.number < out->number)
			*out = e;
		found = true;
	}
	return found;
}

static uint64_t number_of(const struct resp *all)
{
	uint64_t number = 0;

	for (uint32_t i = 0; i + 1 < all->count; i += 2) {
		const struct resp *field = resp_item(all, i, RESP_STRING);
		const struct resp *value = resp_item(all, i + 1, RESP_STRING);

		if (field && value && field->text.n == 0 && !parse_number(value->text, &number))
			return 0;
	}
	return number;
}

static void on_read(struct redis_request *q, const struct resp *all)
{
	struct orders *o = container_of(q, struct orders, read);
	const struct cluster_settings *s = o->core->settings;
	struct order_entry e;
	uint64_t number, done;

	if (all->type == RESP_NIL)
		o->has_looked = true;
	if (all->type != RESP_ARRAY)
		return;
	number = number_of(all);
	done = number < o->known ? 0 : o->known; /* Redis was emptied: numbers begin anew */
	while (next_order(o, all, done, &e)) {
		done = e.number;
		if (!view_equal(e.run, view_of(o->core->name)) && s->on_order)
			s->on_order(s->context, e.text);
	}
	o->has_looked = true;
	keep_known(o, number);
}

static void ask(struct orders *o)
{
	struct buf *b = &o->read.command;

	buf_clear(b);
	resp_begin(b, 5);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(o->read_sha));
	resp_number(b, 1);
	resp_bytes(b, VIEW(KEY));
	resp_number(b, o->known);
	if (redis_submit(o->core->redis, slot_of(VIEW(KEY)), &o->read) != 0)
		timer_start(o->core->loop, &o->timer, EVERY_MS);
}

static void on_read_done(struct redis_request *q, int err)
{
	struct orders *o = container_of(q, struct orders, read);

	if (err != ERR_SHUTDOWN)
		timer_start(o->core->loop, &o->timer, EVERY_MS);
}

/* --- telling ------------------------------------------------------------------ */

static struct waiting *first_waiting(struct orders *o)
{
	struct waiting *w = NULL;

	pthread_mutex_lock(&o->lock);
	if (!list_is_empty(&o->queue))
		w = container_of(o->queue.next, struct waiting, link);
	pthread_mutex_unlock(&o->lock);
	return w;
}

static void waiting_free(struct waiting *w)
{
	list_remove(&w->link);
	buf_fini(&w->text);
	free(w->about);
	free(w);
}

static void tell_next(struct orders *o)
{
	struct waiting *w = first_waiting(o);
	struct buf *b = &o->tell.command;

	if (w == NULL || o->telling)
		return;
	buf_clear(b);
	resp_begin(b, 9);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(o->tell_sha));
	resp_number(b, 1);
	resp_bytes(b, VIEW(KEY));
	resp_bytes(b, view_of(w->about));
	resp_bytes(b, view_of(o->core->name));
	resp_bytes(b, buf_view(&w->text));
	resp_number(b, PASSING_MOST);
	resp_number(b, ORDERS_FIELDS_MOST);
	o->telling = redis_submit(o->core->redis, slot_of(VIEW(KEY)), &o->tell) == 0;
}

static void on_told(struct redis_request *q, const struct resp *reply)
{
	struct orders *o = container_of(q, struct orders, tell);
	struct waiting *w = first_waiting(o);

	if (reply->type != RESP_INTEGER || w == NULL)
		return;
	if (reply->integer == 0)
		log_error("cluster", "order_not_told", "about=%s why=\"Redis has %u orders\"",
			w->about, ORDERS_FIELDS_MOST);
	pthread_mutex_lock(&o->lock);
	waiting_free(w);
	o->queued--;
	pthread_mutex_unlock(&o->lock);
}

/* What failed is told again when the timer looks. */
static void on_told_done(struct redis_request *q, int err)
{
	struct orders *o = container_of(q, struct orders, tell);

	o->telling = false;
	if (err == 0)
		tell_next(o);
}

static void on_time(struct timer *t)
{
	struct orders *o = container_of(t, struct orders, timer);

	tell_next(o);
	ask(o);
}

static void on_task(struct task *t)
{
	struct orders *o = container_of(t, struct orders, task);

	if (o->has_looked)
		tell_next(o);
}

int orders_tell(struct orders *o, const char *about, struct view text)
{
	struct waiting *w;

	if (text.n > ORDER_LARGEST)
		return ERR_TOO_LARGE;
	pthread_mutex_lock(&o->lock);
	if (o->queued == ORDERS_WAITING_MOST) {
		pthread_mutex_unlock(&o->lock);
		return ERR_FULL;
	}
	w = mem_new(sizeof(*w));
	w->about = mem_text(about);
	buf_append(&w->text, text.p, text.n);
	list_append(&o->queue, &w->link);
	o->queued++;
	pthread_mutex_unlock(&o->lock);
	loop_post(o->core->loop, &o->task);
	return 0;
}

/* --- life --------------------------------------------------------------------- */

struct orders *orders_new(struct cluster_core *core)
{
	struct orders *o = mem_new(sizeof(*o));

	o->core = core;
	o->file = mem_printf("%s/orders", core->settings->dir);
	o->timer.on_time = on_time;
	o->task.run = on_task;
	o->read = (struct redis_request){.repeatable = true,
		.limit_ms = LIMIT_MS,
		.on_reply = on_read,
		.on_done = on_read_done};
	o->tell = (struct redis_request){.repeatable = true,
		.limit_ms = LIMIT_MS,
		.on_reply = on_told,
		.on_done = on_told_done};
	list_init(&o->queue);
	pthread_mutex_init(&o->lock, NULL);
	redis_script_sha(order_lua, o->tell_sha);
	redis_script_sha(orders_read_lua, o->read_sha);
	load_known(o);
	return o;
}

void orders_begin(struct orders *o)
{
	ask(o);
}

void orders_free(struct orders *o)
{
	if (o == NULL)
		return;
	while (!list_is_empty(&o->queue))
		waiting_free(container_of(o->queue.next, struct waiting, link));
	buf_fini(&o->read.command);
	buf_fini(&o->tell.command);
	pthread_mutex_destroy(&o->lock);
	free(o->file);
	free(o);
}
