/* cluster/redis.c - the client: lanes by slot, passes, the map, time
 *
 * Nothing is sent by redis_submit(): at the end of the turn a *pass* goes over the lanes that have
 * something to send, so that what came together leaves together, with one WAIT behind it. Whatever
 * may let a lane go on (a reply, a connection, a new map, time) asks for a pass.
 */
#include "cluster/redis.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "cluster/fault.h"
#include "cluster/internal.h"
#include "net/tls.h"

#define TICK_MS 20u        /* while something is not done, or the map has holes */
#define TICK_IDLE_MS 1000u /* else */
#define MAP_LEAST_MS 100u  /* between two questions for the map */
#define FAULT_AGE_MS \
	5000u /* what is to be mended is said again by then: everything is tried again */
#define FAULT_LOG_MS 10000u
#define MAP_AGE_MS 30000u /* asked anew at this age: replicas come and go without a word */

/* --- small things ------------------------------------------------------------- */

const char *redis_state_text(enum redis_state state)
{
	static const char *const texts[] = {
		[REDIS_SEARCHING] = "searching",
		[REDIS_PARTIAL] = "partial",
		[REDIS_WHOLE] = "whole",
	};

	return texts[state];
}

uint32_t redis_chance(struct redis *r)
{
	/* xorshift64: pauses that differ between nodes need no better */
	r->chance ^= r->chance << 13;
	r->chance ^= r->chance >> 7;
	r->chance ^= r->chance << 17;
	return (uint32_t)(r->chance >> 32);
}

bool redis_share_master(const struct redis *r, uint16_t a, uint16_t b)
{
	return r->masters[a] && r->masters[a] == r->masters[b];
}

void redis_script_sha(const char *script, char out[REDIS_SHA_BYTES])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	check(EVP_Digest(script, strlen(script), digest, &n, EVP_sha1(), NULL) == 1);
	for (unsigned i = 0; i < n; i++)
		snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
}

const struct redis_figures *redis_figures(const struct redis *r)
{
	return &r->figures;
}

void redis_later(struct redis *r)
{
	loop_defer(r->config.loop, &r->pass);
}

void redis_want_map(struct redis *r)
{
	r->map_wanted = true;
	redis_later(r);
}

void redis_finish(struct redis *r, struct redis_request *q, int err)
{
	r->outstanding--;
	r->bytes -= buf_length(&q->command);
	count_add(err ? &r->figures.failed : &r->figures.answered, 1);
	if (err)
		q->unknown = q->unknown || err == ERR_CLOSED;
	q->on_done(q, err);
}

struct link *redis_any_link(struct redis *r)
{
	struct link *found = NULL;
	uint32_t seen = 0;

	for (struct list *at = r->links.next; at != &r->links; at = at->next) {
		struct link *l = container_of(at, struct link, in_redis);

		if (l->state == LINK_READY && !l->own && !l->is_silent &&
			redis_chance(r) % ++seen == 0)
			found = l;
	}
	return found;
}

/* --- what is to be mended ------------------------------------------------------- */

void redis_note_fault(struct redis *r, struct view error)
{
	const char *text = fault_text(error);

	if (text == NULL)
		return;
	r->fault = text;
	r->fault_at_ms = loop_now_ms(r->config.loop);
}

void redis_tell_fault(struct redis *r, const struct redis_node *node, struct view error)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	redis_note_fault(r, error);
	if (fault_text(error) &&
		log_allowed(&r->fault_log, loop_now_ms(r->config.loop), FAULT_LOG_MS, &skipped))
		log_warn("cluster", "redis_refused", "node=%s why=%s others=%llu", node->name,
			log_quote(error.p, error.n, quoted), (unsigned long long)skipped);
}

const char *redis_fault(const struct redis *r)
{
	bool is_old = loop_now_ms(r->config.loop) - r->fault_at_ms > FAULT_AGE_MS;

	return is_old ? NULL : r->fault;
}

/* --- the map of slots ----------------------------------------------------------- */

void redis_on_map(struct link *l, const struct resp *reply)
{
	struct redis *r = l->redis;

	if (r->map_link != l)
		return; /* another has been asked meanwhile: this one stood still */
	r->map_link = NULL;
	if (reply == NULL || reply->type != RESP_ARRAY || reply->count == 0) {
		r->map_wanted = true;
		if (reply && reply->type == RESP_ERROR)
			redis_tell_fault(r, l->node, reply->text);
		else if (reply)
			redis_tell_fault(r, l->node, VIEW("no slots are assigned"));
		return;
	}
	map_apply(r, reply, l->node);
	redis_later(r);
}

static void connect_seeds(struct redis *r)
{
	struct redis_node *node;

	for (size_t at = 0; (node = map_next(&r->nodes, &at)) != NULL;)
		if (node->seed)
			map_link(r, node, 0);
}

static void ask_for_map(struct redis *r, uint64_t now_ms)
{
	bool holes = count_read(&r->figures.state) != REDIS_WHOLE;
	uint64_t pause_ms = r->map_wanted || holes ? MAP_LEAST_MS : MAP_AGE_MS;
	struct link *l;

	if (now_ms - r->map_at_ms < (r->map_link ? SILENT_MS : pause_ms))
		return;
	l = redis_any_link(r);
	if (l == NULL) {
		connect_seeds(r);
		return;
	}
	if (conn_pending(&l->conn) || !list_is_empty(&l->map.link))
		return;
	r->map_link = l;
	r->map_wanted = false;
	r->map_at_ms = now_ms;
	link_ask_map(l);
}

/* --- passes ---------------------------------------------------------------------- */

/* A lane that was closed goes when nothing of it is under way. */
static void bury_closed(struct redis *r)
{
	struct list *next;

	for (struct list *at = r->own.next; at != &r->own; at = next) {
		struct redis_lane *lane = container_of(at, struct redis_lane, in_own);

		next = at->next;
		if (!lane->closed || lane->under_way)
			continue;
		list_remove(&lane->in_own);
		list_remove(&lane->in_busy);
		lane_fail(lane, ERR_SHUTDOWN);
		free(lane);
	}
}

static void pump_lanes(struct redis *r, uint64_t now_ms)
{
	struct list round;

	list_init(&round);
	list_splice(&round, &r->busy);
	while (!list_is_empty(&round)) {
		struct redis_lane *lane = container_of(round.next, struct redis_lane, in_busy);

		/* Back to its list first: the pump takes it out when nothing is left. */
		list_remove(&lane->in_busy);
		list_append(&r->busy, &lane->in_busy);
		if (!lane->closed && !lane_pump(lane, now_ms))
			r->map_wanted = true;
	}
}

static void set_tick(struct redis *r, uint64_t now_ms)
{
	bool busy = r->outstanding || r->map_wanted || count_read(&r->figures.state) != REDIS_WHOLE;
	uint64_t ms = busy ? TICK_MS : TICK_IDLE_MS;

	if (r->tick.place == 0 || r->tick.due_ms > now_ms + ms)
		timer_start(r->config.loop, &r->tick, ms);
}

static void on_pass(struct deferred *d)
{
	struct redis *r = container_of(d, struct redis, pass);
	uint64_t now_ms = loop_now_ms(r->config.loop);
	struct list *next;

	pump_lanes(r, now_ms);
	ask_for_map(r, now_ms);
	for (struct list *at = r->links.next; at != &r->links; at = next) {
		struct link *l = container_of(at, struct link, in_redis);

		next = at->next;
		link_reload(l);
		link_finish_pass(l);
	}
	bury_closed(r);
	set_tick(r, now_ms);
}

static void on_tick(struct timer *t)
{
	struct redis *r = container_of(t, struct redis, tick);
	uint64_t now_ms = loop_now_ms(r->config.loop);
	struct list round, *next;

	list_init(&round);
	list_splice(&round, &r->busy);
	while (!list_is_empty(&round)) {
		struct redis_lane *lane = container_of(round.next, struct redis_lane, in_busy);

		list_remove(&lane->in_busy);
		list_append(&r->busy, &lane->in_busy);
		lane_expire(lane, now_ms);
	}
	for (struct list *at = r->links.next; at != &r->links; at = next) {
		next = at->next;
		link_tick(container_of(at, struct link, in_redis), now_ms);
	}
	redis_later(r);
}

/* --- requests --------------------------------------------------------------------- */

static struct redis_lane *lane_of_slot(struct redis *r, uint16_t slot)
{
	if (slot == REDIS_ANY_SLOT)
		return &r->any;
	check(slot < SLOTS);
	if (r->lanes[slot] == NULL) {
		r->lanes[slot] = mem_new(sizeof(struct redis_lane));
		lane_init(r->lanes[slot], r, slot);
		r->lanes[slot]->line = r->lane_count++ % r->config.connections;
	}
	return r->lanes[slot];
}

int redis_submit(struct redis *r, uint16_t slot, struct redis_request *q)
{
	return lane_submit(lane_of_slot(r, slot), q);
}

struct redis_lane *redis_lane_open(struct redis *r, uint16_t slot, enum redis_route route)
{
	struct redis_lane *lane = mem_new(sizeof(*lane));

	check(slot < SLOTS);
	lane_init(lane, r, slot);
	lane->route = route;
	lane->own = true;
	list_append(&r->own, &lane->in_own);
	return lane;
}

void redis_lane_close(struct redis_lane *lane)
{
	lane->closed = true;
	if (lane->link)
		link_drop(lane->link);
	lane->link = NULL;
	redis_later(lane->redis);
}

int redis_lane_submit(struct redis_lane *lane, struct redis_request *q)
{
	return lane_submit(lane, q);
}

/* --- life --------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t usual)
{
	return value ? value : usual;
}

static void set_defaults(struct redis_config *c)
{
	c->connect_ms = or_default(c->connect_ms, 3000);
	c->answer_ms = or_default(c->answer_ms, 5000);
	c->wait_ms = or_default(c->wait_ms, 500);
	c->pause_most_ms = or_default(c->pause_most_ms, 2000);
	c->connections = or_default(c->connections, 8);
	check(c->connections <= REDIS_CONNECTIONS_MOST);
	c->requests_most = or_default(c->requests_most, 65536);
	c->bytes_most = c->bytes_most ? c->bytes_most : 64u << 20;
	if (c->tls)
		tls_ref(c->tls);
}

static void add_seeds(struct redis *r, const struct redis_config *config)
{
	for (uint32_t i = 0; i < config->seed_count; i++) {
		struct slot_node at = {view_of(config->seeds[i].host), config->seeds[i].port};
		struct redis_node *node = map_node(r, &at, NULL);

		if (node)
			node->seed = true;
	}
	r->config.seeds = NULL;
}

struct redis *redis_new(const struct redis_config *config)
{
	struct redis *r = mem_new(sizeof(*r));

	r->config = *config;
	set_defaults(&r->config);
	r->config.user = r->user = mem_text(config->user);
	r->config.password = r->password = mem_text(config->password);
	r->chance = map_seed() | 1;
	list_init(&r->links);
	list_init(&r->busy);
	list_init(&r->own);
	list_init(&r->pass.link);
	r->pass.run = on_pass;
	r->tick.on_time = on_tick;
	lane_init(&r->any, r, REDIS_ANY_SLOT);
	add_seeds(r, config);
	connect_seeds(r);
	r->map_wanted = true;
	redis_later(r);
	return r;
}

static void end_all(struct redis *r, struct list *requests)
{
	while (!list_is_empty(requests)) {
		struct redis_request *q = container_of(requests->next, struct redis_request, link);

		list_remove(&q->link);
		q->unknown = true;
		if (q->lane)
			redis_finish(r, q, ERR_SHUTDOWN);
	}
}

static void free_links(struct redis *r)
{
	while (!list_is_empty(&r->links)) {
		struct link *l = container_of(r->links.next, struct link, in_redis);

		end_all(r, &l->answered);
		end_all(r, &l->sent);
		link_free(l);
	}
}

static void free_lanes(struct redis *r)
{
	while (!list_is_empty(&r->own)) {
		struct redis_lane *lane = container_of(r->own.next, struct redis_lane, in_own);

		list_remove(&lane->in_own);
		lane_fail(lane, ERR_SHUTDOWN);
		free(lane);
	}
	lane_fail(&r->any, ERR_SHUTDOWN);
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (r->lanes[i])
			lane_fail(r->lanes[i], ERR_SHUTDOWN);
		free(r->lanes[i]);
	}
}

void redis_free(struct redis *r)
{
	struct redis_node *node;
	size_t at = 0;

	r->config.requests_most = 0; /* nothing more is taken */
	free_links(r);
	free_lanes(r);
	while ((node = map_next(&r->nodes, &at)) != NULL)
		free(node);
	map_fini(&r->nodes);
	timer_stop(r->config.loop, &r->tick);
	list_remove(&r->pass.link);
	if (r->config.tls)
		tls_unref(r->config.tls);
	free(r->user);
	free(r->password);
	free(r);
}
