/* cluster/mark.h - the write that stands before each WAIT
 *
 * WAIT of Redis 7.0 waits until replicas have all that the master had written when the connection's last
 * command was done; that of Valkey 8 only what this connection itself has written: nothing, behind a command
 * that reads, or that finds everything as it is to be. So something is written first: "{NUMBER}:mark", in a
 * slot of which a command has just been sent. It is in the replication stream behind all that was there.
 *
 * Threads: that of its owner.
 */
#ifndef CLUSTER_MARK_H
#define CLUSTER_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cluster/slots.h"

/* A number for each slot in which its text lies; found when first asked for, all of them within some 200 000
 * steps. Zero-initialised. */
struct marks {
	uint32_t tried;
	uint32_t next[SLOTS]; /* the number + 1; 0: not found yet */
};

/* Below SLOTS. */
uint32_t mark_of(struct marks *m, uint16_t slot);
/* Appends the command, behind ASKING where the slot is on its way to the node; how many replies there will be.
 * The last tells whether it was written. */
uint8_t mark_push(struct marks *m, struct buf *b, uint16_t slot, bool asking);

#endif
