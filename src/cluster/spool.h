/* cluster/spool.h - messages kept on this machine's disk until the shared log takes them
 *
 * A journal of its own in DIR/spool, and beside it the position up to which everything is committed:
 *
 *     spool_put() --> journal [committed | read, under way | waiting]
 *                                         ^ position       ^ spool_read()
 *
 * It survives the end of the process as the journal does (journal.sync). What was committed after the
 * position was last written is committed again after a crash: the same ids with the same tokens, so
 * nothing is published twice. An id that is in the spool already is not written again.
 *
 * Threads: one at a time, but spool_on_progress()'s call, which comes from the journal's keeper.
 * Reading may wait for the disk.
 */
#ifndef CLUSTER_SPOOL_H
#define CLUSTER_SPOOL_H

#include "cluster/intake.h"
#include "journal/journal.h"

struct spool;

struct spool_settings {
	const char *dir; /* of the cluster's files; made when it is not there */
	enum journal_sync sync;
	uint32_t sync_ms;
	uint64_t bytes_most;    /* of records */
	uint64_t ids;           /* that are recognised at most */
	uint32_t segment_bytes; /* 0: the default */
};

/* Is there one in dir? It has to be opened then, whatever the configuration says. */
bool spool_exists(const char *dir);
/* 0, or an error of journal_open() or ERR_SYSTEM with *why to free(). */
int spool_open(struct spool **out, const struct spool_settings *settings, char **why);
/* NULL: nothing. Writes the position. */
void spool_close(struct spool *s);

/* Called when spool_safe() has moved or spool_put() may succeed again; on a thread of the journal. */
void spool_on_progress(struct spool *s, void (*call)(void *context), void *context);

/* Appends the records of these entries in order. 0: all, safe once spool_safe() reaches *upto.
 * ERR_HELD: none, there is no room. */
int spool_put(struct spool *s, struct entry *const *entries, uint32_t n, uint64_t *upto);
uint64_t spool_safe(struct spool *s);

/* The next entries behind those read before, without a port; NULL: none. */
struct parcel *spool_read(struct spool *s);
/* All that was read is committed. */
void spool_done(struct spool *s);

uint64_t spool_count(const struct spool *s); /* not committed */
uint64_t spool_bytes(const struct spool *s); /* of their records */

#endif
