/* journal/internal.h - struct journal, as the files of this room share it
 *
 * Three kinds of state: what is published to readers (atomics), what the lock guards, and what
 * only the keeper touches. The lock is never held over a system call that can wait for the disk,
 * except the appender's own writes into the page cache.
 */
#ifndef JOURNAL_INTERNAL_H
#define JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "journal/journal.h"
#include "journal/segment.h"
#include "journal/system.h"
#include "journal/topics.h"

/* Bytes lately appended that count as in memory (the page cache keeps what was just written), in
 * steps of one mark. */
#define WARM_MARK_BYTES (1u << 20)
#define WARM_MARKS 64

/* What one question to the prefetch thread brings in, and how many answers count as warm. */
#define PREFETCH_BYTES (4u << 20)
#define PREFETCH_RANGES 64

/* Summaries outlive index files by so much: sessions that were away longer get no exact count. */
#define SUMMARY_KEEP_MS (UINT64_C(7) * 24 * 3600 * 1000)

/* Segments with packets as readers see them, oldest first, without a gap. Replaced, not changed. */
struct segment_set {
	size_t n;
	struct journal_segment at[];
};

/* Something readers of an epoch up to `epoch` may still touch. */
struct retired {
	struct list link;
	uint64_t epoch;
	struct segment_set *set;
	uint8_t *maps[2];
	size_t sizes[2];
};

struct journal {
	struct journal_config config;
	const struct journal_system *system;
	char *dir;
	int dir_fd;
	int lock_fd;
	uint64_t clock_offset; /* journal time minus monotonic time, wraps */

	/* Published. */
	_Atomic(struct segment_set *) set;
	_Atomic uint64_t tail;
	_Atomic uint64_t head;
	_Atomic uint64_t safe;
	_Atomic uint64_t released; /* below it nothing is needed any more */
	_Atomic uint64_t epoch; /* 1 ... */
	_Atomic uint64_t warm_from;
	_Atomic uint64_t ranges[PREFETCH_RANGES]; /* prefetched: first seq and count, packed */

	/* Under the lock. */
	pthread_mutex_t lock;
	struct list segments;    /* all with any file left, oldest first */
	struct segment *current; /* appended to; NULL only until the first is there */
	struct segment *next;    /* made ahead; in no list */
	uint32_t next_number;
	struct topics topics;
	uint8_t *scratch; /* packets of a batch on their way to pwrite() */
	size_t scratch_size;
	struct journal_entry *entries; /* index entries of a batch */
	uint32_t entries_size;
	uint64_t last_ms;
	uint64_t warm_marks[WARM_MARKS];
	uint64_t warm_marked; /* marks ever set */
	uint64_t warm_bytes;  /* appended since the last mark */
	struct list retired;
	struct journal_figures figures; /* the counters among them */
	bool held;
	uint64_t held_since_ms; /* monotonic */
	uint64_t held_until_ms; /* no sooner on_progress; monotonic */
	bool sync_failed;
	void (*on_progress)(void *context);
	void *on_progress_context;

	/* Readers' list. */
	pthread_mutex_t readers_lock;
	struct list readers;

	/* The keeper. */
	pthread_mutex_t pass; /* one pass at a time */
	pthread_t keeper;
	pthread_mutex_t keeper_lock;
	pthread_cond_t keeper_wake;
	atomic_bool wanted; /* something to do now */
	bool stopping;      /* keeper_lock */
	uint64_t synced_ms; /* monotonic, last sync (pass) */
	uint64_t looked_ms; /* monotonic, last look at the disk (pass) */
	bool told_held;     /* (pass) */

	/* The prefetch thread. */
	pthread_t prefetcher;
	pthread_mutex_t prefetch_lock;
	pthread_cond_t prefetch_wake;
	struct list questions;
	bool prefetch_stopping;
	uint32_t range_next; /* the thread's */
};

/* recover.c: fills segments, tail and next_number from the folder; seals what was open; calls
 * on_index. 0 or an error with *why. Before the threads start. */
int recover(struct journal *j, char **why);

/* append.c, with the lock: makes the segment made ahead the open one. */
int roll(struct journal *j);
/* With the lock: appends are refused from now on, at least for pause_ms. Gives ERR_HELD. */
int hold(struct journal *j, uint64_t pause_ms);

/* epoch.c */
/* With the lock: readers find from now on the list's newest segments without a gap. */
void publish(struct journal *j);
/* With the lock: takes the segment's maps, to be unmapped when no reader can be in them. */
void retire_maps(struct journal *j, struct segment *s);
/* Frees what no reader can be in any more, or everything. True when something still waits. */
bool reclaim(struct journal *j, bool all);

/* keeper.c */
/* One round of the keeper's work. Any thread, one at a time; tests call it. */
void keeper_pass(struct journal *j);
void keeper_init(struct journal *j); /* the wake-up, before anything may poke */
void keeper_start(struct journal *j);
void keeper_stop(struct journal *j);
void keeper_poke(struct journal *j);
/* Makes the next segment if it is not there. 0, ERR_HELD or ERR_SYSTEM. (pass) */
int keeper_prepare(struct journal *j);
/* Syncs what was appended and moves `safe`. 0 or ERR_SYSTEM. (pass) */
int keeper_sync(struct journal *j);

/* retention.c, in the keeper's pass */
/* Trims, syncs, summarises, marks. The segment is closed. 0 or an error: it stays unsealed. */
int seal(struct journal *j, struct segment *s);
void seal_closed(struct journal *j);
void retain(struct journal *j);
/* The disk is full: removes the oldest segment if it is older than least_ms. */
bool make_space(struct journal *j);

/* prefetch.c */
void prefetch_start(struct journal *j);
void prefetch_stop(struct journal *j);

/* summary.c */
/* Writes the segment's topic counts from its maps. 0, ERR_HELD or ERR_SYSTEM. */
int summary_write(struct journal *j, const struct segment *s);
/* Reads base, end and time of a segment of which only the summary is left. False: not readable. */
bool summary_read_head(struct journal *j, struct segment *s);

static inline uint64_t mono_now(const struct journal *j)
{
	return j->system->mono_ms();
}

/* Milliseconds since `then` on the journal's clock. */
static inline uint64_t age_ms(const struct journal *j, uint64_t then)
{
	uint64_t now = journal_now(j);

	return now > then ? now - then : 0;
}

#endif
