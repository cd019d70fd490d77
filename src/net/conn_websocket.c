/* net/conn_websocket.c - the frames around a connection's bytes
 *
 *	owner -- conn_writev --> [frame] ------------------> socket
 *	      -- conn_push ----> pushed --> [frame] -> out ->
 *	      <- on_bytes ------ payload <- [unframe] <----- received, in place
 *
 * **Invariant:** `out` ends where a frame ends. A frame the socket took in part has its rest there
 * before anything else is written, so that the length it announced is kept.
 *
 * Close and faults are found while bytes are unframed, but take effect only once the payload before
 * them was shown: a client's DISCONNECT and its Close often come in one piece.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/conn_part.h"
#include "net/websocket.h"

/* What is copied at most when the socket takes a frame in part. */
#define FRAME_PAYLOAD_MOST (64u * 1024u)
#define FRAME_PIECES_MOST 255

/* While more than this waits, nobody reads what we say: only the newest ping is answered, later. */
#define PENDING_MOST (64u * 1024u)

struct websocket {
	struct websocket_reader reader;
	struct buf pushed; /* of the owner, not in a frame yet */
	bool has_closed;   /* Close was pushed */
};

/* --- writing ---------------------------------------------------------- */

/* Where in iov the next byte to send stands. */
struct cut {
	const struct iovec *iov;
	int count;
	size_t skip;
};

/* Cuts at most `most` bytes off; gives a piece of none at the end. */
static struct iovec cut_piece(struct cut *at, size_t most)
{
	struct iovec piece = {NULL, 0};

	while (at->count && at->skip == at->iov->iov_len) {
		at->iov++;
		at->count--;
		at->skip = 0;
	}
	if (at->count == 0)
		return piece;
	piece.iov_base = (uint8_t *)at->iov->iov_base + at->skip;
	piece.iov_len = at->iov->iov_len - at->skip;
	if (piece.iov_len > most)
		piece.iov_len = most;
	at->skip += piece.iov_len;
	return piece;
}

/* Copies what the socket did not take behind what OpenSSL may hold of this frame. */
static void keep_rest(struct conn *c, const struct iovec *iov, int count, size_t taken)
{
	for (int i = 0; i < count; i++) {
		size_t skip = taken < iov[i].iov_len ? taken : iov[i].iov_len;

		if (skip < iov[i].iov_len)
			buf_append(&c->out, (const uint8_t *)iov[i].iov_base + skip,
				iov[i].iov_len - skip);
		taken -= skip;
	}
}

/* One frame of what comes next. Gives its payload, 0 when the socket is full, or negative. */
static ssize_t write_frame(struct conn *c, struct cut *at)
{
	struct iovec frame[1 + FRAME_PIECES_MOST];
	uint8_t header[WEBSOCKET_HEADER_LARGEST];
	size_t payload = 0;
	int count = 1;
	ssize_t taken;

	while (count <= FRAME_PIECES_MOST && payload < FRAME_PAYLOAD_MOST) {
		frame[count] = cut_piece(at, FRAME_PAYLOAD_MOST - payload);
		if (frame[count].iov_len == 0)
			break;
		payload += frame[count++].iov_len;
	}
	if (payload == 0)
		return 0;
	frame[0].iov_base = header;
	frame[0].iov_len = websocket_header(header, WEBSOCKET_BINARY, payload); /* [MQTT-6.0.0-1] */
	taken = conn_send(c, frame, count);
	if (taken <= 0)
		return taken;
	keep_rest(c, frame, count, (size_t)taken);
	return (ssize_t)payload;
}

ssize_t conn_write_frames(struct conn *c, const struct iovec *iov, int count)
{
	struct cut at = {iov, count, 0};
	size_t taken = 0;
	ssize_t n;

	/* Until the socket is full: only then does on_writable() ask for more. */
	while (c->writable && buf_length(&c->out) == 0) {
		n = write_frame(c, &at);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		taken += (size_t)n;
	}
	return (ssize_t)taken;
}

static void push_frame(struct conn *c, enum websocket_opcode opcode, const void *p, size_t n)
{
	uint8_t header[WEBSOCKET_HEADER_LARGEST];

	buf_append(&c->out, header, websocket_header(header, opcode, n));
	buf_append(&c->out, p, n);
}

struct buf *conn_unframed_out(struct conn *c)
{
	return &c->websocket->pushed;
}

void conn_frame_pushed(struct conn *c)
{
	struct buf *pushed = &c->websocket->pushed;

	if (buf_length(pushed))
		push_frame(c, WEBSOCKET_BINARY, buf_bytes(pushed), buf_length(pushed));
	buf_fini(pushed);
}

/* --- reading ---------------------------------------------------------- */

size_t conn_unframe(struct conn *c, uint8_t *p, size_t n)
{
	return websocket_read(&c->websocket->reader, p, n);
}

static void answer_ping(struct conn *c)
{
	struct websocket_reader *r = &c->websocket->reader;

	if (!r->ping_due || conn_pending(c) > PENDING_MOST)
		return;
	r->ping_due = false;
	push_frame(c, WEBSOCKET_PONG, r->ping, r->ping_bytes);
	conn_pushed(c);
}

static int error_of(const struct websocket_reader *r)
{
	if (r->by_peer)
		return ERR_CLOSED;
	return r->code == WEBSOCKET_TOO_LARGE ? ERR_TOO_LARGE : ERR_PROTOCOL;
}

void conn_unframed(struct conn *c)
{
	const struct websocket_reader *r = &c->websocket->reader;

	if (c->state != CONN_OPEN || c->paused)
		return;
	answer_ping(c);
	if (!r->has_ended)
		return;
	conn_close(c, error_of(r), r->why);
}

/* --- the end ---------------------------------------------------------- */

void conn_push_close(struct conn *c)
{
	struct websocket *w = c->websocket;
	unsigned code = w->reader.has_ended ? w->reader.code : websocket_code_of(c->close_err);
	uint8_t body[2] = {(uint8_t)(code >> 8), (uint8_t)code};

	if (w->has_closed)
		return;
	w->has_closed = true;
	conn_frame_pushed(c);
	/* The peer's code is given back (RFC 6455, section 5.5.1). */
	push_frame(c, WEBSOCKET_CLOSE, body, code == WEBSOCKET_NO_CODE ? 0 : sizeof(body));
}

void conn_free_websocket(struct conn *c)
{
	if (c->websocket == NULL)
		return;
	buf_fini(&c->websocket->pushed);
	free(c->websocket);
	c->websocket = NULL;
}

/* --- the beginning ---------------------------------------------------- */

void conn_begin_websocket(struct conn *c)
{
	size_t kept = buf_length(&c->in);

	c->websocket = mem_new(sizeof(*c->websocket));
	if (kept == 0)
		return;
	/* Frames that came right behind the request. */
	c->in.end = c->in.start + (uint32_t)conn_unframe(c, c->in.data + c->in.start, kept);
	if (buf_length(&c->in) == 0)
		buf_fini(&c->in);
}
