/* cli/verdict.h - showing verdicts of messages and topics to people and to machines
 *
 * Shared by `isobar verify` and `isobar topic`: one line for each broken rule and under it the
 * offending line of text with a caret, or one JSON object a line (docs: interface of the command
 * line). Everything goes to stdout; text from outside is shown with its odd bytes escaped.
 *
 * Threads: one.
 */
#ifndef CLI_VERDICT_H
#define CLI_VERDICT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/view.h"
#include "wis2/notification.h"
#include "wis2/topic.h"

/* Where a byte of a text is, for people: lines and columns from 1, columns in characters. */
struct text_place {
	unsigned line;
	unsigned column;
	struct view text; /* of that line */
};
struct text_place text_place(struct view text, size_t offset);

/* What is judged and what came out. */
struct verdict {
	const char *source;                    /* file, line number or topic, as it is shown */
	struct view payload;                   /* {NULL, 0} when only a topic was judged */
	struct view topic;                     /* {NULL, 0} when no topic was judged */
	struct view id;                        /* the notification's, as written; {NULL, 0}: none */
	const struct findings *topic_findings; /* NULL when not judged */
	const struct findings *message_findings; /* NULL when not judged */
};

bool verdict_is_valid(const struct verdict *v);

/* "SOURCE: valid", or a line "SOURCE: invalid RULE: reason" for each rule and where it is. */
void verdict_print_text(const struct verdict *v);

/* `head` is what stands before "valid" in the object: "\"source\":\"x.json\",". */
void verdict_print_json(const struct verdict *v, const struct buf *head);

/* Which of the words of `choice` (ends in NULL) stands behind an option. False, with a line on stderr,
 * for any other; *out is then untouched. */
bool verdict_read_choice(const char *command, const char *option, const char *text,
	const char *const *choice, unsigned *out);

/* Tables to judge topics by, as options give them. */
struct verdict_hierarchy {
	const char *path;            /* folder or zip; NULL: built-in */
	const char *centres;         /* further known ones, parted by commas; NULL: none */
	struct hierarchy *hierarchy; /* made of them: to hierarchy_unref() */
};

/* Makes it. False, with a line on stderr, when the tables cannot be used. */
bool verdict_load_hierarchy(const char *command, struct verdict_hierarchy *v);

/* Resolves \xHH, each standing for one byte, in place; gives the length. */
size_t verdict_unescape(char *text);

#endif
