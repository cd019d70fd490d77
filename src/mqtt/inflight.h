/* mqtt/inflight.h - QoS 1 and 2 messages in flight to one client: packet id -> journal position
 *
 * Packet identifiers are given in order, 1 to 65535 and again, so the open ones are one run
 * of a ring; a slot holds the position to read the message again for a resend. An acknowledged
 * slot inside the run is marked; the run's front moves past marked slots.
 *
 *      first                                first + count
 *        | open | acked | open | open | ... |          ids modulo 65535
 *
 * A slot is a position (below 2^48), the number of the shared subscription it came by (broker/shared.h; none in other rooms)
 * and three flags, or INFLIGHT_ACKED. At QoS 2 it
 * is open until PUBCOMP; from PUBREC on the message itself is not needed any more, only its id:
 *
 *      QoS 1   PUBLISH -> open --PUBACK--> acked
 *      QoS 2   PUBLISH -> open --PUBREC--> released (PUBREL sent) --PUBCOMP--> acked
 *
 * Threads: the session's worker.
 */
#ifndef MQTT_INFLIGHT_H
#define MQTT_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#define INFLIGHT_ACKED UINT64_MAX
#define INFLIGHT_QOS_2 (1ull << 62)    /* delivered at QoS 2 */
#define INFLIGHT_RELEASED (1ull << 63) /* PUBREC came, PUBREL was sent, PUBCOMP is to come */
#define INFLIGHT_RETAIN (1ull << 61)   /* sent with the retain flag, which a resend keeps */
#define INFLIGHT_SHARE 48 /* the number of a shared subscription stands from this bit on */
#define INFLIGHT_SHARE_MOST 0x1ffeu
#define INFLIGHT_FLAGS (UINT64_MAX << INFLIGHT_SHARE)

struct inflight {
	uint64_t *seqs;    /* ring of `size` slots, owned; NULL until something is in flight;
	                     * raw: with their flags */
	uint32_t size;     /* power of two */
	uint16_t start;    /* slot of the first */
	uint16_t acked;    /* slots in the run that are done */
	uint16_t first_id; /* packet id of the first; 0 stands for 1 in a fresh window */
	uint16_t count;    /* slots in the run */
	uint16_t
		resume_id; /* not 0: once the run is empty ids go on from here, until then no room */
	uint16_t sent; /* of these, sent on the present connection (the rest waits for a resend) */
};

void inflight_fini(struct inflight *w);

/* Gives the memory of an empty window back; ids go on. */
void inflight_shrink(struct inflight *w);

/* Room left under `limit` (<= 65535) open ones. A client that leaves one open and acknowledges all
 * behind it gets more, up to a run of some times the limit. */
uint32_t inflight_room(const struct inflight *w, uint32_t limit);

/* The id that the next message gets. */
uint16_t inflight_next_id(const struct inflight *w);

/* Fills a fresh window with raw slots as they were stored, none sent on this connection; messages at
 * or behind `tail` are gone. New ones get ids from next_id on: when that is not the id behind the last
 * slot, only after the client has acknowledged all of these. */
void inflight_restore(struct inflight *w, uint16_t first_id, const void *slots, uint16_t n,
	uint16_t next_id, uint64_t tail);

/* Puts seq, with flags and number where they hold, into the next slot; gives its packet id. The caller looked
 * at inflight_room(). */
uint16_t inflight_add(struct inflight *w, uint64_t seq);

/* Takes the n newest back (not sent after all). */
void inflight_take_back(struct inflight *w, uint16_t n);

enum inflight_answer {
	INFLIGHT_TAKEN,
	INFLIGHT_UNKNOWN,      /* the id is not open: not in the run, or acknowledged before */
	INFLIGHT_OUT_OF_ORDER, /* open, but this packet cannot come for it now */
};

/* PUBACK. A slot that waits for its resend is unknown. */
enum inflight_answer inflight_ack(struct inflight *w, uint16_t packet_id);

/* PUBREC: the slot is released (or was; PUBREL is sent again then). */
enum inflight_answer inflight_release(struct inflight *w, uint16_t packet_id);

/* PUBREC that refuses the message: done. */
enum inflight_answer inflight_reject(struct inflight *w, uint16_t packet_id);

/* PUBCOMP. */
enum inflight_answer inflight_complete(struct inflight *w, uint16_t packet_id);

/* Slot i needs no acknowledgement any more (its message is gone). */
void inflight_forget(struct inflight *w, uint16_t i);

/* The first n slots have been sent on the present connection (a resend moves this forward). */
void inflight_set_sent(struct inflight *w, uint16_t n);

/* Slot i of the run, 0 <= i < count: its position without flags (INFLIGHT_ACKED when acknowledged),
 * as it stands in the ring, and its id. */
uint64_t inflight_seq(const struct inflight *w, uint16_t i);
uint64_t inflight_raw(const struct inflight *w, uint16_t i);
uint16_t inflight_id(const struct inflight *w, uint16_t i);

/* Slot i's QoS, 1 or 2; does it wait for PUBCOMP? False, 1 when acknowledged. */
uint8_t inflight_qos(const struct inflight *w, uint16_t i);
bool inflight_is_released(const struct inflight *w, uint16_t i);
/* Did it go out with the retain flag? */
bool inflight_is_retained(const struct inflight *w, uint16_t i);

/* The shared subscription by which slot i came; 0: none, or acknowledged. */
uint16_t inflight_share(const struct inflight *w, uint16_t i);

/* The message of slot i (QoS 2) cannot be sent again: its id is released as if PUBREC had come. */
void inflight_give_up(struct inflight *w, uint16_t i);

/* Messages sent on the present connection and neither acknowledged nor waiting for a resend: what
 * counts against the client's receive maximum. */
uint32_t inflight_open(const struct inflight *w);

#endif
