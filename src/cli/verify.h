/* cli/verify.h - what the two halves of `isobar verify` share: files, and live traffic
 *
 * Threads: one.
 */
#ifndef CLI_VERIFY_H
#define CLI_VERIFY_H

#include "cli/client.h"
#include "cli/verdict.h"
#include "wis2/event.h"
#include "wis2/notification.h"
#include "wis2/topic.h"

/* By what is judged, and how it is shown. */
struct verify_settings {
	bool json;
	bool leaf_only;
	bool metadata_subtopics;
	bool test_centres;
	struct verdict_hierarchy known;
	enum rule_mode mode;
};

/* Every rule broken, of a topic and of the message that came on it (a monitoring event by the kind
 * of topic). Give the lowest-numbered. */
enum rule verify_topic(const struct verify_settings *s, struct view topic,
	struct topic_parts *parts, struct findings *found);
enum rule verify_message(const struct verify_settings *s, const struct topic_parts *parts,
	struct view payload, struct notification *note, struct findings *found);

struct verify_live {
	struct client_options where; /* url NULL: not asked for */
	uint64_t for_ms;
	uint64_t count; /* messages after which it ends sooner; 0: no end */
};

/* Judges what the broker publishes on the filters for a while and prints a report by centre and
 * rule. Gives the exit status. */
int verify_live(const struct verify_live *live, const struct verify_settings *settings, int count,
	char **filters);

#endif
