/* catalogue/book.h - every record known, when it was last seen, and in which list
 *
 * The lists of several catalogues are merged here. A pair (record id, tail) counts while it is in the
 * latest good list of any catalogue, and for `grace` after it was last seen in one (metadata.md,
 * section 4); a record whose deletion was notified goes as soon as no list has it.
 *
 * As a file it is text, one fact a line, tab-separated, with a checksum at the end:
 *
 *     isobar-catalogue 1
 *     list  NUMBER  GOOD_MS  RECORDS  ETAG  LAST_MODIFIED  URL
 *     pair  SEEN_MS  LISTS  GONE  ID  TAIL
 *     end   CRC-32 of all before this line
 *
 * Times are wall clock, milliseconds. Threads: one at a time.
 */
#ifndef CATALOGUE_BOOK_H
#define CATALOGUE_BOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "wis2/catalogue.h"

#define BOOK_LISTS_MOST 16u
#define BOOK_TAG_BYTES 256u
#define BOOK_SERVES_MS (48ull * 3600 * 1000) /* a list is trusted so long without a newer one */
#define BOOK_FILE_MOST (512u << 20)

/* What is known of one catalogue's list. */
struct book_list {
	char *url;        /* owned, without credentials: its name; NULL: this place is free */
	uint64_t good_ms; /* when it was last read whole, or said to be unchanged; 0: never */
	uint64_t records;
	char etag[BOOK_TAG_BYTES]; /* "" for none */
	char last_modified[BOOK_TAG_BYTES];
};

struct book {
	struct book_list lists[BOOK_LISTS_MOST];
	struct map pairs; /* of struct book_pair */
	uint64_t bytes;   /* of memory for pairs, without the map */
};

void book_init(struct book *b);
void book_fini(struct book *b);

/* The place of that URL's list, taken if there is none; -1 when all are in use. */
int book_place(struct book *b, struct view url);
/* The place becomes free; its pairs count for their grace. */
void book_drop(struct book *b, unsigned place);

/* A new list: none of its pairs have been seen. Then each is entered by book_see(). */
void book_begin(struct book *b, unsigned place);
/* False: the book is full (CATALOGUE_PAIRS_MOST). */
bool book_see(struct book *b, unsigned place, struct view id, struct view tail, uint64_t now_ms);
/* The list is unchanged: all its pairs are seen. */
void book_renew(struct book *b, unsigned place, uint64_t now_ms);

/* Marks the records whose hash on the shelf is that as deleted. */
void book_delete(struct book *b, const struct shelf *shelf, uint64_t hash);

/* Removes what no longer counts and gives the rest as a list for the shelf. */
struct catalogue *book_sweep(struct book *b, uint64_t now_ms, uint64_t grace_ms);

/* When any list was last good; 0: never. */
uint64_t book_newest_ms(const struct book *b);
size_t book_bytes(const struct book *b);

/* --- the file (book_file.c) -------------------------------------------- */

/* Into an empty book. 0, or ERR_CORRUPT with the book as it was and *why static text. */
int book_read(struct book *b, struct view text, const char **why);
/* Replaces the file as a whole. 0 or ERR_SYSTEM (errno). */
int book_write(const struct book *b, const char *path);

#endif
