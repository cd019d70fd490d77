/* cluster/takes.h - sessions on their way to this node (commit/roaming.h)
 *
 *     take --> take.lua, WAIT --> nobody had it, or this run ------------------------> mark --> answered
 *                 |  a node that lives, or is new: "taken" to it --> "given", row read --------->
 *                 |  ... that does not answer within SESSIONS_PATIENCE_MS, or is dead:
 *                 +----------------------------------------> its client's will ------>
 *
 * After SESSIONS_TAKE_MS a take is answered with what is known; one that is done only then is undone. Its
 * number makes it the same take however often it is sent. A claim is a take without an answer: the node
 * serves the session already; it is sent until it is done, some at a time, and yields to a later CONNECT.
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_TAKES_H
#define CLUSTER_TAKES_H

#include "cluster/core.h"
#include "commit/roaming.h"

#define SESSIONS_PATIENCE_MS 500u
#define SESSIONS_TAKE_MS 1000u /* after so long a take is answered as "out of reach" */

struct mail;
struct members;
struct takes;
struct wills;

struct takes_config {
	struct cluster_core *core;
	struct members *members;
	struct mail *mail;
	struct wills *wills;
	const char *run;                 /* this one's, "NODE/START" */
	const struct roaming_host *host; /* may be filled in until takes_begin() */
	/* A session is this run's under that number, and has ended here meanwhile. */
	void (*on_ended)(void *context, struct view key, uint32_t owner);
	void *context;
};

const char *takes_script(void);

/* All are borrowed. */
struct takes *takes_new(const struct takes_config *config);
/* Before that takes are answered as "out of reach", and claims wait. */
void takes_begin(struct takes *t);
/* Takes that are under way are not answered (commit/roaming.h). */
void takes_free(struct takes *t);

void takes_take(struct takes *t, struct roaming_take *take);
void takes_claim(
	struct takes *t, struct view key, unsigned flags, uint64_t address, uint64_t age_ms);
/* Its session has ended, or has gone to another node. */
void takes_unclaim(struct takes *t, struct view key, bool is_ended);
/* The node that had it has written its last row. */
void takes_given(struct takes *t, struct view key, uint32_t owner);

#endif
