/* wis2/judge.h - one judgement of a notification or event under way
 *
 * Inside the room only. judge_payload() reads the text and gives its top object to the form it is
 * judged as (notification.c, event.c). Objects are read by the table member.def: judge_object() puts
 * the value of each member a rule names into its place in `members` and lets the table check
 * presence and kind; the judge_x functions read what is nested and check what the table cannot say.
 *
 * Threads: one at a time.
 */
#ifndef WIS2_JUDGE_H
#define WIS2_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "wis2/json.h"
#include "wis2/notification.h"
#include "wis2/rule.h"

enum member {
#define X(name, object, text, kinds, absent, other, walk) MEMBER_##name,
#include "wis2/member.def"
#undef X
	MEMBER_COUNT
};

/* The objects whose members the table lists, in its order. */
enum member_object {
	TOP,
	GEOMETRY,
	PROPERTIES,
	INTEGRITY,
	CONTENT,
	LINK,
	SCHEME,
	EVENT,
	EVENT_DATA,
	EVENT_CONTENT,
	EVENT_TIME,
	EVENT_LINK,
	OBJECT_COUNT
};

struct judge {
	struct json json;
	const struct notification_options *options;
	const uint8_t *modes; /* per rule: mode at or above which it counts */
	struct notification *out;
	struct findings *found;
	void (*top)(struct judge *g, const struct json_value *v); /* reads the top object */
	enum rule text_rule;   /* stands for WNM-01 to WNM-07; RULE_NONE: they themselves */
	bool names_core;       /* conformsTo keeps WNM-14 */
	struct view subject;   /* of an event, by its topic; {NULL, 0}: not asked */
	uint32_t unknown;      /* members of the object just read that the table lacks and
	                                * that do not begin with "x-" */
	bool coordinates_read; /* the geometry's type came first, so they are judged */
	struct json_value members[MEMBER_COUNT]; /* kind KIND_NONE: absent */
	char scratch[JSON_LARGEST];
};

/* Judges the whole payload; g's first part, up to text_rule, is set. Gives the lowest-numbered rule
 * broken. */
enum rule judge_payload(struct judge *g, struct view payload);

/* Is the rule in force in this mode? Ask before work that only its check needs. */
bool judge_asks(const struct judge *g, enum rule rule);

/* Notes a broken rule, if it is in force. reason is static text. */
void judge_broken(struct judge *g, enum rule rule, uint32_t offset, const char *reason);

/* Reads the object whose bracket was just met and checks presence and kinds of its members. False
 * when the text is broken. */
bool judge_object(struct judge *g, enum member_object object, const struct json_value *bracket);

/* A string's bytes; with escapes they are in g->scratch until the next call. */
struct view judge_text(struct judge *g, const struct json_value *v);
bool judge_text_is(struct judge *g, const struct json_value *v, struct view text);

/* Reads an array whose bracket was just met: is one element this text? The others may be anything. */
bool judge_has_element(struct judge *g, struct view text);

/* One of the four schemes, and at least one character of a host behind it (WNM-64, MON-26)? */
bool judge_is_address(struct view href);

/* The member when it is there and of that kind, else NULL. */
const struct json_value *judge_member(const struct judge *g, enum member m, enum json_kind kind);

/* Each reads the container it is given, of which only the bracket was met; a value of a kind that
 * the table forbids never reaches it. */
void judge_conforms_to(struct judge *g, const struct json_value *v);
void judge_geometry(struct judge *g, const struct json_value *v);
void judge_coordinates(struct judge *g, const struct json_value *v);
void judge_properties(struct judge *g, const struct json_value *v);
void judge_integrity(struct judge *g, const struct json_value *v);
void judge_content(struct judge *g, const struct json_value *v);
void judge_links(struct judge *g, const struct json_value *v);
void judge_security(struct judge *g, const struct json_value *v);
void judge_event_data(struct judge *g, const struct json_value *v);
void judge_event_conforms_to(struct judge *g, const struct json_value *v);
void judge_event_content(struct judge *g, const struct json_value *v);
void judge_event_links(struct judge *g, const struct json_value *v);
void judge_event_time(struct judge *g, const struct json_value *v);
void judge_event_interval(struct judge *g, const struct json_value *v);

#endif
