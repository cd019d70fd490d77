/* cluster/resp.h - the wire of Redis: commands to bytes, bytes to replies (RESP2)
 *
 * Replies are read by hiredis' reader into memory of our own, so that what one reply may take is
 * bounded before it is taken: an array of a billion elements is an error, not an allocation.
 * Commands are written straight into the buffer they are sent from.
 *
 * Source: Redis serialization protocol specification, RESP2.
 *
 * Threads: one at a time.
 */
#ifndef CLUSTER_RESP_H
#define CLUSTER_RESP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

enum resp_type {
	RESP_NIL,
	RESP_STRING,
	RESP_STATUS,  /* a simple string, "OK" */
	RESP_ERROR,   /* text: "MOVED 1 127.0.0.1:7000" */
	RESP_INTEGER, /* integer */
	RESP_ARRAY,   /* items[count] */
};

struct resp {
	enum resp_type type;
	uint32_t count;
	int64_t integer;
	struct view text;
	struct resp *items;
};

/* --- replies ----------------------------------------------------------- */

struct resp_reader;

/* A reply may take at most `most` bytes, both on the wire and in memory. */
struct resp_reader *resp_reader_new(size_t most);
void resp_reader_free(struct resp_reader *r); /* NULL: nothing */

/* Takes n bytes by copying. What is there should be read by resp_next() before more is fed. */
#define RESP_FEED_MOST (16u * 1024u)
void resp_feed(struct resp_reader *r, const uint8_t *p, size_t n);

/* 1: *out is a reply, borrowed until the next call; 0: more bytes are needed; ERR_MALFORMED or
 * ERR_TOO_LARGE: nothing more can be read. */
int resp_next(struct resp_reader *r, const struct resp **out);

/* The element of an array, NULL when there is none, or it is not of this type. */
const struct resp *resp_item(const struct resp *array, uint32_t i, enum resp_type type);

/* --- commands ---------------------------------------------------------- */

/* A command is its number of arguments and then so many of these. */
void resp_begin(struct buf *b, uint32_t arguments);
void resp_bytes(struct buf *b, struct view argument);
void resp_number(struct buf *b, uint64_t argument);

/* A whole command of words between single spaces, "CLUSTER SLOTS". */
void resp_words(struct buf *b, const char *words);

#endif
