/* cluster/sessions.h - where the sessions of all clients are, kept in Redis (commit/roaming.h)
 *
 *     isobar:session:USER NUL CLIENT-ID   hash: owner, run (who has it), row, by (who wrote that), of (under
 *                                         which number); since (when its client connected last, by
 *                                         Redis' clock); at (from where); new (a clean start under this number: the row is
 *                                         of before, and counts no more); keep (how long the key stays when nobody says
 *                                         that the client is connected); take, from and more (the last
 *                                         take, and what undoes it)
 *     isobar:mark:NODE/START              how far the live sessions of that run have got
 *     isobar:mail:NODE                    stream: "taken" and "given", read by that node
 *
 * How a session is taken: cluster/takes.h. How rows and marks get there: cluster/rows.h. Wills:
 * cluster/wills.h. Here: what other threads ask, letters, and what is given in answer to one.
 *
 * Threads: struct roaming's functions as they say; the rest on the cluster's loop.
 */
#ifndef CLUSTER_SESSIONS_H
#define CLUSTER_SESSIONS_H

#include "cluster/core.h"
#include "commit/roaming.h"

struct sessions;
struct mail;
struct members;

#define SESSIONS_SCRIPTS 4
void sessions_scripts(const char *out[SESSIONS_SCRIPTS]);

/* members: who is alive; both borrowed. */
struct sessions *sessions_new(
	struct cluster_core *core, struct members *members, struct mail *mail);
void sessions_begin(struct sessions *s);
void sessions_free(struct sessions *s);

/* Before the loop runs. */
void sessions_set_host(struct sessions *s, const struct roaming_host *host);
struct roaming sessions_roaming(struct sessions *s);

#endif
