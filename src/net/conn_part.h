/* net/conn_part.h - what the files of a connection share; for net/conn*.c only */
#ifndef NET_CONN_PART_H
#define NET_CONN_PART_H

#include "net/conn.h"

/* Reads and shows what has come, at most 256 KiB; the rest in the next turn. */
void conn_read(struct conn *c);

/* Sends what is pending as far as the socket takes it. 0, or negative after conn_close(). */
int conn_send_pending(struct conn *c);

/* Straight to the socket, in order only when nothing is pending: bytes taken (over TLS some of them
 * now stand in `out`), 0, or negative after conn_close(). */
ssize_t conn_send(struct conn *c, const struct iovec *iov, int count);

/* Bytes may flow for the owner: on_open. */
void conn_become_open(struct conn *c);

/* Is the stream below there, be it for the owner or for the handshake of a WebSocket? */
static inline bool conn_flows(const struct conn *c)
{
	return c->state == CONN_OPEN || c->state == CONN_UPGRADE;
}

/* --- frames (conn_websocket.c); c->websocket is not NULL --------------- */

/* Before a connection to this address (ws, wss) is there: its request waits in `out`, and frames are
 * masked. In CONN_UPGRADE the answer is awaited. */
void conn_ask_websocket(struct conn *c, const struct url *to);
/* Takes the frames off n bytes at p, in place; gives the bytes of payload, perhaps none. In
 * CONN_UPGRADE first the answer, which leads to on_open or closes. */
size_t conn_unframe(struct conn *c, uint8_t *p, size_t n);
/* After payload was shown: answers a ping, ends the connection when the frames have ended. */
void conn_unframed(struct conn *c);
/* conn_writev() in frames. */
ssize_t conn_write_frames(struct conn *c, const struct iovec *iov, int count);
/* Where an owner's encoders append, and the frames around it. */
struct buf *conn_unframed_out(struct conn *c);
void conn_frame_pushed(struct conn *c);
/* Pushes Close, once. */
void conn_push_close(struct conn *c);
void conn_free_websocket(struct conn *c); /* harmless without one */

/* Why a connection that the peer ended is closed: `known`, unless there is more to say. */
const char *conn_end_text(const struct conn *c, const char *known);

/* Closes for a failed system call: conn_close() with ERR_CLOSED when the peer has gone, else
 * ERR_SYSTEM, and the text of `error`. Gives the error. */
int conn_failed(struct conn *c, int error);

#endif
