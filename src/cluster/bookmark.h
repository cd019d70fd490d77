/* cluster/bookmark.h - how far this node has followed each shard, in a file
 *
 * The journal's index knows the last place of a shard as long as it has a record of it. The bookmark
 * knows it longer, and what the index does not: the place's ordinal (ordinal.h), by which a gap is counted,
 * and which Redis process was read, so that nothing is read twice where nothing has changed. It is
 * written about once a second and holds for the journal as it was then (`seq`); what came later is
 * taken from the journal.
 *
 *	file: two slots of BOOKMARK_SLOT bytes, written in turn; the one of the higher generation counts
 *	slot: "isobarBM" | checksum 8 | generation 8 | seq 8 | rows 4 | (place 8, ordinal 8, run id 40) ...
 *
 * Numbers stand in the machine's byte order; another machine's fail the checksum. A slot that was not
 * written whole counts as none. It is not synced: after a power failure it may be older, or newer, than
 * the journal.
 *
 * Threads: one at a time. Decoding is pure.
 */
#ifndef CLUSTER_BOOKMARK_H
#define CLUSTER_BOOKMARK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "cluster/stream.h"

#define BOOKMARK_SLOT 16384u
#define BOOKMARK_UNCOUNTED UINT64_MAX

struct bookmark_row {
	uint64_t place;            /* packed; 0: nothing yet */
	uint64_t ordinal;          /* of that entry, or BOOKMARK_UNCOUNTED */
	char run_id[RUN_ID_BYTES]; /* zeros: unknown */
};

struct bookmark {
	uint64_t generation;
	uint64_t seq; /* the journal's tail as it was written */
	uint32_t count;
	struct bookmark_row rows[SHARDS_MOST];
};

/* Appends a slot's content. */
void bookmark_encode(struct buf *b, const struct bookmark *m);
/* 0 or ERR_MALFORMED. */
int bookmark_decode(struct view slot, struct bookmark *out);

/* The newest one of the folder's file; false: there is none that holds. Makes the folder and the
 * file; gives a descriptor to write to, or -1 when that is not possible (errno). */
bool bookmark_open(const char *dir, int *fd, struct bookmark *out);
/* Raises the generation and writes. 0 or ERR_SYSTEM (errno). */
int bookmark_write(int fd, struct bookmark *m);

#endif
