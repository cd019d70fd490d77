/* broker/inflight.h - QoS 1 messages in flight to one client: packet id -> journal position
 *
 * Packet identifiers are given in order, 1 to 65535 and again, so the open ones are one run
 * of a ring; a slot holds the position to read the message again for a resend. An acknowledged
 * slot inside the run is marked; the run's front moves past marked slots.
 *
 *      first                                first + count
 *        | open | acked | open | open | ... |          ids modulo 65535
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_INFLIGHT_H
#define BROKER_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#define INFLIGHT_ACKED UINT64_MAX

struct inflight {
	uint64_t *seqs;     /* ring of `size` slots, owned; NULL until something is in flight */
	uint32_t size;      /* power of two */
	uint32_t start;     /* slot of the first */
	uint16_t first_id;  /* packet id of the first; 0 stands for 1 in a fresh window */
	uint16_t count;     /* slots in the run */
	uint16_t sent;      /* of these, sent on the present connection (the rest waits for a resend) */
};

void inflight_fini(struct inflight *w);

/* Room left under `limit` (<= 65535). */
static inline uint32_t inflight_room(const struct inflight *w, uint32_t limit)
{
	return w->count >= limit ? 0 : limit - w->count;
}

/* Puts seq into the next slot; gives its packet id. The caller looked at inflight_room(). */
uint16_t inflight_add(struct inflight *w, uint64_t seq);

/* Takes the n newest back (not sent after all). */
void inflight_take_back(struct inflight *w, uint16_t n);

/* False when the id is not open (not in the run, or acknowledged before). */
bool inflight_ack(struct inflight *w, uint16_t packet_id);

/* Slot i needs no acknowledgement any more (its message is gone). */
void inflight_forget(struct inflight *w, uint16_t i);

/* The first n slots have been sent on the present connection (a resend moves this forward). */
void inflight_set_sent(struct inflight *w, uint16_t n);

/* Slot i of the run, 0 <= i < count: its position (INFLIGHT_ACKED when acknowledged) and id. */
uint64_t inflight_seq(const struct inflight *w, uint16_t i);
uint16_t inflight_id(const struct inflight *w, uint16_t i);

#endif
