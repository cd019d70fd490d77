/* cluster/tally.h - the counts of every node, summed on every node
 *
 * Once a second, later when the cluster is so large that the reply is, this run's counts go to Redis
 * by one script and those of all runs come back (cluster/tally_book.h). What is shown is what Redis
 * has: a node that dies takes with it what it counted in its last second, and what was shown never
 * goes back.
 *
 * Threads: the loop's, but for tally_each(), tally_each_holding() and tally_finish().
 */
#ifndef CLUSTER_TALLY_H
#define CLUSTER_TALLY_H

#include "cluster/core.h"
#include "cluster/nodes.h"

struct tallies;

extern const char *const tally_script;

struct tallies *tally_new(struct cluster_core *core);
void tally_begin(struct tallies *t);
/* NULL: nothing. */
void tally_free(struct tallies *t);

/* Who lives; copied. */
void tally_set_nodes(struct tallies *t, const struct nodes *nodes);

/* Tells Redis what has been counted since the last time, waits for its answer at most limit_ms, and
 * tells it nothing more. The loop runs. */
void tally_finish(struct tallies *t, uint64_t limit_ms);

void tally_each(
	struct tallies *t, void (*on_tally)(void *context, const struct tally *t), void *context);

void tally_each_holding(
	struct tallies *t, void (*on_one)(void *context, const struct holding *h), void *context);

#endif
