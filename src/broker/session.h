/* broker/session.h - what a client has subscribed to and how far it got
 *
 *             CONNECT                    reaches the tail
 *   offline ----------> behind ------------------------------> live
 *      ^                  |  ^        socket or window full       |
 *      |                  |  +------------------------------------+
 *      +------------------+------------- connection ends ---------+
 *
 * A live session's position is its worker's; one that is behind or offline has its own. Sessions
 * are found by (account, client id) in a registry of the process; each belongs to one worker, and
 * moves to another when its client reconnects there.
 *
 * Threads: the owner worker's, except the registry, which has a lock taken at connects only.
 */
#ifndef BROKER_SESSION_H
#define BROKER_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "broker/group.h"
#include "broker/subscriptions.h"
#include "mqtt/inflight.h"
#include "broker/received.h"
#include "journal/journal.h"
#include "net/loop.h"

struct broker;
struct broker_worker;
struct client;
struct shared_member;
struct walk;
struct will;
struct backlog;
struct vector;

enum session_state { SESSION_OFFLINE, SESSION_BEHIND, SESSION_LIVE };

/* Present while a session waits for cold packets. */
struct session_prefetch {
	struct journal_prefetch ticket;
	struct task task;
	struct broker_worker *worker;
	struct session *session; /* NULL: gone meanwhile */
};

struct session {
	/* in group->live, worker->ready or ->patient; offline: among its address's */
	struct list link;
	struct client *client; /* NULL: offline */
	struct group *group;   /* NULL: offline or nothing subscribed */
	uint64_t position;     /* next record to look at; a live session's is worker->live */
	uint64_t warm_to : 40; /* packets below this were prefetched for it */
	uint64_t warm_s : 24;  /* then (loop's clock, seconds) */
	struct session_prefetch *prefetch;
	struct backlog *backlog; /* present while its account's limit makes it count */
	struct subscriptions subscriptions;
	struct walk *walks; /* of new subscriptions, see broker/walk.h; NULL: none */
	struct inflight window;
	struct received received;     /* QoS 2 from the client */
	struct shared_member *shared; /* its part in shared subscriptions; NULL: none */
	uint64_t origin_from;         /* records from here on may carry `origin` */
	uint32_t origin;              /* of what it publishes, see broker/own.h; 0: none */
	uint16_t key_bytes;
	enum session_state state : 8;
	bool is_ready : 1;    /* in worker->ready */
	bool is_starving : 1; /* in its account's throttle */
	bool is_kept : 1;     /* counted among those that last */
	bool is_claimed : 1;  /* the cluster is to give it a number, see broker/roam.h */
	struct timer expiry;
	struct will *will;   /* of this connection, or waiting its delay; NULL: none */
	struct list touched; /* in worker->persist.touched, else alone */
	struct vector *had;  /* came from another machine: what it had there; NULL: not so */
	uint32_t owner;      /* number in the cluster, see broker/roam.h; 0: none */
	uint64_t saved_hash; /* of its row in the store; 0: none */
	uint64_t offline_ms; /* wall clock when its connection ended; 0: connected */
	uint64_t expiry_ms;  /* kept so long after the connection's end; UINT64_MAX: for ever */
	uint64_t address;    /* it was last connected from, see address_key(); 0: not known */
	struct broker_worker *worker; /* owner; changed by the owner under the registry's lock */
	char key[];                   /* user NUL client-id: key_bytes */
};

/* By which it is found. */
static inline struct view session_key(const struct session *s)
{
	return (struct view){s->key, s->key_bytes};
}

struct registry {
	pthread_mutex_t lock;
	struct map sessions;
};

void registry_init(struct registry *r);
void registry_fini(struct registry *r);

/* The key of (account, client id) appended to out. user NULL: anonymous. */
void session_put_key(struct buf *out, const char *user, struct view client_id);
/* How long the front of the key is that all of the account have: user NUL. */
size_t session_key_bytes(struct view key);
struct view session_client_id(const struct session *s);

/* The session of this key if w owns it; *owner: who does (NULL: nobody has it). */
struct session *session_find(
	struct broker_worker *w, struct view key, struct broker_worker **owner);

/* A new session owned by w. Not in the registry yet. The key has at most SESSION_KEY_MOST bytes. */
#define SESSION_KEY_MOST UINT16_MAX
struct session *session_new(struct broker_worker *w, struct view key);

/* Frees one that is not in the registry. */
void session_discard(struct session *s);

/* A connected client takes s over (offline): drops filters it may no longer read, joins a group. */
void session_attach(struct session *s, struct client *c);

/* Next record it will look at. */
uint64_t session_position(const struct session *s);

/* A replay: goes on from position, if that is earlier. Connected. */
void session_rewind(struct session *s, uint64_t position);

/* The connection has ended: keeps the position, leaves the group, starts the expiry timer or ends the
 * session. s may be freed. */
void session_detach(struct session *s);

/* Forgets subscriptions and what is in flight (clean start). */
void session_reset(struct session *s);

/* It is offline, connection or restart: one of those its address has left behind. More of them than
 * limits.sessions_per_address: the oldest ends. */
void session_leave_behind(struct session *s);

/* Takes s out of the registry and frees it. Offline. */
void session_end(struct session *s);

/* After subscriptions changed (connected): puts s into the group of its present subscriptions. */
void session_regroup(struct session *s);

/* Is behind (or may send again): looked at in this turn. Connected. */
void session_ready(struct session *s);

/* The same, but if nothing calls for it before, only in some milliseconds. */
void session_ready_soon(struct session *s);

/* Packets of [seq, this) are in memory. seq: not even the first, which is being fetched; the session is
 * ready again then. */
uint64_t session_warm_to(struct session *s, uint64_t seq);

/* Was live and could not take everything: goes on alone from position. */
void session_fall_behind(struct session *s, uint64_t position);

#endif
