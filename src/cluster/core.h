/* cluster/core.h - what the modules on the cluster's loop share
 *
 * A module (writer, follower, members ...) has three functions and is called by cluster.c alone:
 *
 *     x_new(core)    on the main thread, before the loop runs: no request to Redis yet
 *     x_begin(x)     on the loop, once: Redis is reached, and the cluster is of our kind
 *     x_free(x)      after the loop has ended; the client has told ERR_SHUTDOWN to every request
 *
 * Other threads hand work over by loop_post(core->loop, ...).
 */
#ifndef CLUSTER_CORE_H
#define CLUSTER_CORE_H

#include "cluster/claim.h"
#include "cluster/cluster.h"
#include "cluster/redis.h"

#define SHARDS 16u /* of a new cluster; {isobar}:cluster says how many this one has */

struct census;
struct mend;
struct retaining_host;

struct cluster_core {
	const struct cluster_settings *settings; /* with texts of its own */
	struct loop *loop;
	struct redis *redis;
	struct commit *commit;
	uint64_t start; /* when this process started, ms: a node's name may come back */
	char *name;     /* "node/start" */
	uint32_t shards;
	struct census *census;
	struct mend *mend;                      /* NULL: nothing is put back */
	const struct retaining_host *retaining; /* NULL: nobody keeps retained messages */
};

#endif
