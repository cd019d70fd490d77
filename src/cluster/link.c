/* cluster/link.c - one connection to one node of Redis
 *
 *	WAITING --> RESOLVING --> CONNECTING --> HELLO --> READY
 *	   ^            |              |           |         |
 *	   +------------+--------------+-----------+---------+   with a pause that doubles
 *
 * Redis answers in the order of asking, so what is under way is a queue: each reply belongs to its
 * oldest request. WAIT is a command of the connection, not of a request: one follows the last
 * request of a pass, and its reply settles everything answered before it. Redis does not read on
 * from a connection that waits, so at most WAITS_MOST are under way and requests that need one are
 * kept back until then: they make one larger group.
 */
#include "cluster/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/tls.h"

#define WAITS_MOST 2u
#define SEND_MOST (1u << 20) /* bytes that wait for the socket */
#define PAUSE_FIRST_MS 50u
#define IDLE_MS 5000u /* without a reply, then a PING */

static struct link *link_of(struct conn *c)
{
	return container_of(c, struct link, conn);
}

static uint64_t now_of(const struct link *l)
{
	return loop_now_ms(l->redis->config.loop);
}

/* --- states ---------------------------------------------------------------- */

#define TO(name) (1u << LINK_##name)

static const unsigned successors[LINK_STATE_COUNT] = {
	[LINK_WAITING] = TO(RESOLVING),
	[LINK_RESOLVING] = TO(CONNECTING) | TO(WAITING),
	[LINK_CONNECTING] = TO(HELLO) | TO(CLOSING) | TO(WAITING),
	[LINK_HELLO] = TO(READY) | TO(CLOSING) | TO(WAITING),
	[LINK_READY] = TO(CLOSING) | TO(WAITING),
	[LINK_CLOSING] = TO(WAITING),
};

static void enter(struct link *l, enum link_state state)
{
	count *links = &l->redis->figures.links;

	check(successors[l->state] >> state & 1);
	if (state == LINK_READY)
		count_add(links, 1);
	else if (l->state == LINK_READY)
		count_set(links, count_read(links) - 1);
	l->state = state;
	l->since_ms = now_of(l);
}

static const char *kind_of(const struct link *l)
{
	return l->read_only ? "replica" : l->own ? "own" : "shared";
}

/* What one lane alone waits for, and what is told already, is for those who look closely. */
static enum log_level level_of(const struct link *l, enum log_level shared)
{
	return l->own || l->quiet ? LOG_DEBUG : shared;
}

/* One line when it is lost or cannot be reached, and one when it is there again. */
static void tell_lost(struct link *l, bool was_ready, const char *why)
{
	enum log_level level = level_of(l, LOG_WARN);
	char text[LOG_QUOTE_BYTES];

	if (l->doomed || (l->told && !was_ready) || !log_enabled(level))
		return;
	l->told = true;
	log_event(level, "cluster", was_ready ? "redis_lost" : "redis_unreachable",
		"node=%s connection=%s why=%s", l->node->name, kind_of(l),
		log_quote(why, strlen(why), text));
}

static void tell_ready(struct link *l)
{
	enum log_level level = level_of(l, LOG_INFO);

	l->told = false;
	if (log_enabled(level))
		log_event(level, "cluster", "redis_connected", "node=%s connection=%s",
			l->node->name, kind_of(l));
}

/* Doubling, and anywhere between half and the whole of it. */
static uint64_t pause_ms(struct link *l)
{
	uint64_t pause = (uint64_t)PAUSE_FIRST_MS << (l->failures < 10 ? l->failures : 10);

	if (pause > l->redis->config.pause_most_ms)
		pause = l->redis->config.pause_most_ms;
	l->failures++;
	return pause / 2 + redis_chance(l->redis) % (uint32_t)(pause / 2 + 1);
}

static void wait_to_connect(struct link *l)
{
	timer_start(l->redis->config.loop, &l->again, pause_ms(l));
}

/* --- the end of a connection ------------------------------------------------ */

static struct redis_request *take_first(struct list *l)
{
	struct redis_request *q;

	if (list_is_empty(l))
		return NULL;
	q = container_of(l->next, struct redis_request, link);
	list_remove(&q->link);
	return q;
}

static void give_back(struct redis_request *q, bool was_answered)
{
	if (q->lane)
		lane_on_lost(q, was_answered);
	else if (q->on_done)
		q->on_done(q, ERR_CLOSED);
}

/* In the order in which they were sent: what is answered is older. */
static void give_all_back(struct link *l)
{
	struct redis_request *q;

	while ((q = take_first(&l->answered)) != NULL)
		give_back(q, true);
	while ((q = take_first(&l->sent)) != NULL)
		give_back(q, false);
	l->waits = 0;
	l->wait_for = 0;
	l->behind = 0;
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct link *l = link_of(c);
	struct redis *r = l->redis;
	bool was_ready = l->number != 0;

	(void)err;
	resp_reader_free(l->reader);
	l->reader = NULL;
	if (was_ready)
		count_add(&r->figures.lost, 1);
	tell_lost(l, was_ready, why);
	enter(l, LINK_WAITING);
	l->number = 0;
	l->is_silent = false;
	give_all_back(l);
	redis_want_map(r);
	if (l->doomed)
		link_free(l);
	else
		wait_to_connect(l);
}

static void close_link(struct link *l, int err, const char *why)
{
	enter(l, LINK_CLOSING);
	conn_close(&l->conn, err, why);
}

/* --- greeting: one reply to each of these ----------------------------------- */

static uint32_t say_auth(struct link *l, struct buf *b)
{
	const struct redis_config *c = &l->redis->config;

	if (c->password == NULL)
		return 0;
	resp_begin(b, c->user ? 3 : 2);
	resp_bytes(b, VIEW("AUTH"));
	if (c->user)
		resp_bytes(b, view_of(c->user));
	resp_bytes(b, view_of(c->password));
	return 1;
}

static uint32_t say_scripts(struct link *l, struct buf *b)
{
	const struct redis_config *c = &l->redis->config;

	for (uint32_t i = 0; i < c->script_count; i++) {
		resp_begin(b, 3);
		resp_bytes(b, VIEW("SCRIPT"));
		resp_bytes(b, VIEW("LOAD"));
		resp_bytes(b, view_of(c->scripts[i]));
	}
	return c->script_count;
}

static uint32_t say_how_to_read(struct link *l, struct buf *b)
{
	if (!l->read_only)
		return say_scripts(l, b);
	resp_words(b, "READONLY");
	return 1;
}

static void on_open(struct conn *c)
{
	struct link *l = link_of(c);
	struct buf *b = conn_out(c);

	enter(l, LINK_HELLO);
	l->hello_at = say_auth(l, b) + say_how_to_read(l, b) + 1;
	resp_words(b, "PING"); /* tells LOADING, and that a password is needed */
	conn_pushed(c);
}

static void on_hello(struct link *l, const struct resp *reply)
{
	if (reply->type == RESP_ERROR) {
		redis_note_fault(l->redis, reply->text);
		close_link(l, ERR_DENIED, reply->text.p);
		return;
	}
	if (--l->hello_at)
		return;
	enter(l, LINK_READY);
	l->failures = 0;
	l->number = ++l->redis->connections;
	tell_ready(l);
	redis_later(l->redis);
}

/* --- replies ------------------------------------------------------------------ */

/* Where the mark is refused, WAIT has waited for nothing. */
static void on_behind(struct link *l, const struct resp *reply)
{
	int64_t replicas = reply->type == RESP_INTEGER && l->is_marked ? reply->integer : -1;
	struct list settled;
	struct redis_request *q;

	l->is_marked = reply->type != RESP_ERROR;
	if (--l->behind)
		return;
	l->waits--;
	/* All that was answered so far was sent before this WAIT. */
	list_init(&settled);
	list_splice(&settled, &l->answered);
	while ((q = take_first(&settled)) != NULL)
		lane_settle(q, replicas);
}

static void on_answer(struct link *l, const struct resp *reply)
{
	struct redis_request *q;

	if (list_is_empty(&l->sent)) {
		close_link(l, ERR_PROTOCOL, "a reply that nobody asked for");
		return;
	}
	q = container_of(l->sent.next, struct redis_request, link);
	if (q->skip) {
		q->skip--;
		return;
	}
	list_remove(&q->link);
	l->behind = q->behind;
	q->behind = 0;
	if (q->lane)
		lane_on_reply(l, q, reply);
	else if (q->on_reply)
		q->on_reply(q, reply);
}

static void on_reply(struct link *l, const struct resp *reply)
{
	if (l->state == LINK_HELLO)
		on_hello(l, reply);
	else if (l->behind)
		on_behind(l, reply);
	else
		on_answer(l, reply);
}

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct link *l = link_of(c);
	const struct resp *reply;
	int err;

	/* In pieces, since hiredis moves what it has not read after each reply. */
	for (size_t at = 0, piece; at < n; at += piece) {
		piece = n - at < RESP_FEED_MOST ? n - at : RESP_FEED_MOST;
		resp_feed(l->reader, p + at, piece);
		while ((err = resp_next(l->reader, &reply)) > 0) {
			on_reply(l, reply);
			if (l->state == LINK_CLOSING)
				return (ssize_t)n;
		}
		if (err < 0)
			return err;
	}
	l->heard_ms = now_of(l);
	l->is_silent = false;
	redis_later(l->redis);
	return (ssize_t)n;
}

static void on_writable(struct conn *c)
{
	redis_later(link_of(c)->redis);
}

static const struct conn_handler handler = {on_open, on_bytes, on_writable, on_close};

/* --- connecting ----------------------------------------------------------------- */

static void failed(struct link *l, const char *why)
{
	tell_lost(l, false, why);
	enter(l, LINK_WAITING);
	wait_to_connect(l);
}

static void on_addresses(void *context, const struct address *addresses, int n, const char *why)
{
	struct link *l = context;
	struct redis *r = l->redis;
	struct tls_context *tls = r->config.tls;
	struct conn_options options = {0};
	int err;

	l->query = NULL;
	if (n == 0) {
		failed(l, why);
		return;
	}
	enter(l, LINK_CONNECTING);
	err = conn_open(&l->conn, r->config.loop, &addresses[l->failures % (unsigned)n], NULL, tls,
		tls ? l->node->host : NULL, &options, &handler);
	if (err < 0) {
		failed(l, err_text(err));
		return;
	}
	l->reader = resp_reader_new(REDIS_REPLY_LARGEST);
}

static void on_time(struct timer *t)
{
	struct link *l = container_of(t, struct link, again);
	struct redis_config *c = &l->redis->config;

	enter(l, LINK_RESOLVING);
	l->query =
		resolve_start(c->resolver, c->loop, l->node->host, l->node->port, on_addresses, l);
}

struct link *link_new(struct redis *r, struct redis_node *node, const struct redis_lane *own)
{
	struct link *l = mem_new(sizeof(*l));

	l->redis = r;
	l->node = node;
	l->own = own != NULL;
	l->read_only = own && own->route == REDIS_REPLICA;
	l->again.on_time = on_time;
	list_init(&l->sent);
	list_init(&l->answered);
	list_init(&l->ping.link);
	list_init(&l->load.link);
	list_init(&l->map.link);
	list_append(&r->links, &l->in_redis);
	timer_start(r->config.loop, &l->again, 0);
	return l;
}

void link_free(struct link *l)
{
	if (l->query)
		resolve_cancel(l->query);
	timer_stop(l->redis->config.loop, &l->again);
	if (l->state != LINK_WAITING && l->state != LINK_RESOLVING)
		conn_abort(&l->conn);
	if (l->state == LINK_READY)
		enter(l, LINK_WAITING);
	resp_reader_free(l->reader);
	list_remove(&l->in_redis);
	buf_fini(&l->ping.command);
	buf_fini(&l->load.command);
	buf_fini(&l->map.command);
	free(l);
}

void link_drop(struct link *l)
{
	l->doomed = true;
	if (l->state == LINK_WAITING || l->state == LINK_RESOLVING)
		link_free(l);
	else if (l->state != LINK_CLOSING)
		close_link(l, 0, "no longer needed");
}

/* --- sending ---------------------------------------------------------------------- */

static void push(struct link *l, struct redis_request *q)
{
	struct view command = buf_view(&q->command);

	conn_push(&l->conn, command.p, command.n);
	q->sent_ms = now_of(l);
	list_append(&l->sent, &q->link);
}

static void on_loaded(struct redis_request *q, const struct resp *reply)
{
	struct link *l = container_of(q, struct link, load);

	(void)reply; /* whether it helped is seen at the next call */
	l->node->forgot = l->node->loading = false;
}

static void on_load_lost(struct redis_request *q, int err)
{
	(void)err;
	container_of(q, struct link, load)->node->loading = false;
}

/* As one request of so many replies. */
static void push_scripts(struct link *l)
{
	l->node->loading = true;
	l->load.on_reply = on_loaded;
	l->load.on_done = on_load_lost;
	buf_clear(&l->load.command);
	l->load.skip = say_scripts(l, &l->load.command) - 1;
	count_add(&l->redis->figures.reloaded, 1);
	log_info("cluster", "redis_scripts_loaded", "node=%s had forgotten them", l->node->name);
	push(l, &l->load);
}

static bool is_drained(struct redis *r, const struct redis_node *node)
{
	for (struct list *at = r->links.next; at != &r->links; at = at->next) {
		struct link *l = container_of(at, struct link, in_redis);

		if (l->node == node && !l->own && !list_is_empty(&l->sent))
			return false;
	}
	return true;
}

void link_reload(struct link *l)
{
	if (!l->node->forgot || l->node->loading || l->state != LINK_READY || l->own)
		return;
	if (l->redis->config.script_count == 0)
		l->node->forgot = false; /* the caller's own */
	else if (is_drained(l->redis, l->node))
		push_scripts(l);
}

static void on_map(struct redis_request *q, const struct resp *reply)
{
	redis_on_map(container_of(q, struct link, map), reply);
}

static void on_map_lost(struct redis_request *q, int err)
{
	(void)err;
	redis_on_map(container_of(q, struct link, map), NULL);
}

void link_ask_map(struct link *l)
{
	l->map.on_reply = on_map;
	l->map.on_done = on_map_lost;
	if (buf_length(&l->map.command) == 0)
		resp_words(&l->map.command, "CLUSTER SLOTS");
	push(l, &l->map);
}

bool link_takes(const struct link *l, const struct redis_request *q)
{
	if (l->state != LINK_READY || l->node->forgot || conn_pending(&l->conn) >= SEND_MOST)
		return false;
	return q->acknowledge == 0 || l->wait_for || l->waits < WAITS_MOST;
}

void link_send(struct link *l, struct redis_request *q)
{
	q->skip = q->ask ? 1 : 0;
	if (q->ask) {
		resp_words(conn_out(&l->conn), "ASKING");
		conn_pushed(&l->conn);
	}
	q->ask = NULL;
	push(l, q);
	if (q->acknowledge > l->wait_for)
		l->wait_for = q->acknowledge;
}

static void push_wait(struct link *l)
{
	struct redis_request *last = container_of(l->sent.prev, struct redis_request, link);
	struct buf *b = conn_out(&l->conn);

	last->behind = 1 + mark_push(&l->redis->marks, b, last->lane->slot, last->skip > 0);
	resp_begin(b, 3);
	resp_bytes(b, VIEW("WAIT"));
	resp_number(b, l->wait_for);
	resp_number(b, l->redis->config.wait_ms);
	conn_pushed(&l->conn);
	l->wait_for = 0;
	l->waits++;
}

void link_finish_pass(struct link *l)
{
	if (l->state != LINK_READY)
		return;
	if (l->wait_for)
		push_wait(l);
	if (conn_pending(&l->conn))
		conn_flush(&l->conn);
}

/* --- time limits -------------------------------------------------------------------- */

static void check_setup(struct link *l, uint64_t now_ms)
{
	if (now_ms - l->since_ms < l->redis->config.connect_ms)
		return;
	if (l->state == LINK_RESOLVING) {
		resolve_cancel(l->query);
		l->query = NULL;
		failed(l, "the name look-up takes too long");
		return;
	}
	close_link(l, ERR_TIMEOUT, "connecting takes too long");
}

static void ask_whether_alive(struct link *l)
{
	if (buf_length(&l->ping.command) == 0)
		resp_words(&l->ping.command, "PING");
	push(l, &l->ping);
}

static void check_silence(struct link *l, uint64_t now_ms)
{
	uint64_t from = l->heard_ms, limit_ms = l->redis->config.answer_ms;

	if (list_is_empty(&l->sent) && l->waits == 0) {
		if (now_ms - l->heard_ms >= IDLE_MS)
			ask_whether_alive(l);
		return;
	}
	if (!list_is_empty(&l->sent)) {
		struct redis_request *q = container_of(l->sent.next, struct redis_request, link);

		from = q->sent_ms > from ? q->sent_ms : from;
		limit_ms += q->block_ms;
	}
	/* The map of others may name a successor long before the time is over. */
	l->is_silent = now_ms - from >= SILENT_MS + limit_ms - l->redis->config.answer_ms;
	if (l->is_silent && now_ms - l->redis->map_at_ms >= SILENT_MS)
		redis_want_map(l->redis);
	if (now_ms - from >= limit_ms)
		close_link(l, ERR_TIMEOUT, "no answer for too long");
}

void link_leave(struct redis *r, const struct redis_node *node)
{
	for (struct list *at = r->links.next; at != &r->links; at = at->next) {
		struct link *l = container_of(at, struct link, in_redis);

		if (l->node == node && l->state == LINK_READY && !l->read_only)
			close_link(l, ERR_TIMEOUT, "silent, and no longer a master");
	}
}

void link_tick(struct link *l, uint64_t now_ms)
{
	if (l->state == LINK_READY)
		check_silence(l, now_ms);
	else if (l->state != LINK_WAITING && l->state != LINK_CLOSING)
		check_setup(l, now_ms);
}
