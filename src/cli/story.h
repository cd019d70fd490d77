/* cli/story.h - what a stand-in for WIS2 Nodes publishes, and how much of it
 *
 * A story draws one message after the other: a new valid one, the same bytes again, or a broken one
 * of a known kind; and counts them by centre and by the rule that a broker should name. Pure.
 *
 * Threads: one at a time.
 */
#ifndef CLI_STORY_H
#define CLI_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cli/generate.h"

struct story_centre {
	char name[64];
	uint64_t valid;
	uint64_t duplicates;
	uint64_t invalid;
	uint64_t serial;
};

#define STORY_KEPT 256u /* messages that may be published again */

struct story_message {
	struct buf topic;
	struct buf payload;
	struct uuid id; /* random where the message itself has no valid one */
	uint32_t centre;
};

struct story {
	struct random random;
	double duplicates; /* share of all messages */
	double invalid;    /* share of all messages */
	uint32_t size_bytes;
	bool foreign;                 /* BROKEN_FOREIGN may be drawn */
	struct story_centre *centres; /* owned */
	uint32_t centre_count;
	struct story_message kept[STORY_KEPT];
	uint64_t kept_count; /* ever kept */
	uint64_t sent;
	uint64_t broken[BROKEN_COUNT];
};

void story_init(struct story *s, uint64_t seed);
void story_fini(struct story *s);
/* False when the name is longer than 63 bytes or no centre-id by its form. */
bool story_add_centre(struct story *s, struct view name);

/* Draws and counts the next message into m, whose buffers are the caller's and cleared first.
 * At least one centre has been added. */
void story_next(struct story *s, uint64_t wall_ms, struct story_message *m);

/* Appends members (without braces): "sent", "valid", "duplicates", "invalid", "rules", "centres". */
void story_report(const struct story *s, struct buf *out);

#endif
