/* cluster/members.c - beats, leases, and what follows from them
 *
 * Three requests, each under way once at most: the beat, reading all leases, swapping some. Whatever
 * they bring may change what is to be done, so each ends in decide(), which looks at all sources when
 * something has changed and at none when nothing has.
 */
#include "cluster/members.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cluster/beat_script.h"  /* made of beat.lua by tools/embed.awk */
#include "cluster/lease_script.h" /* made of lease.lua */
#include "cluster/leases.h"
#include "cluster/redis.h"

#define NODES_KEY "{isobar}:nodes"
#define LEASES_KEY "{isobar}:leases"
#define LIMIT_MS 2000u       /* of a request; the next beat asks again */
#define LEAVING_BEAT_MS 200u /* who leaves wants to know whether others have taken over */
#define SETTLED_MS 2000u     /* so long nobody came or went: what the living hold may be taken */
#define SWAPS_A_CALL 4096u
#define NAME_TAKEN_LOG_MS 10000u

const char *const members_scripts[MEMBERS_SCRIPTS] = {beat_lua, lease_lua};

/* A lease that has been asked for. */
struct member_swap {
	uint32_t source; /* in the list; UINT32_MAX: not configured here */
	uint32_t slot;
};

struct members {
	struct members_config config;
	char *run;
	uint16_t redis_slot;
	char beat_sha[REDIS_SHA_BYTES];
	char lease_sha[REDIS_SHA_BYTES];
	struct timer timer;
	struct nodes nodes;

	struct redis_request beat;
	bool beating;
	uint64_t beats;
	struct buf field; /* as sent last */
	uint64_t figures[NODE_FIGURES];
	bool has_name;
	bool take_name; /* who had it is dead */
	struct log_limit name_log;

	struct redis_request read;
	bool reading;
	int64_t version;      /* of the leases that are known; -1: to be read */
	int64_t read_version; /* of the reading under way */

	struct redis_request swap;
	bool swapping;
	struct member_swap swaps[SWAPS_A_CALL];
	uint32_t swap_count;
	struct buf swap_words; /* their arguments, before the command is made */

	struct lease_table leases; /* one row a source */
	bool due;                  /* decide() has to look at all of them */
	bool unsettled;

	pthread_mutex_t lock; /* of these three */
	char **names;
	uint32_t name_count;
	bool has_names;
	struct task task;

	bool leaving;
	uint64_t leave_by_ms;
	bool gone; /* the last words have been sent */
	void (*on_left)(void *context);
};

static void decide(struct members *m, bool may_ask);
static void send_read(struct members *m);
static void check_left(struct members *m);

/* --- the beat --------------------------------------------------------------- */

static void say_field(struct members *m)
{
	buf_clear(&m->field);
	node_say(&m->field, &(struct node_words){.start = m->config.start,
				    .beat = ++m->beats,
				    .draining = m->leaving,
				    .left = m->gone,
				    .roles = m->config.roles,
				    .version = m->config.version,
				    .advertise = m->config.advertise,
				    .figures = m->config.on_figures ? m->figures : NULL});
}

static void put_forgotten(struct members *m, struct buf *b, uint32_t n)
{
	uint64_t now = loop_now_ms(m->config.loop);

	for (uint32_t i = 0; i < m->nodes.count && n; i++) {
		const struct node *node = &m->nodes.list[i];

		if (now - node->changed_ms < NODE_FORGET_MS)
			continue;
		resp_bytes(b, view_of(node->name));
		resp_bytes(b, view_of(node->field));
		n--;
	}
}

static uint32_t count_forgotten(const struct members *m)
{
	uint64_t now = loop_now_ms(m->config.loop);
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->nodes.count; i++)
		n += now - m->nodes.list[i].changed_ms >= NODE_FORGET_MS;
	return n;
}

/* Before the first look nothing is written: another run may have the name. */
static void put_beat(struct members *m, struct buf *b, uint32_t forgotten)
{
	char start[20];

	say_field(m);
	snprintf(start, sizeof(start), "%016" PRIx64, m->config.start);
	buf_clear(b);
	resp_begin(b, 9 + 2 * forgotten);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(m->beat_sha));
	resp_number(b, 2);
	resp_bytes(b, VIEW(NODES_KEY));
	resp_bytes(b, VIEW(LEASES_KEY));
	resp_bytes(b, view_of(m->config.node));
	resp_bytes(b, view_of(start));
	resp_bytes(b, m->nodes.taken_ms ? buf_view(&m->field) : VIEW(""));
	resp_bytes(b, m->take_name ? VIEW("1") : VIEW("0"));
	put_forgotten(m, b, forgotten);
}

static void send_beat(struct members *m)
{
	if (m->beating || m->gone)
		return;
	put_beat(m, &m->beat.command, count_forgotten(m));
	m->beating = redis_submit(m->config.redis, m->redis_slot, &m->beat) == 0;
}

static void look_at_own_name(struct members *m)
{
	const struct node *own = nodes_find(&m->nodes, view_of(m->config.node));
	bool had = m->has_name;
	uint64_t skipped;

	m->has_name = own && own->start == m->config.start;
	m->take_name = own && !m->has_name && !own->alive;
	if (had != m->has_name) {
		m->due = true;
		if (m->has_name)
			log_info("cluster", "joined", "node=%s nodes=%u", m->config.node,
				m->nodes.count);
	}
	/* After a crash the run before looks alive for some seconds. */
	if (own && !m->has_name && own->alive && own->beat > 1 &&
		m->beats * NODE_BEAT_MS > 2 * (uint64_t)NODE_SILENT_MS &&
		log_allowed(&m->name_log, loop_now_ms(m->config.loop), NAME_TAKEN_LOG_MS, &skipped))
		log_error("cluster", "name_taken",
			"node=%s another running Isobar has this name: set cluster.node to "
			"another one; until then this one holds no source",
			m->config.node);
}

static void on_beat_reply(struct redis_request *q, const struct resp *reply)
{
	struct members *m = container_of(q, struct members, beat);
	const struct resp *fields = resp_item(reply, 0, RESP_ARRAY);
	const struct resp *version = resp_item(reply, 1, RESP_INTEGER);
	uint64_t now = loop_now_ms(m->config.loop);
	bool changed;

	if (fields == NULL || version == NULL)
		return;
	changed = nodes_take(&m->nodes, fields, now);
	if (changed)
		m->due = m->unsettled = true;
	if (m->config.on_nodes)
		m->config.on_nodes(m->config.context, &m->nodes, changed);
	look_at_own_name(m);
	if (version->integer != m->version) {
		m->version = version->integer;
		send_read(m);
	}
}

static void on_beat_done(struct redis_request *q, int err)
{
	struct members *m = container_of(q, struct members, beat);

	m->beating = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err == 0 && m->beats == 1)
		send_beat(m);
	else
		decide(m, err == 0);
}

static void on_time(struct timer *t)
{
	struct members *m = container_of(t, struct members, timer);

	timer_start(m->config.loop, &m->timer, m->leaving ? LEAVING_BEAT_MS : NODE_BEAT_MS);
	if (m->config.on_figures)
		m->config.on_figures(m->config.context, m->figures);
	if (m->leaving)
		check_left(m); /* before a beat is under way */
	send_beat(m);
}

/* --- leases, as they are ------------------------------------------------------ */

static void add_swap(struct members *m, struct member_swap swap, struct view lease,
	struct view from, struct view to)
{
	resp_bytes(&m->swap_words, lease);
	resp_bytes(&m->swap_words, from);
	resp_bytes(&m->swap_words, to);
	m->swaps[m->swap_count++] = swap;
}

/* A source that was taken out of the configuration is nobody's. */
static void release_left(struct members *m, struct view left)
{
	while (left.n && !m->swapping && m->swap_count < SWAPS_A_CALL) {
		struct view lease = view_cut(&left, '\0');

		add_swap(m, (struct member_swap){UINT32_MAX, 0}, lease, view_of(m->run), VIEW(""));
	}
}

static void on_read_reply(struct redis_request *q, const struct resp *reply)
{
	struct members *m = container_of(q, struct members, read);
	struct buf left = {0};

	if (lease_table_take(&m->leases, reply, view_of(m->run), &left)) {
		release_left(m, buf_view(&left));
		m->read_version = m->version;
		m->due = true;
	}
	buf_fini(&left);
}

static void on_read_done(struct redis_request *q, int err)
{
	struct members *m = container_of(q, struct members, read);

	m->reading = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err < 0 || m->read_version != m->version)
		m->version = -1; /* again with the next beat */
	decide(m, err == 0);
}

static void send_read(struct members *m)
{
	struct buf *b = &m->read.command;

	if (m->reading)
		return;
	buf_clear(b);
	resp_words(b, "HGETALL " LEASES_KEY);
	m->reading = redis_submit(m->config.redis, m->redis_slot, &m->read) == 0;
}

/* --- leases, as they are to be -------------------------------------------------- */

static void on_swap_reply(struct redis_request *q, const struct resp *reply)
{
	struct members *m = container_of(q, struct members, swap);

	for (uint32_t i = 0; i < m->swap_count; i++) {
		const struct resp *run = resp_item(reply, i, RESP_STRING);

		if (run && m->swaps[i].source < m->leases.count)
			lease_set(&m->leases.rows[m->swaps[i].source], m->swaps[i].slot, run->text);
	}
	m->due = true;
}

static void on_swap_done(struct redis_request *q, int err)
{
	struct members *m = container_of(q, struct members, swap);

	m->swapping = false;
	m->swap_count = 0;
	buf_clear(&m->swap_words);
	if (err == ERR_SHUTDOWN)
		return;
	if (err < 0)
		m->version = -1; /* what was swapped is not known */
	if (!m->gone) {
		decide(m, false);
		return;
	}
	timer_stop(m->config.loop, &m->timer);
	m->on_left(m->config.context);
}

static void send_swaps(struct members *m)
{
	struct buf *b = &m->swap.command;

	if (m->swapping || m->swap_count == 0)
		return;
	buf_clear(b);
	resp_begin(b, 4 + 3 * m->swap_count);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(m->lease_sha));
	resp_number(b, 1);
	resp_bytes(b, VIEW(LEASES_KEY));
	buf_append(b, buf_bytes(&m->swap_words), buf_length(&m->swap_words));
	m->swapping = redis_submit(m->config.redis, m->redis_slot, &m->swap) == 0;
}

static void ask_swap(struct members *m, uint32_t i, uint32_t slot, bool release)
{
	struct lease_row *s = &m->leases.rows[i];
	struct buf lease = {0};

	if (m->swapping || m->swap_count == SWAPS_A_CALL)
		return;
	lease_name(&lease, s, slot);
	add_swap(m, (struct member_swap){i, slot}, buf_view(&lease), view_of(s->leases.run[slot]),
		release ? VIEW("") : view_of(m->run));
	buf_fini(&lease);
}

/* --- deciding --------------------------------------------------------------------- */

static void decide_one(
	struct members *m, const struct holder_terms *terms, uint32_t i, bool may_ask)
{
	struct lease_row *s = &m->leases.rows[i];
	struct holder_step step = {.slot = HOLDER_NONE, .swap = HOLDER_NONE};

	if (m->has_name)
		holder_decide(terms, s->name, &s->leases, &step);
	if (step.swap != HOLDER_NONE) {
		m->due = true; /* until it is as it should be */
		if (may_ask)
			ask_swap(m, i, step.swap, step.release);
	}
	if (s->slot == step.slot && s->voice == step.voice)
		return;
	s->slot = step.slot;
	s->voice = step.voice;
	m->config.on_holding(m->config.context, s->name, s->slot, s->voice);
}

static void look_at_all(struct members *m, bool may_ask)
{
	uint64_t now = loop_now_ms(m->config.loop);
	struct holder_terms terms = {.nodes = &m->nodes,
		.node = m->config.node,
		.run = m->run,
		.replicas = m->config.replicas,
		.settled = now - m->nodes.settled_ms >= SETTLED_MS};

	m->due = false;
	for (uint32_t i = 0; i < m->leases.count; i++)
		decide_one(m, &terms, i, may_ask);
	if (terms.settled)
		m->unsettled = false;
	send_swaps(m);
}

/* Swaps are asked for once a beat, so that nodes that see the others differently do not take leases
 * from each other in a fast circle. */
static void decide(struct members *m, bool may_ask)
{
	bool settled = loop_now_ms(m->config.loop) - m->nodes.settled_ms >= SETTLED_MS;

	if (m->gone || m->nodes.taken_ms == 0 || m->version < 0 || m->reading)
		return;
	if (m->due || (m->unsettled && settled))
		look_at_all(m, may_ask);
	if (m->leaving)
		check_left(m);
}

/* --- leaving ------------------------------------------------------------------------ */

static bool others_hold_sources(const struct members *m)
{
	for (uint32_t i = 0; i < m->nodes.count; i++) {
		if (node_serves(&m->nodes.list[i], NODE_SOURCES) &&
			strcmp(m->nodes.list[i].name, m->config.node) != 0)
			return true;
	}
	return false;
}

static uint32_t count_held(const struct members *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->leases.count; i++)
		n += m->leases.rows[i].slot != HOLDER_NONE;
	return n;
}

/* So that nobody waits for a sign of life of this node. */
static void send_last_words(struct members *m)
{
	m->gone = true;
	put_beat(m, &m->swap.command, 0);
	if (redis_submit(m->config.redis, m->redis_slot, &m->swap) < 0)
		on_swap_done(&m->swap, 0);
}

/* Before that nothing is owed to anybody. */
static bool is_known_to_leave(const struct members *m)
{
	const struct node *own = nodes_find(&m->nodes, view_of(m->config.node));

	return own && own->draining;
}

/* Leases that nobody took need no release: their run is not alive any more. */
static void check_left(struct members *m)
{
	bool owes = m->config.owes && m->config.owes(m->config.context);
	bool waits = (!is_known_to_leave(m) || owes || (others_hold_sources(m) && count_held(m))) &&
		     m->has_name;
	bool is_late = loop_now_ms(m->config.loop) >= m->leave_by_ms;
	bool is_busy = m->beating || m->swapping || m->reading;

	if (m->gone || (!is_late && (waits || is_busy)))
		return;
	if (!is_busy) {
		send_last_words(m);
		return;
	}
	m->gone = true;
	m->on_left(m->config.context);
}

void members_leave(struct members *m, uint64_t limit_ms, void (*on_left)(void *context))
{
	m->leaving = true;
	m->leave_by_ms = loop_now_ms(m->config.loop) + limit_ms;
	m->on_left = on_left;
	on_time(&m->timer);
}

bool members_is_cut_off(const struct members *m)
{
	return m->beats && loop_now_ms(m->config.loop) - m->nodes.taken_ms >= NODE_SILENT_MS;
}

const struct nodes *members_nodes(const struct members *m)
{
	return &m->nodes;
}

bool members_has_run(const struct members *m, struct view run)
{
	return nodes_by_run(&m->nodes, run) != NULL;
}

bool members_may_have_run(const struct members *m, struct view run)
{
	return nodes_may_have_run(&m->nodes, run);
}

/* --- the list of sources ---------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* On the loop. What is known of those that stay is kept; the leases of the new ones are read. */
static void take_names(struct task *t)
{
	struct members *m = container_of(t, struct members, task);
	char **names;
	uint32_t n;

	pthread_mutex_lock(&m->lock);
	names = m->names;
	n = m->name_count;
	m->names = NULL;
	m->has_names = false;
	pthread_mutex_unlock(&m->lock);
	lease_table_set(&m->leases, names, n);
	free(names);
	for (uint32_t i = 0; i < m->swap_count; i++)
		m->swaps[i].source = UINT32_MAX;
	m->version = -1;
	send_beat(m);
}

void members_set_sources(struct members *m, const char *const *names, uint32_t n)
{
	bool post;

	pthread_mutex_lock(&m->lock);
	post = !m->has_names;
	for (uint32_t i = 0; m->names && i < m->name_count; i++)
		free(m->names[i]);
	free(m->names);
	m->names = mem_new((n + 1) * sizeof(*m->names));
	for (uint32_t i = 0; i < n; i++)
		m->names[i] = mem_text(names[i]);
	qsort(m->names, n, sizeof(*m->names), by_text);
	m->name_count = n;
	m->has_names = true;
	pthread_mutex_unlock(&m->lock);
	if (post)
		loop_post(m->config.loop, &m->task);
}

/* --- life --------------------------------------------------------------------------------- */

static void request_init(struct redis_request *q,
	void (*on_reply)(struct redis_request *q, const struct resp *reply),
	void (*on_done)(struct redis_request *q, int err))
{
	q->on_reply = on_reply;
	q->on_done = on_done;
	q->limit_ms = LIMIT_MS;
	q->repeatable = true;
}

struct members *members_new(const struct members_config *config)
{
	struct members *m = mem_new(sizeof(*m));
	struct buf run = {0};

	m->config = *config;
	m->config.node = mem_text(config->node);
	m->config.version = mem_text(config->version);
	m->config.advertise = mem_text(config->advertise);
	node_run(&run, config->node, config->start);
	m->run = mem_text_of(buf_view(&run));
	buf_fini(&run);
	m->redis_slot = slot_of(VIEW(NODES_KEY));
	redis_script_sha(beat_lua, m->beat_sha);
	redis_script_sha(lease_lua, m->lease_sha);
	request_init(&m->beat, on_beat_reply, on_beat_done);
	request_init(&m->read, on_read_reply, on_read_done);
	request_init(&m->swap, on_swap_reply, on_swap_done);
	m->version = -1;
	m->timer.on_time = on_time;
	m->task.run = take_names;
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

void members_begin(struct members *m)
{
	timer_start(m->config.loop, &m->timer, 1);
}

void members_free(struct members *m)
{
	if (m == NULL)
		return;
	timer_stop(m->config.loop, &m->timer);
	lease_table_fini(&m->leases);
	for (uint32_t i = 0; m->names && i < m->name_count; i++)
		free(m->names[i]);
	free(m->names);
	nodes_fini(&m->nodes);
	buf_fini(&m->beat.command);
	buf_fini(&m->read.command);
	buf_fini(&m->swap.command);
	buf_fini(&m->swap_words);
	buf_fini(&m->field);
	free(m->run);
	free((char *)m->config.node);
	free((char *)m->config.version);
	free((char *)m->config.advertise);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
