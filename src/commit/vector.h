/* commit/vector.h - where each shard of the shared log stood at a place of the journal
 *
 * The journal's sequence numbers differ from machine to machine; the places of records in their
 * shards do not. A vector names, shard by shard, the last place that is behind somebody: it says on
 * every machine how far he got.
 *
 *	journal:  0 ... 1024 ... 2048 ... tail
 *	rows:     |     |        |        `-- now
 *	          `-----`--------`-- the vector before that record, every so many records
 *
 * Rows are made as records come and once more at a start; what lies between two rows is found out by
 * reading the journal's index there. There are at most VECTOR_ROWS_MOST: when they are all taken
 * every other one goes, and from then on they are twice as far apart.
 *
 * Threads: one at a time; a commit's is used under its journal's lock.
 */
#ifndef COMMIT_VECTOR_H
#define COMMIT_VECTOR_H

#include <stdint.h>

#define VECTOR_SHARDS 256u
#define VECTOR_ROWS_MOST 2048u
#define VECTOR_STRIDE_FIRST 1024u

struct vector {
	uint64_t place[VECTOR_SHARDS]; /* 0: nothing of this shard */
};

struct vector_log;

struct vector_log *vector_log_new(void);
void vector_log_free(struct vector_log *l); /* NULL: nothing */

/* The record at seq is of this shard (below VECTOR_SHARDS) and place. seq grows from call to call; a
 * place may be lower than one before it, and then changes nothing. Records below `head` are gone. */
void vector_log_note(
	struct vector_log *l, uint64_t seq, uint32_t shard, uint64_t place, uint64_t head);

/* The vector of all records so far. */
void vector_log_now(const struct vector_log *l, struct vector *out);
/* The last row at or below seq: gives its sequence number, and in *out the vector of all records
 * before that. 0 and an empty vector: there is none. */
uint64_t vector_log_row(const struct vector_log *l, uint64_t seq, struct vector *out);
/* The last row before which no record is beyond the vector: gives its sequence number; 0: none. */
uint64_t vector_log_within(const struct vector_log *l, const struct vector *v);

#endif
