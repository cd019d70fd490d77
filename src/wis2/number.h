/* wis2/number.h - what the digits of a JSON number say, without turning them into a double
 *
 * The few numbers where that cannot decide are converted. Pure; the text has passed the reader and
 * is followed by another byte of the JSON text.
 */
#ifndef WIS2_NUMBER_H
#define WIS2_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* An integer as WNM-57 and WNM-67 mean it: 5, 5.0, 5e0 are; 5.5 and 1e400 are not. *out is the
 * value, held at +-INT64_MAX beyond. */
bool number_integer(struct view text, int64_t *out);

/* Is the value within -limit to limit, limits included? limit is a whole number below 1000. */
bool number_within(struct view text, unsigned limit);

/* Is it finite as a double? */
bool number_is_finite(struct view text);

/* Do both have the same value as doubles? */
bool number_equal(struct view a, struct view b);

#endif
