/* journal/topics.h - numbers for the topics of the open segment
 *
 * The first occurrence of a topic in a segment gives it the next number. Topics are known by a
 * 128-bit hash under a secret seed, so that no cold page has to be read to compare bytes.
 *
 * Threads: one at a time (the journal's lock).
 */
#ifndef JOURNAL_TOPICS_H
#define JOURNAL_TOPICS_H

#include <stdint.h>

#include "base/view.h"

struct topic_slot {
	uint64_t low;
	uint64_t high;
	uint32_t number; /* plus one; 0: free */
};

struct topics {
	struct topic_slot *slots;
	uint32_t size; /* power of two, or 0 */
	uint32_t count;
	uint64_t seed;
};

/* Forgets all and draws a new seed. Zero-initialised memory is fine. */
void topics_reset(struct topics *t);
void topics_fini(struct topics *t);

/* Number of this topic, a new one when it is not there. */
uint32_t topics_number(struct topics *t, struct view topic);

/* Takes back what got numbers from `count` on (what was to be written was not). */
void topics_shrink(struct topics *t, uint32_t count);

#endif
