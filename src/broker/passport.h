/* broker/passport.h - a session's row as another machine can read it
 *
 * Positions in the journal mean nothing elsewhere; places in the shared log do. A passport is a row
 * (broker/row.h) with both replaced:
 *
 *	kind 1 | version 1 | vector of the position | slots: flags 2, shard 1, place 8 | row without them
 *	vector: shards 2, then shard 1 and place 8 of each
 *
 * What is in flight and not in the shared log (a retained message brought back for one client) is left out.
 *
 * Threads: the worker's whose reader it is.
 */
#ifndef BROKER_PASSPORT_H
#define BROKER_PASSPORT_H

#include "broker/row.h"
#include "commit/follow.h"

enum passport_kind {
	PASSPORT_LIVE = 'L',  /* the position is the mark of the machine that wrote it */
	PASSPORT_EXACT = 'E', /* its client is gone: nothing has happened since */
	PASSPORT_AWAY = 'P',  /* a connected session's, as of its last checkpoint */
};

/* Where to read the journal. */
struct passport_desk {
	struct commit *commit;
	struct journal *journal;
	struct journal_reader *reader; /* quiet */
};

void vector_write(struct buf *out, const struct vector *v);

void passport_write(const struct passport_desk *d, const struct row *row, enum passport_kind kind,
	struct buf *out);

struct passport {
	struct row row;    /* position and slots are of this machine's journal; borrows */
	struct buf slots;  /* what row.slots is in */
	struct vector got; /* records up to here the session has had */
	enum passport_kind kind;
};

/* mark: as vector_write() made it, for PASSPORT_LIVE. 0; ERR_CORRUPT, ERR_VERSION: nothing to
 * release. */
int passport_read(
	const struct passport_desk *d, struct view bytes, struct view mark, struct passport *out);
void passport_fini(struct passport *p);

#endif
