/* net/conn_read.c - from the socket to on_bytes
 *
 * Usually nothing is kept: bytes are received into the loop's scratch memory and
 * shown there. A small part of a packet kept from last time is copied in front of
 * what follows, so the owner always sees one contiguous run:
 *
 *	scratch  | kept (in) | received .................. |
 *	           shown ------------------------> rest -> in
 *
 * A large part (KEPT_SMALL and more) stays where it is and is received behind, as
 * much again at a time: a packet that arrives byte by byte is copied a few times in
 * all, and a peer that announces a large one makes us allocate only about as much
 * as it has sent.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/error.h"
#include "net/conn_part.h"
#include "net/tls_session.h"

#define READ_A_TURN LOOP_SCRATCH_BYTES
#define KEPT_SMALL 4096u

static bool may_read(const struct conn *c)
{
	return conn_flows(c) && c->readable && !c->paused;
}

static ssize_t receive_plain(struct conn *c, uint8_t *p, size_t room)
{
	ssize_t n;

	do
		n = recv(c->io.fd, p, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		/* A short read has emptied the socket and what comes later is a new edge; but
		 * the peer's end has been an edge already. */
		if ((size_t)n < room && !c->hangup)
			c->readable = false;
		return n;
	}
	if (n < 0 && errno == EAGAIN) {
		c->readable = false;
		return 0;
	}
	if (n < 0)
		return conn_failed(c, errno);
	conn_close(c, ERR_CLOSED, conn_end_text(c, NULL));
	return ERR_CLOSED;
}

static ssize_t receive_tls(struct conn *c, uint8_t *p, size_t room)
{
	ssize_t n = tls_read(c->tls, p, room);

	if (n < 0)
		conn_close(c, (int)n,
			n == ERR_CLOSED ? conn_end_text(c, tls_why(c->tls)) : tls_why(c->tls));
	else if ((size_t)n < room && tls_error(c->tls) == 0)
		c->readable = false;
	return n;
}

/* >0 bytes, 0 nothing for now, negative: closed. */
static ssize_t receive(struct conn *c, uint8_t *p, size_t room)
{
	ssize_t n = c->tls ? receive_tls(c, p, room) : receive_plain(c, p, room);

	if (n > 0)
		c->bytes_in += (uint64_t)n;
	return n;
}

/* Shows bytes as long as the owner takes some. Gives how many were consumed. */
static size_t show(struct conn *c, const uint8_t *p, size_t n)
{
	size_t used = 0;

	while (used < n && n - used >= c->want && c->state == CONN_OPEN && !c->paused) {
		ssize_t taken;

		c->want = 0;
		taken = c->handler->on_bytes(c, p + used, n - used);
		if (taken < 0)
			conn_close(c, (int)taken, NULL);
		if (taken <= 0)
			break;
		check((size_t)taken <= n - used);
		used += (size_t)taken;
	}
	return used;
}

/* Shows what is kept. */
static void show_kept(struct conn *c)
{
	size_t used = show(c, buf_bytes(&c->in), buf_length(&c->in));

	if (used == buf_length(&c->in))
		buf_fini(&c->in);
	else
		buf_consume(&c->in, used);
}

/* p[0..n) begins with a copy of what is kept. */
static void show_scratch(struct conn *c, const uint8_t *p, size_t n)
{
	size_t kept = buf_length(&c->in);
	size_t used = show(c, p, n);

	if (used == n) {
		buf_fini(&c->in);
		return;
	}
	if (used > 0) {
		buf_clear(&c->in);
		kept = used;
	}
	buf_append(&c->in, p + kept, n - kept);
}

/* What the owner is to see of n bytes received at p. */
static size_t payload_of(struct conn *c, uint8_t *p, size_t n)
{
	return c->websocket ? conn_unframe(c, p, n) : n;
}

static ssize_t read_into_scratch(struct conn *c)
{
	uint8_t *scratch = loop_scratch(c->loop);
	size_t kept = buf_length(&c->in);
	size_t fresh;
	ssize_t n;

	n = receive(c, scratch + kept, LOOP_SCRATCH_BYTES - kept);
	if (n <= 0)
		return n;
	fresh = payload_of(c, scratch + kept, (size_t)n);
	if (fresh == 0)
		return n;
	if (kept)
		memcpy(scratch, buf_bytes(&c->in), kept);
	show_scratch(c, scratch, kept + fresh);
	return n;
}

static ssize_t read_behind_kept(struct conn *c)
{
	size_t kept = buf_length(&c->in);
	size_t room = c->want > kept && c->want - kept < kept ? c->want - kept : kept;
	uint8_t *behind = buf_reserve(&c->in, room);
	ssize_t n = receive(c, behind, room);
	size_t fresh;

	if (n <= 0)
		return n;
	fresh = payload_of(c, behind, (size_t)n);
	buf_grown(&c->in, fresh);
	if (fresh)
		show_kept(c);
	return n;
}

static void read_turn(struct conn *c)
{
	size_t left = READ_A_TURN;

	if (c->resumed && !c->paused && buf_length(&c->in))
		show_kept(c);
	c->resumed = false;
	while (left > 0 && may_read(c)) {
		ssize_t n = buf_length(&c->in) < KEPT_SMALL ? read_into_scratch(c)
							    : read_behind_kept(c);

		if (n <= 0)
			return;
		left -= (size_t)n < left ? (size_t)n : left;
	}
	if (may_read(c)) /* the others first */
		loop_defer(c->loop, &c->later);
}

void conn_read(struct conn *c)
{
	read_turn(c);
	if (c->websocket)
		conn_unframed(c);
}
