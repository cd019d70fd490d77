/* broker/own.h - sessions that cannot share a group, and what a session published itself
 *
 * Two things make a delivery depend on who gets it: topic aliases, which belong to a connection, and
 * the No Local option, by which a client is not sent what it published itself [MQTT-3.8.3-3]. Such a
 * session is alone in its group (group->alone), so that nothing changes for the others.
 *
 * A session that publishes gets a number of 24 bits that stands as `origin` in the journal with what
 * it publishes, so that it counts also when the session is behind, was offline, or subscribes later.
 * Numbers are of this process: those in records from before the session got its own mean nothing.
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_OWN_H
#define BROKER_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/session.h"
#include "journal/journal.h"

/* The number of what it publishes. */
uint32_t session_origin(struct session *s);

/* s when it must be alone in its group, else NULL. Connected. */
struct session *session_alone(struct session *s);

/* Was the record published by this session? */
static inline bool session_published(
	const struct session *s, const struct journal_entry *entry, uint64_t seq)
{
	return s->origin && journal_entry_origin(entry) == s->origin && seq >= s->origin_from;
}

#endif
