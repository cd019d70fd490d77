/* wis2/datetime.h - RFC 3339 date-times as notifications write them
 *
 * The whole text, any number of fraction digits, `t` and `z` in either case; days by the Gregorian
 * calendar; second 60 only where UTC is at 23:59 (wnm.md, section 3; RFC 3339, 5.6 and 5.7). Pure.
 */
#ifndef WIS2_DATETIME_H
#define WIS2_DATETIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

struct datetime {
	int64_t seconds;   /* Unix time; second 60 counts as the next minute's 0 */
	uint64_t fraction; /* of a second, in 10^-18 s; further digits are read and left out */
	bool is_utc;       /* Z, z, +00:00 or -00:00 */
	bool is_plain;     /* capital T and Z (WNM-32, WNM-39 in strict mode) */
};

/* False (and *out undefined) when text is no date-time. */
bool datetime_parse(struct view text, struct datetime *out);

/* Below 0, 0 or above 0 as a is before, at or after b. */
int datetime_compare(const struct datetime *a, const struct datetime *b);

/* Unix time in milliseconds, the rest cut off; 0 before 1970. */
uint64_t datetime_ms(const struct datetime *t);

#endif
