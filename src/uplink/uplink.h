/* uplink/uplink.h - an MQTT client's connection to another broker, kept up
 *
 * From addresses to an accepted CONNECT and back: endpoints in order, each address of a host, TLS and
 * WebSocket as the URL says, MQTT 5 with fallback to 3.1.1, keep alive, pauses that double, the way back
 * from a backup address. What is said behind the CONNACK is the owner's: a source subscribes and takes,
 * a target of `publish` is fed.
 *
 *   disabled -> resolving -> connecting -> connack [-> subscribing] -> connected -> waiting (backoff) -+
 *                 ^------------------------------------------------------------------------------------+
 *
 * Ownership: struct uplink is embedded in its owner. Plan, shared means and handler are borrowed for its
 * life, the plan until uplink_change().
 *
 * Threads: the loop's; uplink_look() any.
 */
#ifndef UPLINK_UPLINK_H
#define UPLINK_UPLINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "mqtt/packet.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/resolve.h"
#include "net/tls.h"

enum uplink_state {
#define X(name, text) UPLINK_##name,
#include "uplink/state.def"
#undef X
	UPLINK_STATE_COUNT
};
const char *uplink_state_text(unsigned state);

/* --- where to, and how ------------------------------------------------- */

struct uplink_endpoint {
	char *url;      /* as written; credentials inside or below */
	char *username; /* NULL: the plan's */
	char *password;
	bool has_tls; /* the four below count; else the owner's do */
	bool tls_verify;
	char *tls_ca;  /* NULL: the system's */
	char *tls_max; /* "1.2" or NULL */
	bool tls_legacy;
};
void uplink_endpoint_fini(struct uplink_endpoint *e);
/* Is TLS spoken there? */
bool uplink_needs_tls(const struct uplink_endpoint *e);

struct uplink_tls {
	struct tls_context *context; /* NULL: no TLS there, or `why` */
	char *why;
};

struct uplink_plan {
	const struct uplink_endpoint *endpoints; /* tried in order */
	uint32_t endpoint_count;
	const char *username; /* NULL: none */
	const char *password;
	const struct uplink_tls *tls; /* of each endpoint */
	const struct address
		*bind; /* ours to connect from, the first of the peer's family; none: any */
	uint32_t bind_count;
	uint8_t protocol; /* 5 or 4; 5 falls back to 3.1.1 */
};

/* Those of the texts that are addresses, for `bind`; the caller frees. */
struct address *uplink_read_bind(char *const *texts, uint32_t n, uint32_t *found);

struct uplink_times {
	uint16_t keep_alive_s;
	uint64_t handshake_ms;  /* for each step until connected */
	uint64_t ping_limit_ms; /* for the answer to a PINGREQ */
	uint64_t stable_ms;     /* a connection that lasted so long begins the pauses again */
	uint64_t pause_most_ms;
	uint64_t probe_ms; /* between looks at the first address from a later one */
};

/* What all uplinks of a room have in common. */
struct uplink_means {
	struct resolver *resolver;
	struct uplink_times times;
};
void uplink_means_init(struct uplink_means *m, struct resolver *resolver); /* usual times */

/* --- the owner --------------------------------------------------------- */

struct uplink;

struct uplink_handler {
	const char *room; /* in the log */
	/* Is there to be a connection at this time? Asked before each round and now and then. */
	bool (*is_wanted)(struct uplink *u);
	/* u->state has changed. */
	void (*on_state)(struct uplink *u);
	/* Client id into *id, clean start, and properties of the CONNECT about to be said. */
	void (*on_hello)(
		struct uplink *u, struct buf *id, bool *clean_start, struct buf *properties);
	/* The CONNACK that says yes. Goes on by uplink_enter(UPLINK_SUBSCRIBING), uplink_connected() or
	 * uplink_drop(). */
	void (*on_accepted)(struct uplink *u, const struct mqtt_packet *connack);
	/* What comes behind the CONNACK, as conn_handler.on_bytes. */
	ssize_t (*on_bytes)(struct uplink *u, const uint8_t *p, size_t n);
	void (*on_writable)(struct uplink *u); /* as conn_handler's; may be NULL */
	/* The last chance to say something before DISCONNECT; may be NULL. */
	void (*on_leave)(struct uplink *u);
	/* The connection is gone; err as conn_handler.on_close. u->state is still the old one. */
	void (*on_end)(struct uplink *u, int err);
	/* After uplink_stop(): closed, the state is stopped. Last call, u may be freed. */
	void (*on_stopped)(struct uplink *u);
};

/* --- inside ------------------------------------------------------------ */

/* Where to go on after a connection has ended. */
enum uplink_next {
	NEXT_ADDRESS, /* of the same endpoint, else the next endpoint, else a pause */
	NEXT_ENDPOINT,
	NEXT_SAME,  /* the same address again, at once */
	NEXT_ROUND, /* the first endpoint, at once */
};

/* What was learnt about an endpoint. */
struct uplink_memory {
	uint8_t version; /* to be tried next: 5 or 4 */
	uint8_t closes;  /* closed on CONNECT, in a row */
};

/* From a later address: can the first be reached again (probe.c)? */
struct uplink_probe {
	struct timer timer; /* pause, or time limit of the connection */
	struct resolve_query *query;
	struct url url;
	struct conn conn;
	bool has_conn;
	bool is_open;      /* the connection came about */
	bool returning;    /* on the way back because of it */
	unsigned turn;     /* which of the host's addresses is next */
	unsigned reached;  /* in a row */
	unsigned setbacks; /* ways back that ended at a later address again */
};

/* What people are shown. */
struct uplink_shown {
	char url[URL_TEXT_BYTES]; /* of the endpoint in use, without credentials */
	char error[256];          /* "" when none since the last connect */
	uint8_t protocol;         /* in use: 5 or 4 */
};

/* Owners read conn, state, version, keep_alive_s, url and connected_ms. */
struct uplink {
	const struct uplink_handler *handler;
	const struct uplink_means *means;
	const struct uplink_plan *plan;
	struct loop *loop;
	char *label; /* in the log: "name=x", owned */
	enum uplink_state state;
	bool stopping; /* to stay closed */

	/* the way to a connection */
	struct timer timer; /* pause, time limit of a step, or keep alive, by state */
	struct resolve_query *query;
	struct uplink_memory *memory; /* per endpoint */
	uint32_t endpoint_at;         /* the one after the one in use */
	struct url url;               /* in use */
	struct address addresses[RESOLVE_ADDRESSES];
	int address_count;
	int address_at;    /* the one after the one in use */
	unsigned failures; /* rounds without a stable connection */
	bool soon;         /* the next pause is a moment */
	struct log_limit failure_log;
	uint64_t failure_hash; /* of the last failure logged */
	struct uplink_probe probe;

	/* the connection */
	struct conn conn;
	bool has_conn; /* between conn_open() and on_close */
	enum uplink_next next;
	uint8_t version;
	uint16_t keep_alive_s; /* agreed */
	uint64_t heard_ms;
	uint64_t sent_ms;
	uint64_t ping_ms; /* a PINGREQ is open since; 0: none */
	uint64_t connected_ms;

	pthread_mutex_t lock; /* of what follows */
	struct uplink_shown shown;
};

/* --- life -------------------------------------------------------------- */

/* *u is zeroed by the caller. label is copied. */
void uplink_init(struct uplink *u, const struct uplink_handler *handler,
	const struct uplink_means *means, struct loop *loop, const char *label);
/* Stopped, or never begun. */
void uplink_fini(struct uplink *u);

/* Before uplink_begin(), and from any thread as long as the loop knows nothing of it. */
void uplink_set_plan(struct uplink *u, const struct uplink_plan *plan);
void uplink_begin(struct uplink *u);
/* Leaves in order and begins again by this plan; the old one is not touched after the call. */
void uplink_change(struct uplink *u, const struct uplink_plan *plan);
/* Leaves in order for good; on_stopped comes, at once (inside the call) when nothing is open. */
void uplink_stop(struct uplink *u);

/* --- for the owner's part ---------------------------------------------- */

void uplink_enter(struct uplink *u, enum uplink_state state);
/* All is agreed: state connected, keep alive begins. */
void uplink_connected(struct uplink *u);
/* The connection has proved good (something was done on it): pauses begin again at the shortest. */
void uplink_proved(struct uplink *u);
/* In on_end: the end says nothing about the peer's health, so the next pause is a moment. */
void uplink_soon(struct uplink *u);
/* Appends a packet to what is sent at the end of the turn. */
void uplink_push(struct uplink *u, const struct mqtt_packet *packet);
/* Something was sent past uplink_push(). */
void uplink_sent(struct uplink *u);
/* DISCONNECT, where the version and the state have one. */
void uplink_say_disconnect(struct uplink *u, uint8_t reason);
/* Closes the connection; `next` says where to go on. text is shown and logged, NULL: none. */
void uplink_drop(struct uplink *u, enum uplink_next next, int err, const char *text);
/* PINGRESP, DISCONNECT: 0. ERR_PROTOCOL for a packet that no broker sends, *why names the fault. */
int uplink_take_other(struct uplink *u, const struct mqtt_packet *packet, const char **why);

/* A copy of what is shown. Any thread. */
void uplink_look(struct uplink *u, struct uplink_shown *out);

/* --- between the files of this room ------------------------------------ */

void uplink_show_error(struct uplink *u, const char *text);
/* Our address to connect from; NULL: any. */
const struct address *uplink_local_for(const struct uplink *u, const struct address *peer);
void uplink_say_connect(struct uplink *u);
/* Another is about to take over: some seconds pass before the next attempt, in which a node of a cluster
 * hears whether it is still the holder. */
void uplink_yield(struct uplink *u);
/* Sends PINGREQ when due; false: the peer has not answered in time, the connection was dropped. */
bool uplink_keep_alive(struct uplink *u);
/* The answer to CONNECT, in the form of either version: bytes used, 0 need more, negative. */
int64_t uplink_take_connack(struct uplink *u, const uint8_t *p, size_t n);
/* Ends whatever is under way. True: nothing is left to wait for. */
bool uplink_leave(struct uplink *u);

/* Looks at the first address from time to time while connected by a later one, and leads back once it
 * has been reached twice. begin: at each connection; end: before it is gone. */
void uplink_probe_init(struct uplink_probe *p);
void uplink_probe_begin(struct uplink *u);
void uplink_probe_end(struct uplink *u);

#endif
