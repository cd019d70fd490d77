/* wis2/topic.h - is this topic in the WIS2 Topic Hierarchy?
 *
 * Pure; the tables are compiled into the program (data/centres.txt, data/topics.txt), or made of
 * newer ones (wis2/hierarchy_tables.h). Source: WIS2
 * Topic Hierarchy 1.3.0 (Manual on WIS, Volume II, Appendix D), rules WTH-01 to WTH-20.
 *
 * Threads: any; a hierarchy does not change once made.
 */
#ifndef WIS2_TOPIC_H
#define WIS2_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "wis2/rule.h"

#define TOPIC_LARGEST 8192u /* WTH-18 */
#define TOPIC_LEVELS_MOST 128u

struct hierarchy; /* tables and centre identifiers, immutable, reference-counted */

/* The built-in one. */
struct hierarchy *hierarchy_built_in(void);
struct hierarchy *hierarchy_ref(struct hierarchy *h);
void hierarchy_unref(struct hierarchy *h);
/* The same tables with further known centres (WTH section 3: a configured source counts as known).
 * Borrows names during the call; gives a new hierarchy. */
struct hierarchy *hierarchy_with_centres(struct hierarchy *h, const struct view *names, size_t n);
const char *hierarchy_version(const struct hierarchy *h); /* "1.3.0" */
bool hierarchy_knows_centre(const struct hierarchy *h, struct view centre);
/* The known centre of the nearest name; {NULL, 0} when none is near. Lives as long as h. */
struct view hierarchy_nearest_centre(const struct hierarchy *h, struct view name);

enum topic_kind { TOPIC_UNKNOWN, TOPIC_DATA, TOPIC_METADATA, TOPIC_MONITOR };

struct topic_options {
	bool leaf_only;            /* WTH-15 */
	bool metadata_subtopics;   /* WTH-09 */
	bool test_centres;         /* WTH-07, section 3 */
	bool all;                  /* list every broken rule, not only the first */
	const uint8_t *rule_modes; /* as in notification_options; mode standard is assumed */
};

/* What the levels are, as far as the topic has them. */
struct topic_parts {
	enum topic_kind kind;
	bool is_cache;       /* level 1 is "cache" */
	bool is_leaf;        /* names a leaf of the tables (or experimental) */
	struct view channel; /* level 1 */
	struct view centre;  /* level 4 */
	struct view tail;    /* from level 5: "data/core/weather/..." */
};

/* RULE_NONE: valid. Else the lowest-numbered rule broken. *parts and *found are overwritten. */
enum rule topic_judge(const struct hierarchy *h, struct view topic,
	const struct topic_options *options, struct topic_parts *parts, struct findings *found);

#endif
