/* cluster/holders.h - which node holds which source
 *
 * Each source is wanted at `replicas` living nodes with the role, the first in the order of
 * hash(source, node) (rendezvous hashing): when a node comes or goes only what it has, or had,
 * moves. A holder has one of the source's slots 0 .. replicas-1; its lease says who, "NAME/START".
 * Two nodes never have the same slot: it is the end of the client id at the WIS2 Node, and who takes it
 * goes on with the MQTT session of who had it.
 *
 *	nodes + leases of a source --> holder_decide() --> hold slot 1, be its voice
 *	                                                   swap: lease of slot 0 from "b/.." to mine
 *
 * Leases change by compare-and-swap only, so that it does not matter who is quicker, or whose view
 * is older. The voice is the living holder of the lowest slot: it counts and reports for the source.
 *
 * Pure.
 */
#ifndef CLUSTER_HOLDERS_H
#define CLUSTER_HOLDERS_H

#include "cluster/nodes.h"

/* A node's weight for something: the highest is to have it (rendezvous hashing). The same on every
 * machine and in every version. */
uint64_t holder_weight(struct view what, const char *node);

#define HOLDERS_MOST 16u
#define HOLDER_NONE UINT32_MAX

/* Of one source, as last read; texts are the caller's, NULL: nobody. */
struct leases {
	const char *run[HOLDERS_MOST];
};

struct holder_terms {
	const struct nodes *nodes;
	const char *node; /* mine */
	const char *run;  /* mine, "NAME/START" */
	uint32_t replicas;
	bool settled; /* who is alive has not changed for a while: what others have may be taken */
};

struct holder_step {
	uint32_t slot; /* held, or HOLDER_NONE */
	bool voice;
	uint32_t swap; /* slot whose lease is to change, or HOLDER_NONE */
	bool release;  /* it is mine, and to be nobody's; else it is to be mine */
};

/* The living node, not about to leave, that takes care of what there is one of: first in the order of
 * hash(what, node). NULL: none is alive. */
const struct node *holder_first(const struct nodes *nodes, const char *what);

void holder_decide(const struct holder_terms *t, const char *source, const struct leases *leases,
	struct holder_step *out);

#endif
