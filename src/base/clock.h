/* base/clock.h - the two clocks, in milliseconds
 *
 * Monotonic time measures ages and time limits; wall time is shown to people and
 * stored in records. Protocol cores take the time as an argument instead.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);
uint64_t clock_wall_ms(void);

/* "2026-11-22T20:38:22.123Z" into out (at least 25 bytes); RFC 3339, UTC. */
#define CLOCK_TEXT_BYTES 25
void clock_format(uint64_t wall_ms, char out[CLOCK_TEXT_BYTES]);

#endif
