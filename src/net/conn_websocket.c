/* net/conn_websocket.c - the frames around a connection's bytes
 *
 *	owner -- conn_writev --> [frame] ------------------> socket
 *	      -- conn_push ----> pushed --> [frame] -> out ->
 *	      <- on_bytes ------ payload <- [unframe] <----- received, in place
 *
 * **Invariant:** `out` ends where a frame ends. A frame the socket took in part has its rest there
 * before anything else is written, so that the length it announced is kept.
 *
 * A frame ends where a unit of the owner ends, an MQTT packet. It need not [MQTT-6.0.0-2]; but some
 * clients (Paho C is one) look at their socket again before they look behind the first packet of a
 * frame, and hear of the second when something else comes.
 *
 * A client has asked for the WebSocket and takes the answer off first. Its frames are masked with a key
 * of their own, for which the payload has to be copied: all of them are made in `out`.
 *
 * Close and faults are found while bytes are unframed, but take effect only once the payload before
 * them was shown: a client's DISCONNECT and its Close often come in one piece.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/conn_part.h"
#include "net/websocket.h"

/* What is copied at most, besides headers, when the socket takes frames in part. */
#define FRAME_PAYLOAD_MOST (64u * 1024u)

/* One system call's worth. */
enum { BATCH_PIECES = 256, BATCH_FRAMES = 64 };

/* A unit says within so many bytes how long it is, and comes in so many pieces, or is cut. */
enum { UNIT_FRONT = 8, UNIT_PIECES = 8 };

/* While more than this waits, nobody reads what we say: only the newest ping is answered, later. */
#define PENDING_MOST (64u * 1024u)

/* Masks drawn at a time: so much comes from the kernel at once and whole (getrandom(2)). */
enum { MASKS = 256 / WEBSOCKET_MASK_BYTES };

/* What only a client has. */
struct asked {
	char key[WEBSOCKET_KEY_BYTES];
	struct buf answer; /* its head, as far as it has come */
	uint8_t masks[MASKS][WEBSOCKET_MASK_BYTES];
	unsigned masks_left;
};

struct websocket {
	struct websocket_reader reader;
	struct asked *asked; /* NULL: we are the server */
	struct buf pushed;   /* of the owner, not in a frame yet */
	bool has_closed;     /* Close was pushed */
	conn_unit *unit;     /* NULL: any cut will do */
	size_t unit_left;    /* of the unit that went in part; 0: the next one begins */
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

/* How much of the owner's unit that comes next in `at` is still to come; what begins here and does not
 * say how long it is ends where the frame does. */
static size_t unit_left(struct websocket *w, struct cut at)
{
	uint8_t front[UNIT_FRONT];
	size_t n = 0;

	if (w->unit_left)
		return w->unit_left;
	while (w->unit && n < sizeof(front)) {
		struct iovec piece = cut_piece(&at, sizeof(front) - n);

		if (piece.iov_len == 0)
			break;
		memcpy(front + n, piece.iov_base, piece.iov_len);
		n += piece.iov_len;
	}
	w->unit_left = w->unit && n ? w->unit(front, n) : 0;
	return w->unit_left ? w->unit_left : FRAME_PAYLOAD_MOST;
}

static void unit_sent(struct websocket *w, size_t n)
{
	if (w->unit_left)
		w->unit_left -= n;
}

/* Frames that are written together. */
struct batch {
	struct iovec iov[BATCH_PIECES];
	int count;
	uint8_t headers[BATCH_FRAMES][WEBSOCKET_HEADER_LARGEST];
	int frames;
	size_t payload;
};

/* Puts the next frame in: one unit, or what of it a frame may hold. False: it does not fit, or nothing
 * is left. */
static bool gather_frame(struct websocket *w, struct cut *at, struct batch *b)
{
	size_t unit = unit_left(w, *at), payload = 0;
	size_t most = unit < FRAME_PAYLOAD_MOST ? unit : FRAME_PAYLOAD_MOST;
	struct iovec *header = &b->iov[b->count];
	uint8_t *bytes = b->headers[b->frames];
	int count = b->count + 1;

	if (b->frames == BATCH_FRAMES || count + UNIT_PIECES > BATCH_PIECES ||
		(b->payload && b->payload + most > FRAME_PAYLOAD_MOST))
		return false;
	while (payload < most && count < BATCH_PIECES) {
		b->iov[count] = cut_piece(at, most - payload);
		if (b->iov[count].iov_len == 0)
			break;
		payload += b->iov[count++].iov_len;
	}
	if (payload == 0)
		return false;
	header->iov_base = bytes;
	header->iov_len =
		websocket_header(bytes, WEBSOCKET_BINARY, payload, NULL); /* [MQTT-6.0.0-1] */
	b->frames++;
	b->count = count;
	b->payload += payload;
	unit_sent(w, payload);
	return true;
}

/* Frames of what comes next. Gives their payload, 0 when the socket is full, or negative. */
static ssize_t write_batch(struct conn *c, struct cut *at)
{
	struct batch b;
	size_t before = c->websocket->unit_left;
	ssize_t taken;

	b.count = b.frames = 0;
	b.payload = 0;
	while (gather_frame(c->websocket, at, &b))
		;
	if (b.payload == 0)
		return 0;
	taken = conn_send(c, b.iov, b.count);
	if (taken <= 0) {
		c->websocket->unit_left = before;
		return taken;
	}
	keep_rest(c, b.iov, b.count, (size_t)taken);
	return (ssize_t)b.payload;
}

/* The next frame of a client. Gives its payload, 0: none is left, or negative. */
static ssize_t write_masked(struct conn *c, struct cut *at)
{
	struct buf *pushed = &c->websocket->pushed;
	struct iovec piece = cut_piece(at, FRAME_PAYLOAD_MOST);
	size_t n;
	int err;

	while (piece.iov_len) {
		buf_append(pushed, piece.iov_base, piece.iov_len);
		piece = cut_piece(at, FRAME_PAYLOAD_MOST - buf_length(pushed));
	}
	n = buf_length(pushed);
	conn_frame_pushed(c);
	err = conn_send_pending(c);
	return err < 0 ? err : (ssize_t)n;
}

ssize_t conn_write_frames(struct conn *c, const struct iovec *iov, int count)
{
	struct cut at = {iov, count, 0};
	size_t taken = 0;
	ssize_t n;

	/* Until the socket is full: only then does on_writable() ask for more. */
	while (c->writable && buf_length(&c->out) == 0) {
		n = c->websocket->asked ? write_masked(c, &at) : write_batch(c, &at);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		taken += (size_t)n;
	}
	return (ssize_t)taken;
}

/* A fresh one for each frame, which nobody can foretell (RFC 6455, sections 5.3 and 10.3). */
static const uint8_t *next_mask(struct asked *a)
{
	if (a->masks_left == 0) {
		check(getrandom(a->masks, sizeof(a->masks), 0) == (ssize_t)sizeof(a->masks));
		a->masks_left = MASKS;
	}
	return a->masks[--a->masks_left];
}

static void push_frame(struct conn *c, enum websocket_opcode opcode, const void *p, size_t n)
{
	struct asked *a = c->websocket->asked;
	const uint8_t *mask = a ? next_mask(a) : NULL;
	uint8_t header[WEBSOCKET_HEADER_LARGEST];

	buf_append(&c->out, header, websocket_header(header, opcode, n, mask));
	buf_append(&c->out, p, n);
	if (mask)
		websocket_mask(mask, c->out.data + c->out.end - n, n);
}

struct buf *conn_unframed_out(struct conn *c)
{
	return &c->websocket->pushed;
}

void conn_frame_pushed(struct conn *c)
{
	struct websocket *w = c->websocket;

	if (c->state < CONN_OPEN) /* the server has not agreed yet */
		return;
	while (buf_length(&w->pushed)) {
		struct iovec rest = {
			(void *)(uintptr_t)buf_bytes(&w->pushed), buf_length(&w->pushed)};
		size_t n = unit_left(w, (struct cut){&rest, 1, 0});

		if (n > rest.iov_len)
			n = rest.iov_len;
		push_frame(c, WEBSOCKET_BINARY, rest.iov_base, n); /* [MQTT-6.0.0-1] */
		buf_consume(&w->pushed, n);
		unit_sent(w, n);
	}
	buf_fini(&w->pushed);
}

/* --- reading ---------------------------------------------------------- */

/* The answer may come in any pieces. Gives how many of n bytes are behind it, moved to the front. */
static size_t take_answer(struct conn *c, uint8_t *p, size_t n)
{
	struct asked *a = c->websocket->asked;
	char why[WEBSOCKET_WHY_BYTES];
	size_t had = buf_length(&a->answer), room = HTTP_HEAD_LARGEST + 1 - had;
	ssize_t used;

	buf_append(&a->answer, p, n < room ? n : room);
	used = websocket_judge_answer(buf_bytes(&a->answer), buf_length(&a->answer), a->key, why);
	if (used < 0)
		conn_close(c, (int)used, why);
	if (used <= 0)
		return 0;
	buf_fini(&a->answer);
	n -= (size_t)used - had;
	memmove(p, p + ((size_t)used - had), n);
	conn_become_open(c);
	conn_pushed(c); /* what the owner has pushed before */
	return n;
}

size_t conn_unframe(struct conn *c, uint8_t *p, size_t n)
{
	if (c->state == CONN_UPGRADE)
		n = take_answer(c, p, n);
	return c->state == CONN_OPEN ? websocket_read(&c->websocket->reader, p, n) : 0;
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
	if (c->websocket->asked)
		buf_fini(&c->websocket->asked->answer);
	free(c->websocket->asked);
	free(c->websocket);
	c->websocket = NULL;
}

/* --- the beginning ---------------------------------------------------- */

void conn_ask_websocket(struct conn *c, const struct url *to)
{
	struct websocket *w = mem_new(sizeof(*w));

	w->reader.from_server = true;
	w->asked = mem_new(sizeof(*w->asked));
	websocket_new_key(w->asked->key);
	websocket_request(&c->out, to, w->asked->key);
	c->websocket = w;
}

void conn_begin_websocket(struct conn *c, conn_unit *unit)
{
	size_t kept = buf_length(&c->in);

	c->websocket = mem_new(sizeof(*c->websocket));
	c->websocket->unit = unit;
	if (kept == 0)
		return;
	/* Frames that came right behind the request. */
	c->in.end = c->in.start + (uint32_t)conn_unframe(c, c->in.data + c->in.start, kept);
	if (buf_length(&c->in) == 0)
		buf_fini(&c->in);
}
