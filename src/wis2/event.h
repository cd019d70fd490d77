/* wis2/event.h - is this payload a valid WIS2 monitoring event message?
 *
 * CloudEvents 1.0 in JSON as the WIS2 Monitoring Events standard (draft, March 2026) narrows it
 * down, MON-20 to MON-27. Read by the same one pass as notifications; no allocation. Pure.
 *
 * Threads: any; the state is in the arguments.
 */
#ifndef WIS2_EVENT_H
#define WIS2_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "wis2/notification.h"
#include "wis2/rule.h"

struct event_options {
	struct view subject;       /* level 4 of the topic (MON-20); {NULL, 0}: not asked */
	bool all;                  /* find every broken rule; false: the lowest-numbered */
	const uint8_t *rule_modes; /* as in notification_options; NULL: the table */
};

/* Judges the payload. *out gets the id and the time (as pubtime), as far as they were found, and
 * nothing else; *out and *found are overwritten. */
enum rule event_judge(struct view payload, const struct event_options *options,
	struct notification *out, struct findings *found);

#endif
