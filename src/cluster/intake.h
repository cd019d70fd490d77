/* cluster/intake.h - what workers submit, on its way to the cluster's loop
 *
 *     port's thread: intake_offer() --> parcel [entry entry entry | records], encoded once
 *                         --> inbox --one wake-up--> loop: intake_take()
 *
 * A parcel is one submission; its memory goes with the last of its entries. What is not answered is
 * bounded in bytes: beyond it offers are refused with ERR_HELD, until half of it is gone.
 *
 * Threads: intake_offer() on a port's thread, one each; intake_bytes() any; the rest the loop's.
 */
#ifndef CLUSTER_INTAKE_H
#define CLUSTER_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "cluster/core.h"

struct intake;
struct parcel;

/* One message. */
struct entry {
	struct entry *next; /* whoever has it */
	struct parcel *parcel;
	struct uuid id;
	uint32_t number; /* of the submission, in its order */
	uint32_t token;
	uint32_t ticket;
	uint32_t at; /* of its record in the parcel's */
	uint32_t bytes;
	uint16_t shard;
	bool claim;
	bool first;     /* the answer */
	uint64_t place; /* packed: it stood there, and Redis lost it (mend.h); 0: it is new */
};

struct parcel {
	struct parcel *next;
	struct commit_port *port; /* NULL: nobody waits for the answer */
	size_t bytes;             /* counted as under way */
	uint32_t left;            /* entries not dropped */
	uint32_t count;
	struct buf records;
	struct entry entries[];
};

static inline struct view entry_record(const struct entry *e)
{
	return (struct view){(const char *)buf_bytes(&e->parcel->records) + e->at, e->bytes};
}

/* To be changed in place, by whoever has the entry. */
static inline uint8_t *entry_bytes(const struct entry *e)
{
	struct buf *b = &e->parcel->records;

	return b->data + b->start + e->at;
}

/* Posts `task` to the core's loop when there is something to take. */
struct intake *intake_new(const struct cluster_core *core, struct task *task);
/* Nobody offers any more, and no entry is left. */
void intake_free(struct intake *in);

/* struct commit_log's offer; context is the intake. */
int intake_offer(void *context, struct commit_port *p, const void *connection,
	const struct commit_offer *offers, uint32_t n);

/* All parcels that have come, oldest first; NULL: none. */
struct parcel *intake_take(struct intake *in);
/* A parcel with room for n entries that is not from a port; its bytes are not counted. */
struct parcel *intake_parcel(uint32_t n);
/* A number and a token of its own for each entry of such a parcel. */
void intake_number(struct intake *in, struct parcel *p);
/* The entry is done with. */
void intake_drop(struct intake *in, struct entry *e);
/* At the end of a turn: tells ports when there is room again. */
void intake_settle(struct intake *in);

uint64_t intake_bytes(const struct intake *in); /* under way */

#endif
