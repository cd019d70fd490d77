/* Bookmarks: what is read can be written again, to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/bookmark.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bookmark m;
	struct buf b = {0};

	if (bookmark_decode((struct view){(const char *)data, size}, &m) != 0)
		return 0;
	bookmark_encode(&b, &m);
	if (buf_length(&b) > size || memcmp(buf_bytes(&b), data, buf_length(&b)) != 0)
		abort();
	buf_fini(&b);
	return 0;
}
