/* net/listener.h - accepts TCP connections on one address for one loop
 *
 * Each worker has its own listener on the same address (SO_REUSEPORT).
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "net/arrival.h"
#include "net/loop.h"

struct listener;

/* Takes a->fd, to keep or close; the rest is borrowed during the call. */
typedef void listener_on_accept(void *context, const struct arrival *a);

/* 0 or ERR_SYSTEM (errno says why: EADDRINUSE, EACCES ...). reuse_port: several listeners on one
 * address. Port 0 takes a free one, see listener_address(). Accepting pauses by itself for 100 ms
 * when descriptors run out, logged. */
int listener_open(struct listener **out, struct loop *l, const struct address *at, bool reuse_port,
	listener_on_accept *on_accept, void *context);
void listener_close(struct listener *l);
struct address listener_address(const struct listener *l);

#endif
