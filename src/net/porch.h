/* net/porch.h - connections from a load balancer, until it has said for whom
 *
 *     listener --> porch: trusted? --no--> closed, counted
 *                    | yes
 *                    v
 *                  PROXY header (net/proxy_header.h) --whole--> on_accept, with the client's address
 *                    | wrong, or not there in time
 *                    v
 *                  closed, counted, logged
 *
 * Only the header is taken from the socket: TLS, MQTT or HTTP begin behind it as on any other connection.
 * Who has no header to show is nobody's client here, and who is not trusted could say anything in one, so
 * both are refused (section 5 of the protocol's text).
 *
 * Threads: the loop's; counts are read by any.
 */
#ifndef NET_PORCH_H
#define NET_PORCH_H

#include "base/count.h"
#include "net/listener.h"

struct porch;

/* Why a connection was not let in: X(name, word for labels and logs). */
#define PORCH_REFUSALS(X)                                                            \
	X(PORCH_UNTRUSTED, "untrusted")     /* it comes from outside the networks */ \
	X(PORCH_HEADER, "header")           /* no PROXY header, or a wrong one */    \
	X(PORCH_LATE, "late")               /* the header was not there in time */   \
	X(PORCH_CROWDED, "crowded")         /* too many have none yet */             \
	X(PORCH_CERTIFICATE, "certificate") /* required; the balancer vouches for none */

enum porch_refusal {
#define X(name, word) name,
	PORCH_REFUSALS(X)
#undef X
		PORCH_REFUSAL_COUNT
};
const char *porch_refusal_text(enum porch_refusal r);

struct porch_counts {
	count refused[PORCH_REFUSAL_COUNT];
};

/* Of what the balancer says of a client's certificate: */
enum porch_names {
	PORCH_NAMES_IGNORED,
	PORCH_NAMES_TAKEN,    /* a name that it has verified goes along */
	PORCH_NAMES_REQUIRED, /* and who has none is refused */
};

struct porch_settings {
	const struct address_block *trusted; /* copied */
	uint32_t trusted_count;
	enum porch_names names;
	uint32_t limit_ms;           /* for the header; 0: 10 s */
	uint32_t most;               /* who wait with theirs; 0: 4096 */
	struct porch_counts *counts; /* written by this loop only; outlives the porch */
};

/* at: of the listener, for the log; on_accept and context as for listener_open(). */
struct porch *porch_new(struct loop *l, const struct address *at,
	const struct porch_settings *settings, listener_on_accept *on_accept, void *context);
/* Closes those who still wait. Not from inside on_accept. */
void porch_free(struct porch *p);

/* A connection from the listener; takes a->fd. on_accept may be called inside. */
void porch_arrive(struct porch *p, const struct arrival *a);

#endif
