/* source/firsts.h - of whose messages this source brought how many first
 *
 * A centre's messages come from its node, from caches and from other brokers; whoever is first is
 * counted here, by the centre at level 4 of the topic.
 *
 * Threads: written by the source's worker, read by any: entries are never removed, only put in front.
 */
#ifndef SOURCE_FIRSTS_H
#define SOURCE_FIRSTS_H

#include <stdint.h>

#include "base/count.h"
#include "base/map.h"

#define FIRSTS_MOST 4096u /* centres of one source; of further ones nothing is counted */

struct first {
	struct first *next;
	count messages;
	uint16_t number;
	char centre[]; /* NUL-terminated */
};

struct firsts {
	struct first *_Atomic newest;
	struct map by_centre;
	struct first **by_number; /* from 1 on */
	uint16_t count;
	uint16_t size;
};

/* Zero-initialised is empty. */
void firsts_fini(struct firsts *f);

/* The number of this centre, new if need be; 0: not counted. */
uint16_t firsts_number(struct firsts *f, struct view centre);

/* One message of the centre with this number was published. */
void firsts_add(struct firsts *f, uint16_t number);

/* Walk, any thread: NULL gives the newest, NULL ends it. */
const struct first *firsts_next(const struct firsts *f, const struct first *after);

#endif
