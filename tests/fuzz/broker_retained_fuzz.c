/* What a start reads of the retained messages' folder. The checksum is made to fit, as a fuzzer would not
 * find any. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/check.h"
#include "broker/retained_row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_row(struct view bytes)
{
	struct retained_row row;
	struct buf again = {0};

	if (retained_row_decode(bytes, &row) < 0)
		return;
	retained_row_encode(&row, &again);
	check(retained_row_decode(buf_view(&again), &row) == 0);
	buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *fitting = malloc(size + 1);
	uint64_t checksum;

	if (size)
		memcpy(fitting, data, size);
	if (size >= sizeof(checksum)) {
		checksum = XXH3_64bits(data + sizeof(checksum), size - sizeof(checksum));
		memcpy(fitting, &checksum, sizeof(checksum));
	}
	read_row((struct view){(const char *)fitting, size});
	read_row((struct view){(const char *)data, size});
	free(fitting);
	return 0;
}
