/* uplink/pause.h - how long to wait before connecting again (GB-45)
 *
 * Pure: chance is an argument.
 */
#ifndef UPLINK_PAUSE_H
#define UPLINK_PAUSE_H

#include <stdint.h>

#define PAUSE_FIRST_MS 1000u
#define PAUSE_MOST_MS 60000u

/* After `failures` (1 ...) failures in a row: doubling from 1 s to 60 s, moved by `chance` (any
 * number) so that sources that were lost together do not come back together. */
uint64_t pause_ms(unsigned failures, uint32_t chance);

#endif
