/* report/reject.h - one message that was refused, or let through with a report
 *
 * A copy of its own in one block of memory, shared by the list of rejects and by an event that names
 * it as its example. Threads: the count of references is atomic, the rest never changes.
 */
#ifndef REPORT_REJECT_H
#define REPORT_REJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "wis2/rule.h"

/* As the source tells it; everything is borrowed. */
struct report {
	const char *source; /* its name */
	const char *centre; /* its centre-id */
	struct view topic;
	struct view payload;
	const struct finding *finding; /* the one that decided */
	bool passes;                   /* it is published all the same (`verify`) */
	bool speaks_for_others;        /* a cache or a broker: level 4 says whom it is about */
};

struct reject {
	_Atomic uint32_t refs;
	uint64_t number;  /* of this process, 1, 2, 3 ...; 0: not in the list yet */
	uint64_t time_ms; /* wall clock */
	struct view source;
	struct view centre;  /* of the source */
	struct view subject; /* the centre an event is about; monitoring.md, section 3 */
	struct view topic;
	struct view payload;
	struct finding finding;
	uint32_t line; /* of the finding in the payload, 1-based; 0: it is in the topic */
	uint32_t column;
	uint32_t bytes; /* memory */
	bool passes;
};

/* subject {NULL, 0}: the source's centre. One reference. */
struct reject *reject_new(const struct report *r, struct view subject, uint64_t wall_ms);
struct reject *reject_ref(struct reject *r);
void reject_unref(struct reject *r);

/* The exception code that monitoring.md gives to what this rule checks. */
const char *reject_code(enum rule rule);

#endif
