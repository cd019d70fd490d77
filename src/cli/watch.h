/* cli/watch.h - what the world is told of the broker itself: monitoring events about its state
 *
 * Looked at from time to time: sources that came, went, stayed away (the Global Monitor's alert after
 * ten minutes, monitoring.md, sections 2 and 3), a broker that is degraded or well again. What
 * changes between two looks and back is not told.
 *
 * Threads: one, not a worker.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "report/report.h"
#include "source/source.h"

#define WATCH_AWAY_MS 600000u

struct watch {
	struct map sources; /* struct watched by name */
	uint64_t looks;
	bool is_degraded;
};

/* Zero-initialised is ready. */
void watch_fini(struct watch *w);

/* degraded: why, NULL when it is not. now_ms is monotonic. */
void watch_look(struct watch *w, struct sources *sources, const char *degraded,
	struct reports *reports, uint64_t now_ms);

#endif
