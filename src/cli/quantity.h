/* cli/quantity.h - numbers, durations, sizes, shares and dates as people write them
 *
 * Pure. Every function reads the whole text and leaves *out alone when it is not of the form.
 */
#ifndef CLI_QUANTITY_H
#define CLI_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* "20000000": digits only. */
bool quantity_number(struct view text, uint64_t *out);

/* "1s", "15m", "24h", "14d", "500ms", "1h30m" in milliseconds; "0" needs no unit. */
bool quantity_duration(struct view text, uint64_t *ms);

/* "256KiB", "64GiB" (B KiB MiB GiB TiB; kB MB GB TB by 1000), "4096" in bytes. */
bool quantity_size(struct view text, uint64_t *bytes);

/* "60%": 1 to 100. */
bool quantity_share(struct view text, uint32_t *percent);

/* RFC 3339: "2026-12-31" (the end of that day, UTC) or "2026-12-31T12:00:00Z" (or with an offset)
 * in milliseconds of Unix time. */
bool quantity_date(struct view text, uint64_t *wall_ms);

/* "24h", "1m", "500ms", "0": the largest unit that divides it; days from two on. */
#define QUANTITY_TEXT_BYTES 32
const char *quantity_format_duration(uint64_t ms, char out[QUANTITY_TEXT_BYTES]);
const char *quantity_format_size(uint64_t bytes, char out[QUANTITY_TEXT_BYTES]);

#endif
