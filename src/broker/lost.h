/* broker/lost.h - how many messages a session wanted and cannot have any more
 *
 * The journal removes old segments whatever sessions may still want of them; a removed segment leaves
 * (topic, count) behind. They are read off the workers, on the store's thread; the sum is told once:
 * in the log with the client identifier (or the shared subscription), under $SYS (broker/sys.h), and in
 * the figures.
 *
 * Threads: a worker's.
 */
#ifndef BROKER_LOST_H
#define BROKER_LOST_H

#include <stdint.h>

#include "broker/account.h"
#include "broker/subscriptions.h"

struct broker;

/* Records [from, head) were removed before `who` got there. Everything is borrowed. */
struct lost_range {
	struct accounts *accounts;
	const struct account *account;
	const struct subscriptions
		*subscriptions; /* what was wanted of them; shared ones do not count */
	struct view who;
	uint64_t from;
	uint64_t head;
};
void lost_count(struct broker *b, const struct lost_range *range);

#endif
