/* net/conn_write.c - from the owner to the socket
 *
 * Bytes leave in the order they were given: conn_writev() first sends what was
 * pushed and takes nothing while some of that still waits.
 *
 * Over TLS a record that OpenSSL has encrypted and could not send has to be given
 * to it again. Its bytes are kept in `out` and count as taken.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "net/conn_part.h"
#include "net/tls_session.h"

#define IOVECS_MOST 1024 /* UIO_MAXIOV of Linux */

static size_t iov_bytes(const struct iovec *iov, int count)
{
	size_t n = 0;

	for (int i = 0; i < count; i++)
		n += iov[i].iov_len;
	return n;
}

/* --- plain ------------------------------------------------------------- */

/* As far as the socket takes it: bytes, 0 when it is full, negative after conn_close(). */
static ssize_t send_plain(struct conn *c, const struct iovec *iov, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *)iov,
		.msg_iovlen = (size_t)(count < IOVECS_MOST ? count : IOVECS_MOST)};
	ssize_t n;

	do
		n = sendmsg(c->io.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return conn_failed(c, errno);
	/* A short write has found the socket full: an edge comes when there is room. */
	if (n < 0 || (size_t)n < iov_bytes(iov, (int)message.msg_iovlen))
		c->writable = false;
	return n < 0 ? 0 : n;
}

/* --- TLS --------------------------------------------------------------- */

/* Where in iov the next byte to send stands. */
struct gather {
	const struct iovec *iov;
	int count;
	size_t skip; /* bytes of iov[0] already sent */
};

static void gather_skip(struct gather *g, size_t n)
{
	g->skip += n;
	while (g->count && g->skip >= g->iov->iov_len) {
		g->skip -= g->iov->iov_len;
		g->iov++;
		g->count--;
	}
}

/* The next record's bytes: in place when the first piece fills one, else copied to room. */
static struct view gather_record(const struct gather *g, uint8_t room[TLS_RECORD_BYTES])
{
	size_t n = 0, skip = g->skip;

	if (g->iov->iov_len - skip >= TLS_RECORD_BYTES || g->count == 1)
		return (struct view){(const char *)g->iov->iov_base + skip, g->iov->iov_len - skip};
	for (int i = 0; i < g->count && n < TLS_RECORD_BYTES; i++) {
		size_t piece = g->iov[i].iov_len - skip;

		if (piece > TLS_RECORD_BYTES - n)
			piece = TLS_RECORD_BYTES - n;
		if (piece)
			memcpy(room + n, (const uint8_t *)g->iov[i].iov_base + skip, piece);
		n += piece;
		skip = 0;
	}
	return (struct view){(const char *)room, n};
}

static ssize_t tls_failed(struct conn *c, ssize_t err)
{
	conn_close(c, (int)err, tls_why(c->tls));
	return err;
}

static ssize_t send_tls(struct conn *c, const struct iovec *iov, int count)
{
	struct gather g = {iov, count, 0};
	uint8_t room[TLS_RECORD_BYTES];
	size_t taken = 0;

	gather_skip(&g, 0);
	while (g.count && c->writable) {
		struct view record = gather_record(&g, room);
		ssize_t n = tls_write(c->tls, (const uint8_t *)record.p, record.n);

		if (n < 0)
			return tls_failed(c, n);
		if (n == 0) {
			c->writable = false;
			n = (ssize_t)(record.n < TLS_RECORD_BYTES ? record.n : TLS_RECORD_BYTES);
			buf_append(&c->out, record.p, (size_t)n);
		}
		taken += (size_t)n;
		gather_skip(&g, (size_t)n);
	}
	return (ssize_t)taken;
}

ssize_t conn_send(struct conn *c, const struct iovec *iov, int count)
{
	ssize_t n = c->tls ? send_tls(c, iov, count) : send_plain(c, iov, count);

	if (n > 0) /* what OpenSSL holds is counted when it leaves */
		c->bytes_out += (uint64_t)n - buf_length(&c->out);
	return n;
}

/* --- what is pending --------------------------------------------------- */

static ssize_t send_front(struct conn *c)
{
	struct iovec all = {c->out.data + c->out.start, buf_length(&c->out)};
	ssize_t n;

	if (c->tls == NULL)
		return send_plain(c, &all, 1);
	n = tls_write(c->tls, all.iov_base, all.iov_len);
	if (n == 0)
		c->writable = false;
	return n < 0 ? tls_failed(c, n) : n;
}

int conn_send_pending(struct conn *c)
{
	while (buf_length(&c->out) && c->writable) {
		ssize_t n = send_front(c);

		if (n < 0)
			return (int)n;
		c->bytes_out += (uint64_t)n;
		buf_consume(&c->out, (size_t)n);
	}
	if (buf_length(&c->out) == 0)
		buf_fini(&c->out);
	return 0;
}

/* --- the owner's side -------------------------------------------------- */

ssize_t conn_writev(struct conn *c, const struct iovec *iov, int count)
{
	int err;

	if (c->state != CONN_OPEN)
		return c->state == CONN_CLOSING ? c->close_err ? c->close_err : ERR_CLOSED : 0;
	if (buf_length(&c->out) && (err = conn_send_pending(c)) < 0)
		return err;
	if (!c->writable || buf_length(&c->out))
		return 0;
	return c->websocket ? conn_write_frames(c, iov, count) : conn_send(c, iov, count);
}

struct buf *conn_out(struct conn *c)
{
	return c->websocket ? conn_unframed_out(c) : &c->out;
}

void conn_pushed(struct conn *c)
{
	if (c->websocket)
		conn_frame_pushed(c);
	if (c->state == CONN_OPEN && c->writable && buf_length(&c->out))
		loop_defer(c->loop, &c->later);
}

void conn_push(struct conn *c, const void *bytes, size_t n)
{
	if (c->state == CONN_CLOSING)
		return;
	buf_append(conn_out(c), bytes, n);
	conn_pushed(c);
}

int conn_flush(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return c->state == CONN_CLOSING ? ERR_CLOSED : 0;
	if (c->websocket)
		conn_frame_pushed(c);
	return conn_send_pending(c);
}
