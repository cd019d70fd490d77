/* net/arrival.h - an accepted connection on its way to its owner
 *
 *     listener --> [porch: what a load balancer says] --> who serves it --> conn_accept()
 *
 * Whoever is called last takes fd; the rest is borrowed during the call.
 */
#ifndef NET_ARRIVAL_H
#define NET_ARRIVAL_H

#include <stdbool.h>

#include "net/address.h"

struct tls_context; /* net/tls.h */

struct arrival {
	int fd;                     /* non-blocking, close-on-exec, TCP_NODELAY set */
	const struct address *peer; /* the client, also where a load balancer passes it on */
	struct tls_context *tls;    /* what is spoken on fd; NULL: plain */
	/* As a trusted load balancer says (net/porch.h): */
	bool tls_before;  /* the client came to it over TLS */
	const char *name; /* common name of the client's certificate, verified there; NULL: none */
};

#endif
