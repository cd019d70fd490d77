/* cluster/groups.h - shared subscriptions over the nodes of a cluster (commit/sharing.h)
 *
 *     isobar:group:USER NUL NUL NAME/FILTER    hash: cluster/shares.h
 *
 * Each node with sessions of a group calls one script: once a second while it has connected members,
 * once a minute else, and at once when the first comes or the last goes, or a letter "wanted" says that
 * another node waits for one of its shards. The call says that, writes how far its shards are
 * acknowledged, and reads the rest. A shard changes hands by compare-and-swap:
 *
 *     wanted elsewhere: ENDING --all dealt is acknowledged, or GROUPS_END_MS--> the other's, from there
 *     its node is dead: taken, from the place last written
 *
 * While Redis is out of reach all stays as it is.
 *
 * Threads: struct sharing's function on any; the rest on the cluster's loop.
 */
#ifndef CLUSTER_GROUPS_H
#define CLUSTER_GROUPS_H

#include "cluster/core.h"
#include "commit/sharing.h"

#define GROUPS_EVERY_MS 1000u
#define GROUPS_SOON_MS 250u       /* while shards are to change hands */
#define GROUPS_HELD_MS 60000u     /* of groups whose sessions here are all offline */
#define GROUPS_END_MS 3000u       /* what members have open for longer comes twice */
#define GROUPS_KEEP_MS 604800000u /* a group that no living node knows */
#define GROUPS_GRACE_MS 5000u     /* its last session may be on its way to another node */

struct groups;
struct mail;
struct members;

const char *groups_script(void);

/* members: who is alive; both borrowed. */
struct groups *groups_new(struct cluster_core *core, struct members *members, struct mail *mail);
void groups_begin(struct groups *s);
void groups_free(struct groups *s);

/* Before the loop runs. */
void groups_set_host(struct groups *s, const struct sharing_host *host);
struct sharing groups_sharing(struct groups *s);

#endif
