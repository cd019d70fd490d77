/* cluster/roll.h - the nodes, for all threads that show them
 *
 * A copy of what was read last (cluster/nodes.h). Of this node itself it has what is so now, even
 * while Redis is out of reach and nothing is read.
 *
 * Threads: any.
 */
#ifndef CLUSTER_ROLL_H
#define CLUSTER_ROLL_H

#include <pthread.h>

#include "cluster/nodes.h"

struct roll {
	pthread_mutex_t lock;
	const char *own; /* this node's name, borrowed */
	struct nodes nodes;
	uint64_t figures[NODE_FIGURES]; /* this node's */
	bool has_figures;
	uint32_t elsewhere; /* asked so often */
};

void roll_init(struct roll *r, const char *own);
void roll_fini(struct roll *r);

void roll_set(struct roll *r, const struct nodes *nodes);
void roll_set_own(struct roll *r, const uint64_t figures[NODE_FIGURES]);

/* In order of name; the node is valid during the call. */
void roll_each(
	struct roll *r, void (*on_node)(void *context, const struct node *node), void *context);
/* Gives when the nodes were read, by the monotonic clock; 0: not yet. */
uint64_t roll_sum(struct roll *r, struct nodes_sum *out);

/* What another node for subscribers advertises, each in turn; "": those that live advertise nothing; NULL:
 * none lives. The caller frees. */
char *roll_elsewhere(struct roll *r);

#endif
