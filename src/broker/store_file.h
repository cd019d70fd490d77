/* broker/store_file.h - the LMDB environment of a store: opening, damage, meta (inside the
 * store; contract in broker/store.h)
 *
 * Threads: one at a time.
 */
#ifndef BROKER_STORE_FILE_H
#define BROKER_STORE_FILE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/store.h"
#include "broker/store_recent.h"

struct store_file {
	const struct store_kind *kind;
	MDB_env *env;
	MDB_dbi dbi;
	uint64_t size; /* of the map: what the file may grow to */
	char *dir;     /* owned */
	struct store_recent recent;
};

struct store_meta {
	uint64_t checksum; /* of what follows */
	uint32_t version;
	uint32_t is_clean;
	uint64_t live;
	uint64_t wall_ms;
	uint64_t number; /* entries of broker/store_recent.h up to this are in */
};

/* Opens or makes it, sets a damaged one aside, drops damaged rows (both are logged), takes in the
 * recent entries; f->kind is set, f->size is the
 * first size. 0, ERR_VERSION or ERR_SYSTEM with *why. */
int store_file_open(struct store_file *f, const char *dir, struct store_meta *meta, char **why);
/* Reading and the first write went well: the next start may trust it. */
void store_file_opened(struct store_file *f);
void store_file_close(struct store_file *f);

uint64_t store_file_rows(struct store_file *f);
void store_file_walk(
	struct store_file *f, bool (*on_row)(void *context, struct view row), void *context);

/* Appends the row to out; false: there is none, or it cannot be read. */
bool store_file_get(struct store_file *f, struct view key, struct buf *out);

/* Into data.mdb of the folder, made when absent. 0 or the system's error. */
int store_file_copy(struct store_file *f, const char *dir);

/* Under the SHA-256 of the key; row {NULL, 0} removes. 0 or LMDB's error. */
int store_file_put(struct store_file *f, MDB_txn *txn, struct view key, struct view row);

/* Fills in version and checksum. 0 or LMDB's error. */
int store_file_put_meta(struct store_file *f, MDB_txn *txn, const struct store_meta *meta);

#endif
