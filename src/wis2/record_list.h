/* wis2/record_list.h - a list of discovery metadata records, in any form in which it is published
 *
 * A push reader: bytes are given as they arrive, pairs of record id and topic come out. The form is
 * told from the first byte (metadata.md, section 3):
 *
 *     items     a page of OGC API - Records: {"features": [record, ...], "links": [...]}
 *     archive   a zip file with one record a file
 *     channels  lines "{record id},{tail}"
 *
 * Memory: one record's text, and of an archive its packed bytes. What an archive unpacks to is
 * compared with a limit before anything is unpacked. Pure; threads: one at a time.
 */
#ifndef WIS2_RECORD_LIST_H
#define WIS2_RECORD_LIST_H

#include <stdint.h>

#include "wis2/record.h"

#define ARCHIVE_BYTES_MOST (64u << 20)     /* packed */
#define ARCHIVE_UNPACKED_MOST (256u << 20) /* all files of it together */
#define ARCHIVE_FILES_MOST 200000u
#define CHANNEL_LINE_MOST 2048u

struct record_list;

struct record_list *record_list_new(record_on_pair *on_pair, void *context);
void record_list_free(struct record_list *l);

/* 0, or ERR_MALFORMED, ERR_TOO_LARGE; then record_list_fault() says why and nothing more is read.
 * on_pair is called inside. */
int record_list_feed(struct record_list *l, const char *bytes, size_t n);
/* After the last byte: was it a whole list? Errors as above. */
int record_list_finish(struct record_list *l);

const char *record_list_fault(const struct record_list *l); /* static text; "" for none */

/* Address of the next page, as written; {NULL,0}: this was the last. Valid until freed. */
struct view record_list_next(const struct record_list *l);

struct record_list_figures {
	uint64_t records; /* read; of channels: lines */
	uint64_t refused; /* not of the form above, and left out */
};
struct record_list_figures record_list_figures(const struct record_list *l);

#endif
