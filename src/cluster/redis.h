/* cluster/redis.h - a client of one Redis Cluster on one event loop
 *
 * Requests are handed over with the slot of their keys and answered exactly once. They are pipelined:
 * thousands may be under way on the few connections that this client has to each master. Where a slot
 * lives, that it moved, that a node is gone, loading or not yet sure: all of that is dealt with here;
 * the caller sees a reply, or an error when the request's time is over.
 *
 *     redis_submit() -> lane of the slot -> link to its master -> on_reply -> (WAIT) -> on_done
 *                          ^                    |
 *                          +--- sent again -----+  MOVED ASK TRYAGAIN CLUSTERDOWN LOADING, lost link
 *
 * **Order.** Requests of one lane (a slot, or one of redis_lane_open()) are sent in the order of
 * their submission. When one has to be sent again, nothing new of the lane is sent until all that is
 * under way is answered, and then what has to be repeated goes first, in its old order, one at a time
 * until one is done. (A request refused for a moment that was over before the next one arrived may be
 * overtaken by it: that needs a CLUSTERDOWN or BUSY that ends, or a script that another program loads,
 * between two commands of one pipeline. Whose order matters even then has one under way at a time.)
 *
 * **Acknowledged by replicas.** With `acknowledge` set, WAIT follows on the connection of the
 * command, one for all requests of a turn, behind a write of its own (cluster/mark.h), and on_done says how many replicas have it. A connection
 * lost before that means that the command itself is sent again before the next WAIT, as WAIT proves
 * nothing on another connection.
 *
 * **Slots that move.** While a slot is migrated Redis refuses every command of several keys of which
 * one does not exist (TRYAGAIN): claims of that slot stand still until it has moved.
 *
 * Time limits: a request not under way is given up limit_ms after its submission; a connection whose
 * oldest command has waited for longer than answer_ms (and what the command itself may block) is
 * closed, and so is one that has not been set up within connect_ms. While one is silent for half a second
 * others are asked for the map; when it names another master, the silent one is left at once.
 *
 * Bounds: requests_most, bytes_most; redis_submit() then says ERR_FULL. A reply is at most
 * REDIS_REPLY_LARGEST. Nothing is allocated per request.
 *
 * Needs no command newer than Redis 7.0.
 *
 * Threads: the loop's. on_reply and on_done are never called inside redis_submit(); they may submit
 * and close lanes, but not free the client.
 */
#ifndef CLUSTER_REDIS_H
#define CLUSTER_REDIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/count.h"
#include "base/list.h"
#include "cluster/resp.h"
#include "cluster/slots.h"
#include "net/loop.h"
#include "net/resolve.h"

#define REDIS_REPLY_LARGEST (32u << 20)
#define REDIS_CONNECTIONS_MOST 8u

struct redis;
struct redis_lane;
struct redis_node;
struct tls_context;

struct redis_seed {
	const char *host;
	uint16_t port;
};

struct redis_config {
	struct loop *loop;
	struct resolver *resolver;
	const struct redis_seed *seeds; /* any nodes of the cluster; copied */
	uint32_t seed_count;
	struct tls_context *tls; /* reffed; NULL: plain */
	const char *user;        /* NULL: the default user; copied */
	const char *password;    /* NULL: no AUTH; copied */
	/* Lua texts that are loaded on every connection to a master before anything else is sent
	 * there, and again when Redis has forgotten them; static. */
	const char *const *scripts;
	uint32_t script_count;
	/* 0: the default in brackets. */
	uint32_t connect_ms;    /* [3000] connection, TLS, AUTH, scripts */
	uint32_t answer_ms;     /* [5000] */
	uint32_t wait_ms;       /* [500] of WAIT; below answer_ms */
	uint32_t pause_most_ms; /* [2000] between two attempts to connect */
	/* [8] to each master: Redis reads 16 KiB of one in a turn, and none while it is in WAIT. */
	uint32_t connections;
	uint32_t requests_most; /* [65536] handed over and not done */
	uint64_t bytes_most;    /* [64 MiB] of their commands */
};

/* Never fails; begins to connect at once. */
struct redis *redis_new(const struct redis_config *config);
/* What is not done is told ERR_SHUTDOWN here. After its loop has stopped, or from a callback of the
 * loop that is not one of the client's. */
void redis_free(struct redis *r);

/* --- requests ----------------------------------------------------------- */

/* Caller's memory, kept until on_done. Zero-initialised, then the caller's part is filled in. */
struct redis_request {
	struct buf command; /* resp_begin() ...; kept, so that it can be sent again; the caller's */
	uint32_t limit_ms;  /* 0: answer_ms of the client */
	uint32_t block_ms;  /* the command may block so long (XREAD BLOCK): own lanes only */
	uint8_t acknowledge; /* replicas that WAIT waits for; 0: no WAIT */
	bool repeatable;     /* doing it twice is as good as once: it is sent again after a lost
	                      * connection; else it ends with ERR_CLOSED and `unknown` */
	/* Borrows the reply, which may be a RESP_ERROR that is the caller's to judge. With
	 * `acknowledge` it may come again with another reply when the request had to be repeated;
	 * the last one counts. May be NULL. */
	void (*on_reply)(struct redis_request *q, const struct resp *reply);
	/* Once. err 0: the reply was shown. Else ERR_TIMEOUT, ERR_CLOSED, ERR_SHUTDOWN. */
	void (*on_done)(struct redis_request *q, int err);

	/* Results, valid in on_done. */
	uint32_t connection; /* number of the connection that answered, new at each connect */
	uint32_t replicas;   /* that have it, by WAIT */
	bool unknown;        /* it failed, and may have been done all the same */

	/* The client's. */
	struct list link;
	struct redis_lane *lane;
	struct redis_node *ask; /* where it is to be sent with ASKING */
	uint64_t due_ms;
	uint64_t sent_ms;
	uint32_t skip;  /* replies that come before its own */
	uint8_t behind; /* so many replies behind its own are no request's: the mark's, WAIT's */
};

/* For commands that any node can answer (CLUSTER NODES). */
#define REDIS_ANY_SLOT UINT16_MAX

/* On the lane of a slot. 0: taken, on_done follows. ERR_FULL: not taken. */
int redis_submit(struct redis *r, uint16_t slot, struct redis_request *q);

/* --- lanes with a connection of their own ------------------------------- */

enum redis_route {
	REDIS_MASTER,  /* the slot's master */
	REDIS_REPLICA, /* one of its replicas (READONLY); none: requests wait */
};

/* For commands that block, and for reads that must not stand behind writes. */
struct redis_lane *redis_lane_open(struct redis *r, uint16_t slot, enum redis_route route);
/* What is not done is told ERR_SHUTDOWN, not inside this call. Before redis_free(). */
void redis_lane_close(struct redis_lane *lane);
int redis_lane_submit(struct redis_lane *lane, struct redis_request *q);

/* --- how it is ----------------------------------------------------------- */

enum redis_state {
	REDIS_SEARCHING, /* no map of the slots yet */
	REDIS_PARTIAL,   /* some slots have no master */
	REDIS_WHOLE,     /* every slot has a master */
};
const char *redis_state_text(enum redis_state state);
/* What somebody has to mend in Redis, by what it has said itself in the last seconds; NULL: nothing that is
 * known. Static. */
const char *redis_fault(const struct redis *r);
/* Two slots lie on one master, by the map; false also while nobody knows. */
bool redis_share_master(const struct redis *r, uint16_t a, uint16_t b);

/* Written by the loop's thread, read by any. */
struct redis_figures {
	count state;     /* enum redis_state */
	count links;     /* connections that are ready */
	count submitted; /* requests taken */
	count answered;  /* on_done with 0 */
	count failed;    /* on_done with an error */
	count repeated;  /* sent again, for whatever reason */
	count moved;     /* MOVED replies */
	count asked;     /* ASK replies */
	count refused;   /* TRYAGAIN CLUSTERDOWN LOADING and the like */
	count reloaded;  /* scripts loaded again after NOSCRIPT */
	count lost;      /* ready connections that ended */
	count maps;      /* replies to CLUSTER SLOTS */
};
const struct redis_figures *redis_figures(const struct redis *r);

/* The SHA1 by which EVALSHA names a script: 40 lower-case digits and a NUL. */
#define REDIS_SHA_BYTES 41
void redis_script_sha(const char *script, char out[REDIS_SHA_BYTES]);

#endif
