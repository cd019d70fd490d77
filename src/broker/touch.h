/* broker/touch.h - tells the cluster who is still connected
 *
 * The cluster forgets who has a session without a row when nobody has said for ROAMING_KEEP_MS that its
 * client is connected, and a session with one ROAMING_LIVE_MS after its expiry: what a machine that crashed and
 * never returns leaves behind goes. So all clients are told of, some every few seconds, in rounds of an
 * hour or more.
 *
 *     timer --> roster_walk(the next TOUCH_CLIENTS) --> roaming.touch() each --> timer ...
 *
 * Threads: started and ended with worker 0; the walk's.
 */
#ifndef BROKER_TOUCH_H
#define BROKER_TOUCH_H

#include "net/loop.h"

struct broker;

/* Part of struct broker. */
struct touch {
	struct timer timer; /* of worker 0's loop */
	struct task task;
	uint64_t after; /* clients with greater numbers; 0: a round begins */
	uint64_t round_ms;
};

/* When there is a cluster; before the loops run. */
void touch_start(struct broker *b);
void touch_stop(struct broker *b);

#endif
