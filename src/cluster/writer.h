/* cluster/writer.h - messages on their way into the shared log
 *
 *     port's thread: writer_offer() --> parcel: records encoded once, in memory of their own
 *     loop: parcels --> queue of each shard --> calls (claim.h), several messages each --> WAIT
 *           answered, and enough replicas have it --> outcome to the port, one wake-up a turn
 *           else the same call again, with the same tokens, until it is
 *
 * A claim is never given up: who asks twice hears of his own token that he was first. What is under
 * way is bounded in bytes; beyond it offers are refused with ERR_HELD until half of it is gone.
 *
 * Threads: the cluster's loop; writer_offer() on the port's, one thread a port.
 */
#ifndef CLUSTER_WRITER_H
#define CLUSTER_WRITER_H

#include "cluster/core.h"

struct writer;

struct writer *writer_new(struct cluster_core *core);
void writer_begin(struct writer *w);
void writer_free(struct writer *w);

/* struct commit_log's offer; context is the writer. */
int writer_offer(void *context, struct commit_port *p, const void *connection,
	const struct commit_offer *offers, uint32_t n);

/* Written by the loop, read by any thread. */
struct writer_figures {
	count answered;
	count calls;
	count repeated;   /* calls made again: too few replicas, or an error of Redis' */
	count waiting_ms; /* the oldest message under way has waited for; 0: none */
};
const struct writer_figures *writer_figures(const struct writer *w);
uint64_t writer_bytes(const struct writer *w); /* under way; any thread */

#endif
