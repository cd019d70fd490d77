/* cluster/resume.h - where each shard of the shared log is taken up at a start
 *
 * The journal has the last word: what it lost (a power failure) is read again, whatever the bookmark
 * says. The bookmark speaks for shards of which the journal's index has nothing any more, gives the
 * ordinals, and which Redis process was read. A journal that was thrown away begins with the oldest
 * that Redis has.
 *
 * Threads: the caller's; reads the index behind the bookmark, a second's worth.
 */
#ifndef CLUSTER_RESUME_H
#define CLUSTER_RESUME_H

#include "cluster/bookmark.h"
#include "cluster/ordinal.h"
#include "commit/commit.h"

struct resume {
	struct mark mark;
	char run_id[RUN_ID_BYTES]; /* zeros: unknown */
};

/* m: NULL when there is none. */
void resume_find(struct commit *c, const struct bookmark *m, uint32_t shards,
	struct resume out[SHARDS_MOST]);

#endif
