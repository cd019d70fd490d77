#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"

#define BUF_LARGEST (1u << 30)

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t used = buf_length(b);
	size_t size = b->size ? b->size : 64;

	if (b->size - b->end >= n && b->data)
		return b->data + b->end;
	check(n <= BUF_LARGEST && used + n <= BUF_LARGEST);
	if (b->start && used)
		memmove(b->data, b->data + b->start, used);
	b->start = 0;
	b->end = (uint32_t)used;
	while (size < used + n)
		size *= 2;
	if (size != b->size || b->data == NULL)
		b->data = mem_resize(b->data, size);
	b->size = (uint32_t)size;
	return b->data + b->end;
}

void buf_append(struct buf *b, const void *bytes, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_reserve(b, n), bytes, n);
	buf_grown(b, n);
}

void buf_text(struct buf *b, const char *text)
{
	buf_append(b, text, strlen(text));
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
	va_list again;
	int n;

	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, again);
	va_end(again);
	check(n >= 0);
	vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, format, args);
	buf_grown(b, (size_t)n);
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprintf(b, format, args);
	va_end(args);
}

static void json_byte(struct buf *b, uint8_t c)
{
	if (c == '"' || c == '\\')
		buf_printf(b, "\\%c", c);
	else if (c == '\n')
		buf_text(b, "\\n");
	else if (c < 0x20 || c == 0x7f)
		buf_printf(b, "\\u%04x", c);
	else
		buf_append(b, &c, 1);
}

void buf_json_string(struct buf *b, struct view text)
{
	size_t at = 0;

	buf_text(b, "\"");
	while (at < text.n) {
		size_t n = utf8_sequence(text.p + at, text.n - at);

		if (n == 0)
			buf_text(b, "\xef\xbf\xbd");
		else if (n == 1)
			json_byte(b, (uint8_t)text.p[at]);
		else
			buf_append(b, text.p + at, n);
		at += n ? n : 1;
	}
	buf_text(b, "\"");
}

void buf_consume(struct buf *b, size_t n)
{
	check(n <= buf_length(b));
	b->start += (uint32_t)n;
	if (b->start == b->end)
		buf_clear(b);
}
