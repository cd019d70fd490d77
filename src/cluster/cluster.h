/* cluster/cluster.h - this machine's part in a cluster, on a thread of its own
 *
 * Several machines are one Global Broker on one Redis Cluster. Everything with Redis happens on one
 * thread with one event loop and one client; workers never talk to Redis:
 *
 *     workers: commit_submit() --> writer: claims, batches, WAIT --> Redis Cluster
 *              journal <-- commit_follow() <-- follower: streams <--/
 *
 * cluster_new() puts itself behind commit's face (commit_set_log()). While Redis is out of reach
 * the journal is served as before; what becomes of new messages is `on_failure`.
 *
 * Threads: cluster_new() to cluster_free() on one; cluster_figures() on any.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/nodes.h"
#include "commit/commit.h"
#include "net/resolve.h"

struct cluster;

enum cluster_failure {
	CLUSTER_HOLD,  /* acknowledgements are withheld */
	CLUSTER_SPOOL, /* kept on the local disk, acknowledged, committed in order afterwards */
	CLUSTER_LOCAL, /* the same, and delivered to this node's subscribers meanwhile */
};

/* What the holders of a source, or of all sources of a centre, have counted. */
enum tally_figure {
	TALLY_RECEIVED, /* at the voice, as all but the next, TALLY_AHEAD and TALLY_LAST_MS */
	TALLY_PUBLISHED,
	TALLY_INVALID_TOPIC,
	TALLY_INVALID_FORMAT,
	TALLY_NO_METADATA,
	TALLY_REPEATS, /* messages that had been published, for whatever source */
	TALLY_AHEAD,   /* published for a holder that is not the voice */
	TALLY_SUMS,
	TALLY_LAST_MS = TALLY_SUMS, /* wall clock; the largest */
	TALLY_DUPLICATES,           /* see cluster/tally_book.h; the largest; not of a source */
	TALLY_FIGURES,
};

struct tally {
	const char *source;
	const char *centre;
	bool connected;
	uint64_t figures[TALLY_FIGURES];
	bool is_held; /* by this node; of a source, as what follows */
	bool is_voice;
	uint32_t slot;
};
struct tally_book;

/* That a node holds a source. */
struct holding {
	const char *source;
	const char *node;
	uint32_t slot;
	bool is_voice;
	bool connected;
};

/* How this node is; counters since its start. */
struct cluster_vitals {
	uint64_t uptime_ms;
	uint64_t sessions;
	uint64_t offline;   /* of these */
	uint64_t behind;    /* of those connected */
	uint64_t received;  /* messages of sources and clients, repeats and all */
	uint64_t published; /* for the first time, by this node */
	uint64_t delivered;
	uint64_t sources_held;
	uint64_t sources_connected;
	bool journal_failed;
	bool journal_held;
};

struct cluster_settings {
	struct commit *commit; /* borrowed for life, as the resolver */
	struct resolver *resolver;
	char *const *redis; /* addresses, all redis:// or all rediss://; copied, as all texts */
	uint32_t redis_count;
	const char *tls_ca; /* NULL: the system's */
	bool tls_verify;
	const char *node;      /* this machine's name */
	const char *dir;       /* for files of the cluster's; made when something is to be kept */
	const char *version;   /* of the program */
	unsigned roles;        /* enum node_role */
	uint32_t replicas;     /* nodes that hold each source */
	const char *advertise; /* NULL: none */
	uint64_t window_ms;    /* antiloop.window */
	uint64_t stream_keep_ms;
	uint64_t stream_bytes; /* of all shards together */
	uint8_t acknowledge;   /* Redis replicas that must have a message */
	enum cluster_failure on_failure;
	bool compatible;        /* the filter of the existing antiloop is asked first (wis2gb) */
	uint64_t spool_bytes;   /* on disk at most, under spool and local */
	enum journal_sync sync; /* journal.sync, for the spool */
	uint32_t sync_ms;
	/* This node holds a source with this slot (CLUSTER_NOT_HELD: others do), as its voice or not.
	 * At first it holds none. On the cluster's thread. */
	void (*on_holding)(void *context, const char *source, uint32_t slot, bool is_voice);
	/* Calls tally_book_add() for each source. NULL: there are none. On the cluster's thread. */
	void (*on_tally)(void *context, struct tally_book *book);
	/* Once a second; *out is zeroed before. NULL: nothing is told of this node. On the cluster's thread. */
	void (*on_vitals)(void *context, struct cluster_vitals *out);
	/* An operator's order to another node, or of while this one was away; text is as it was told. On
	 * the cluster's thread. */
	void (*on_order)(void *context, struct view text);
	void *context;
};
#define CLUSTER_NOT_HELD UINT32_MAX

/* Before there are ports. 0, or ERR_CONFIG / ERR_TLS / ERR_SYSTEM with *why to free(). */
int cluster_new(struct cluster **out, const struct cluster_settings *settings, char **why);
/* Sessions of clients, shared with the other nodes: what the broker asks, and who is told. Before
 * cluster_start(). */
struct roaming;
struct roaming_host;
struct roaming cluster_roaming(struct cluster *c, const struct roaming_host *host);
/* As well: commit/retaining.h; copied. */
struct retaining_host;
void cluster_set_retaining(struct cluster *c, const struct retaining_host *host);
/* As well: commit/sharing.h. */
struct sharing;
struct sharing_host;
struct sharing cluster_sharing(struct cluster *c, const struct sharing_host *host);
/* The same for targets of `publish`, each fed by one node at a time. */
struct sharing cluster_targets(struct cluster *c, const struct sharing_host *host);
/* The thread; workers may run already. 0 or ERR_SYSTEM. */
int cluster_start(struct cluster *c);
/* The names of all sources that are configured; copied. Any thread. */
void cluster_set_sources(struct cluster *c, const char *const *names, uint32_t n);
/* Says that this node is about to leave, and waits until others hold its sources and feed its targets, at
 * most limit_ms; nothing when it was not started. Sources and targets are still connected. */
void cluster_leave(struct cluster *c, uint64_t limit_ms);
/* Where clients are better served from now on: what another node advertises, "": another lives and
 * advertises nothing, NULL: nowhere. The caller frees it. Any thread. */
char *cluster_elsewhere(struct cluster *c);
/* Ends the thread, after places and figures were written once more; loops of ports still exist. Nothing
 * when it was not started. */
void cluster_stop(struct cluster *c);
/* After cluster_stop(), when no loop of any port runs. NULL: nothing. */
void cluster_free(struct cluster *c);

enum cluster_state {
	CLUSTER_OPEN,     /* messages are claimed as they come */
	CLUSTER_HOLDING,  /* acknowledgements are withheld */
	CLUSTER_SPOOLING, /* messages are kept on this machine's disk, and acknowledged */
	CLUSTER_DRAINING, /* these are committed in their order; new ones stand behind them */
	CLUSTER_STATES,
};
const char *cluster_state_text(enum cluster_state state);

/* How far this node is in a shard of the shared log. */
enum follow_state {
	FOLLOW_SEARCHING, /* no master answers for it */
	FOLLOW_BEHIND,    /* there is more than has been read */
	FOLLOW_LIVE,      /* at the end of the stream */
	FOLLOW_UNSAFE,    /* too few replicas have what was read */
	FOLLOW_HELD,      /* the journal takes nothing */
	FOLLOW_NEWER, /* stands at a record that only a newer version of this program can read */
	FOLLOW_STATES,
};
const char *follow_state_text(enum follow_state state);

struct cluster_figures {
	const char *degraded; /* why, static; NULL: it is not */
	const char *
		fault; /* what somebody has to mend in Redis, static; NULL: not degraded, or not known */
	const char *node;     /* as long as the cluster */
	const char *redis;    /* what of its slots is within reach, static */
	unsigned redis_state; /* the same as a number: enum redis_state */
	enum cluster_state state;
	uint64_t connections;     /* to Redis, ready */
	uint64_t lost;            /* of these, ended since start */
	uint64_t moved;           /* slots found elsewhere */
	uint64_t claims;          /* messages answered by the shared log */
	uint64_t calls;           /* of the script, repetitions included */
	uint64_t repeated;        /* calls made again */
	uint64_t waiting_ms;      /* so long the oldest call has; 0: none is under way */
	uint64_t waiting_bytes;   /* of messages not answered */
	uint64_t short_shards;    /* that count with fewer replicas */
	uint64_t evicting_shards; /* whose Redis drops claims when it is full */
	uint64_t spooled;         /* messages, since start */
	uint64_t spool_messages;  /* in the spool now */
	uint64_t spool_bytes;
	uint64_t spool_most_bytes;
	uint64_t put_back; /* messages that Redis had lost, from this node's journal */
	uint64_t foreign;  /* messages that the existing antiloop had published */
	uint64_t escaped;  /* published by two nodes, as one did so without Redis (local) */
	uint64_t read;     /* entries followed */
	uint64_t lag_entries;
	uint64_t lag_ms;
	uint64_t missed;
	uint64_t unordered;   /* messages that stand before one that they should stand behind */
	uint64_t unsafe;      /* batches that had to wait for replicas */
	uint64_t no_records;  /* entries that no node wrote: passed over */
	uint64_t follow_held; /* times that the journal took nothing */
	uint64_t shards[FOLLOW_STATES]; /* how many are in each state */
};
void cluster_figures(struct cluster *c, struct cluster_figures *out);

/* Tells all other nodes of an order, and those that are away when they come back; a later one about the
 * same thing takes the place of the one before, about "" there is nothing to come back to. Goes on
 * trying while Redis is out of reach. 0, ERR_TOO_LARGE, or ERR_FULL: too many wait. Any thread. */
int cluster_tell_order(struct cluster *c, const char *about, struct view text);

/* What all nodes have counted of each centre (source NULL), as Redis has it: it never goes back. While
 * Redis is out of reach as known last; none when it has not been reached since the start. Any thread. */
void cluster_each_tally(
	struct cluster *c, void (*on_tally)(void *context, const struct tally *t), void *context);

/* Which living nodes hold which source, as they say, in order of source and slot; valid during the call.
 * As known last while Redis is out of reach. Any thread. */
void cluster_each_holding(
	struct cluster *c, void (*on_one)(void *context, const struct holding *h), void *context);

/* Which node feeds each shard of the targets named here, as last read from Redis, "": none yet; valid
 * during the call. Any thread. */
void cluster_each_target_shard(struct cluster *c,
	void (*on_shard)(void *context, struct view target, uint32_t shard, struct view node),
	void *context);

/* The nodes as last seen, in order of name; valid during the call. Any thread. */
void cluster_each_node(
	struct cluster *c, void (*on_node)(void *context, const struct node *node), void *context);
/* All of them together. Gives how old what is known of the others is, ms; UINT64_MAX: nothing is known.
 * Any thread. */
uint64_t cluster_sum(struct cluster *c, struct nodes_sum *out);
/* What is so of Redis, as a node tells it in NODE_REDIS. */
const char *cluster_redis_text(uint64_t state);

#endif
