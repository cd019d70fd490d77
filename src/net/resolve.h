/* net/resolve.h - name look-up off the workers
 *
 * A small pool of threads calls getaddrinfo(); the answer comes as a task on the asking loop.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/address.h"
#include "net/loop.h"

struct resolver;      /* one per process; threads start at the first question */
struct resolve_query; /* one question under way */

struct resolver *resolver_new(void);
/* When no loop with queries under way runs any more; their answers do not come. Does not wait for
 * name servers. */
void resolver_free(struct resolver *r);

#define RESOLVE_ADDRESSES 16
/* count > 0 addresses, or count == 0 and why (static or valid during the call). */
typedef void resolve_on_answer(
	void *context, const struct address *addresses, int count, const char *why);

/* Literal addresses are answered without a thread, but never inside this call. */
struct resolve_query *resolve_start(struct resolver *r, struct loop *l, const char *host,
	uint16_t port, resolve_on_answer *on_answer, void *context);
/* The answer will not come. Loop's thread. */
void resolve_cancel(struct resolve_query *q);

#endif
