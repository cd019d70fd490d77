/* cluster/receipts.h - receipts that wait, at most RECEIPTS_WAIT_MS each (commit/receipt.h)
 *
 * One that has waited so long is told all the same: a client is not kept waiting for an answer because
 * Redis is away. From then on nobody waits, until something has been written again.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_RECEIPTS_H
#define CLUSTER_RECEIPTS_H

#include <stdbool.h>

#include "commit/receipt.h"
#include "net/loop.h"

#define RECEIPTS_WAIT_MS 1000u

struct receipts {
	struct loop *loop;
	const char *what; /* for the log; static */
	struct list due;
	struct timer timer;
	bool is_away; /* nobody waits */
};

void receipts_init(struct receipts *all, struct loop *loop, const char *what);
/* Those that wait are not told, nor looked at. */
void receipts_fini(struct receipts *all);

/* r joins `with`, those that wait for the same; told at once while nobody waits. */
void receipts_wait(struct receipts *all, struct receipt *r, struct list *with);
/* What these have waited for is safe, or need not be. */
void receipts_tell(struct list *these);
/* Something has been written, and is safe: who comes from now on waits. */
void receipts_resume(struct receipts *all);

#endif
