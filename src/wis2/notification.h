/* wis2/notification.h - is this payload a valid WIS2 Notification Message?
 *
 * One pass over the bytes with our own strict JSON reader (wis2/json.h): no allocation, no
 * recursion, every rule of the WNM list that one message shows (WNM-01 to WNM-70). Pure.
 * Source: WIS2 Notification Message standard 1.3.0 (Manual on WIS, Volume II, Appendix E).
 *
 * Threads: any; the state is in the arguments.
 */
#ifndef WIS2_NOTIFICATION_H
#define WIS2_NOTIFICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "base/view.h"
#include "wis2/rule.h"

#define NOTIFICATION_LARGEST 8192u /* WNM-01 */

/* What was read on the way; valid whether or not rules were broken, as far as it was found. */
struct notification {
	bool has_id; /* id is a UUID by WNM-12 */
	bool has_pubtime;
	bool is_deletion; /* a link has rel "deletion" */
	struct uuid id;
	uint64_t pubtime_ms; /* Unix time; valid with has_pubtime */
	struct view id_text; /* inside the quotes, escapes as written; {NULL,0} when absent */
	struct view data_id;
	struct view metadata_id; /* {NULL,0} when absent or not a string */
	struct view content;     /* the member properties.content from its name's quote to the end
	                            * of its value, for strip_content; {NULL,0} when absent */
};

struct notification_options {
	enum rule_mode mode; /* lenient | standard | strict */
	bool metadata_topic; /* the topic's level 5 is "metadata" (WNM-44) */
	bool cache_topic;    /* level 1 is "cache" (WNM-47) */
	bool all;            /* find every broken rule (a lint); false: may stop when the lowest
	                            * -numbered one is certain */
	const uint8_t
		*rule_modes; /* per enum rule: mode at or above which it counts, overriding the
	                            * table; NULL: the table */
};

/* Judges the payload. 0 findings: valid in this mode. *out and *found are overwritten. */
enum rule notification_judge(struct view payload, const struct notification_options *options,
	struct notification *out, struct findings *found);

#endif
