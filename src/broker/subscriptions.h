/* broker/subscriptions.h - the topic filters of one session, in one compact block
 *
 * Sorted by filter, so that sessions which subscribe to the same things in whatever order
 * have the same bytes and share one match list (broker/group.h).
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_SUBSCRIPTIONS_H
#define BROKER_SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define SUBSCRIPTION_NO_LOCAL 1u
#define SUBSCRIPTION_RETAIN_AS_PUBLISHED 2u
#define SUBSCRIPTION_WALKS 4u /* has not got all retained messages yet (broker/walk.h) */

struct subscription {
	struct view filter;
	uint64_t from;   /* journal position it was made at: no record before it matches */
	uint32_t id;     /* subscription identifier (MQTT 5), 0: none */
	uint8_t qos;     /* granted */
	uint8_t options; /* SUBSCRIPTION_... */
	uint16_t share;  /* 0, or a shared one's number in its session, see broker/shared.h */
};

struct subscriptions {
	uint8_t *block; /* owned, with no byte to spare; NULL while there is none */
	uint32_t bytes; /* of it */
	uint32_t count;
	uint32_t shared;   /* of these, shared ones */
	uint64_t youngest; /* largest `from`: behind it all subscriptions count alike */
};

void subscriptions_fini(struct subscriptions *s);

/* All of it as bytes, to be stored; valid until it changes. */
static inline struct view subscriptions_view(const struct subscriptions *s)
{
	return (struct view){(const char *)s->block, s->bytes};
}

/* Fills an empty one with a block as it was stored; no `from` lies behind `latest`. 0, or ERR_CORRUPT
 * (entries cut short or out of order) with s still empty. */
int subscriptions_restore(struct subscriptions *s, struct view block, uint64_t latest);

/* Replaces the one with the same filter (true; the earlier `from` of both holds, and the number of a
 * shared one) or adds it (false). */
bool subscriptions_put(struct subscriptions *s, const struct subscription *one);

bool subscriptions_has(const struct subscriptions *s, struct view filter);

/* False when there is none with this filter. */
bool subscriptions_remove(struct subscriptions *s, struct view filter);

/* Takes an option off the one with this filter, if there is one. */
void subscriptions_unmark(struct subscriptions *s, struct view filter, uint8_t option);

/* Walk: *at starts at 0. */
bool subscriptions_next(const struct subscriptions *s, uint32_t *at, struct subscription *out);

/* A replay puts the session's position back: what the session had asked for before keeps counting
 * only from `position` on. */
void subscriptions_not_before(struct subscriptions *s, uint64_t position);

#endif
