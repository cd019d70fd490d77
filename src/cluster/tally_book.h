/* cluster/tally_book.h - what was counted of each centre, by this run and by the whole cluster; and who
 * holds which source
 *
 * A book adds up what this run's sources have counted, by centre. Figures of a source that was taken
 * out of the configuration stay in it; one that comes back begins at 0 and is added.
 *
 *	sources --> tally_book_add() --> tally_book_changes() --> Redis --> tally_sheet_take() --> shown
 *	  figures since they came          of this run               totals of all runs there ever were
 *
 * Pure: figures and replies in, texts and a table out. Threads: one at a time.
 */
#ifndef CLUSTER_TALLY_BOOK_H
#define CLUSTER_TALLY_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "cluster/cluster.h"
#include "cluster/nodes.h"
#include "cluster/resp.h"

#define TALLY_LINES_MOST 65536u /* centres of a sheet */
#define TALLY_NAME_MOST 256u    /* bytes of a centre-id */
#define TALLY_CHANGES_MOST 2048u
#define TALLY_HOLDINGS_MOST 262144u /* of all nodes */

struct tally_book;

struct tally_book *tally_book_new(void);
void tally_book_free(struct tally_book *b);

/* A look at all sources: begin, add each once, end. Counts of a source that are below those of the
 * look before are of a new one of the same name. */
void tally_book_begin(struct tally_book *b);
void tally_book_add(struct tally_book *b, const struct tally *source);
void tally_book_end(struct tally_book *b);

/* Appends the list of this node's centres, 1: connected, and of the sources that it holds:
 *
 *	RUN
 *	CENTRE 1
 *	* SLOT VOICE 1 SOURCE		VOICE 1: it counts for the source; 1: connected
 */
void tally_book_list(const struct tally_book *b, uint64_t run, struct buf *out);

/* Appends centre and figures, as arguments of a command, of lines that differ from what was
 * confirmed, at most TALLY_CHANGES_MOST; gives how many. all: of those that do not as well. */
uint32_t tally_book_changes(struct tally_book *b, bool all, struct buf *arguments);
/* What tally_book_changes() gave last is in Redis. */
void tally_book_confirm(struct tally_book *b);

/* --- the whole cluster's -------------------------------------------------- */

struct tally_sheet {
	struct tally *lines; /* `source` NULL, `centre` owned */
	uint32_t count;
	struct map by_centre;
	struct holding *holdings; /* in order of source and slot; texts owned */
	uint32_t holding_count;
};

void tally_sheet_fini(struct tally_sheet *s);

/* Takes the reply of tally.lua: the centres that this run or one that lives has, and the sources these
 * hold, as they say.
 * False: it is no such reply, nothing was taken. */
bool tally_sheet_take(struct tally_sheet *s, const struct resp *reply, const struct nodes *nodes,
	const char *node, uint64_t run);

/* To be called every few seconds: works out the duplicates of the centres of this book.
 *
 * A repeat at the voice of a source is no duplicate when the message was published for another
 * holder of the same source: duplicates are the voice's repeats less what the other holders were
 * first with. These two are told at different moments, and the difference of two that grow may fall;
 * so repeats of the call before are compared with firsts of now, which belong to them, and the
 * largest that anybody has worked out counts. */
void tally_book_judge(struct tally_book *b, const struct tally_sheet *s);

#endif
