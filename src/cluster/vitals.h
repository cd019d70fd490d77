/* cluster/vitals.h - what this node tells the others of itself
 *
 * Counters and states of this node, made into the small figures of a beat. Rates are over the last
 * VITALS_LOOKS beats, some seconds, or over those there were.
 *
 * Pure: counters and times in, figures out. Threads: one at a time.
 */
#ifndef CLUSTER_VITALS_H
#define CLUSTER_VITALS_H

#include "cluster/cluster.h"

#define VITALS_LOOKS 5u

enum vitals_rate { VITALS_RECEIVED, VITALS_PUBLISHED, VITALS_DELIVERED, VITALS_RATES };

/* Zero-initialised. */
struct vitals {
	struct vitals_look {
		uint64_t at_ms;
		uint64_t counters[VITALS_RATES];
	} looks[VITALS_LOOKS + 1]; /* in turn */
	uint32_t taken;
};

/* figures: all are written. failure: what becomes of new messages without Redis. */
void vitals_take(struct vitals *v, const struct cluster_figures *cluster,
	const struct cluster_vitals *own, enum cluster_failure failure, uint64_t now_ms,
	uint64_t figures[NODE_FIGURES]);

#endif
