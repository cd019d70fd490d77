/* base/buf.h - a growable run of bytes
 *
 * Zero-initialised is empty and valid. Bytes are appended at the end and consumed
 * from the front; consuming everything gives small buffers' memory back only by
 * buf_fini(), so that a busy buffer is not allocated again each turn.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "base/view.h"

struct buf {
	uint8_t *data;  /* owned */
	uint32_t start; /* first byte not yet consumed */
	uint32_t end;   /* behind the last byte */
	uint32_t size;  /* allocated */
};

static inline size_t buf_length(const struct buf *b)
{
	return b->end - b->start;
}

static inline const uint8_t *buf_bytes(const struct buf *b)
{
	return b->start ? b->data + b->start : b->data; /* data may be NULL */
}

static inline struct view buf_view(const struct buf *b)
{
	return (struct view){(const char *)buf_bytes(b), b->end - b->start};
}

static inline void buf_clear(struct buf *b)
{
	b->start = b->end = 0;
}

/* Frees the memory; the buffer is empty and may be used again. */
void buf_fini(struct buf *b);

/* Room for n more bytes at the end (at most 1 GiB in all); gives where they go.
 * Follow with buf_grown() for what was written. */
uint8_t *buf_reserve(struct buf *b, size_t n);

static inline void buf_grown(struct buf *b, size_t n)
{
	b->end += (uint32_t)n;
}

/* Forgets what stands behind the first n bytes; n <= buf_length(). */
static inline void buf_cut(struct buf *b, size_t n)
{
	b->end = b->start + (uint32_t)n;
}

void buf_append(struct buf *b, const void *bytes, size_t n);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Appends text as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
void buf_json_string(struct buf *b, struct view text);

/* Removes n bytes from the front; n <= buf_length(). */
void buf_consume(struct buf *b, size_t n);

#endif
