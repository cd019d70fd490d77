/* cluster/played.h - for *_test.c only: a Redis server that answers as a test wants
 *
 *     client --> on_command() of the test, which says something, now or later
 *                     | false: not its own
 *                     v
 *                CLUSTER SLOTS: all slots, or a half for each of two; anything else: PONG
 *
 * A visit that is_blocked reads nothing more until played_unblock().
 */
#ifndef CLUSTER_PLAYED_H
#define CLUSTER_PLAYED_H

#include "net/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cluster/resp.h"
#include "net/conn.h"
#include "net/listener.h"

#define PLAYED_VISITS_MOST 64u

struct played;

/* A connection of the client's. */
struct played_visit {
	struct conn conn;
	struct played *server;
	struct resp_reader *reader;
	bool is_blocked;
	bool is_closed;
};

struct played {
	struct loop *loop;
	/* The test's own; false: to be answered as usual. */
	bool (*on_command)(struct played_visit *v, const struct resp *command);
	void *context;
	const struct played *other; /* has the upper half of the slots; NULL: this one has all */
	struct listener *listener;
	uint16_t port;
	struct played_visit *visits[PLAYED_VISITS_MOST];
	uint32_t visit_count;
};

static inline void played_say(struct played_visit *v, const char *text)
{
	conn_push(&v->conn, text, strlen(text));
}

static inline void played_say_text(struct played_visit *v, const char *text)
{
	char head[32];

	snprintf(head, sizeof(head), "$%zu\r\n", strlen(text));
	played_say(v, head);
	played_say(v, text);
	played_say(v, "\r\n");
}

static inline bool played_is(const struct resp *command, const char *word)
{
	return view_equal(command->items[0].text, view_of(word));
}

static inline void played_say_slots(struct played_visit *v)
{
	const struct played *p = v->server;
	struct buf b = {0};

	if (p->other)
		buf_printf(&b,
			"*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
			"*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
			p->port, p->other->port);
	else
		buf_printf(&b, "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
			p->port);
	conn_push(&v->conn, buf_bytes(&b), buf_length(&b));
	buf_fini(&b);
}

static inline void played_serve(struct played_visit *v, const struct resp *command)
{
	if (v->server->on_command(v, command))
		return;
	if (played_is(command, "CLUSTER"))
		played_say_slots(v);
	else
		played_say(v, "+PONG\r\n");
}

static inline void played_serve_all(struct played_visit *v)
{
	const struct resp *command;

	while (!v->is_blocked && v->conn.state == CONN_OPEN && resp_next(v->reader, &command) > 0)
		played_serve(v, command);
}

static inline ssize_t played_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct played_visit *v = container_of(c, struct played_visit, conn);

	resp_feed(v->reader, p, n);
	played_serve_all(v);
	return (ssize_t)n;
}

static inline void played_on_close(struct conn *c, int err, const char *why)
{
	(void)err, (void)why;
	container_of(c, struct played_visit, conn)->is_closed = true;
}

static inline void played_on_accept(void *context, const struct arrival *a)
{
	static const struct conn_handler handler = {
		.on_bytes = played_on_bytes, .on_close = played_on_close};
	struct played *p = context;
	struct played_visit *v = mem_new(sizeof(*v));
	struct conn_options options = {0};

	v->server = p;
	v->reader = resp_reader_new(1u << 20);
	assert_true(p->visit_count < PLAYED_VISITS_MOST);
	p->visits[p->visit_count++] = v;
	assert_int_equal(conn_accept(&v->conn, p->loop, a, &options, &handler), 0);
}

/* The answer that was kept back, and what stood behind it. */
static inline void played_unblock(struct played_visit *v, const char *answer)
{
	v->is_blocked = false;
	played_say(v, answer);
	played_serve_all(v);
	conn_flush(&v->conn);
}

/* loop, on_command and context are set. */
static inline void played_open(struct played *p)
{
	struct address at = loopback(0);

	assert_int_equal(listener_open(&p->listener, p->loop, &at, true, played_on_accept, p), 0);
	at = listener_address(p->listener);
	p->port = address_port(&at);
}

static inline void played_close(struct played *p)
{
	for (uint32_t i = 0; i < p->visit_count; i++) {
		if (!p->visits[i]->is_closed)
			conn_abort(&p->visits[i]->conn);
		resp_reader_free(p->visits[i]->reader);
		free(p->visits[i]);
	}
	listener_close(p->listener);
}

#endif
