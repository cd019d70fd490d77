/* broker/client.h - one MQTT connection from a client (inside the room)
 *
 *   waiting for CONNECT -> [checking password] -> [fetching session] -> connected -> closing
 *
 * Bytes are decoded in place; PUBLISH packets of one read are committed as one batch and
 * acknowledged, in their order, when they count.
 *
 * Threads: the worker's.
 */
#ifndef BROKER_CLIENT_H
#define BROKER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/alias.h"
#include "broker/session.h"
#include "broker/worker.h"
#include "mqtt/packet.h"
#include "net/conn.h"

/* A PUBLISH that is not acknowledged yet; acknowledgements leave in the order of the packets
 * [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
struct client_ack {
	uint16_t packet_id; /* 0: QoS 0, nothing is sent */
	uint16_t rule;      /* enum rule that refused it, or RULE_NONE */
	uint8_t qos;
	uint8_t reason;
	bool is_decided;
	bool is_repeat; /* of a QoS 2 message taken before */
};

struct client {
	struct conn conn;
	struct broker_worker *worker;
	struct list link;          /* worker->clients */
	struct session *session;   /* NULL until connected */
	struct accounts *accounts; /* one reference, from CONNECT on */
	const struct account *account;
	struct commit_owner owner;
	struct commit_waiter waiter;
	struct timer timer; /* CONNECT in time, then keep alive */
	uint64_t heard_ms;
	uint64_t number;         /* see broker/roster.h */
	struct client_ack *acks; /* ring, owned */
	uint32_t ack_start;      /* token of the first */
	uint32_t ack_count;
	uint32_t ack_size;
	uint32_t acks_open;         /* of these, with a packet id */
	uint32_t unreleased;        /* QoS 2, PUBREC sent on this connection, no PUBREL yet */
	struct alias_names *names;  /* topic aliases of the client; owned, NULL: none */
	struct alias_sent *aliases; /* topic aliases told to the client; owned, NULL: none */
	uint32_t connected_s;       /* wall clock, of CONNACK */
	uint16_t alias_maximum;     /* aliases it takes */
	uint16_t told_maximum;      /* receive maximum named in CONNACK: kept over a reload */
	uint32_t told_bytes;        /* and the maximum packet size; 0: none was named */
	uint32_t largest;           /* maximum packet size the client takes */
	uint16_t receive_maximum;   /* QoS 1 and 2 messages it takes at once */
	uint16_t keep_alive_s;      /* in force; 0: off */
	uint8_t version;
	bool is_connected;       /* CONNACK with success was sent */
	bool is_counted;         /* as a connection of its account */
	uint8_t admission;       /* enum admission of its address */
	bool wants_problem_info; /* MQTT 5: reason strings */
	bool has_released;       /* what it had received was released again after CONNACK */
	bool is_choked;          /* not read while so much waits to be sent to it */
	bool is_held;            /* the last batch was not taken: its packets are shown again */
	struct list promises;    /* answers that wait, see broker/promise.h */
	uint32_t promise_count;
	struct connect_request *connect; /* between CONNECT and CONNACK; owned */
};

extern const struct conn_handler client_handler;

/* The connection for reason `err`: tells an MQTT 5 client with DISCONNECT (or CONNACK before it was
 * connected), then closes. Gives err, so that handlers can return it. */
int client_fault(struct client *c, int err, const char *why);

/* admit.c: may one more connection come from there; and when it has ended. */
enum admission client_admit(struct broker_worker *w, const struct address *peer);
void client_admit_end(struct client *c);
/* One connection was refused with this error (broker/refusal.def). */
void client_count_refused(struct broker_worker *w, int err);
/* What the limits of connections say to its CONNECT: 0, or the error, and *why. */
int client_check_admission(const struct client *c, const char **why);
/* connect.c */
int client_on_connect(struct client *c, const struct mqtt_packet *p);
/* Another machine has its session: ends the connection (0x8E). False: the session has ended with it. */
bool client_let_go(struct session *s);
void client_connect_fini(struct client *c);
/* The client identifier of a CONNECT that is not answered yet, else {NULL,0}. */
struct view client_asked_id(const struct client *c);
/* roster.c */
uint64_t roster_number(struct broker_worker *w);
/* It is about to leave worker->clients. */
void roster_pass(struct broker_worker *w, const struct client *c);
/* subscribe.c */
int client_on_subscribe(struct client *c, const struct mqtt_packet *p);
int client_on_unsubscribe(struct client *c, const struct mqtt_packet *p);
/* publish.c: 0 taken; ERR_HELD: not now (the packet is shown again); other errors: a fault */
int client_on_publish(struct client *c, struct mqtt_packet *p, uint32_t *batched);
int client_commit(struct client *c, uint32_t *batched);
void client_publish_init(struct client *c);
void client_publish_fini(struct client *c);
/* May the account publish this, and does the gate let it pass? 0, or why not; *v is set, with claim and
 * identity when it may. Wills are judged by it as well. */
struct gate_verdict;
int publish_judge(struct broker_worker *w, const struct account *a, struct view client_id,
	struct view topic, struct view payload, struct gate_verdict *v);
/* Flags of its record. */
uint8_t publish_flags(struct view topic, bool claim, bool retain);
/* If it is to be retained: is there room? 0 or ERR_QUOTA. */
int publish_check_retained(struct broker_worker *w, uint8_t flags, struct view topic,
	size_t payload, size_t properties);
/* Is the property passed on to subscribers as it is? */
bool publish_forwards(enum mqtt_property which);

/* handshake.c */
int client_on_puback(struct client *c, const struct mqtt_packet *p);
int client_on_pubrec(struct client *c, const struct mqtt_packet *p);
int client_on_pubrel(struct client *c, const struct mqtt_packet *p);
int client_on_pubcomp(struct client *c, const struct mqtt_packet *p);
void client_send_pubrel(struct client *c, uint16_t packet_id, uint8_t reason);

/* Encodes into the connection's out buffer. */
void client_send(struct client *c, const struct mqtt_packet *p);

/* Reads on when it was choked and is no more. */
void client_read_on(struct client *c);

/* The table of topics named to this client, made when first used; NULL: it takes no aliases. */
struct alias_sent *client_aliases(struct client *c);

/* Window in force: QoS 1 and 2 messages that may be in flight. */
uint32_t client_window(const struct client *c);

#endif
