/* broker/row.h - one session as bytes in the store
 *
 *     head (version, numbers, lengths) | subscriptions | slots in flight | received ids | key | will
 *
 * What MQTT calls session state (MQTT 5, 4.1) and nothing else: the filters, the position that
 * stands for all messages not sent yet, what is in flight in both directions, and the will. A checksum
 * covers all of it, as the database beneath has none of its own. Bytes are in the machine's order,
 * like those of the journal beside it.
 *
 * Threads: any; nothing is kept.
 */
#ifndef BROKER_ROW_H
#define BROKER_ROW_H

#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

#define ROW_VERSION 4u      /* 1: without a will, 2: an address, 3: an owner; all are still read */
#define ROW_LIVE UINT64_MAX /* position: the one that all live sessions share */

struct row {
	struct view key;           /* of the session: user NUL client-id */
	struct view subscriptions; /* the block of struct subscriptions */
	struct view slots;         /* uint64_t each, as in struct inflight, from first_id on */
	struct view received;      /* uint16_t each: QoS 2 packet ids received, not yet released */
	struct view will;          /* as will_encode() gives it; empty: none */
	uint64_t position;         /* next record to look at, or ROW_LIVE */
	uint64_t expiry_ms;
	uint64_t offline_ms; /* wall clock when its connection ended; 0: connected */
	uint64_t address;    /* it was last connected from, see address_key(); 0: not known */
	uint32_t owner;      /* number in the cluster; 0: none */
	uint16_t first_id;   /* packet id of the first slot */
	uint16_t next_id;    /* the id behind the last one given */
};

/* Appends it to out. Parts are below 4 GiB, slots at most 65535. */
void row_encode(const struct row *r, struct buf *out);

/* The views borrow from bytes. 0; ERR_VERSION: written by a newer version; ERR_CORRUPT. */
int row_decode(struct view bytes, struct row *r);

#endif
