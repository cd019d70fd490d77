/* broker/lost.h - how many messages a session wanted and cannot have any more
 *
 * The journal removes old segments whatever sessions may still want of them; a removed segment leaves
 * (topic, count) behind. They are read off the workers, on the store's thread; the sum is told once:
 * in the log with the client identifier and in the figures.
 *
 * Threads: lost_count on the session's worker.
 */
#ifndef BROKER_LOST_H
#define BROKER_LOST_H

#include <stdint.h>

struct session;

/* s (connected) goes on at `head`; what it wanted of the records from its position to there is gone. */
void lost_count(struct session *s, uint64_t head);

#endif
