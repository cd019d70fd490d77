/* cluster/legacy.h - the first of two steps while Isobar shares the filter of the existing antiloop
 *
 * With `antiloop.compatible: wis2gb` a message asks the filter of the other software (wis2gb.h)
 * before it is claimed as ever:
 *
 *     legacy_take() --> queue --> asked, ASKS_MOST at once --> in the order of submission:
 *                                    ours: to the queue of its shard     theirs: a repeat
 *
 * Either counts once enough replicas have it (WAIT); what does not count is asked again without end,
 * as `isobar` is ours whoever of us wrote it. A node that dies between the two steps has acknowledged
 * nothing: the message comes again, to any node, and goes on.
 *
 * A message that was theirs stands in no stream, so nobody may wait for it: what names it as the one
 * before is made to name the one before that (see record.h).
 *
 * Threads: the cluster's loop.
 */
#ifndef CLUSTER_LEGACY_H
#define CLUSTER_LEGACY_H

#include "cluster/writer_inside.h"

struct legacy *legacy_new(struct writer *w);
void legacy_free(struct legacy *l);
/* Redis is reached. */
void legacy_begin(struct legacy *l);

void legacy_take(struct legacy *l, struct entry *e);
/* Shows, or takes away, all entries that are not answered: on_entry says whether it is to stay. Their
 * questions go on. */
void legacy_each(struct legacy *l, bool (*on_entry)(void *context, struct entry *e), void *context);
/* Since when the oldest question waits; UINT64_MAX: none is under way. */
uint64_t legacy_oldest(const struct legacy *l);

#endif
