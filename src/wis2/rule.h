/* wis2/rule.h - every rule a message can break, from the table in rule.def
 *
 * The table is the one place that knows a rule's id, its default, the mildest mode in which it
 * counts, the counter it moves, and its source.
 */
#ifndef WIS2_RULE_H
#define WIS2_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

enum rule {
	RULE_NONE,
#define X(name, id, check, mode, text, source) RULE_##name,
#include "wis2/rule.def"
#undef X
	RULE_COUNT
};

/* What kind of check a rule belongs to: its configuration key and its WIS2 counter
 * (monitoring.md, section 1). */
enum rule_check {
	CHECK_TOPIC,    /* checks.topic    invalid_topic */
	CHECK_CENTRE,   /* checks.centre   no WIS2 counter (WTH-22) */
	CHECK_MESSAGE,  /* checks.message  invalid_format */
	CHECK_METADATA, /* checks.metadata no_metadata */
	CHECK_COUNT
};

/* The mildest mode in which breaking the rule makes the message invalid (wnm.md, section 1). */
enum rule_mode { MODE_LENIENT, MODE_STANDARD, MODE_STRICT, MODE_OFF /* only by checks.rules */ };

const char *rule_id(enum rule r);     /* "WNM-35"; "" for RULE_NONE */
const char *rule_text(enum rule r);   /* what is required, one sentence */
const char *rule_source(enum rule r); /* document and section */
enum rule_check rule_check(enum rule r);
enum rule_mode rule_mode(enum rule r);
/* The mode of every rule, by number: what the judges go by when they are given no others. */
const uint8_t *rule_table_modes(void);
/* RULE_NONE when no rule has this id. */
enum rule rule_by_id(struct view id);

/* One broken rule and where: `path` is a JSON pointer for messages (RFC 6901), "" for topics;
 * offset counts bytes from the start of the payload or topic. */
#define FINDING_PATH_BYTES 96
struct finding {
	enum rule rule;
	uint32_t offset;
	uint8_t level; /* of the topic, 1-based; 0 for messages */
	char path[FINDING_PATH_BYTES];
	const char *reason;  /* static text: what is wrong here */
	struct view nearest; /* nearest valid name, {NULL,0} when there is none */
};

/* All findings of one message, each rule at most once, in ascending order of rule when done. */
#define FINDINGS_MOST 24
struct findings {
	uint32_t count;
	struct finding at[FINDINGS_MOST];
};

#endif
