/* Whatever a broker's pages hold, a frame of printable lines comes of them. The first byte says which page. */
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "cli/top_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char source[] = "{\"sources\":[{\"name\":\"a\",\"centre_id\":\"de-dwd\"}]}";
	struct view page = {(const char *)data + 1, size ? size - 1 : 0};
	struct top_sample now = {.at_ms = 2000}, before = {.at_ms = 1000};
	struct top_view v = {.width = 80, .height = 24};
	struct buf out = {0};

	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		(void)top_read_status(&now, page);
	else if (data[0] % 3 == 1)
		(void)top_read_sources(&now, page);
	else if (top_read_sources(&now, view_of(source)))
		top_read_metrics(&now, page);
	top_frame(&v, &now, &before, &out);
	for (size_t i = 0; i < buf_length(&out); i++)
		check(buf_bytes(&out)[i] == '\n' ||
			(buf_bytes(&out)[i] >= ' ' && buf_bytes(&out)[i] < 0x7f));
	buf_fini(&out);
	top_sample_fini(&now);
	return 0;
}
