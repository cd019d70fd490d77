/* broker/batch.h - many messages in one gathered write
 *
 * Records of the journal become a row of iovecs: for MQTT 3.1.1 at QoS 0 the journal's own bytes
 * (neighbours melt into one iovec), otherwise a few header bytes made in `scratch` and the payload
 * straight from the journal. A batch is made once for all live sessions of a group; only the packet
 * ids are patched per session.
 *
 * Threads: the worker's; one batch per worker is filled and sent again and again.
 */
#ifndef BROKER_BATCH_H
#define BROKER_BATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "broker/alias.h"
#include "broker/group.h"
#include "mqtt/inflight.h"
#include "journal/journal.h"
#include "net/conn.h"

#define BATCH_RECORDS 1024u
#define BATCH_IOVECS 1024u         /* IOV_MAX */
#define BATCH_BYTES (512u * 1024u) /* about what a socket with the default send_buffer takes */
#define BATCH_SCRATCH (256u * 1024u)

struct batch_record {
	uint64_t seq;
	uint64_t time_ms;
	uint32_t end;      /* bytes of the batch up to and with this packet */
	uint32_t id_at;    /* packet id's place in scratch; 0: QoS 0 */
	uint32_t sessions; /* this turn: live sessions that got up to here */
	uint8_t qos;
	bool retain; /* sent with the retain flag */
};

struct batch {
	struct iovec iov[BATCH_IOVECS];
	struct batch_record records[BATCH_RECORDS];
	uint32_t iov_count;
	uint32_t count;
	uint32_t with_id; /* records at QoS 1 and above */
	uint32_t bytes;
	uint32_t largest;      /* packet */
	uint16_t share;        /* they come by this shared subscription; 0: none */
	uint32_t scratch_used; /* starts at 1, so that id_at 0 means none */
	const uint8_t *end;    /* behind the last journal byte: where a neighbour would begin */
	struct buf properties; /* of one packet under construction */
	uint8_t scratch[BATCH_SCRATCH];
};

void batch_clear(struct batch *b);

/* How one packet goes out. */
struct batch_form {
	const struct subscriptions *ids; /* whose identifiers are sent; NULL: none */
	const struct session *alone;     /* the only one this is for, if that makes a difference */
	struct alias_sent
		*aliases; /* of the only client this is for; NULL: topics are sent in full */
	const struct subscriptions *as_published; /* whose Retain As Published counts; NULL: none */
	uint64_t now_ms;                          /* journal's clock, for the remaining expiry */
	uint32_t id;      /* the one subscription this is sent for; 0: none, or as `ids` */
	uint32_t largest; /* client's maximum packet size */
	uint8_t version;
	bool is_direct; /* the journal's bytes are the packets */
	bool retain;    /* a retained message for a new subscription */
	bool dup;       /* a resend: it was begun in time, so expiry does not stop it */
};

enum batch_answer {
	BATCH_ADDED,
	BATCH_IS_FULL,   /* send first, then add again */
	BATCH_EXPIRED,   /* [MQTT-3.3.2-5]: not sent any more */
	BATCH_TOO_LARGE, /* for this client [MQTT-3.1.2-24] */
};

/* qos: what is delivered. The segment stays mapped until the batch was sent. */
enum batch_answer batch_add(struct batch *b, const struct batch_form *form,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq,
	uint8_t qos);

/* Sends records [0, n) as far as the connection takes them, with packet ids from the window (which
 * has room). Gives how many left, the last one possibly with its rest copied into the connection;
 * fewer than n: the socket is full. Negative: the connection is closing. */
int batch_send(struct batch *b, uint32_t n, struct conn *conn, struct inflight *window);

/* The same for a resend: ids[] are the packet ids of the records; the window is left alone. */
int batch_send_again(struct batch *b, struct conn *conn, const uint16_t *ids);

/* Records [0, n) of which at most `room` have a packet id: how many. */
uint32_t batch_within(const struct batch *b, uint32_t room);

#endif
