/* broker/retained_row.h - one retained message as bytes in the store
 *
 *     head (version, numbers, lengths) | [place 8] | topic | payload | properties
 *
 * Version 1 has no place in the shared log; what is not from there is still written so. A checksum
 * covers all of it. Bytes are in the machine's order, like those of the journal.
 *
 * Threads: any; nothing is kept.
 */
#ifndef BROKER_RETAINED_ROW_H
#define BROKER_RETAINED_ROW_H

#include <stdint.h>

#include "base/buf.h"
#include "journal/journal.h"

#define RETAINED_ROW_VERSION 2u

struct retained_row {
	struct journal_message
		message;  /* expiry_s: from time_ms on; log_id, shard: of the publication */
	uint64_t set_at;  /* the record it was published in */
	uint64_t time_ms; /* journal's clock then */
};

/* Appends it to out. */
void retained_row_encode(const struct retained_row *r, struct buf *out);

/* The views borrow from bytes. 0; ERR_VERSION: written by a newer version; ERR_CORRUPT. */
int retained_row_decode(struct view bytes, struct retained_row *r);

#endif
