/* broker/deliver.h - from the journal to the sockets, once per turn
 *
 * Live sessions: each new record goes through its topic's match list and is noted once per group that
 * wants it; then each group's records go out as batches to all its live sessions. A session that
 * cannot take everything falls behind, and goes on as broker/catch_up.h says.
 *
 * Threads: the worker's; called from its turn hook.
 */
#ifndef BROKER_DELIVER_H
#define BROKER_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

struct broker_worker;
struct journal_entry;
struct journal_segment;
struct session;

/* True: there is more to do. */
bool deliver_turn(struct broker_worker *w);

/* Anything to deliver? */
bool deliver_has_work(const struct broker_worker *w);

/* The QoS at which s (in a group) gets this record, below 0: not at all. Inside an epoch. */
int deliver_qos(struct session *s, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq);

#endif
