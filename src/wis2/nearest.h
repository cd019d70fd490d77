/* wis2/nearest.h - which of several names is nearest to a misspelt one?
 *
 * Nearness is the edit distance (Levenshtein), upper case counting as lower. A name is near when at
 * most half of the misspelt one has to change. No allocation.
 */
#ifndef WIS2_NEAREST_H
#define WIS2_NEAREST_H

#include <stdint.h>

#include "base/view.h"

#define NEAREST_LONGEST 64u /* nothing is near to a longer name */

struct nearest {
	uint64_t places[256]; /* per byte: where it stands in the misspelt name */
	size_t length;        /* of the misspelt name; 0: nothing is near */
	size_t distance;      /* of `best`, or one more than is still near */
	struct view best;     /* {NULL, 0} so far */
};

void nearest_init(struct nearest *n, struct view misspelt);

/* Considers a name; borrows it as long as n->best is used. Of equally near ones the first stays. */
void nearest_try(struct nearest *n, struct view name);

#endif
