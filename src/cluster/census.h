/* cluster/census.h - how many replicas have to have a message of a shard; and whether masters keep it
 *
 * As many as `acknowledge` says. A master that lost its replicas would stop its shards for ever, so
 * fewer count, but only while the master itself says in CLUSTER NODES that all missing ones are
 * `fail`, which a majority of the masters has agreed on; `fail?` is one node's view, also of a master
 * that is cut off, and counts for nothing (architecture.md, "A master that lost its only replica").
 * A master that has not been asked with success within CENSUS_OLD_MS gets no such leave.
 *
 * Each master is asked once a second, whether others answer or not; every five seconds also for its
 * maxmemory-policy: with any but noeviction it drops claims when it is full, and what they stood for is
 * published again.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_CENSUS_H
#define CLUSTER_CENSUS_H

#include <stdbool.h>
#include <stdint.h>

struct cluster_core;
struct census;

#define CENSUS_EVERY_MS 1000u
#define CENSUS_OLD_MS 3000u

struct census *census_new(struct cluster_core *core);
void census_begin(struct census *c);
void census_free(struct census *c);

/* Replicas that must have an entry of this shard now, at most `acknowledge`. */
uint8_t census_needed(const struct census *c, uint32_t shard);
/* The same for a key of any slot: as for a shard on its master. No shard is there: `acknowledge`. */
uint8_t census_needed_at(const struct census *c, uint16_t slot);
/* Asks again soon: a WAIT came back short. */
void census_hurry(struct census *c);
/* Shards that count with fewer replicas than `acknowledge`. */
uint32_t census_short(const struct census *c);
/* Shards whose master has not answered within CENSUS_OLD_MS. */
uint32_t census_silent(const struct census *c);
/* Shards whose master drops keys when it is full, as far as it has said. */
uint32_t census_evicting(const struct census *c);

#endif
