/* cli/compare.h - what two brokers publish, matched by identity
 *
 *     ours   --id, when--\
 *                          entry by id --both sides, or `within` is over--> sums of its centre
 *     theirs --id, when--/      ^
 *     ours refused id by a rule |
 *
 * An id that one side alone had is counted once `within` has passed since it was first heard of; the
 * other may be that late. What was heard of so early or so late that it cannot be told (the other side
 * may have published it before the comparison began, or may still do so) is counted as untold, and on
 * neither side.
 *
 * Bounds: COMPARE_ENTRIES ids at once; when there are more the oldest are counted early, and that is
 * counted too. COMPARE_CENTRES centres, further ones together as one.
 *
 * Pure: time is the caller's. Threads: one.
 */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/uuid.h"
#include "wis2/rule.h"

#define COMPARE_ENTRIES 500000u
#define COMPARE_CENTRES 2000u
#define COMPARE_EXAMPLES 3u
#define COMPARE_BUCKETS 6u /* of how much earlier: see compare_edges */

extern const uint64_t compare_edges[COMPARE_BUCKETS]; /* milliseconds, the last one without end */

enum compare_side { COMPARE_OURS, COMPARE_THEIRS };

/* So many, and the first of them. */
struct compare_tally {
	uint64_t count;
	struct uuid examples[COMPARE_EXAMPLES];
};

/* Why theirs alone had a message: a rule, RULE_NONE when none is known, or: */
#define COMPARE_BEFORE \
	((unsigned)RULE_COUNT) /* ours published it before, and it is a repeat to us */
#define COMPARE_REASONS ((unsigned)RULE_COUNT + 1)

struct compare_centre {
	char *name; /* owned */
	uint64_t both;
	uint64_t together;                    /* of both: at the same millisecond */
	uint64_t earlier[2][COMPARE_BUCKETS]; /* of both: who was, by how much */
	struct compare_tally only_ours;
	struct compare_tally only_theirs[COMPARE_REASONS];
};

struct compare {
	uint64_t within_ms;
	uint32_t most; /* entries; COMPARE_ENTRIES but in tests */
	struct map entries;
	struct list order;  /* oldest first */
	struct list *asked; /* the last of them that compare_ask() has looked at */
	uint32_t count;
	struct map centres;
	uint64_t untold_from_ms;  /* one-sided ids first heard of from here ... */
	uint64_t untold_until_ms; /* ... to here are not told */
	uint32_t gaps;
	uint64_t untold_begin; /* one side, too near to the beginning or a gap */
	uint64_t untold_end;   /* one side, and the time was not over at the end */
	uint64_t early;        /* one side, counted before its time for want of room */
};

void compare_init(struct compare *c, uint64_t within_ms, uint64_t now_ms);
void compare_fini(struct compare *c);

struct compare_message {
	struct uuid id;
	struct view centre; /* of its topic; may be empty */
	uint64_t at_ms;     /* when that side published it, as far as it is known */
	enum rule rule;     /* theirs: one that it breaks, or RULE_NONE */
};
/* now_ms: never going back. Copies what it needs; what one side repeats counts once. */
void compare_take(struct compare *c, enum compare_side side, const struct compare_message *m,
	uint64_t now_ms);
/* Our side refused it by this rule: a better reason than the one a message came with. */
void compare_refused(struct compare *c, const struct uuid *id, enum rule rule, uint64_t now_ms);
/* From now on one side is not heard, and then all are again: what is first heard of meanwhile, or within_ms
 * before and after, is not told when one side alone has it. */
void compare_gap(struct compare *c, uint64_t now_ms);
void compare_gap_ends(struct compare *c, uint64_t now_ms);
/* Gives at most n ids that theirs had and ours had not so far, each once: does ours know them from before? */
uint32_t compare_ask(struct compare *c, struct uuid *ids, uint32_t n);
/* It does: should its own not come any more, that is why. */
void compare_known(struct compare *c, const struct uuid *id);
/* Counts what has waited for long enough. */
void compare_settle(struct compare *c, uint64_t now_ms);
/* No more comes. */
void compare_end(struct compare *c, uint64_t now_ms);

/* --- the report (compare_report.c) ------------------------------------- */

struct compare_words {
	const char *ours; /* where they were heard: "data_dir /var/lib/isobar", a URL */
	const char *theirs;
	const char *no_rule; /* what it means when they have it and nothing is known */
	uint64_t for_ms;
};

/* By centre in order of name, then the sum. True: both published the same. */
bool compare_report_text(
	const struct compare *c, const struct compare_words *words, struct buf *out);
/* The same, one JSON object a line; the last has "total". */
bool compare_report_json(
	const struct compare *c, const struct compare_words *words, struct buf *out);

#endif
