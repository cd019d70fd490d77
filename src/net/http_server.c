/* net/http_server.c
 *
 * A connection waits for a request, receives one, or sends an answer; which of them
 * sets its time limit. A request whose body is still to come is parsed again when all
 * of it is there: the head is at most 16 KiB and the parser keeps nothing.
 *
 * An upgrade pauses the connection, so that what follows the request stays unread or kept, and is
 * taken over at the end of the turn: a connection does not change hands inside its own callback.
 *
 * **Invariant:** an `ending` connection reads no more requests and is closed when its
 * last answer has left.
 */
#include "net/http_server.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/conn.h"

/* While more than this of the answers waits, no further request is read. */
#define PENDING_MOST (64u * 1024u)

enum phase {
	IDLE,      /* nothing of a request is there */
	HEAD,      /* part of a head */
	BODY,      /* a head and part of the body */
	HELD,      /* paused until the owner can answer */
	ANSWERING, /* paused until the answer has left */
	PHASE_COUNT,
};

struct http_server {
	struct loop *loop;
	uint32_t count;
	uint32_t most;
	uint32_t limit_ms[PHASE_COUNT];
	http_on_request *on_request;
	void *context;
	struct list connections;
};

struct http_conn {
	struct conn conn;
	struct list link;
	struct http_server *server;
	struct timer limit;
	uint64_t sent; /* bytes_out when the limit was started */
	enum phase phase;
	bool continued; /* 100 was sent for the request under way */
	bool ending;
	http_take *take; /* not NULL: upgraded */
	void *take_context;
	struct deferred taking;
	struct http_hold *hold; /* the owner's; NULL: none */
	struct http_answer
		*given; /* by http_server_answer(), for the request shown again; NULL: none */
};

struct http_hold {
	struct http_conn *conn; /* NULL: gone */
};

static void enter(struct http_conn *h, enum phase phase)
{
	/* One byte more does not prolong what is under way. */
	if (h->phase == phase && phase != IDLE)
		return;
	h->phase = phase;
	h->sent = h->conn.bytes_out;
	timer_start(h->server->loop, &h->limit, h->server->limit_ms[phase]);
}

static void on_limit(struct timer *t)
{
	struct http_conn *h = container_of(t, struct http_conn, limit);

	if (h->phase == ANSWERING && h->conn.bytes_out != h->sent) {
		h->sent = h->conn.bytes_out;
		timer_start(h->server->loop, t, h->server->limit_ms[ANSWERING]);
		return;
	}
	conn_close(&h->conn, ERR_TIMEOUT, NULL);
}

/* --- answers ----------------------------------------------------------- */

static void after_answer(struct http_conn *h, bool keep_alive)
{
	conn_pushed(&h->conn);
	h->continued = false;
	h->ending = !keep_alive;
	if (h->ending || conn_pending(&h->conn) > PENDING_MOST) {
		conn_pause(&h->conn);
		enter(h, ANSWERING);
	} else {
		enter(h, IDLE);
	}
}

static void begin_upgrade(struct http_conn *h, const struct http_answer *answer)
{
	conn_pushed(&h->conn);
	conn_pause(&h->conn);
	enter(h, ANSWERING);
	h->take = answer->take;
	h->take_context = answer->take_context;
	loop_defer(h->server->loop, &h->taking);
}

static void take_given(struct http_conn *h, struct http_answer *answer)
{
	*answer = *h->given;
	free(h->given);
	h->given = NULL;
}

/* False: not yet. */
static bool answer_request(struct http_conn *h, const struct http_request *r, struct view body)
{
	struct http_answer answer = {0};

	if (h->given)
		take_given(h, &answer);
	else
		h->server->on_request(h->server->context, r, body, &answer);
	if (h->hold) {
		buf_fini(&answer.body);
		buf_fini(&answer.fields);
		conn_pause(&h->conn);
		enter(h, HELD);
		return false;
	}
	if (answer.status == 0)
		answer.status = 500;
	http_write(conn_out(&h->conn), &answer, r->keep_alive, view_equal(r->method, VIEW("HEAD")));
	buf_fini(&answer.body);
	buf_fini(&answer.fields);
	if (answer.status == 101 && answer.take)
		begin_upgrade(h, &answer);
	else
		after_answer(h, r->keep_alive);
	return true;
}

struct http_hold *http_server_hold(const struct http_request *r)
{
	struct http_hold *hold = mem_new(sizeof(*hold));

	hold->conn = r->conn;
	r->conn->hold = hold;
	return hold;
}

void http_server_release(struct http_hold *hold)
{
	struct http_conn *h = hold->conn;

	free(hold);
	if (h == NULL)
		return;
	h->hold = NULL;
	enter(h, IDLE);
	conn_resume(&h->conn);
}

void http_server_answer(struct http_hold *hold, struct http_answer *answer)
{
	if (hold->conn) {
		hold->conn->given = mem_new(sizeof(*answer));
		*hold->conn->given = *answer;
	} else {
		buf_fini(&answer->body);
		buf_fini(&answer->fields);
	}
	*answer = (struct http_answer){0};
	http_server_release(hold);
}

static void answer_fault(struct http_conn *h, int status)
{
	struct http_answer answer = {.status = status, .type = "text/plain; charset=utf-8"};

	buf_printf(&answer.body, "%d %s\n", status, http_status_text(status));
	http_write(conn_out(&h->conn), &answer, false, false);
	buf_fini(&answer.body);
	after_answer(h, false);
}

/* RFC 9110, section 10.1.1: who asks waits for it before sending the body. */
static void answer_expectation(struct http_conn *h, const struct http_request *r)
{
	static const struct http_answer go_on = {.status = 100};
	struct view expect = http_header(&r->fields, VIEW("expect"));

	if (h->continued || expect.n == 0)
		return;
	h->continued = true;
	http_write(conn_out(&h->conn), &go_on, true, false);
	conn_pushed(&h->conn);
}

/* --- callbacks of the connection --------------------------------------- */

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct http_conn *h = container_of(c, struct http_conn, conn);
	struct http_request r;
	int status = 400;
	ssize_t head = http_parse(p, n, &r, &status);

	if (head < 0) {
		answer_fault(h, status);
		return (ssize_t)n;
	}
	if (head == 0) {
		enter(h, HEAD);
		return 0;
	}
	if (n - (size_t)head < r.body_bytes) {
		answer_expectation(h, &r);
		conn_want(c, (uint32_t)head + (uint32_t)r.body_bytes);
		enter(h, BODY);
		return 0;
	}
	r.peer = &c->peer;
	r.conn = h;
	if (!answer_request(h, &r, (struct view){(const char *)p + head, (size_t)r.body_bytes}))
		return 0;
	return head + (ssize_t)r.body_bytes;
}

static void on_open(struct conn *c)
{
	enter(container_of(c, struct http_conn, conn), IDLE);
}

static void on_writable(struct conn *c)
{
	struct http_conn *h = container_of(c, struct http_conn, conn);

	if (h->phase != ANSWERING || h->take)
		return;
	if (h->ending) {
		conn_close(c, 0, NULL);
		return;
	}
	enter(h, IDLE);
	conn_resume(c);
}

static void drop(struct http_conn *h)
{
	timer_stop(h->server->loop, &h->limit);
	list_remove(&h->link);
	list_remove(&h->taking.link);
	h->server->count--;
	if (h->hold)
		h->hold->conn = NULL;
	if (h->given) {
		buf_fini(&h->given->body);
		buf_fini(&h->given->fields);
		free(h->given);
	}
	free(h);
}

static void on_close(struct conn *c, int err, const char *why)
{
	(void)err;
	(void)why;
	drop(container_of(c, struct http_conn, conn));
}

static void on_taking(struct deferred *d)
{
	struct http_conn *h = container_of(d, struct http_conn, taking);

	if (!conn_is_open(&h->conn))
		return;
	h->take(h->take_context, &h->conn);
	if (conn_is_open(&h->conn))
		conn_close(&h->conn, 0, NULL);
	else if (h->conn.io.fd < 0)
		drop(h);
}

static const struct conn_handler handler = {on_open, on_bytes, on_writable, on_close};

/* --- the server -------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

struct http_server *http_server_new(struct loop *l, const struct http_server_settings *settings,
	http_on_request *on_request, void *context)
{
	static const struct http_server_settings defaults = {0};
	struct http_server *s = mem_new(sizeof(*s));

	if (settings == NULL)
		settings = &defaults;
	s->loop = l;
	s->on_request = on_request;
	s->context = context;
	s->most = or_default(settings->connections_most, 1000);
	s->limit_ms[HEAD] = or_default(settings->head_ms, 10000);
	s->limit_ms[BODY] = or_default(settings->body_ms, 30000);
	s->limit_ms[IDLE] = or_default(settings->idle_ms, 30000);
	s->limit_ms[HELD] = s->limit_ms[IDLE];
	s->limit_ms[ANSWERING] = s->limit_ms[IDLE];
	list_init(&s->connections);
	return s;
}

void http_server_set_most(struct http_server *s, uint32_t connections_most)
{
	s->most = connections_most;
}

void http_server_free(struct http_server *s)
{
	if (s == NULL)
		return;
	while (!list_is_empty(&s->connections)) {
		struct http_conn *h = container_of(s->connections.next, struct http_conn, link);

		conn_abort(&h->conn);
		drop(h);
	}
	free(s);
}

void http_server_accept(struct http_server *s, const struct arrival *a)
{
	struct http_conn *h;

	if (s->count >= s->most) {
		close(a->fd);
		return;
	}
	h = mem_new(sizeof(*h));
	if (conn_accept(&h->conn, s->loop, a, NULL, &handler) < 0) {
		free(h);
		return;
	}
	h->server = s;
	h->limit.on_time = on_limit;
	h->taking.run = on_taking;
	list_init(&h->taking.link);
	list_append(&s->connections, &h->link);
	s->count++;
	enter(h, HEAD); /* the TLS handshake, if any */
}

uint32_t http_server_connections(const struct http_server *s)
{
	return s->count;
}

struct http_server_load http_server_load(const struct http_server *s, const struct address *peer)
{
	struct http_server_load load = {0};

	for (const struct list *at = s->connections.next; at != &s->connections; at = at->next) {
		const struct http_conn *h = container_of(at, struct http_conn, link);

		load.unsent_bytes += conn_pending(&h->conn);
		load.of_peer += (h->phase == HELD || h->phase == ANSWERING) &&
				address_same_host(&h->conn.peer, peer);
	}
	return load;
}
