/* commit/gate.h - may this message be published? The one verdict for sources and publishers
 *
 * Asks, in this order: may this publisher use this channel and speak for this centre
 * (WTH-22, WTH-23), is the topic in the hierarchy (WTH-), is the payload a valid notification
 * (WNM-) or, on monitor/, a valid event (MON-). Whether the dataset has discovery metadata (MD-) is
 * asked behind it, by commit/metadata.h. Each rule is `discard`, `verify` (count, report,
 * let through) or `off`; the verdict names the lowest-numbered rule that decides. No allocation.
 *
 * Threads: any; a gate and its policies do not change while in use (a reload makes new ones).
 */
#ifndef COMMIT_GATE_H
#define COMMIT_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"
#include "base/view.h"
#include "wis2/notification.h"
#include "wis2/rule.h"
#include "wis2/topic.h"

enum gate_mode { GATE_DISCARD, GATE_VERIFY, GATE_OFF };

enum gate_channel { GATE_ORIGIN = 1, GATE_CACHE = 2, GATE_MONITOR = 4 };

/* What an operator writes under `checks:`; the global one, overridden per source. */
struct gate_settings {
	enum gate_mode checks[CHECK_COUNT];
	int8_t rules[RULE_COUNT]; /* enum gate_mode, or -1: as its check says */
	enum rule_mode message_mode;
	bool leaf_only;
	bool metadata_subtopics;
	bool test_centres;
	bool metadata_any_owner; /* metadata_owner: any */
	bool metadata_fallback;
};

/* The defaults of interface.md. */
void gate_settings_default(struct gate_settings *s);

/* Compiled for one publisher. */
struct gate_policy {
	struct gate_settings settings;
	unsigned channels;   /* enum gate_channel, or-ed */
	bool any_centre;     /* caches, brokers, accounts: level 4 is free */
	bool metadata_only;  /* catalogue: only its own metadata topic */
	bool own_metadata;   /* its own metadata topic besides the channels */
	bool outside_passes; /* accounts: topics outside the WIS2 trees pass unjudged;
	                                * false: they break WTH-04 */
	char **centres;      /* owned; may speak for these */
	uint32_t centre_count;
	/* Compiled by gate_policy_compile(): the mildest message mode in which a rule counts. */
	uint8_t rule_modes[RULE_COUNT];
	bool has_rule_overrides;
};

/* Fills in what is compiled, from what was set before. */
void gate_policy_compile(struct gate_policy *p);
/* Frees the centres. */
void gate_policy_fini(struct gate_policy *p);

struct gate_verdict {
	bool pass;              /* publish it */
	bool claim;             /* it is a WIS2 message: the antiloop decides */
	bool by_centre;         /* its metadata_id is unknown, its centre's record counted */
	enum rule rule;         /* the lowest-numbered that decides; or RULE_NONE */
	enum rule_check check;  /* of that rule */
	struct uuid identity;   /* the claim's key: id, or a hash of topic and payload
	                                * (verify, off without a valid id); random outside the
	                                * WIS2 trees */
	struct finding finding; /* of `rule` */
	struct topic_parts parts;
	struct notification note;
};

/* What the policy does with a message that breaks this rule. */
enum gate_mode gate_rule_mode(const struct gate_policy *p, enum rule r);

/* True for topics under origin/, cache/ and monitor/, which the gate judges. */
bool gate_is_wis2(struct view topic);

/* What stands for a message without a valid id: the same topic and bytes count as the same. */
struct uuid gate_identity_of_bytes(struct view topic, struct view payload);

/* Borrows topic and payload; the views in *out point into them. */
void gate_judge(const struct hierarchy *h, const struct gate_policy *p, struct view topic,
	struct view payload, struct gate_verdict *out);

#endif
