/* cluster/groups.h - what is dealt by one node at a time, over the nodes of a cluster (commit/sharing.h)
 *
 *     isobar:group:USER NUL NUL NAME/FILTER    a shared subscription: a hash, see cluster/shares.h
 *     isobar:publish:NAME                      a target of `publish`: the same, all shards at one node
 *
 * Each node with sessions of a group calls one script: once a second while it has connected members,
 * once a minute else, and at once when the first comes or the last goes, or a letter "wanted" says that
 * another node waits for one of its shards. The call says that, writes how far its shards are
 * acknowledged, and reads the rest. A shard changes hands by compare-and-swap:
 *
 *     wanted elsewhere: ENDING --all dealt is acknowledged, or CREW_END_MS--> the other's, from there
 *     its node is dead: taken, from the place last written
 *
 * Where a new group begins each of its nodes says before any claims a shard; the least counts. When the
 * last session here ends, or the node stops, the last places are written exactly: who goes on repeats
 * nothing that was acknowledged.
 *
 * A target's shards go all at once, so that it never has two feeders, and at once when its owner is about
 * to leave. While Redis is out of reach all stays as it is.
 *
 * Threads: struct sharing's function, groups_finish() and groups_each_share() on any; the rest on the
 * cluster's loop.
 */
#ifndef CLUSTER_GROUPS_H
#define CLUSTER_GROUPS_H

#include "cluster/core.h"
#include "commit/sharing.h"

#define GROUPS_EVERY_MS 1000u
#define GROUPS_SOON_MS 250u       /* while shards are to change hands */
#define GROUPS_HELD_MS 60000u     /* of shared subscriptions whose sessions here are all offline */
#define GROUPS_KEEP_MS 604800000u /* a group that no living node knows */
#define GROUPS_GRACE_MS 5000u     /* its last session may be on its way to another node */
#define GROUPS_FINISH_MS 1000u

struct groups;
struct mail;
struct members;

const char *groups_script(void);

enum groups_kind { GROUPS_SHARED, GROUPS_TARGETS };

/* members: who is alive; mail: for GROUPS_SHARED; both borrowed. */
struct groups *groups_new(struct cluster_core *core, struct members *members, struct mail *mail,
	enum groups_kind kind);
void groups_begin(struct groups *s);
void groups_free(struct groups *s);

/* Before the loop runs. */
void groups_set_host(struct groups *s, const struct sharing_host *host);
struct sharing groups_sharing(struct groups *s);

/* Who is alive has changed: all are looked at soon. */
void groups_look(struct groups *s);
/* Has this node shards that another is to have, or is about to leave without their last places in Redis? */
bool groups_owe(const struct groups *s);
/* Writes the last places; waits for that, at most limit_ms. Nothing is dealt any more. */
void groups_finish(struct groups *s, uint64_t limit_ms);

/* Whose each shard is, as last read; node "": nobody's. Valid during the call. */
void groups_each_share(struct groups *s,
	void (*on_share)(void *context, struct view key, uint32_t shard, struct view node),
	void *context);

#endif
