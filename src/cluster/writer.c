/* cluster/writer.c - parcels from ports, queues and calls by shard, answers back
 *
 *     parcel [entry entry entry | records]      one a submission, freed with its last answer
 *         \      |      /
 *     shard: queue of entries --> call: up to BATCH_MOST entries of one kind, CALLS_MOST at once
 *
 * Few calls at once and large ones under load, small ones at once when there is none: what comes
 * while CALLS_MOST are under way makes up the next.
 *
 * Messages with a claim and without one are remembered for different times, so they do not share a
 * call. Without a claim the shard is the topic's, so that every node sees one order of the topic.
 */
#include "cluster/writer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/census.h"
#include "cluster/previous.h"
#include "cluster/record.h"

#define BYTES_MOST (32u << 20) /* under way, of all parcels */
#define CALLS_MOST 2u          /* of a shard, under way */
#define BATCH_MOST 64u
#define BATCH_BYTES (256u << 10)
#define RECORD_EXTRA 96u              /* of a record beside topic, payload, properties, names */
#define REMEMBER_UNCLAIMED_MS 600000u /* long enough for every repetition of a call */
#define REMEMBER_LONGER_MS 600000u    /* Redis than a node: window edges (architecture.md) */
#define TRIM_EVERY_MS 1000u
#define PAUSE_MS 100u /* after an error of Redis' */
#define LOOK_EVERY_MS 250u
#define ERROR_LOG_MS 10000u
#define PORTS 256u

struct parcel;

struct entry {
	struct entry *next;
	struct parcel *parcel;
	struct uuid id;
	uint32_t token;
	uint32_t ticket;
	uint32_t at; /* of its record in the parcel's */
	uint32_t bytes;
	uint16_t shard;
	bool claim;
	bool first;
};

struct parcel {
	struct parcel *next;
	struct commit_port *port;
	size_t bytes;  /* counted in the writer's */
	uint32_t left; /* entries not answered */
	uint32_t count;
	struct buf records;
	struct entry entries[];
};

struct shard;

struct call {
	struct redis_request request;
	struct shard *shard;
	struct call *next; /* free, or to be made again */
	uint64_t since_ms;
	uint32_t count;
	bool good; /* the last reply was one of the script */
	struct entry *entries[BATCH_MOST];
};

struct shard {
	struct writer *writer;
	uint32_t number;
	uint32_t under_way;
	struct entry *first; /* not in a call */
	struct entry *last;
	struct call *again; /* failed calls, oldest first */
	struct call *idle;
	uint64_t trimmed_ms;
	struct call calls[CALLS_MOST];
};

struct answers {
	struct commit_port *port;
	struct commit_answer *list;
	uint32_t count;
	uint32_t size;
};

struct writer {
	struct cluster_core *core;
	char sha[REDIS_SHA_BYTES];
	char *source; /* "node/start/0" */
	uint32_t token_seed;
	bool begun;
	struct shard *shards;
	struct answers answers[PORTS]; /* of this turn, by number of port */
	struct deferred flush;
	struct timer again;
	struct timer look;
	struct log_limit error_log;
	struct writer_figures figures;
	/* any thread */
	struct previous *previous[PORTS]; /* each its port's own */
	_Atomic uint32_t tokens;
	_Atomic uint64_t bytes;
	atomic_bool refused; /* an offer, since there was room */
	pthread_mutex_t lock;
	struct parcel *inbox; /* under it, oldest first */
	struct parcel *inbox_last;
	struct task task;
};

/* --- on the port's thread: offers ------------------------------------------ */

/* Never the same for two submissions of this process, and by chance one in 2^32 of two nodes'. */
static uint32_t token_of(const struct writer *w, uint32_t number)
{
	return number * 2654435761u + w->token_seed;
}

static size_t bytes_of(const struct writer *w, const struct commit_request *r)
{
	const struct journal_message *m = &r->message;

	return m->topic.n + m->payload.n + m->properties.n + r->publisher.n + RECORD_EXTRA +
	       strlen(w->source) + sizeof(struct entry);
}

/* Takes leave for so many bytes; one offer passes always, however large. */
static bool take_bytes(struct writer *w, size_t bytes)
{
	uint64_t before = atomic_fetch_add(&w->bytes, bytes);

	if (before == 0 || before + bytes <= BYTES_MOST)
		return true;
	atomic_store(&w->refused, true);
	/* Looked at again behind the mark, as the loop may have looked for it before. */
	if (atomic_load(&w->bytes) - bytes <= BYTES_MOST / 2)
		return true;
	atomic_fetch_sub(&w->bytes, bytes);
	return false;
}

/* "node/start/number": who published it, so that this node knows its own sessions again. */
static struct view source_of(const struct writer *w, uint32_t origin, char *out, size_t size)
{
	if (origin == 0)
		return view_of(w->source);
	return (struct view){out, (size_t)snprintf(out, size, "%s/%u", w->core->name, origin)};
}

static void encode(struct writer *w, struct parcel *parcel, struct entry *e,
	const struct commit_request *r, const void *connection)
{
	const struct journal_message *m = &r->message;
	struct previous *previous = w->previous[commit_port_number(parcel->port)];
	char source[320];
	struct record record = {
		.topic = m->topic,
		.payload = m->payload,
		.properties = m->properties,
		.publisher = r->publisher,
		.source = source_of(w, m->origin, source, sizeof(source)),
		.id = m->id,
		.expiry_s = m->expiry_s,
		.flags = m->flags | (r->claim ? JOURNAL_CLAIMED : 0),
		.qos = m->qos,
	};

	record.has_previous =
		r->claim && previous_swap(previous, connection, m->topic, &m->id, &record.previous);
	e->at = (uint32_t)buf_length(&parcel->records);
	check(record_encode(&parcel->records, &record) == 0);
	e->bytes = (uint32_t)buf_length(&parcel->records) - e->at;
}

static struct parcel *make_parcel(struct writer *w, struct commit_port *p, const void *connection,
	const struct commit_offer *offers, uint32_t n, size_t bytes)
{
	struct parcel *parcel = mem_new(sizeof(*parcel) + n * sizeof(struct entry));
	uint32_t number = atomic_fetch_add(&w->tokens, n);

	parcel->port = p;
	parcel->bytes = bytes;
	parcel->left = parcel->count = n;
	buf_reserve(&parcel->records, bytes - n * sizeof(struct entry));
	for (uint32_t i = 0; i < n; i++) {
		const struct commit_request *r = offers[i].request;
		struct entry *e = &parcel->entries[i];

		e->parcel = parcel;
		e->id = r->message.id;
		e->ticket = offers[i].ticket;
		e->token = token_of(w, number + i);
		e->claim = r->claim;
		e->shard = (uint16_t)(r->claim ? claim_shard(&e->id, w->core->shards)
					       : claim_shard_of_topic(
							 r->message.topic, w->core->shards));
		encode(w, parcel, e, r, connection);
	}
	return parcel;
}

static void send_parcel(struct writer *w, struct parcel *parcel)
{
	bool was_empty;

	pthread_mutex_lock(&w->lock);
	was_empty = w->inbox == NULL;
	if (was_empty)
		w->inbox = parcel;
	else
		w->inbox_last->next = parcel;
	w->inbox_last = parcel;
	pthread_mutex_unlock(&w->lock);
	if (was_empty)
		loop_post(w->core->loop, &w->task);
}

int writer_offer(void *context, struct commit_port *p, const void *connection,
	const struct commit_offer *offers, uint32_t n)
{
	struct writer *w = context;
	unsigned number = commit_port_number(p);
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		size_t one = bytes_of(w, offers[i].request);

		if (one > JOURNAL_PACKET_LARGEST)
			return ERR_TOO_LARGE;
		bytes += one;
	}
	if (!take_bytes(w, bytes))
		return ERR_HELD;
	if (w->previous[number] == NULL)
		w->previous[number] = previous_new();
	send_parcel(w, make_parcel(w, p, connection, offers, n, bytes));
	return 0;
}

/* --- answers ------------------------------------------------------------------ */

static void add_answer(struct writer *w, const struct entry *e)
{
	struct answers *a = &w->answers[commit_port_number(e->parcel->port)];

	if (a->count == a->size) {
		a->size = a->size ? a->size * 2 : 64;
		a->list = mem_resize(a->list, a->size * sizeof(*a->list));
	}
	a->port = e->parcel->port;
	a->list[a->count++] =
		(struct commit_answer){e->ticket, e->first ? COMMIT_FIRST : COMMIT_REPEAT};
	loop_defer(w->core->loop, &w->flush);
}

static void drop_entry(struct writer *w, struct entry *e)
{
	struct parcel *p = e->parcel;

	if (--p->left)
		return;
	atomic_fetch_sub(&w->bytes, p->bytes);
	buf_fini(&p->records);
	free(p);
}

/* Ports hear of what was answered in this turn with one wake-up each. */
static void on_flush(struct deferred *d)
{
	struct writer *w = container_of(d, struct writer, flush);

	for (unsigned i = 0; i < PORTS; i++) {
		struct answers *a = &w->answers[i];

		if (a->count)
			commit_port_answer(a->port, a->list, a->count);
		a->count = 0;
	}
	if (atomic_load(&w->refused) && atomic_load(&w->bytes) <= BYTES_MOST / 2) {
		atomic_store(&w->refused, false);
		commit_log_ready(w->core->commit);
	}
}

/* --- calls --------------------------------------------------------------------- */

/* Behind those that failed before it; nothing new of the shard goes before them. */
static void repeat_later(struct call *c)
{
	struct shard *s = c->shard;
	struct call **end = &s->again;

	while (*end)
		end = &(*end)->next;
	c->next = NULL;
	*end = c;
	if (s->writer->again.place == 0)
		timer_start(s->writer->core->loop, &s->writer->again, PAUSE_MS);
}

static void submit(struct call *c)
{
	struct shard *s = c->shard;
	struct writer *w = s->writer;

	c->good = false;
	c->request.acknowledge = w->core->settings->acknowledge;
	count_add(&w->figures.calls, 1);
	if (redis_submit(w->core->redis, claim_slot(s->number), &c->request) != 0)
		repeat_later(c);
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

	c->count = 0;
	while (s->first && c->count < BATCH_MOST && bytes < BATCH_BYTES) {
		struct entry *e = s->first;

		if (c->count && e->claim != c->entries[0]->claim)
			return;
		s->first = e->next;
		bytes += e->bytes;
		c->entries[c->count++] = e;
	}
}

static void make_call(struct shard *s)
{
	struct claim_message messages[BATCH_MOST];
	struct call *c = s->idle;
	struct claim_terms terms;

	s->idle = c->next;
	s->under_way++;
	take_entries(s, c);
	for (uint32_t i = 0; i < c->count; i++) {
		const struct entry *e = c->entries[i];
		const char *records = (const char *)buf_bytes(&e->parcel->records);

		messages[i] = (struct claim_message){&e->id, e->token, {records + e->at, e->bytes}};
	}
	terms = terms_of(s, c->entries[0]->claim);
	buf_clear(&c->request.command);
	claim_call(&c->request.command, s->writer->sha, s->number, &terms, messages, c->count);
	c->since_ms = loop_now_ms(s->writer->core->loop);
	submit(c);
}

static void pump(struct shard *s)
{
	while (s->first && s->idle && s->again == NULL)
		make_call(s);
}

static void log_error_reply(struct writer *w, uint32_t shard, const struct resp *reply)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	if (!log_allowed(&w->error_log, loop_now_ms(w->core->loop), ERROR_LOG_MS, &skipped))
		return;
	log_error("cluster", "claim_refused", "shard=%u redis=%s others=%llu", shard,
		reply->type == RESP_ERROR ? log_quote(reply->text.p, reply->text.n, quoted)
					  : "\"not an answer of the script\"",
		(unsigned long long)skipped);
}

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct call *c = container_of(q, struct call, request);

	c->good = true;
	for (uint32_t i = 0; i < c->count && c->good; i++) {
		struct claim_answer a;

		c->good = claim_answer_of(reply, i, &a);
		/* A repeat of one's own token: the answer to an earlier call was lost. */
		c->entries[i]->first = c->good && (a.first || a.token == c->entries[i]->token);
	}
	if (!c->good)
		log_error_reply(c->shard->writer, c->shard->number, reply);
}

static void settle(struct call *c)
{
	struct shard *s = c->shard;
	struct writer *w = s->writer;

	for (uint32_t i = 0; i < c->count; i++) {
		add_answer(w, c->entries[i]);
		drop_entry(w, c->entries[i]);
	}
	count_add(&w->figures.answered, c->count);
	c->count = 0;
	c->next = s->idle;
	s->idle = c;
	s->under_way--;
	pump(s);
}

static void on_done(struct redis_request *q, int err)
{
	struct call *c = container_of(q, struct call, request);
	struct writer *w = c->shard->writer;

	if (err == ERR_SHUTDOWN)
		return;
	if (err == 0 && c->good &&
		c->request.replicas >= census_needed(w->core->census, c->shard->number)) {
		settle(c);
		return;
	}
	count_add(&w->figures.repeated, 1);
	if (err == 0 && c->good) {
		census_hurry(w->core->census); /* WAIT has taken its time */
		submit(c);
	} else {
		repeat_later(c);
	}
}

static void on_again(struct timer *t)
{
	struct writer *w = container_of(t, struct writer, again);

	for (uint32_t i = 0; i < w->core->shards; i++) {
		struct shard *s = &w->shards[i];
		struct call *c = s->again;

		s->again = NULL;
		while (c) {
			struct call *next = c->next;

			submit(c);
			c = next;
		}
		pump(s);
	}
}

/* --- on the loop: parcels --------------------------------------------------------- */

static struct parcel *take_inbox(struct writer *w)
{
	struct parcel *p;

	pthread_mutex_lock(&w->lock);
	p = w->inbox;
	w->inbox = w->inbox_last = NULL;
	pthread_mutex_unlock(&w->lock);
	return p;
}

static void queue_entry(struct writer *w, struct entry *e)
{
	struct shard *s = &w->shards[e->shard];

	e->next = NULL;
	if (s->first)
		s->last->next = e;
	else
		s->first = e;
	s->last = e;
}

static void pump_all(struct writer *w)
{
	if (!w->begun)
		return;
	for (uint32_t i = 0; i < w->core->shards; i++)
		pump(&w->shards[i]);
}

static void on_inbox(struct task *t)
{
	struct writer *w = container_of(t, struct writer, task);
	struct parcel *p = take_inbox(w);

	while (p) {
		struct parcel *next = p->next;

		for (uint32_t i = 0; i < p->count; i++)
			queue_entry(w, &p->entries[i]);
		p = next;
	}
	pump_all(w);
}

static void on_look(struct timer *t)
{
	struct writer *w = container_of(t, struct writer, look);
	uint64_t now = loop_now_ms(w->core->loop), oldest = now;

	for (uint32_t i = 0; i < w->core->shards; i++) {
		const struct shard *s = &w->shards[i];

		for (unsigned j = 0; j < CALLS_MOST; j++)
			if (s->calls[j].count && s->calls[j].since_ms < oldest)
				oldest = s->calls[j].since_ms;
	}
	count_set(&w->figures.waiting_ms, now - oldest);
	timer_start(w->core->loop, t, LOOK_EVERY_MS);
}

/* --- life --------------------------------------------------------------------------- */

static void shard_init(struct writer *w, uint32_t number)
{
	struct shard *s = &w->shards[number];

	s->writer = w;
	s->number = number;
	for (unsigned i = 0; i < CALLS_MOST; i++) {
		struct call *c = &s->calls[i];

		c->shard = s;
		c->request.repeatable = true;
		c->request.limit_ms = UINT32_MAX; /* never given up */
		c->request.on_reply = on_reply;
		c->request.on_done = on_done;
		c->next = s->idle;
		s->idle = c;
	}
}

static uint32_t seed_of(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}

struct writer *writer_new(struct cluster_core *core)
{
	struct writer *w = mem_new(sizeof(*w));

	w->core = core;
	w->source = mem_printf("%s/0", core->name);
	w->token_seed = seed_of(core->name);
	redis_script_sha(claim_script(), w->sha);
	w->shards = mem_new(core->shards * sizeof(*w->shards));
	for (uint32_t i = 0; i < core->shards; i++)
		shard_init(w, i);
	pthread_mutex_init(&w->lock, NULL);
	list_init(&w->flush.link);
	w->flush.run = on_flush;
	w->task.run = on_inbox;
	w->again.on_time = on_again;
	w->look.on_time = on_look;
	return w;
}

void writer_begin(struct writer *w)
{
	w->begun = true;
	on_look(&w->look);
	pump_all(w);
}

/* Parcels whose entries stand in no queue and no call any more. */
static void free_queue(struct writer *w, struct shard *s)
{
	while (s->first) {
		struct entry *e = s->first;

		s->first = e->next;
		drop_entry(w, e);
	}
	for (unsigned i = 0; i < CALLS_MOST; i++) {
		struct call *c = &s->calls[i];

		for (uint32_t j = 0; j < c->count; j++)
			drop_entry(w, c->entries[j]);
		buf_fini(&c->request.command);
	}
}

void writer_free(struct writer *w)
{
	w->begun = false;
	on_inbox(&w->task); /* what the loop did not come to */
	for (uint32_t i = 0; i < w->core->shards; i++)
		free_queue(w, &w->shards[i]);
	for (unsigned i = 0; i < PORTS; i++) {
		free(w->answers[i].list);
		previous_free(w->previous[i]);
	}
	pthread_mutex_destroy(&w->lock);
	free(w->shards);
	free(w->source);
	free(w);
}

const struct writer_figures *writer_figures(const struct writer *w)
{
	return &w->figures;
}

uint64_t writer_bytes(const struct writer *w)
{
	return atomic_load(&w->bytes);
}
