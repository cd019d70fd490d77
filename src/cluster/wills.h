/* cluster/wills.h - wills of connected clients, kept in Redis for when their node dies
 *
 *     {isobar}:wills            set: the runs, "NODE/START", that may have wills
 *     isobar:wills:NODE/START   hash: session -> id of the will, delay, what the broker needs
 *
 *     client connects --> HSET    published, forgotten --> gone
 *     client is back on a node, its last one dead or silent --> HGET --> published at once, or dropped
 *
 *     every second: runs in the set that live no more --> of these, mine: HSCAN --delay over--> on_will()
 *                                                  set <-- hash is empty     gone <-- will_done()
 *
 * One of the living nodes takes care of a dead run (holder_first()). When views differ, or it dies as
 * well, a will is published twice under the same identifier, of which the shared log takes one. Nothing
 * is removed before it is published. The delay begins when the node that takes care has first seen
 * that the run is dead: no wall clock counts.
 *
 * What Redis is to have is kept here until it has it, the latest of each session.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_WILLS_H
#define CLUSTER_WILLS_H

#include "cluster/core.h"
#include "commit/roaming.h"

#define WILLS_KEY "isobar:wills:"

struct members;
struct wills;

const char *wills_script(void);

/* run: this one's, "NODE/START"; borrowed, as host, which may be filled in until wills_begin(). */
struct wills *wills_new(struct cluster_core *core, struct members *members, const char *run,
	const struct roaming_host *host);
void wills_begin(struct wills *w);
void wills_free(struct wills *w);

/* Of this run's client; no bytes: it has none any more. */
void wills_put(struct wills *w, struct view key, const struct roaming_will *will);
/* run: empty for this one. */
void wills_done(struct wills *w, struct view run, struct view key, const struct uuid *id);
/* This node has taken the session from `run`, which does not answer: its client is back. value: its
 * will, as Redis has it. Without a delay it is published, as its connection has ended; with one only if
 * a clean start has ended the session (MQTT 5, 3.1.2.5). */
void wills_return(
	struct wills *w, struct view run, struct view key, struct view value, bool is_clean);

#endif
