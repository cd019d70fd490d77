/* seen/seen.h - has this notification been published before?
 *
 * The same notification reaches a Global Broker from several sides. The first copy is
 * published, the others are counted and dropped. A claim is atomic: inside the window exactly
 * one caller hears SEEN_FIRST for an id. Source: Guide to WIS 2.7.3.1, GB-50 to GB-52.
 *
 * With an id stands a print, 31 bits of a hash of the message: who claims the id again for other
 * bytes hears it. Other prints are always other messages; one other message in 2^31 has the same.
 *
 * The ids stand in a ring in the order of their claims, found through a hash table of ring
 * places; the oldest leave first, by age or when max_ids are there. 20 bytes an id in the ring
 * and 4 bytes a table slot; address space is taken at the start, memory as it fills.
 *
 * Threads: one at a time; claims of one batch are made together under the journal's lock.
 */
#ifndef SEEN_SEEN_H
#define SEEN_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"

struct seen;

enum seen_answer {
	SEEN_FIRST,    /* not seen inside the window: publish */
	SEEN_REPEAT,   /* seen: count and drop */
	SEEN_CONFLICT, /* seen with another print: the same */
};

#define SEEN_NO_PRINT 0u /* of a message that is never in conflict */

/* NULL when address space for max_ids cannot be had (errno). max_ids >= 1. */
struct seen *seen_open(size_t max_ids, uint64_t window_ms);
void seen_close(struct seen *s);

/* Ask and mark in one step. Borrows id. now_ms: the journal's monotone clock, never going back.
 * Never fails. */
enum seen_answer seen_claim(struct seen *s, const struct uuid *id, uint32_t print, uint64_t now_ms);

/* Asks without marking: was it claimed inside the window, as of the last claim or seen_expire()? */
enum seen_answer seen_ask(const struct seen *s, const struct uuid *id, uint32_t print);
/* The same, whatever the print. */
bool seen_has(const struct seen *s, const struct uuid *id);

/* Fetches the cache lines that claims of these ids will need. */
void seen_prefetch(const struct seen *s, const struct uuid *const *ids, size_t n);

/* Takes back the newest n claims (what was to be published could not be written). */
void seen_forget_newest(struct seen *s, size_t n);

/* Drops what has left the window. Bounded work per call; call now and then. */
void seen_expire(struct seen *s, uint64_t now_ms);

size_t seen_count(const struct seen *s);
/* Age of the oldest id; when full before the window is reached this is the true window. */
uint64_t seen_span_ms(const struct seen *s, uint64_t now_ms);
/* Bytes of memory in use for ids and table (resident, not reserved). */
size_t seen_bytes(const struct seen *s);

#endif
