/* cluster/outage.c - what the writer does while the store is out of reach, and how it comes back
 *
 * Under `hold` nothing changes but what is told: messages wait in memory, and beyond its bound with
 * their senders. Under `spool` and `local` everything that waits, calls under way included, goes to
 * the spool in the order of its submission and is answered once that is safe; the calls go on without
 * anybody who waits for them, and when the last one is answered the store is back. Then the spool is
 * read and claimed in its order, with the same tokens, while new messages go behind it, until it is
 * empty. `local` also appends each to this node's journal before it goes to the spool.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cluster/legacy.h"
#include "cluster/record.h"
#include "cluster/spool.h"
#include "cluster/writer_inside.h"

#define PUT_MOST 256u
#define PUT_BYTES (2u << 20)
#define NAMES_MOST 8u
#define SPOOL_IDS 4000000u

/* --- states -------------------------------------------------------------------- */

static const char *const state_events[] = {
	[CLUSTER_OPEN] = "store_back",
	[CLUSTER_HOLDING] = "holding",
	[CLUSTER_SPOOLING] = "spooling",
	[CLUSTER_DRAINING] = "draining",
};

static void show_spool(struct writer *w)
{
	count_set(&w->figures.spool_messages, spool_count(w->spool));
	count_set(&w->figures.spool_bytes, spool_bytes(w->spool));
}

/* Whose messages wait, some of them by name. */
static void add_publisher(struct buf *names, uint32_t *others, const struct entry *e)
{
	struct view rest = buf_view(names), name;
	struct record r;
	uint32_t n = 0;

	if (record_decode(entry_record(e), &r) < 0 || r.publisher.n == 0)
		return;
	while (rest.n) {
		name = view_cut(&rest, ',');
		n++;
		if (view_equal(name, r.publisher))
			return;
	}
	if (n >= NAMES_MOST) {
		++*others;
		return;
	}
	if (n)
		buf_text(names, ",");
	buf_append(names, r.publisher.p, r.publisher.n);
}

struct naming {
	struct buf *names;
	uint32_t *others;
};

static bool name_one(void *context, struct entry *e)
{
	struct naming *n = context;

	add_publisher(n->names, n->others, e);
	return true;
}

static void name_publishers(const struct writer *w, struct buf *names, uint32_t *others)
{
	struct naming naming = {names, others};

	if (w->legacy)
		legacy_each(w->legacy, name_one, &naming);
	for (uint32_t i = 0; i < w->core->shards; i++) {
		const struct shard *s = &w->shards[i];

		for (uint32_t j = 0; j < s->call.count; j++)
			add_publisher(names, others, s->call.entries[j]);
		for (const struct entry *e = s->first; e; e = e->next)
			add_publisher(names, others, e);
	}
}

static void enter(struct writer *w, enum cluster_state state)
{
	uint64_t now = loop_now_ms(w->core->loop);
	enum cluster_state before = writer_state(w);

	if (before == CLUSTER_OPEN) {
		w->out_since_ms = now;
		count_add(&w->figures.outages, 1);
	}
	count_set(&w->figures.state, state);
	commit_log_holds(w->core->commit, state == CLUSTER_HOLDING);
	if (state == CLUSTER_OPEN)
		log_info("cluster", state_events[state], "after_s=%.1f",
			(double)(now - w->out_since_ms) / 1000);
	else if (w->spool)
		log_warn("cluster", state_events[state], "spool_messages=%llu spool_bytes=%llu",
			(unsigned long long)spool_count(w->spool),
			(unsigned long long)spool_bytes(w->spool));
}

/* Held sources are named, so that somebody can look whether their own queues reach. */
static void begin_holding(struct writer *w)
{
	char quoted[LOG_QUOTE_BYTES];
	struct buf names = {0};
	uint32_t others = 0;

	enter(w, CLUSTER_HOLDING);
	name_publishers(w, &names, &others);
	log_warn("cluster", state_events[CLUSTER_HOLDING],
		"publishers=%s more_messages=%u: acknowledgements are withheld",
		log_quote((const char *)buf_bytes(&names), buf_length(&names), quoted), others);
	buf_fini(&names);
}

/* --- into the spool --------------------------------------------------------------- */

void outage_take(struct writer *w, struct entry *e)
{
	e->next = NULL;
	if (w->backlog)
		w->backlog_last->next = e;
	else
		w->backlog = e;
	w->backlog_last = e;
}

/* This node's subscribers get it now, or, when its journal takes nothing, with the others. It is in the
 * spool already: known here and not there, it would be a repeat for ever and reach nobody else. */
static void publish_here(struct writer *w, struct entry *const *entries, uint32_t n)
{
	struct journal_message messages[PUT_MOST];

	for (uint32_t i = 0; i < n; i++) {
		struct record r;

		if (record_decode(entry_record(entries[i]), &r) < 0)
			return; /* not ours: never */
		messages[i] = (struct journal_message){.topic = r.topic,
			.payload = r.payload,
			.properties = r.properties,
			.id = r.id,
			.expiry_s = r.expiry_s,
			.shard = (uint8_t)entries[i]->shard,
			.flags = r.flags,
			.qos = r.qos};
	}
	(void)commit_publish(w->core->commit, messages, n);
}

static void note_spooled(struct writer *w, const struct entry *e, uint64_t upto)
{
	if (w->spooled_count == w->spooled_size) {
		w->spooled_size = w->spooled_size ? w->spooled_size * 2 : 256;
		w->spooled = mem_resize(w->spooled, w->spooled_size * sizeof(*w->spooled));
	}
	w->spooled[w->spooled_count++] = (struct spooled){upto, e->parcel->port, e->ticket};
}

static void answer_safe(struct writer *w)
{
	uint64_t safe = w->spooled_count ? spool_safe(w->spool) : 0;
	uint32_t n = 0;

	while (n < w->spooled_count && w->spooled[n].upto <= safe) {
		writer_answer(w, w->spooled[n].port, w->spooled[n].ticket, COMMIT_FIRST);
		n++;
	}
	w->spooled_count -= n;
	if (n && w->spooled_count)
		memmove(w->spooled, w->spooled + n, w->spooled_count * sizeof(*w->spooled));
}

/* The front of the backlog; false: there is no room for it now. */
static bool put_some(struct writer *w)
{
	struct entry *entries[PUT_MOST];
	uint64_t upto;
	size_t bytes = 0;
	uint32_t n = 0;

	for (struct entry *e = w->backlog; e && n < PUT_MOST && bytes < PUT_BYTES; e = e->next) {
		entries[n++] = e;
		bytes += e->bytes;
	}
	if (spool_put(w->spool, entries, n, &upto) < 0)
		return false;
	if (w->core->settings->on_failure == CLUSTER_LOCAL)
		publish_here(w, entries, n);
	w->backlog = entries[n - 1]->next;
	for (uint32_t i = 0; i < n; i++) {
		note_spooled(w, entries[i], upto);
		intake_drop(w->intake, entries[i]);
	}
	count_add(&w->figures.spooled, n);
	return true;
}

void outage_spool(struct writer *w)
{
	while (w->backlog && put_some(w))
		;
	answer_safe(w);
	show_spool(w);
	loop_defer(w->core->loop, &w->flush);
}

/* The journal's keeper. */
static void on_progress(void *context)
{
	struct writer *w = context;

	if (!atomic_exchange(&w->progress_posted, true))
		loop_post(w->core->loop, &w->spool_progress);
}

static void on_spool_progress(struct task *t)
{
	struct writer *w = container_of(t, struct writer, spool_progress);

	atomic_store(&w->progress_posted, false);
	outage_spool(w);
}

static int by_number(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	return (int32_t)(x->number - y->number) < 0 ? -1 : 1;
}

static bool add_waiting(void *all, struct entry *e)
{
	buf_append(all, &e, sizeof(struct entry *));
	return false;
}

/* The call goes on until it is answered; who has nobody waiting is done with. */
static void take_call(struct writer *w, struct call *c, struct buf *all)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->entries[i]->place)
			intake_drop(w->intake, c->entries[i]);
		else
			add_waiting(all, c->entries[i]);
	}
	c->count = 0;
}

/* What is put back is in the journal, and stays in the queue. */
static void take_queue(struct writer *w, struct shard *s, struct buf *all)
{
	struct entry *e = s->first;

	s->first = NULL;
	while (e) {
		struct entry *next = e->next;

		if (e->place)
			writer_queue(w, e);
		else
			add_waiting(all, e);
		e = next;
	}
}

/* Takes everything that waits out of calls and queues. What is of the spool stays: it is there. */
static void take_waiting(struct writer *w, struct buf *all)
{
	if (w->legacy)
		legacy_each(w->legacy, add_waiting, all);
	for (uint32_t i = 0; i < w->core->shards; i++) {
		take_call(w, &w->shards[i].call, all);
		take_queue(w, &w->shards[i], all);
	}
}

static void begin_spooling(struct writer *w)
{
	struct buf all = {0};
	struct entry **waiting;
	size_t n;

	take_waiting(w, &all);
	n = buf_length(&all) / sizeof(struct entry *);
	waiting = (struct entry **)(void *)all.data;
	if (n)
		qsort(waiting, n, sizeof(struct entry *), by_number);
	for (size_t i = 0; i < n; i++)
		outage_take(w, waiting[i]);
	buf_fini(&all);
	enter(w, CLUSTER_SPOOLING);
	outage_spool(w);
}

/* --- out of the spool --------------------------------------------------------------- */

static void drain(struct writer *w)
{
	struct parcel *p;

	if (w->draining)
		return;
	spool_done(w->spool);
	outage_spool(w);
	if (spool_count(w->spool) == 0 && w->backlog == NULL) {
		enter(w, CLUSTER_OPEN);
		return;
	}
	p = spool_read(w->spool);
	if (p == NULL)
		return;
	w->draining = p->count;
	for (uint32_t i = 0, n = p->count; i < n; i++)
		writer_take(w, &p->entries[i]);
	writer_pump(w);
}

void outage_on_drained(struct writer *w, bool first)
{
	if (!first && w->core->settings->on_failure == CLUSTER_LOCAL)
		count_add(&w->figures.escaped, 1);
	if (--w->draining == 0 && writer_state(w) == CLUSTER_DRAINING)
		drain(w);
}

/* --- now and then --------------------------------------------------------------------- */

void outage_look(struct writer *w)
{
	uint64_t waiting_ms = count_read(&w->figures.waiting_ms);
	bool is_late = waiting_ms > WRITER_LATE_MS;
	bool holds = w->core->settings->on_failure == CLUSTER_HOLD;
	enum cluster_state state = writer_state(w);

	if (state >= CLUSTER_SPOOLING)
		outage_spool(w);
	if (state == CLUSTER_OPEN && is_late)
		(holds ? begin_holding : begin_spooling)(w);
	else if (state == CLUSTER_HOLDING && !is_late)
		enter(w, CLUSTER_OPEN);
	else if (state == CLUSTER_DRAINING && is_late)
		enter(w, CLUSTER_SPOOLING);
	else if (state == CLUSTER_SPOOLING && w->has_begun && waiting_ms == 0)
		enter(w, CLUSTER_DRAINING);
	if (writer_state(w) == CLUSTER_DRAINING)
		drain(w);
}

/* --- life ------------------------------------------------------------------------------- */

int outage_new(struct writer *w, char **why)
{
	const struct cluster_settings *s = w->core->settings;
	struct spool_settings settings = {
		.dir = s->dir,
		.sync = s->sync,
		.sync_ms = s->sync_ms,
		.bytes_most = s->spool_bytes,
		.ids = SPOOL_IDS,
	};
	int err;

	w->spool_progress.run = on_spool_progress;
	/* What an earlier configuration has left there is committed, whatever this one says. */
	if (s->on_failure == CLUSTER_HOLD && !spool_exists(s->dir))
		return 0;
	err = spool_open(&w->spool, &settings, why);
	if (err < 0)
		return err;
	spool_on_progress(w->spool, on_progress, w);
	show_spool(w);
	return 0;
}

void outage_begin(struct writer *w)
{
	if (w->spool && spool_count(w->spool))
		begin_spooling(w);
}

void outage_free(struct writer *w)
{
	while (w->backlog) {
		struct entry *e = w->backlog;

		w->backlog = e->next;
		intake_drop(w->intake, e);
	}
	spool_close(w->spool);
	free(w->spooled);
}
