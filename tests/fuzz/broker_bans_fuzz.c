/* A line of the file of bans: whatever it is, it is none, or one that is written and read back alike. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "broker/bans.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ban one, again;
	struct buf text = {0};
	struct view line;

	if (!ban_read((struct view){(const char *)data, size}, &one))
		return 0;
	ban_write(&one, &text);
	line = buf_view(&text);
	check(line.n && line.p[line.n - 1] == '\n' && !memchr(line.p, '\n', line.n - 1));
	line.n--;
	check(ban_read(line, &again));
	check(one.kind == again.kind && one.since_ms == again.since_ms);
	check(strcmp(one.what, again.what) == 0 && strcmp(one.why, again.why) == 0);
	ban_fini(&one);
	ban_fini(&again);
	buf_fini(&text);
	return 0;
}
