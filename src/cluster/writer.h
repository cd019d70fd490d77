/* cluster/writer.h - messages on their way into the shared log
 *
 *     intake: parcels --> queue of each shard --> calls (claim.h), several messages each --> WAIT
 *         answered, and enough replicas have it --> outcome to the port, one wake-up a turn
 *         else the same call again, with the same tokens, until it is
 *
 * A claim is never given up: who asks twice hears of his own token that he was first.
 *
 * When nothing is answered for WRITER_LATE_MS the store is out of reach, and the writer goes by
 * cluster.on_store_failure:
 *
 *     open --late, hold----------> holding ---answered---> open
 *     open --late, spool, local--> spooling --answered---> draining --spool is empty--> open
 *                                      ^---------late---------'
 *
 * Threads: the cluster's loop; figures any.
 */
#ifndef CLUSTER_WRITER_H
#define CLUSTER_WRITER_H

#include "cluster/core.h"

#define WRITER_LATE_MS 1500u

struct parcel;
struct writer;

/* 0, or an error of the spool with *why to free(). */
int writer_new(struct writer **out, struct cluster_core *core, char **why);
/* On the loop, before Redis is reached: what waits for that may be late as well. */
void writer_start(struct writer *w);
void writer_begin(struct writer *w);
void writer_free(struct writer *w);

/* What commit is to be given. */
struct commit_log writer_log(struct writer *w);

/* Claims once more what stands in `p` (intake_parcel()), all of it of one shard and with the places
 * that it had; nobody hears the answers. On the loop. */
void writer_put_back(struct writer *w, struct parcel *p);
/* Nothing of the shard waits or is under way, and Redis is within reach. */
bool writer_is_idle(const struct writer *w, uint32_t shard);
/* So many of the shard were put back: they were not there. */
uint64_t writer_mended(const struct writer *w, uint32_t shard);

/* Written by the loop, read by any thread. */
struct writer_figures {
	count state;      /* enum cluster_state */
	count answered;   /* messages, by the log */
	count calls;      /* of the script, repetitions included */
	count repeated;   /* calls made again: too few replicas, or an error of Redis' */
	count waiting_ms; /* so long the oldest call under way has; 0: none */
	count outages;    /* how often it left CLUSTER_OPEN */
	count spooled;    /* messages written to the spool */
	count foreign;    /* messages that the antiloop of other software had published */
	count escaped;    /* delivered here under `local` and published by another node as well */
	count put_back;   /* lost by Redis, and put back from this node's journal */
	count spool_messages; /* in the spool, not committed */
	count spool_bytes;
};
const struct writer_figures *writer_figures(const struct writer *w);
uint64_t writer_bytes(const struct writer *w); /* in memory, not answered */

#endif
