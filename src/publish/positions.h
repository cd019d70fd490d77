/* publish/positions.h - how far each target has got, as a text
 *
 *     isobar-publish<TAB>1
 *     <position><TAB><name of the target>      one line each
 *     end<TAB><checksum of all before>
 *
 * Pure; replaced as a whole by the ledger, readable with less.
 */
#ifndef PUBLISH_POSITIONS_H
#define PUBLISH_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct positions {
	struct position {
		char *name; /* owned */
		uint64_t seq;
	} * list;
	uint32_t count;
};

/* Zero-initialised is empty. */
void positions_fini(struct positions *p);
/* Takes one more; copies name, which has no control characters (it is an address). */
void positions_add(struct positions *p, const char *name, uint64_t seq);
/* Takes it out. False: not there. */
bool positions_take(struct positions *p, const char *name, uint64_t *seq);

void positions_format(const struct positions *p, struct buf *out);
/* False: not what positions_format() makes, *p is empty then. */
bool positions_parse(struct positions *p, struct view text);

#endif
