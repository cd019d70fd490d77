/* Records of the shared log: what is read can be written again, to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view bytes = {(const char *)data, size};
	struct buf b = {0};
	struct record r;

	if (record_decode(bytes, &r) != 0)
		return 0;
	if (record_encode(&b, &r) != 0 || !view_equal(buf_view(&b), bytes))
		abort();
	buf_fini(&b);
	return 0;
}
