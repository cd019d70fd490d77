/* Wills as they stand in Redis: what is read can be written again, to the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/will_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view bytes = {(const char *)data, size};
	struct buf b = {0};
	struct roaming_will r;

	if (will_value_parse(bytes, &r) != 0)
		return 0;
	will_value_put(&b, &r);
	if (!view_equal(buf_view(&b), bytes))
		abort();
	buf_fini(&b);
	return 0;
}
