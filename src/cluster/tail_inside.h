/* cluster/tail_inside.h - of a tail alone: tail.c has its steps, tail_batch.c reads what comes
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_TAIL_INSIDE_H
#define CLUSTER_TAIL_INSIDE_H

#include "cluster/tail.h"

#define TAIL_ASK_MOST 512u
#define TAIL_COMPLAIN_EVERY_MS 10000u

/* Redis', ms, as of the connection's greeting. */
uint64_t tail_clock(const struct tail *t);

/* The reply to a read: makes the batch, sets how far it was read and how many are asked for next. */
void tail_read_batch(struct tail *t, const struct resp *reply);

#endif
