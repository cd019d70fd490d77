/* commit/receipt.h - "tell me when this is safe": what a client is answered waits for it
 *
 * Who has handed something to the cluster asks for a receipt; it comes when Redis has it as surely as a
 * message that counts, or when that could not be had in time.
 *
 *     handed over --> receipt --> written, replicas have it --> on_done()
 *                                 too late, or Redis is away -->
 *
 * Threads: on_done on the cluster's.
 */
#ifndef COMMIT_RECEIPT_H
#define COMMIT_RECEIPT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"

/* The asker's memory until on_done(), which comes once, or until the cluster has stopped: then it comes no
 * more. Zero but for these two. */
struct receipt {
	struct buf key; /* what it is about; the asker's */
	void (*on_done)(struct receipt *r);

	/* The cluster's. */
	struct list link; /* with others for the same */
	struct list due;  /* with all, the oldest first */
	uint64_t due_ms;
};

#endif
