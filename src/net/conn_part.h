/* net/conn_part.h - what the files of a connection share; for net/conn*.c only */
#ifndef NET_CONN_PART_H
#define NET_CONN_PART_H

#include "net/conn.h"

/* Reads and shows what has come, at most 256 KiB; the rest in the next turn. */
void conn_read(struct conn *c);

/* Sends what is pending as far as the socket takes it. 0, or negative after conn_close(). */
int conn_send_pending(struct conn *c);

/* Closes for a failed system call: conn_close() with ERR_CLOSED when the peer has gone, else
 * ERR_SYSTEM, and the text of `error`. Gives the error. */
int conn_failed(struct conn *c, int error);

#endif
