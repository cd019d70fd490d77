/* broker/retained_inside.h - struct retained, as the files of the retained messages share it
 *
 * retained.c has the set, what is asked of it, start and end; retained_work.c what the store's thread does;
 * retained_adopt.c what a cluster does.
 *
 * Threads: what is said "with the lock" is retained's own.
 */
#ifndef BROKER_RETAINED_INSIDE_H
#define BROKER_RETAINED_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "broker/retained.h"
#include "broker/retained_set.h"
#include "broker/store.h"
#include "journal/journal.h"
#include "net/loop.h"

#define WRITE_EVERY_MS 1000u

struct retained {
	struct commit *commit;
	struct journal *journal;
	struct store *store; /* NULL: memory only */
	pthread_mutex_t lock;
	struct retained_set set;
	struct retained_topic *changed; /* oldest change first */
	struct retained_topic **changed_end;
	uint64_t changed_count;
	struct retained_figures figures;
	/* the store's thread, after the start */
	struct store_job write;
	struct journal_reader reader;
	struct buf name;
	struct buf row;
	struct buf sweep; /* the next topic to look at */
	bool moves_mark;
	atomic_bool is_writing;
	/* the worker's */
	struct loop *loop;
	struct timer timer;
	uint32_t rounds;
};

/* What the store's rows are. */
extern const struct store_kind retained_kind;

/* With the lock: the record at seq is the topic's from now on, unless one that stands behind it in the
 * shared log is. NULL: it is not, or it cleared the topic. */
struct retained_topic *retained_put(
	struct retained *r, const struct journal_message *m, uint64_t seq, uint64_t time_ms);
/* With the lock: its row is to be written. */
void retained_note_change(struct retained *r, struct retained_topic *t);
/* With the lock: would a message of so many bytes keep the bounds? */
bool retained_fits(const struct retained *r, struct view topic, size_t bytes);

/* Takes t out of the set, with the lock. It stays in memory until its row is removed. */
void retained_forget(struct retained *r, struct retained_topic *t);

/* What every topic that the filter matches begins with. */
struct view retained_prefix(struct view filter);
/* The first topic behind the cursor (empty: from the prefix on) that may match; NULL: none is left. With
 * the lock. */
struct retained_topic *retained_behind(
	const struct retained *r, struct view prefix, const struct buf *cursor);
/* Can the filter match t or one behind it? */
bool retained_may_follow(const struct retained_topic *t, struct view filter, struct view prefix);
void retained_move_to(struct buf *cursor, struct view topic);

/* The message of a record; its views borrow from the journal's map. */
struct journal_message retained_message_of(
	const struct journal_segment *segment, const struct journal_entry *e);

/* One round of writing, on the store's thread. */
void retained_run_write(struct store_job *job);
/* Asks for one every WRITE_EVERY_MS, on a worker. */
void retained_on_write_time(struct timer *timer);

#endif
