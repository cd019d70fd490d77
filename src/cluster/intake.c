/* cluster/intake.c - offers of ports become parcels
 *
 * **Invariant:** `bytes` is the sum over all parcels that are not freed. An offer that finds too much
 * sets `refused` and looks again; the loop, when it has freed memory, looks at `refused`: one of the
 * two sees the other.
 */
#include "cluster/intake.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "cluster/previous.h"
#include "cluster/record.h"

#define BYTES_MOST (32u << 20)
#define RECORD_EXTRA 64u /* of a record beside its texts */
#define PORTS 256u
#define SOURCE_BYTES 128u

struct intake {
	const struct cluster_core *core;
	struct task *task;
	char *source;                     /* "node/start/0" */
	uint32_t seed;                    /* of tokens */
	struct previous *previous[PORTS]; /* each its port's own */
	_Atomic uint32_t numbers;
	_Atomic uint64_t bytes;
	atomic_bool refused;
	pthread_mutex_t lock;
	struct parcel *inbox; /* under it, oldest first */
	struct parcel *inbox_last;
};

/* --- on the port's thread ---------------------------------------------------- */

/* Who asks again must know himself; that another's submission of the same id happens to have the same
 * one costs no more than that a repeat is counted as a first. */
static uint32_t token_of(const struct intake *in, uint32_t number)
{
	return (number * 2654435761u + in->seed) % CLAIM_TOKENS;
}

static size_t bytes_of(const struct intake *in, const struct commit_request *r)
{
	const struct journal_message *m = &r->message;

	return m->topic.n + m->payload.n + m->properties.n + r->publisher.n + RECORD_EXTRA +
	       strlen(in->source) + sizeof(struct entry);
}

/* Takes leave for so many bytes; one offer passes always, however large. */
static bool take_bytes(struct intake *in, size_t bytes)
{
	uint64_t before = atomic_fetch_add(&in->bytes, bytes);

	if (before == 0 || before + bytes <= BYTES_MOST)
		return true;
	atomic_store(&in->refused, true);
	if (atomic_load(&in->bytes) - bytes <= BYTES_MOST / 2)
		return true;
	atomic_fetch_sub(&in->bytes, bytes);
	return false;
}

/* "node/start/number": who published it, so that this node knows its own sessions again. */
static struct view source_of(const struct intake *in, uint32_t origin, char out[SOURCE_BYTES])
{
	int n;

	if (origin == 0)
		return view_of(in->source);
	n = snprintf(out, SOURCE_BYTES, "%s/%u", in->core->name, origin);
	return (struct view){out, (size_t)n};
}

static void encode(const struct intake *in, struct entry *e, const struct commit_request *r,
	const void *connection)
{
	const struct journal_message *m = &r->message;
	struct parcel *p = e->parcel;
	char source[SOURCE_BYTES];
	struct record record = {
		.topic = m->topic,
		.payload = m->payload,
		.properties = m->properties,
		.publisher = r->publisher,
		.source = source_of(in, m->origin, source),
		.id = m->id,
		.expiry_s = m->expiry_s,
		.flags = m->flags | (r->claim ? JOURNAL_CLAIMED : 0),
		.qos = m->qos,
	};

	if (r->claim)
		record.has_previous = previous_swap(in->previous[commit_port_number(p->port)],
			connection, m->topic, &m->id, &record.previous);
	e->at = (uint32_t)buf_length(&p->records);
	check(record_encode(&p->records, &record) == 0);
	e->bytes = (uint32_t)buf_length(&p->records) - e->at;
}

static void fill(struct intake *in, struct parcel *p, const void *connection,
	const struct commit_offer *offers)
{
	uint32_t number = atomic_fetch_add(&in->numbers, p->count);
	uint32_t shards = in->core->shards;

	for (uint32_t i = 0; i < p->count; i++) {
		const struct commit_request *r = offers[i].request;
		struct entry *e = &p->entries[i];

		e->id = r->message.id;
		e->ticket = offers[i].ticket;
		e->number = number + i;
		e->token = token_of(in, e->number);
		e->claim = r->claim;
		e->shard = (uint16_t)(r->claim ? claim_shard(&e->id, shards)
					       : claim_shard_of_topic(r->message.topic, shards));
		encode(in, e, r, connection);
	}
}

static void post(struct intake *in, struct parcel *p)
{
	bool was_empty;

	pthread_mutex_lock(&in->lock);
	was_empty = in->inbox == NULL;
	if (was_empty)
		in->inbox = p;
	else
		in->inbox_last->next = p;
	in->inbox_last = p;
	pthread_mutex_unlock(&in->lock);
	if (was_empty)
		loop_post(in->core->loop, in->task);
}

struct parcel *intake_parcel(uint32_t n)
{
	struct parcel *p = mem_new(sizeof(*p) + n * sizeof(struct entry));

	p->left = p->count = n;
	for (uint32_t i = 0; i < n; i++)
		p->entries[i].parcel = p;
	return p;
}

void intake_number(struct intake *in, struct parcel *p)
{
	uint32_t number = atomic_fetch_add(&in->numbers, p->count);

	for (uint32_t i = 0; i < p->count; i++) {
		p->entries[i].number = number + i;
		p->entries[i].token = token_of(in, number + i);
	}
}

int intake_offer(void *context, struct commit_port *port, const void *connection,
	const struct commit_offer *offers, uint32_t n)
{
	struct intake *in = context;
	unsigned number = commit_port_number(port);
	struct parcel *p;
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		size_t one = bytes_of(in, offers[i].request);

		if (one > JOURNAL_PACKET_LARGEST)
			return ERR_TOO_LARGE;
		bytes += one;
	}
	if (!take_bytes(in, bytes))
		return ERR_HELD;
	if (in->previous[number] == NULL)
		in->previous[number] = previous_new();
	p = intake_parcel(n);
	p->port = port;
	p->bytes = bytes;
	buf_reserve(&p->records, bytes - n * sizeof(struct entry));
	fill(in, p, connection, offers);
	post(in, p);
	return 0;
}

/* --- on the loop ---------------------------------------------------------------- */

struct parcel *intake_take(struct intake *in)
{
	struct parcel *p;

	pthread_mutex_lock(&in->lock);
	p = in->inbox;
	in->inbox = in->inbox_last = NULL;
	pthread_mutex_unlock(&in->lock);
	return p;
}

void intake_drop(struct intake *in, struct entry *e)
{
	struct parcel *p = e->parcel;

	if (--p->left)
		return;
	atomic_fetch_sub(&in->bytes, p->bytes);
	buf_fini(&p->records);
	free(p);
}

void intake_settle(struct intake *in)
{
	if (!atomic_load(&in->refused) || atomic_load(&in->bytes) > BYTES_MOST / 2)
		return;
	atomic_store(&in->refused, false);
	commit_log_ready(in->core->commit);
}

/* --- life ---------------------------------------------------------------------------- */

static uint32_t seed_of(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}

struct intake *intake_new(const struct cluster_core *core, struct task *task)
{
	struct intake *in = mem_new(sizeof(*in));

	in->core = core;
	in->task = task;
	in->source = mem_printf("%s/0", core->name);
	in->seed = seed_of(core->name);
	pthread_mutex_init(&in->lock, NULL);
	return in;
}

void intake_free(struct intake *in)
{
	for (unsigned i = 0; i < PORTS; i++)
		previous_free(in->previous[i]);
	pthread_mutex_destroy(&in->lock);
	free(in->source);
	free(in);
}

uint64_t intake_bytes(const struct intake *in)
{
	return atomic_load(&in->bytes);
}
