/* cluster/legacy.c - questions to the other filter, and what becomes of their answers
 *
 *     asks[ASKS_MOST], a ring:  head: next to go on ... answered or not ... tail: next to be asked
 *
 * **Invariant:** entries leave in the order in which they came, so that a shard's queue has the order
 * that it has without this step, and a message meets what became of the one before it.
 */
#include "cluster/legacy.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/wis2gb.h"

#define ASKS_MOST 4096u  /* far below requests_most of the client; a power of two */
#define GONE_MOST 16384u /* messages of others that are remembered, so that nobody waits for them */
#define PAUSE_MS 100u

struct ask {
	struct redis_request request;
	struct legacy *legacy;
	struct entry *entry; /* NULL: nobody waits for the answer any more */
	uint64_t since_ms;
	uint16_t slot;
	bool is_under_way; /* with the client, or to be */
	bool is_again;     /* to be, after a pause */
	enum wis2gb_answer answer;
};

/* A message that others published, and the one before it. */
struct gone {
	struct uuid id;
	struct uuid previous;
	bool has_id;
	bool has_previous;
};

struct legacy {
	struct writer *writer;
	bool has_begun;
	struct entry *first; /* not asked for yet */
	struct entry *last;
	uint32_t head;
	uint32_t tail;
	struct ask *asks;
	struct gone *gone;
	struct deferred turn;
	struct timer again;
};

static struct ask *ask_at(const struct legacy *l, uint32_t i)
{
	return &l->asks[i % ASKS_MOST];
}

/* --- asking ------------------------------------------------------------------- */

static void ask_later(struct ask *a)
{
	struct legacy *l = a->legacy;

	a->is_again = true;
	if (l->again.place == 0)
		timer_start(l->writer->core->loop, &l->again, PAUSE_MS);
}

static void submit(struct ask *a)
{
	const struct cluster_core *core = a->legacy->writer->core;

	a->answer = WIS2GB_UNKNOWN;
	a->request.acknowledge = census_needed_at(core->census, a->slot);
	if (redis_submit(core->redis, a->slot, &a->request) != 0)
		ask_later(a);
}

static void on_again(struct timer *t)
{
	struct legacy *l = container_of(t, struct legacy, again);

	for (uint32_t i = l->head; i != l->tail; i++) {
		struct ask *a = ask_at(l, i);

		if (!a->is_again)
			continue;
		a->is_again = false;
		submit(a);
	}
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct ask *a = container_of(q, struct ask, request);

	a->answer = wis2gb_answer_of(reply);
	if (a->answer == WIS2GB_UNKNOWN)
		writer_log_reply(a->legacy->writer, a->entry, reply);
}

static void on_done(struct redis_request *q, int err)
{
	struct ask *a = container_of(q, struct ask, request);
	struct writer *w = a->legacy->writer;

	if (err == ERR_SHUTDOWN)
		return;
	if (err || a->answer == WIS2GB_UNKNOWN) {
		ask_later(a);
	} else if (q->replicas < census_needed_at(w->core->census, a->slot)) {
		census_hurry(w->core->census); /* WAIT has taken its time */
		submit(a);
	} else {
		a->is_under_way = false;
		loop_defer(w->core->loop, &a->legacy->turn);
	}
}

/* What has no key with them is ours. */
static void ask(struct legacy *l, struct entry *e)
{
	struct ask *a = ask_at(l, l->tail++);
	char key[WIS2GB_KEY_BYTES];
	struct record r;

	a->entry = e;
	a->answer = WIS2GB_OURS;
	a->is_under_way = record_decode(entry_record(e), &r) == 0 && wis2gb_key(&r, key);
	if (!a->is_under_way)
		return;
	a->slot = slot_of(view_of(key));
	a->since_ms = loop_now_ms(l->writer->core->loop);
	buf_clear(&a->request.command);
	wis2gb_call(&a->request.command, view_of(key));
	submit(a);
}

/* --- going on ------------------------------------------------------------------- */

static struct gone *place_of(const struct legacy *l, const struct uuid *id)
{
	return &l->gone[claim_shard(id, GONE_MOST)];
}

/* Where the one before was not ours: the one before that. */
static void fit_previous(struct legacy *l, struct entry *e, struct record *r)
{
	const struct gone *g = place_of(l, &r->previous);
	uint32_t shorter;

	if (!r->has_previous || !g->has_id || memcmp(&g->id, &r->previous, sizeof(g->id)) != 0)
		return;
	shorter = record_set_previous(entry_bytes(e), g->has_previous ? &g->previous : NULL);
	e->at += shorter;
	e->bytes -= shorter;
	r->has_previous = g->has_previous;
	r->previous = g->previous;
}

static void go_on(struct legacy *l, struct entry *e, enum wis2gb_answer answer)
{
	struct writer *w = l->writer;
	struct record r = {0};

	if (record_decode(entry_record(e), &r) == 0)
		fit_previous(l, e, &r);
	if (answer == WIS2GB_OURS) {
		writer_queue(w, e);
		return;
	}
	*place_of(l, &e->id) = (struct gone){e->id, r.previous, true, r.has_previous};
	count_add(&w->figures.foreign, 1);
	e->first = false;
	writer_settle(w, e);
}

/* What stands at the front and is answered; false: nothing. */
static bool release(struct legacy *l)
{
	uint32_t before = l->head;

	while (l->head != l->tail && !ask_at(l, l->head)->is_under_way) {
		struct ask *a = ask_at(l, l->head++);

		if (a->entry)
			go_on(l, a->entry, a->answer);
	}
	return l->head != before;
}

/* At the end of a turn of the loop: few calls of the script and large ones. */
static void on_turn(struct deferred *d)
{
	struct legacy *l = container_of(d, struct legacy, turn);

	if (!l->has_begun)
		return;
	do {
		while (l->first && l->tail - l->head < ASKS_MOST) {
			struct entry *e = l->first;

			l->first = e->next;
			ask(l, e);
		}
	} while (release(l));
	writer_pump(l->writer);
}

/* --- what comes in, and what waits ------------------------------------------------- */

void legacy_take(struct legacy *l, struct entry *e)
{
	e->next = NULL;
	if (l->first)
		l->last->next = e;
	else
		l->first = e;
	l->last = e;
	loop_defer(l->writer->core->loop, &l->turn);
}

void legacy_each(struct legacy *l, bool (*on_entry)(void *context, struct entry *e), void *context)
{
	struct entry *e = l->first, **at = &l->first;

	for (uint32_t i = l->head; i != l->tail; i++) {
		struct ask *a = ask_at(l, i);

		if (a->entry && !on_entry(context, a->entry))
			a->entry = NULL;
	}
	l->last = NULL;
	while (e) {
		struct entry *next = e->next;

		if (on_entry(context, e)) {
			*at = l->last = e;
			at = &e->next;
		}
		e = next;
	}
	*at = NULL;
}

uint64_t legacy_oldest(const struct legacy *l)
{
	for (uint32_t i = l->head; i != l->tail; i++)
		if (ask_at(l, i)->is_under_way)
			return ask_at(l, i)->since_ms;
	return UINT64_MAX;
}

/* --- life ---------------------------------------------------------------------------- */

struct legacy *legacy_new(struct writer *w)
{
	struct legacy *l = mem_new(sizeof(*l));

	l->writer = w;
	l->asks = mem_new(ASKS_MOST * sizeof(*l->asks));
	l->gone = mem_new(GONE_MOST * sizeof(*l->gone));
	list_init(&l->turn.link);
	l->turn.run = on_turn;
	l->again.on_time = on_again;
	for (uint32_t i = 0; i < ASKS_MOST; i++) {
		struct redis_request *q = &l->asks[i].request;

		l->asks[i].legacy = l;
		q->repeatable = true;
		q->limit_ms = UINT32_MAX; /* never given up */
		q->on_reply = on_reply;
		q->on_done = on_done;
	}
	return l;
}

void legacy_begin(struct legacy *l)
{
	l->has_begun = true;
	loop_defer(l->writer->core->loop, &l->turn);
}

static bool drop(void *context, struct entry *e)
{
	struct legacy *l = context;

	intake_drop(l->writer->intake, e);
	return false;
}

void legacy_free(struct legacy *l)
{
	if (l == NULL)
		return;
	legacy_each(l, drop, l);
	for (uint32_t i = 0; i < ASKS_MOST; i++)
		buf_fini(&l->asks[i].request.command);
	free(l->asks);
	free(l->gone);
	free(l);
}
