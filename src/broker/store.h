/* broker/store.h - rows on disk: an LMDB environment and the thread that writes it
 *
 * There are two: that of the sessions (broker/persist.h) and that of the retained messages
 * (broker/retained.h). What a row means is its owner's; here it has a key, bytes and a check.
 *
 *     worker --store_put, store_remove--> pending (latest per key) --one transaction--> LMDB
 *     worker --store_mark-------------->  "all that counts below P is in rows" -^
 *
 * Workers only leave bytes behind, under a lock held for a map look-up; the store's thread takes
 * all that is there, commits it, and looks again, so that what waits is never more than one row a
 * key, even while the disk refuses. What is urgent is written to a file beside it before the call
 * returns (broker/store_recent.h).
 *
 * The environment (`data.mdb` in the folder) holds one row a key under the key's
 * SHA-256, and under "meta" the format's version, the position of the marks, the
 * time, and whether the last stop was clean. A transaction is on the disk when its commit returns;
 * after a power cut the last one may be missing, never half of one.
 *
 * Damage: a row whose checksum fails is dropped; an environment that cannot be read, or at whose
 * reading the process died twice in a row, is set aside as data.mdb.damaged-TIME and an empty one
 * begun. Both are logged with what was lost.
 *
 * Threads: store_open, store_walk, store_begin and store_close on one thread; the others any.
 */
#ifndef BROKER_STORE_H
#define BROKER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

struct store;

/* What the rows are. */
struct store_kind {
	const char *name;              /* of the thread and in the log; at most 15 bytes */
	uint32_t version;              /* of their format, the newest that is read */
	int (*judge)(struct view row); /* 0, ERR_CORRUPT, ERR_VERSION: written by a newer version */
};

struct store_config {
	const struct store_kind *kind;
	const char *dir;
	uint64_t size_bytes; /* the file grows to at most this; 0: 64 GiB */
};

/* What the last process left. */
struct store_past {
	uint64_t live;    /* least position of the marks (store_mark()) */
	uint64_t wall_ms; /* when it last wrote; 0: never, the store is new */
	bool is_clean;    /* it stopped in order: rows are exact */
};

struct store_figures {
	uint64_t rows;    /* on disk */
	uint64_t written; /* rows put or removed since the start */
	uint64_t failed;  /* transactions the disk refused */
};

/* 0; ERR_VERSION (written by a newer version), ERR_SYSTEM: *why is then a text to free(). The
 * folder is made when absent. */
int store_open(struct store **out, const struct store_config *config, char **why);
const struct store_past *store_past(const struct store *s);

/* Each row, before store_begin(); false ends the walk. The views are valid for the call. */
void store_walk(struct store *s, bool (*on_row)(void *context, struct view row), void *context);

/* From now on the process counts as running and rows are written; `marks` workers are at `live`. */
void store_begin(struct store *s, unsigned marks, uint64_t live);

/* Replaces the key's row; copies both. Urgent: it survives a kill of the process from now on, a
 * removal always does; otherwise from the next commit on. */
void store_put(struct store *s, struct view key, struct view row, bool is_urgent);
void store_remove(struct store *s, struct view key);

/* Mark number `mark`: whatever counts below this position has been put. The position never goes back. */
void store_mark(struct store *s, unsigned mark, uint64_t position);

/* Work that may wait for the disk and belongs to no loop, on the store's thread (after store_stop(): on
 * the caller's). The job's memory is its own; each is run once. */
struct store_job {
	void (*run)(struct store_job *job);
	struct store_job *next;
};
void store_run(struct store *s, struct store_job *job);

/* Appends the key's row as it was put last to out; false: there is none. In a job. */
bool store_get(struct store *s, struct view key, struct buf *out);

/* Waits until what was put before is on the disk (or was refused). */
void store_flush(struct store *s);

/* What was put before the call, and perhaps more, as an environment of its own: data.mdb in `dir`, which
 * is made when absent. Waits for the disk; calls alive(context) about once a second meanwhile. 0 or
 * ERR_SYSTEM (errno). Not on a worker, nor in a job. */
int store_copy(struct store *s, const char *dir, void (*alive)(void *context), void *context);
void store_figures(struct store *s, struct store_figures *out);

/* Writes what is pending and, if is_clean, that the rows are exact; what is put later is ignored.
 * Without store_begin() nothing is written. */
void store_stop(struct store *s, bool is_clean);
void store_close(struct store *s);

#endif
