/* commit/follow.h - the shared log's records on their way into the journal
 *
 * Every machine follows every shard of the shared log and merges them into its own journal, in its
 * own order but for two things: records of one shard stand in the order of the shard, so that one
 * place says how far a shard got (commit/vector.h), and a record that names the one before it from the
 * same connection and on the same topic stands behind that.
 *
 *	line of shard 0: a b c ---+
 *	line of shard 1: d e -----+--> commit_follow() --> known already: dropped
 *	line of shard 2: f -------+         |              else: journal, retained, workers woken
 *	                                    v
 *	                  what waits for another stays, and what is behind it
 */
#ifndef COMMIT_FOLLOW_H
#define COMMIT_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "commit/commit.h"
#include "commit/vector.h"
#include "journal/journal.h"

struct commit_record {
	struct journal_message message; /* shard and log_id (not 0) name its place */
	struct uuid previous;           /* stands before it */
	bool has_previous;
	uint32_t print; /* commit_follow()'s own */
};

/* The next records of one shard in its order. All is borrowed. */
struct commit_line {
	struct commit_record *records;
	uint32_t n;
	uint32_t
		overdue; /* so many of them, from the first, need not wait when nothing else gets on */
	/* Out: */
	uint32_t taken;  /* so many, from the first, are in the journal now or have been before */
	uint32_t known;  /* so many of these have been before */
	uint32_t forced; /* so many of these were overdue and did not wait */
};

/* Writes what can be written of these lines, under one lock and with one write. 0: see the lines'
 * `taken`. ERR_HELD: the journal takes nothing now, nothing was taken; come again. ERR_TOO_LARGE:
 * together they are more than journal_batch_bytes() or journal_batch_records(). One thread. */
int commit_follow(struct commit *c, struct commit_line *lines, uint32_t n);

/* How far each shard has been followed, by what the journal has. Any thread. */
void commit_position(struct commit *c, struct vector *out);

/* The vector of all records before seq: for each shard the last place there. What the journal's index
 * had forgotten at start counts as nothing. Any thread, r between enter and leave: reads
 * the index of some thousand records. */
void commit_vector_at(
	struct commit *c, const struct journal_reader *r, uint64_t seq, struct vector *out);

/* The first record that is beyond this vector, at or above journal_head(); the tail when there is
 * none. Threads and cost as above. */
uint64_t commit_first_beyond(
	struct commit *c, const struct journal_reader *r, const struct vector *v);

/* Has the journal all records of the shard behind this place? False: some were removed, or may have been
 * (what stood less than a row of the vectors before its head is not known exactly), or it has never known
 * the shard as far back; *first is the place of the first behind it that it has, 0 when there is none.
 * Place 0, before the first of all, is taken for known until records are removed. Threads and cost as
 * above, twice. */
bool commit_reaches(struct commit *c, const struct journal_reader *r, uint32_t shard,
	uint64_t place, uint64_t *first);

#endif
