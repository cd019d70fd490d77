/* cluster/previous.h - which id came before on this topic from this connection?
 *
 * What one connection delivered in order stays in order per topic, although its messages go to
 * different shards: each names the one before. The memory is bounded: a table of PREVIOUS_PLACES,
 * where a newer topic may push an older one out; then the order of those two messages is left to
 * chance, as it is for what comes minutes apart.
 *
 * Threads: one at a time.
 */
#ifndef CLUSTER_PREVIOUS_H
#define CLUSTER_PREVIOUS_H

#include <stdbool.h>

#include "base/uuid.h"
#include "base/view.h"

#define PREVIOUS_PLACES 4096u

struct previous;

struct previous *previous_new(void);
void previous_free(struct previous *p); /* NULL: nothing */

/* Notes id as the latest; true: *before is the one before it. */
bool previous_swap(struct previous *p, const void *connection, struct view topic,
	const struct uuid *id, struct uuid *before);

#endif
