/* cluster/writer.c - queues and calls by shard, answers back to the ports
 *
 * Few calls and large ones under load, small ones at once when there is none: what comes while one of the
 * shard is under way makes up the next.
 *
 * Messages with a claim and without one are remembered for different times, so they do not share a
 * call. Without a claim the shard is the topic's, so that every node sees one order of the topic.
 *
 * **Invariant:** a shard has one call at a time, and the next when enough replicas have it. Whatever refuses
 * it for a moment (cluster/redis.h, "Order"), and whichever master takes over, none is appended before one
 * that came first.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/legacy.h"
#include "cluster/record.h"
#include "cluster/stream.h"
#include "cluster/writer_inside.h"

#define BATCH_BYTES (256u << 10)
#define REMEMBER_UNCLAIMED_MS 600000u /* long enough for every repetition of a call */
#define REMEMBER_LONGER_MS 600000u    /* Redis than a node: window edges (architecture.md) */
#define TRIM_EVERY_MS 1000u
#define TRIM_IDLE_MS 60000u /* a shard that nobody writes to: its entries age all the same */
#define PAUSE_MS 100u       /* after an error of Redis' */
#define LOOK_EVERY_MS 250u
#define ERROR_LOG_MS 10000u

/* --- answers ------------------------------------------------------------------ */

void writer_answer(
	struct writer *w, struct commit_port *port, uint32_t ticket, enum commit_outcome outcome)
{
	struct answers *a = &w->answers[commit_port_number(port)];

	if (a->count == a->size) {
		a->size = a->size ? a->size * 2 : 64;
		a->list = mem_resize(a->list, a->size * sizeof(*a->list));
	}
	a->port = port;
	a->list[a->count++] = (struct commit_answer){ticket, outcome};
	loop_defer(w->core->loop, &w->flush);
}

/* Ports hear of what was answered in this turn with one wake-up each. */
static void on_flush(struct deferred *d)
{
	struct writer *w = container_of(d, struct writer, flush);

	for (unsigned i = 0; i < WRITER_PORTS; i++) {
		struct answers *a = &w->answers[i];

		if (a->count)
			commit_port_answer(a->port, a->list, a->count);
		a->count = 0;
	}
	intake_settle(w->intake);
}

/* --- calls --------------------------------------------------------------------- */

static struct shard *shard_of(struct redis_request *q)
{
	return container_of(q, struct shard, call.request);
}

static void repeat_later(struct shard *s)
{
	struct writer *w = s->writer;

	s->call.is_again = true;
	if (w->again.place == 0)
		timer_start(w->core->loop, &w->again, PAUSE_MS);
}

static uint8_t needed(const struct shard *s)
{
	return s->call.only_trims ? 0 : census_needed(s->writer->core->census, s->number);
}

static void submit(struct shard *s)
{
	struct writer *w = s->writer;
	struct call *c = &s->call;

	c->good = c->is_again = false;
	c->request.acknowledge = needed(s);
	count_add(&w->figures.calls, 1);
	if (redis_submit(w->core->redis, claim_slot(s->number), &c->request) != 0)
		repeat_later(s);
}

static struct claim_terms terms_of(struct shard *s, bool claim)
{
	const struct cluster_settings *settings = s->writer->core->settings;
	uint64_t now = loop_now_ms(s->writer->core->loop);
	struct claim_terms terms = {
		.remember_ms =
			claim ? settings->window_ms + REMEMBER_LONGER_MS : REMEMBER_UNCLAIMED_MS,
	};

	if (now - s->trimmed_ms >= TRIM_EVERY_MS) {
		s->trimmed_ms = now;
		terms.keep_ms = settings->stream_keep_ms;
		terms.stream_bytes = settings->stream_bytes / s->writer->core->shards;
	}
	return terms;
}

static void take_entries(struct shard *s, struct call *c)
{
	size_t bytes = 0;

	while (s->first && c->count < BATCH_MOST && bytes < BATCH_BYTES) {
		struct entry *e = s->first;

		if (c->count && e->claim != c->entries[0]->claim)
			return;
		s->first = e->next;
		bytes += e->bytes;
		c->entries[c->count++] = e;
	}
}

static struct claim_message message_of(const struct entry *e)
{
	struct claim_message m = {.id = &e->id, .token = e->token, .record = entry_record(e)};
	struct record r;

	if (e->claim || record_decode(m.record, &r) < 0 || !(r.flags & JOURNAL_RETAIN))
		return m;
	m.retained = r.topic;
	m.expiry_s = r.expiry_s;
	m.clears = r.payload.n == 0;
	m.place = place_unpack(e->place);
	return m;
}

/* Of what stands first in the queue; of nothing: only trims. */
static void make_call(struct shard *s)
{
	struct claim_message messages[BATCH_MOST];
	struct call *c = &s->call;
	struct claim_terms terms;

	take_entries(s, c);
	c->only_trims = c->count == 0;
	for (uint32_t i = 0; i < c->count; i++)
		messages[i] = message_of(c->entries[i]);
	terms = terms_of(s, c->count && c->entries[0]->claim);
	buf_clear(&c->request.command);
	claim_call(&c->request.command, s->writer->sha, s->number, &terms, messages, c->count);
	c->since_ms = loop_now_ms(s->writer->core->loop);
	submit(s);
}

static bool is_idle(const struct shard *s)
{
	return s->call.since_ms == 0;
}

static void pump(struct shard *s)
{
	if (s->first && is_idle(s))
		make_call(s);
}

void writer_log_reply(struct writer *w, const struct entry *e, const struct resp *reply)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	if (!log_allowed(&w->error_log, loop_now_ms(w->core->loop), ERROR_LOG_MS, &skipped))
		return;
	log_error("cluster", "claim_refused", "shard=%d redis=%s others=%llu", e ? e->shard : -1,
		reply->type == RESP_ERROR ? log_quote(reply->text.p, reply->text.n, quoted)
					  : "\"not an answer\"",
		(unsigned long long)skipped);
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct shard *s = shard_of(q);
	struct call *c = &s->call;

	c->good = reply->type == RESP_ARRAY;
	for (uint32_t i = 0; i < c->count && c->good; i++) {
		struct claim_answer a;

		c->good = claim_answer_of(reply, i, &a);
		/* A repeat of one's own token: the answer to an earlier call was lost. */
		c->entries[i]->first = c->good && (a.first || a.token == c->entries[i]->token);
	}
	if (!c->good)
		writer_log_reply(s->writer, c->count ? c->entries[0] : NULL, reply);
}

static void note_mended(struct writer *w, const struct entry *e)
{
	w->shards[e->shard].mended += e->first;
	count_add(&w->figures.put_back, e->first);
}

void writer_settle(struct writer *w, struct entry *e)
{
	if (e->parcel->port)
		writer_answer(
			w, e->parcel->port, e->ticket, e->first ? COMMIT_FIRST : COMMIT_REPEAT);
	else if (e->place)
		note_mended(w, e);
	else
		outage_on_drained(w, e->first);
	intake_drop(w->intake, e);
	loop_defer(w->core->loop, &w->flush);
}

static void settle(struct shard *s)
{
	struct writer *w = s->writer;
	struct call *c = &s->call;

	count_add(&w->figures.answered, c->count);
	for (uint32_t i = 0; i < c->count; i++)
		writer_settle(w, c->entries[i]);
	c->count = 0;
	c->since_ms = 0;
	pump(s);
}

static void on_done(struct redis_request *q, int err)
{
	struct shard *s = shard_of(q);
	struct writer *w = s->writer;

	if (err == ERR_SHUTDOWN)
		return;
	if (err == 0 && s->call.good && q->replicas >= needed(s)) {
		settle(s);
		return;
	}
	count_add(&w->figures.repeated, 1);
	if (err == 0 && s->call.good) {
		census_hurry(w->core->census); /* WAIT has taken its time */
		submit(s);
	} else {
		repeat_later(s);
	}
}

static void on_again(struct timer *t)
{
	struct writer *w = container_of(t, struct writer, again);

	for (uint32_t i = 0; i < w->core->shards; i++) {
		if (w->shards[i].call.is_again)
			submit(&w->shards[i]);
	}
}

/* --- what comes in ----------------------------------------------------------------- */

void writer_queue(struct writer *w, struct entry *e)
{
	struct shard *s = &w->shards[e->shard];

	e->next = NULL;
	if (s->first)
		s->last->next = e;
	else
		s->first = e;
	s->last = e;
}

void writer_take(struct writer *w, struct entry *e)
{
	if (w->legacy && e->claim)
		legacy_take(w->legacy, e);
	else
		writer_queue(w, e);
}

void writer_pump(struct writer *w)
{
	if (!w->has_begun)
		return;
	for (uint32_t i = 0; i < w->core->shards; i++)
		pump(&w->shards[i]);
}

static void on_inbox(struct task *t)
{
	struct writer *w = container_of(t, struct writer, inbox);
	bool direct = writer_state(w) < CLUSTER_SPOOLING;
	struct parcel *p = intake_take(w->intake);

	while (p) {
		struct parcel *next = p->next;

		for (uint32_t i = 0; i < p->count; i++)
			(direct ? writer_take : outage_take)(w, &p->entries[i]);
		p = next;
	}
	if (!w->has_begun && w->queued_ms == 0)
		w->queued_ms = loop_now_ms(w->core->loop);
	if (direct)
		writer_pump(w);
	else
		outage_spool(w);
}

/* --- what is put back ---------------------------------------------------------------- */

void writer_put_back(struct writer *w, struct parcel *p)
{
	intake_number(w->intake, p);
	/* Not by writer_take(): the existing antiloop has them, and would call them repeats. */
	for (uint32_t i = 0; i < p->count; i++)
		writer_queue(w, &p->entries[i]);
	writer_pump(w);
}

bool writer_is_idle(const struct writer *w, uint32_t shard)
{
	const struct shard *s = &w->shards[shard];

	return w->has_begun && writer_state(w) == CLUSTER_OPEN && s->first == NULL && is_idle(s);
}

uint64_t writer_mended(const struct writer *w, uint32_t shard)
{
	return w->shards[shard].mended;
}

/* --- now and then --------------------------------------------------------------------- */

/* Since when the oldest call under way waits, or what waits for Redis to be reached at all. */
static uint64_t oldest_wait(const struct writer *w)
{
	uint64_t oldest = w->has_begun || w->queued_ms == 0 ? UINT64_MAX : w->queued_ms;

	for (uint32_t i = 0; i < w->core->shards; i++) {
		uint64_t since = w->shards[i].call.since_ms;

		if (since && since < oldest)
			oldest = since;
	}
	if (w->legacy && legacy_oldest(w->legacy) < oldest)
		oldest = legacy_oldest(w->legacy);
	return oldest;
}

/* One shard at a time. */
static void trim_idle(struct writer *w, uint64_t now)
{
	for (uint32_t i = 0; i < w->core->shards; i++) {
		struct shard *s = &w->shards[i];

		if (now - s->trimmed_ms < TRIM_IDLE_MS || !is_idle(s))
			continue;
		make_call(s);
		return;
	}
}

static void on_look(struct timer *t)
{
	struct writer *w = container_of(t, struct writer, look);
	uint64_t now = loop_now_ms(w->core->loop), oldest = oldest_wait(w);

	count_set(&w->figures.waiting_ms, oldest <= now ? now - oldest + 1 : 0);
	outage_look(w);
	if (w->has_begun && writer_state(w) == CLUSTER_OPEN)
		trim_idle(w, now);
	timer_start(w->core->loop, t, LOOK_EVERY_MS);
}

/* --- life --------------------------------------------------------------------------- */

static void shard_init(struct writer *w, uint32_t number)
{
	struct shard *s = &w->shards[number];
	struct redis_request *q = &s->call.request;

	s->writer = w;
	s->number = number;
	q->repeatable = true;
	q->limit_ms = UINT32_MAX; /* never given up */
	q->on_reply = on_reply;
	q->on_done = on_done;
}

int writer_new(struct writer **out, struct cluster_core *core, char **why)
{
	struct writer *w = mem_new(sizeof(*w));
	int err;

	w->core = core;
	redis_script_sha(claim_script(), w->sha);
	w->shards = mem_new(core->shards * sizeof(*w->shards));
	for (uint32_t i = 0; i < core->shards; i++)
		shard_init(w, i);
	list_init(&w->flush.link);
	w->flush.run = on_flush;
	w->inbox.run = on_inbox;
	w->again.on_time = on_again;
	w->look.on_time = on_look;
	w->intake = intake_new(core, &w->inbox);
	w->legacy = core->settings->compatible ? legacy_new(w) : NULL;
	err = outage_new(w, why);
	if (err < 0)
		writer_free(w);
	else
		*out = w;
	return err;
}

struct commit_log writer_log(struct writer *w)
{
	return (struct commit_log){.offer = intake_offer, .context = w->intake};
}

/* Before Redis is reached: what cannot be claimed counts as late all the same. */
void writer_start(struct writer *w)
{
	outage_begin(w);
	on_look(&w->look);
}

void writer_begin(struct writer *w)
{
	w->has_begun = true;
	w->queued_ms = 0;
	if (w->legacy)
		legacy_begin(w->legacy);
	writer_pump(w);
}

static void free_shard(struct writer *w, struct shard *s)
{
	while (s->first) {
		struct entry *e = s->first;

		s->first = e->next;
		intake_drop(w->intake, e);
	}
	for (uint32_t i = 0; i < s->call.count; i++)
		intake_drop(w->intake, s->call.entries[i]);
	buf_fini(&s->call.request.command);
}

void writer_free(struct writer *w)
{
	struct parcel *p = intake_take(w->intake); /* what the loop did not come to */

	while (p) {
		struct parcel *next = p->next;

		for (uint32_t i = 0; i < p->count; i++)
			writer_queue(w, &p->entries[i]);
		p = next;
	}
	for (uint32_t i = 0; i < w->core->shards; i++)
		free_shard(w, &w->shards[i]);
	legacy_free(w->legacy);
	outage_free(w);
	intake_free(w->intake);
	for (unsigned i = 0; i < WRITER_PORTS; i++)
		free(w->answers[i].list);
	free(w->shards);
	free(w);
}

const struct writer_figures *writer_figures(const struct writer *w)
{
	return &w->figures;
}

uint64_t writer_bytes(const struct writer *w)
{
	return intake_bytes(w->intake);
}
