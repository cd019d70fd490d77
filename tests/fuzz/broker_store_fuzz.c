/* What a start reads of the sessions' folder: entries, rows, subscriptions, wills. The checksums are made to
 * fit, as a fuzzer would not find any. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "mqtt/inflight.h"
#include "broker/row.h"
#include "broker/store_recent.h"
#include "broker/subscriptions.h"
#include "broker/will.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_will(struct view bytes)
{
	struct will *will = NULL;

	if (will_decode(bytes, &will) == 0)
		will_free(&will);
}

static void read_row(struct view bytes)
{
	struct subscriptions s = {0};
	struct inflight w = {0};
	struct subscription one;
	struct row r;
	uint32_t at = 0;

	if (row_decode(bytes, &r) < 0)
		return;
	if (subscriptions_restore(&s, r.subscriptions, r.position) == 0)
		while (subscriptions_next(&s, &at, &one))
			;
	inflight_restore(
		&w, r.first_id, r.slots.p, (uint16_t)(r.slots.n / 8), r.next_id, r.position);
	read_will(r.will);
	inflight_fini(&w);
	subscriptions_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view files[2] = {{(const char *)data, size}, {(const char *)data, size / 2}};
	struct recent_entry e;
	uint8_t *fitting = malloc(size + 1);
	uint64_t checksum;

	while (recent_next(files, &e))
		read_row(e.row);
	if (size)
		memcpy(fitting, data, size);
	if (size >= sizeof(checksum)) {
		checksum = XXH3_64bits(data + sizeof(checksum), size - sizeof(checksum));
		memcpy(fitting, &checksum, sizeof(checksum));
	}
	read_row((struct view){(const char *)fitting, size});
	read_will((struct view){(const char *)data, size});
	free(fitting);
	return 0;
}
