/* Unpacks gzip into a buffer of INLINE_LARGEST bytes and forgets it (RFC 1951, 1952).
 *
 * zlib does it; its memory comes from the stack, so that judging stays free of allocation. Only
 * strict mode asks.
 */
#include "wis2/inline_data.h"

#include <zlib.h>

#define ARENA_BYTES (64u * 1024u) /* inflate's state and window take about 42 KiB */
#define GZIP_ONLY (15 + 16)       /* largest window, gzip header and trailer required */

struct arena {
	size_t used;
	_Alignas(16) uint8_t bytes[ARENA_BYTES];
};

static voidpf take(voidpf opaque, uInt items, uInt size)
{
	struct arena *a = opaque;
	size_t bytes = ((size_t)items * size + 15) & ~(size_t)15;
	void *p = a->bytes + a->used;

	if (bytes > ARENA_BYTES - a->used)
		return NULL;
	a->used += bytes;
	return p;
}

static void give_back(voidpf opaque, voidpf p)
{
	(void)opaque;
	(void)p;
}

int32_t gzip_length(const uint8_t *data, size_t n)
{
	uint8_t out[INLINE_LARGEST + 1];
	struct arena arena;
	z_stream z = {.zalloc = take, .zfree = give_back, .opaque = &arena};
	int result;

	arena.used = 0;
	z.next_in = (z_const Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = sizeof(out);
	if (n == 0 || inflateInit2(&z, GZIP_ONLY) != Z_OK)
		return -1;
	/* RFC 1952, 2.2: a file is one member or several. Each is at least a header long. */
	do
		result = inflate(&z, Z_FINISH);
	while (result == Z_STREAM_END && z.avail_in && inflateReset(&z) == Z_OK);
	inflateEnd(&z);
	if (result != Z_STREAM_END || z.avail_in || z.avail_out == 0)
		return -1;
	return (int32_t)(INLINE_LARGEST + 1 - z.avail_out);
}
