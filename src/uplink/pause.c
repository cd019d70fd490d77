/* uplink/pause.c - see the header */
#include "uplink/pause.h"

uint64_t pause_ms(unsigned failures, uint32_t chance)
{
	unsigned doublings = failures > 1 ? failures - 1 : 0;
	uint64_t base = doublings < 6 ? (uint64_t)PAUSE_FIRST_MS << doublings : PAUSE_MOST_MS;

	if (base >= PAUSE_MOST_MS) /* at the top the jitter goes down */
		return PAUSE_MOST_MS - chance % (PAUSE_MOST_MS / 4);
	base += chance % (base / 2);
	return base < PAUSE_MOST_MS ? base : PAUSE_MOST_MS;
}
