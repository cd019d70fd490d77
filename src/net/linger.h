/* net/linger.h - sockets that have said their last word and listen on for a moment
 *
 * Who closes a socket on which bytes arrive makes the kernel answer with a reset, and a reset throws away
 * what the peer has not read yet: of a DISCONNECT with its reason it would never know. So the
 * sending side is ended, what comes is read and thrown away, and the socket is closed when the peer
 * has closed, or after LINGER_MS, or LINGER_BYTES.
 *
 * Threads: the loop's.
 */
#ifndef NET_LINGER_H
#define NET_LINGER_H

#include "net/loop.h"

#define LINGER_MS 1000u
#define LINGER_BYTES (1u << 20)
#define LINGERS_MOST 1024u /* per loop; further ones are closed at once */

/* Part of a loop. */
struct lingers {
	struct list all; /* the oldest first */
	uint32_t count;
	struct timer timer;
};
void lingers_init(struct lingers *l);
/* Closes them. */
void lingers_fini(struct lingers *l);

/* Takes fd, which is in no loop any more. */
void linger(struct loop *l, int fd);

#endif
