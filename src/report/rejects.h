/* report/rejects.h - the last rejected messages of each centre
 *
 * Per centre a ring of at most REJECTS_PER_CENTRE messages and REJECTS_CENTRE_BYTES; all together
 * at most REJECTS_BYTES: then the centre that has most gives up its oldest. A centre that floods
 * pushes out its own, and nobody's last one.
 *
 * Threads: one at a time.
 */
#ifndef REPORT_REJECTS_H
#define REPORT_REJECTS_H

#include "base/list.h"
#include "base/map.h"
#include "report/reject.h"

#define REJECTS_PER_CENTRE 1000u
#define REJECTS_CENTRE_BYTES (8u << 20)
#define REJECTS_BYTES (64u << 20)

struct rejects {
	struct map centres; /* struct reject_ring by the source's centre-id */
	uint64_t numbered;  /* the number given last */
	uint64_t count;     /* kept now */
	uint64_t bytes;
};

/* Zero-initialised is empty. */
void rejects_fini(struct rejects *r);

/* Takes a reference of its own and numbers it. */
void rejects_add(struct rejects *r, struct reject *one);

struct rejects_query {
	struct view centre; /* of the source, or the subject; {NULL, 0}: any */
	enum rule rule;     /* RULE_NONE: any */
	uint64_t below;     /* only numbers below it; 0: any */
	uint32_t limit;
};

/* The newest first; fills out[] (room for q->limit) with references for the caller; how many. */
uint32_t rejects_find(const struct rejects *r, const struct rejects_query *q, struct reject **out);

/* A reference, or NULL when it is not (any longer) there. */
struct reject *rejects_get(const struct rejects *r, uint64_t number);

#endif
