/* net/conn.h - a byte stream to a peer: TCP or TLS over TCP, incoming or outgoing
 *
 * One face whatever is underneath; WebSocket frames may be put around what is sent and taken off what
 * comes, of which the owner sees nothing, nor of the handshake before them where it is ours. Reading is
 * pushed: on_bytes gets what arrived and says how much it consumed; the rest is kept
 * and shown again with what follows. Writing has two ways: conn_writev() sends straight
 * from the caller's memory as far as the socket takes it; conn_push() copies small
 * things behind whatever waits and sends them at the end of the turn.
 *
 * Memory: an idle connection owns no buffers; a partial packet or unsent rest is kept
 * in a buffer that is freed when it is empty.
 *
 * Life: conn_open()/conn_accept() ... on_close is the last call, after which the owner may
 * free the memory. conn_close() may be called any time; on_close comes at the end of the turn.
 *
 * Reading uses the loop's scratch memory: what on_bytes is shown may lie there.
 *
 * Threads: the loop's.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/address.h"
#include "net/arrival.h"
#include "net/loop.h"

struct conn;
struct tls;         /* net/tls.h: one TLS session */
struct websocket;   /* net/conn_websocket.c: frames */
struct tls_context; /* net/tls.h: certificates and settings */

struct conn_handler {
	/* Connected, handshakes done: bytes may flow. May be NULL. */
	void (*on_open)(struct conn *c);
	/* n > 0 bytes, borrowed during the call. Gives how many were consumed (0: need more; the
	 * owner bounds how much it waits for, as all of it is kept);
	 * negative: an error; the connection is closed and on_close gets it. May call conn_close().
	 * After conn_pause() the rest is kept and shown again after conn_resume(). */
	ssize_t (*on_bytes)(struct conn *c, const uint8_t *p, size_t n);
	/* Everything pushed has left and the socket takes more: after the loop has sent what was
	 * pushed, and when a socket that was full has room again. May be NULL. */
	void (*on_writable)(struct conn *c);
	/* Last call. err: 0 closed by us (conn_close), ERR_CLOSED by the peer, ERR_TLS, ERR_SYSTEM,
	 * ERR_PROTOCOL or ERR_TOO_LARGE of a WebSocket, or what on_bytes returned. `why`: a text for the log, never NULL. */
	void (*on_close)(struct conn *c, int err, const char *why);
};

enum conn_state {
	CONN_CONNECTING, /* TCP connection under way (outgoing) */
	CONN_HANDSHAKE,  /* TLS handshake */
	CONN_UPGRADE,    /* a WebSocket was asked for (outgoing) */
	CONN_OPEN,
	CONN_CLOSING, /* closed for its owner; on_close comes */
};

/* Visible because it is embedded in each connection's struct; owners read `state`, `peer`. */
struct conn {
	struct io io;
	struct loop *loop;
	const struct conn_handler *handler;
	struct tls *tls;             /* NULL: plain */
	struct websocket *websocket; /* NULL: no frames */
	struct buf in;               /* bytes not yet consumed */
	struct buf out;              /* bytes not yet sent */
	uint32_t want;               /* on_bytes is not called before this many are there; 0: any */
	enum conn_state state;
	bool paused;
	bool readable;            /* the edge came, nothing read to the end yet */
	bool writable;            /* last write did not block */
	bool hangup;              /* the peer has ended or failed: a short read is not the end */
	bool resumed;             /* what was kept while paused is to be shown again */
	bool closing_after_flush; /* was open when closed: what is pending is tried once */
	bool tls_before;          /* see net/arrival.h */
	char *close_why;          /* owned; NULL: err_text(close_err) */
	char *name;               /* see net/arrival.h; owned */
	struct deferred later;    /* flush, more reading, on_close */
	int close_err;
	struct address peer;
	uint64_t bytes_in;
	uint64_t bytes_out;
};

struct conn_options {
	uint32_t send_buffer_bytes;    /* SO_SNDBUF (the kernel doubles it); 0: system's default */
	uint32_t receive_buffer_bytes; /* SO_RCVBUF; 0: system's default */
	/* Outgoing: the address that is connected to, borrowed during the call. With ws and wss the
	 * bytes are in the frames of a WebSocket, which is asked for before on_open; a server that does
	 * not agree closes with ERR_PROTOCOL and its answer in words. NULL: no WebSocket. */
	const struct url *url;
};

/* Takes a->fd. c is zeroed and set up. on_open is called at the end of the turn or after the handshake.
 * 0 or negative (fd closed then, on_close not called). */
int conn_accept(struct conn *c, struct loop *l, const struct arrival *a,
	const struct conn_options *options, const struct conn_handler *handler);

/* Begins to connect. local: address to bind, or NULL. server_name: for SNI and verification
 * (borrowed during the call), NULL without TLS. 0; or ERR_SYSTEM (errno says why: no route, address
 * not ours ...) or ERR_TLS, on_close is not called then. Failures later come by on_close. */
int conn_open(struct conn *c, struct loop *l, const struct address *to, const struct address *local,
	struct tls_context *tls, const char *server_name, const struct conn_options *options,
	const struct conn_handler *handler);

/* Moves an open connection to another owner: socket, TLS, frames, what is kept and what waits. For
 * the new owner it is open (on_open does not come) and not paused; what the old one left is shown
 * again. Not from inside a callback of `from`, which is dead afterwards as by conn_abort(). `to` is
 * overwritten. 0; or ERR_SYSTEM: the connection is gone, on_close not called. */
int conn_move(struct conn *to, struct conn *from, const struct conn_options *options,
	const struct conn_handler *handler);

/* How many bytes the unit has that begins at p, where n follow; 0: they do not say. */
typedef size_t conn_unit(const uint8_t *p, size_t n);

/* From here on the bytes of an open connection are in the binary frames of a WebSocket whose server we
 * are: its handshake is done (what was pushed still goes as it is; what is kept are frames). Each conn_writev()
 * makes frames of at most 64 KiB until the socket is full. The length of a frame is announced at its
 * front, so one that the socket took in part is finished from a copy: its payload counts as taken and
 * the copy, bounded by the 64 KiB and headers, as pending. A frame holds one unit of the owner, or a
 * part of a larger one; unit NULL: as much as fits. Pings are answered. A fault of the peer closes with
 * ERR_PROTOCOL or ERR_TOO_LARGE, its Close with ERR_CLOSED; every end says Close with a fitting code. */
void conn_begin_websocket(struct conn *c, conn_unit *unit);

/* Sends straight from iov, after what was pushed. Gives the bytes taken (possibly fewer, 0 when the socket is full or
 * something pushed still waits), or negative after which on_close comes. What was taken is sent. */
ssize_t conn_writev(struct conn *c, const struct iovec *iov, int count);

/* Copies bytes behind what waits; sent at the end of the turn, or at once by conn_flush(). The
 * caller bounds what it pushes by looking at conn_pending(). */
void conn_push(struct conn *c, const void *bytes, size_t n);
/* For encoders that append: the out buffer; call conn_pushed() or conn_flush() afterwards. */
struct buf *conn_out(struct conn *c);
void conn_pushed(struct conn *c);
int conn_flush(struct conn *c);

static inline size_t conn_pending(const struct conn *c)
{
	return buf_length(&c->out);
}

static inline bool conn_is_open(const struct conn *c)
{
	return c->state == CONN_OPEN;
}

/* on_bytes is next called when at least n bytes are there (a packet's length known from its
 * header). One call's worth. */
static inline void conn_want(struct conn *c, uint32_t n)
{
	c->want = n;
}

/* Stops and resumes reading; the peer is slowed down by TCP. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* Does the client speak TLS, be it with us or with a trusted load balancer before us? */
static inline bool conn_is_secret(const struct conn *c)
{
	return c->tls || c->tls_before;
}

/* Common name in the client's certificate, verified by us or, on a plain connection, by a trusted load
 * balancer; false: none, or not whole in size bytes. */
bool conn_peer_name(const struct conn *c, char *out, size_t size);
/* Its whole subject (RFC 2253), which only we have seen; false as above. */
bool conn_peer_subject(const struct conn *c, char *out, size_t size);

/* Ends the connection: what was pushed is tried once, then closed; on_close(err, why) comes at the
 * end of the turn. why is copied, NULL: err_text(err). Harmless when closing already. */
void conn_close(struct conn *c, int err, const char *why);

/* Ends the connection here and now without on_close(); what was pushed is lost. For owners that go
 * away after their loop has stopped; not from inside the connection's own callbacks. */
void conn_abort(struct conn *c);

#endif
