/* broker/store_recent.h - rows on their way to the store, where a kill of the process cannot reach
 * them (inside the store; contract in broker/store.h)
 *
 * A commit waits for the disk; a SUBACK does not wait for a commit. So what must not be forgotten is
 * first appended to a small file, which costs the worker one write to the page cache: that survives
 * the end of the process, however it comes. Entries are numbered; the store's meta holds the number
 * up to which they are committed. Two files take turns, so that one can be emptied:
 *
 *     recent.0   entries of the transaction under way        emptied when it is committed
 *     recent.1   entries that came meanwhile                 the next transaction's
 *
 * An entry is a head with a checksum, the key, the row. After a power cut the files are as good as
 * what the disk had; what fails its checksum ends the reading.
 *
 * Threads: one at a time; the store's lock is held.
 */
#ifndef BROKER_STORE_RECENT_H
#define BROKER_STORE_RECENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

struct store_recent {
	int fds[2];
	uint64_t bytes[2];
	unsigned current;
};

/* 0 or ERR_SYSTEM (errno). */
int recent_open(struct store_recent *r, const char *dir);
void recent_close(struct store_recent *r);

/* row {NULL, 0}: removed. What the disk does not take, or what exceeds 64 MiB while no transaction
 * succeeds, is left out: the row is then as safe as the next commit makes it. */
void recent_add(struct store_recent *r, uint64_t number, struct view key, struct view row);

/* The entries so far belong to the transaction that begins. */
void recent_turn(struct store_recent *r);
/* It is committed. */
void recent_done(struct store_recent *r);

/* Both files as bytes, for recent_next(). Empty what cannot be read. */
void recent_read(const struct store_recent *r, struct buf files[2]);
void recent_clear(struct store_recent *r);

struct recent_entry {
	uint64_t number;
	struct view key;
	struct view row;
};
/* Cuts the entry with the lowest number off the front of either; false: there is none. */
bool recent_next(struct view files[2], struct recent_entry *out);

#endif
