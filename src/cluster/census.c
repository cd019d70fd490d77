/* cluster/census.c - asks each master who its replicas are, and whether it drops what it should keep
 *
 * A round: each master is asked at the slot of its first shard and speaks for all shards that it holds. One
 * that does not answer holds up nobody: a shard that still waits is left out, and when the map has
 * another master for the rest of its shards, that one is asked at the slot of the next.
 */
#include "cluster/census.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/core.h"
#include "cluster/stream.h"

#define LIMIT_MS 1000u /* of one question */
#define HURRY_MS 100u  /* between two rounds at least */
#define MEMORY_EVERY_MS 5000u

/* Of a shard. */
struct standing {
	struct census *census;
	struct redis_request request;
	bool is_under_way;
	uint32_t asked_in; /* the last round in which it was */
	uint64_t at_ms;    /* when its master last said so; 0: never */
	uint8_t needed;
	struct redis_request memory;
	bool is_memory_under_way;
	uint64_t memory_asked_ms;
	bool evicts; /* its master does */
};

struct census {
	struct cluster_core *core;
	struct timer timer;
	uint32_t round;
	bool is_short;    /* told in the log */
	bool is_evicting; /* the same */
	struct standing shards[SHARDS_MOST];
};

/* --- what an answer means ------------------------------------------------ */

static void on_reply(struct redis_request *q, const struct resp *reply)
{
	struct census *c = container_of(q, struct standing, request)->census;
	struct replica_census r;

	if (reply->type != RESP_STRING)
		return;
	for (uint32_t i = 0; i < c->core->shards; i++) {
		struct standing *s = &c->shards[i];

		if (replica_census_of(reply->text, claim_slot(i), &r) < 0)
			return;
		if (!r.of_itself || r.master_failed)
			continue;
		s->needed = replicas_needed(&r, c->core->settings->acknowledge);
		s->at_ms = loop_now_ms(c->core->loop);
	}
}

static void on_memory(struct redis_request *q, const struct resp *reply)
{
	struct standing *asked = container_of(q, struct standing, memory);
	struct census *c = asked->census;
	struct view most = info_value(reply, VIEW("maxmemory:"));
	struct view policy = info_value(reply, VIEW("maxmemory_policy:"));
	uint16_t slot = claim_slot((uint32_t)(asked - c->shards));

	if (policy.n == 0)
		return;
	for (uint32_t i = 0; i < c->core->shards; i++) {
		/* Without a bound it is never full. */
		if (redis_share_master(c->core->redis, claim_slot(i), slot))
			c->shards[i].evicts = !view_equal(most, VIEW("0")) &&
					      !view_equal(policy, VIEW("noeviction"));
	}
}

/* --- rounds --------------------------------------------------------------- */

static void tell_change(struct census *c)
{
	uint32_t n = census_short(c);

	if (c->is_short == (n > 0))
		return;
	c->is_short = n > 0;
	if (n)
		log_warn("cluster", "replicas_missing",
			"shards=%u replicas that are missing have failed, by agreement, or were "
			"never there: messages count without them",
			n);
	else
		log_info("cluster", "replicas_back", "messages count with acknowledge=%u again",
			c->core->settings->acknowledge);
}

static void tell_eviction(struct census *c)
{
	uint32_t n = census_evicting(c);

	if (c->is_evicting == (n > 0))
		return;
	c->is_evicting = n > 0;
	if (n)
		log_warn("cluster", "redis_evicts",
			"shards=%u what Redis drops when it is full is published again: "
			"maxmemory-policy noeviction is right",
			n);
	else
		log_info("cluster", "redis_evicts_nothing", "maxmemory-policy is noeviction");
}

/* Has the master of this shard been asked in this round? */
static bool is_asked(const struct census *c, uint32_t shard)
{
	for (uint32_t i = 0; i < shard; i++)
		if (c->shards[i].asked_in == c->round &&
			redis_share_master(c->core->redis, claim_slot(i), claim_slot(shard)))
			return true;
	return false;
}

static void ask_memory(struct standing *s)
{
	struct cluster_core *core = s->census->core;
	uint64_t now = loop_now_ms(core->loop);

	if (s->is_memory_under_way ||
		(s->memory_asked_ms && now - s->memory_asked_ms < MEMORY_EVERY_MS))
		return;
	s->memory_asked_ms = now;
	s->is_memory_under_way =
		redis_submit(core->redis, claim_slot((uint32_t)(s - s->census->shards)),
			&s->memory) == 0;
}

static void begin_round(struct census *c)
{
	c->round++;
	for (uint32_t i = 0; i < c->core->shards; i++) {
		struct standing *s = &c->shards[i];

		if (s->is_under_way || is_asked(c, i))
			continue;
		s->is_under_way = redis_submit(c->core->redis, claim_slot(i), &s->request) == 0;
		s->asked_in = s->is_under_way ? c->round : 0;
		ask_memory(s);
	}
	timer_start(c->core->loop, &c->timer, CENSUS_EVERY_MS);
}

static void on_done(struct redis_request *q, int err)
{
	struct standing *s = container_of(q, struct standing, request);

	s->is_under_way = false;
	if (err != ERR_SHUTDOWN)
		tell_change(s->census);
}

static void on_memory_done(struct redis_request *q, int err)
{
	struct standing *s = container_of(q, struct standing, memory);

	s->is_memory_under_way = false;
	if (err != ERR_SHUTDOWN)
		tell_eviction(s->census);
}

static void on_time(struct timer *t)
{
	struct census *c = container_of(t, struct census, timer);

	tell_change(c); /* what was said may be too old now */
	begin_round(c);
}

/* --- public --------------------------------------------------------------- */

static void prepare(struct redis_request *q, const char *words)
{
	q->repeatable = true;
	q->limit_ms = LIMIT_MS;
	resp_words(&q->command, words);
}

struct census *census_new(struct cluster_core *core)
{
	struct census *c = mem_new(sizeof(*c));

	c->core = core;
	c->timer.on_time = on_time;
	for (uint32_t i = 0; i < core->shards; i++) {
		struct standing *s = &c->shards[i];

		s->census = c;
		s->request.on_reply = on_reply;
		s->request.on_done = on_done;
		prepare(&s->request, "CLUSTER NODES");
		s->memory.on_reply = on_memory;
		s->memory.on_done = on_memory_done;
		prepare(&s->memory, "INFO memory");
	}
	return c;
}

void census_begin(struct census *c)
{
	begin_round(c);
}

void census_free(struct census *c)
{
	for (uint32_t i = 0; i < c->core->shards; i++) {
		buf_fini(&c->shards[i].request.command);
		buf_fini(&c->shards[i].memory.command);
	}
	free(c);
}

static bool is_fresh(const struct census *c, uint32_t shard)
{
	uint64_t at_ms = c->shards[shard].at_ms;

	return at_ms && loop_now_ms(c->core->loop) - at_ms <= CENSUS_OLD_MS;
}

uint8_t census_needed(const struct census *c, uint32_t shard)
{
	return is_fresh(c, shard) ? c->shards[shard].needed : c->core->settings->acknowledge;
}

uint8_t census_needed_at(const struct census *c, uint16_t slot)
{
	for (uint32_t i = 0; i < c->core->shards; i++)
		if (redis_share_master(c->core->redis, claim_slot(i), slot))
			return census_needed(c, i);
	return c->core->settings->acknowledge;
}

void census_hurry(struct census *c)
{
	if (c->timer.place && c->timer.due_ms > loop_now_ms(c->core->loop) + HURRY_MS)
		timer_start(c->core->loop, &c->timer, HURRY_MS);
}

uint32_t census_short(const struct census *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->core->shards; i++)
		n += census_needed(c, i) < c->core->settings->acknowledge;
	return n;
}

uint32_t census_silent(const struct census *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->core->shards; i++)
		n += !is_fresh(c, i);
	return n;
}

uint32_t census_evicting(const struct census *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->core->shards; i++)
		n += c->shards[i].evicts;
	return n;
}
