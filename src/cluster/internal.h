/* cluster/internal.h - of the Redis client alone: nodes, links, lanes
 *
 *	struct redis --- nodes (by "host:port") --- some shared links
 *	     |                                       ^
 *	     +-- lane per slot, made at first use ---+   several lanes on one link
 *	     +-- own lanes ---------- own link
 *
 * redis.c routes, map.c keeps slots and nodes, lane.c orders, link.c talks to one node.
 */
#ifndef CLUSTER_INTERNAL_H
#define CLUSTER_INTERNAL_H

#include "base/log.h"
#include "base/map.h"
#include "cluster/mark.h"
#include "cluster/redis.h"
#include "net/conn.h"

/* --- link: one connection to one node, made again whenever it is lost ---- */

enum link_state {
	LINK_WAITING,    /* for the time to connect again */
	LINK_RESOLVING,  /* the host's name */
	LINK_CONNECTING, /* TCP, TLS */
	LINK_HELLO,      /* AUTH, READONLY, scripts */
	LINK_READY,
	LINK_CLOSING, /* on_close comes */
	LINK_STATE_COUNT,
};

struct link {
	struct conn conn;
	struct redis *redis;
	struct redis_node *node;
	struct list in_redis;
	enum link_state state;
	bool own;         /* serves one lane alone */
	bool quiet;       /* what happens to it is told by another link to the same node */
	bool read_only;   /* READONLY: a replica answers */
	bool doomed;      /* freed once it is closed */
	bool told;        /* that it cannot be reached has been logged */
	bool is_silent;   /* something is under way, and nothing came for SILENT_MS */
	bool is_marked;   /* the mark before the WAIT that is answered next was written */
	uint8_t behind;   /* replies up to that to WAIT, which are no request's */
	uint8_t wait_for; /* replicas; 0: nothing sent in this pass needs a WAIT */
	uint32_t waits;   /* WAITs sent and not answered */
	uint32_t number;  /* of the connection */
	uint32_t hello_at;
	unsigned failures; /* in a row */
	uint64_t since_ms; /* the state began */
	uint64_t heard_ms; /* the last reply came */
	struct timer again;
	struct resolve_query *query;
	struct resp_reader *reader;
	struct list sent;     /* requests under way, oldest first */
	struct list answered; /* those whose WAIT is under way */
	struct redis_request ping;
	struct redis_request load;
	struct redis_request map;
};

#define SILENT_MS 500u

/* own NULL: one that lanes share. */
struct link *link_new(struct redis *r, struct redis_node *node, const struct redis_lane *own);
/* Ends it; freed at the end of the turn at the latest. What is under way goes back to its lane. */
void link_drop(struct link *l);
/* Here and now; its requests have been taken away. */
void link_free(struct link *l);

/* May a request go out here? False also when the socket is full. */
bool link_takes(const struct link *l, const struct redis_request *q);
void link_send(struct link *l, struct redis_request *q);
/* Loads the scripts of a node that forgot them, once nothing is under way to it any more: else what
 * stands behind a request that was refused for want of its script might find it there. */
void link_reload(struct link *l);
/* Asks for the map of slots. */
void link_ask_map(struct link *l);
/* The node is silent on one of its links and no longer a master: what is under way there goes elsewhere. */
void link_leave(struct redis *r, const struct redis_node *node);
/* At the end of a pass: WAIT for what needs it, and everything on its way. */
void link_finish_pass(struct link *l);
/* Closes what has been silent for too long, asks what has been idle whether it lives. */
void link_tick(struct link *l, uint64_t now_ms);

/* --- lane: what keeps its order ------------------------------------------ */

struct redis_lane {
	struct redis *redis;
	uint16_t slot;
	enum redis_route route;
	uint32_t line; /* which of the shared links of a node */
	bool closed;
	uint32_t under_way; /* sent and not settled */
	unsigned turns;     /* redirects and refusals since something was answered */
	bool is_careful; /* the last answer was a refusal: one at a time until something is done */
	uint64_t not_before_ms;
	struct link *link;   /* where things are under way; an own lane's own */
	struct list queue;   /* not sent */
	struct list again;   /* answered with "elsewhere" or "later" */
	struct list in_busy; /* redis.busy, while there is something to send */
	struct list in_own;  /* redis.own */
	bool own;
};

void lane_init(struct redis_lane *lane, struct redis *r, uint16_t slot);
int lane_submit(struct redis_lane *lane, struct redis_request *q);
/* Sends what can be sent. False: no node can take it. */
bool lane_pump(struct redis_lane *lane, uint64_t now_ms);
void lane_on_reply(struct link *l, struct redis_request *q, const struct resp *reply);
/* WAIT's answer, of all it was for. replicas < 0: it failed. */
void lane_settle(struct redis_request *q, int64_t replicas);
/* Its connection ended before it was settled. */
void lane_on_lost(struct redis_request *q, bool was_answered);
/* Gives up what has waited for too long. */
void lane_expire(struct redis_lane *lane, uint64_t now_ms);
/* Everything that is not under way ends with err. */
void lane_fail(struct redis_lane *lane, int err);

/* --- nodes and slots ------------------------------------------------------ */

#define NODE_NAME_BYTES 272
#define NODES_MOST 1024u

struct redis_node {
	char name[NODE_NAME_BYTES]; /* "host:port" */
	char host[256];
	uint16_t port;
	bool seed;                 /* stays even when no map names it */
	bool mapped;               /* the last map named it */
	bool forgot;               /* its scripts: nothing is sent until they are loaded again */
	bool loading;              /* they are under way */
	struct redis_node *master; /* whose replica it is; NULL: a master, or unknown */
	struct link *links[REDIS_CONNECTIONS_MOST]; /* shared by lanes; NULL: not needed yet */
};

/* NULL: there are too many. from: whose host is meant when none is given; may be NULL. */
struct redis_node *map_node(
	struct redis *r, const struct slot_node *at, const struct redis_node *from);
/* The map of a reply to CLUSTER SLOTS given by `from`. */
void map_apply(struct redis *r, const struct resp *reply, const struct redis_node *from);
/* The line-th shared link to this node, connecting or ready. */
struct link *map_link(struct redis *r, struct redis_node *node, uint32_t line);
struct redis_node *map_replica(struct redis *r, const struct redis_node *master);

/* --- the client ------------------------------------------------------------ */

struct redis {
	struct redis_config config;
	char *user; /* owned, as config's */
	char *password;
	struct map nodes;  /* name -> struct redis_node */
	struct list links; /* all of them */
	struct list busy;  /* lanes with something to send */
	struct list own;   /* lanes of redis_lane_open() */
	struct redis_lane *lanes[SLOTS];
	struct redis_lane any; /* REDIS_ANY_SLOT */
	struct redis_node *masters[SLOTS];
	struct deferred pass;
	struct timer tick;
	const struct link *map_link; /* where the map was asked last, and is not answered; NULL */
	bool map_wanted;
	uint64_t map_at_ms; /* last asked */
	uint32_t connections;
	uint32_t outstanding;
	uint64_t bytes;
	uint64_t chance;
	uint32_t covered;    /* slots with a master */
	uint32_t lane_count; /* made by slot */
	uint32_t master_count;
	uint32_t replica_count;
	const char *fault; /* what was told last, static; NULL: nothing yet */
	uint64_t fault_at_ms;
	struct log_limit fault_log;
	struct redis_figures figures;
	struct marks marks;
};

/* An error that a node answered: kept for redis_fault(). */
void redis_note_fault(struct redis *r, struct view error);
/* The same, and logged: nobody else does. */
void redis_tell_fault(struct redis *r, const struct redis_node *node, struct view error);

/* A pass over the busy lanes at the end of this turn. */
void redis_later(struct redis *r);
void redis_want_map(struct redis *r);
/* A ready shared link that is not silent, any; NULL. */
struct link *redis_any_link(struct redis *r);
/* The answer of a node that was asked for the map; NULL: none comes. */
void redis_on_map(struct link *l, const struct resp *reply);
/* on_done, once. */
void redis_finish(struct redis *r, struct redis_request *q, int err);
/* A random number. */
uint32_t redis_chance(struct redis *r);

#endif
