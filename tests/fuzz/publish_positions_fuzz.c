/* Any lines as the file of positions, as they are and with a checksum that is right, so that the lines
 * are what is tried.
 *
 * Held to: what is read is written again as the same text; what is refused leaves nothing.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "base/check.h"
#include "publish/positions.h"

static void check_read(struct view text)
{
	struct positions p;
	struct buf again = {0};

	if (!positions_parse(&p, text)) {
		check(p.count == 0 && p.list == NULL);
		return;
	}
	positions_format(&p, &again);
	check(view_equal(buf_view(&again), text));
	buf_fini(&again);
	positions_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = {0};

	check_read((struct view){(const char *)data, size});
	buf_text(&text, "isobar-publish\t1\n");
	buf_append(&text, data, size);
	buf_printf(&text, "end\t%" PRIu64 "\n", (uint64_t)XXH3_64bits(text.data, text.end));
	check_read(buf_view(&text));
	buf_fini(&text);
	return 0;
}
