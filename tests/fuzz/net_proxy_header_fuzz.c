/* The PROXY header: what is taken is taken alike with other bytes behind it, a beginning of it is not
 * enough, and its texts lie inside. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct view text, const uint8_t *p, size_t n)
{
	const uint8_t *begin = (const uint8_t *)text.p;

	check(text.n == 0 || (begin >= p && begin + text.n <= p + n));
}

static ssize_t parse_copy(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n + !n); /* of its own size: a read beyond it shows */
	struct proxy_header h;
	const char *why = NULL;
	ssize_t used;

	check(copy != NULL);
	if (n)
		memcpy(copy, data, n);
	used = proxy_header_parse(copy, n, &h, &why);
	check((used < 0) == (why != NULL));
	check(used <= (ssize_t)n && used <= (ssize_t)PROXY_HEADER_MOST);
	if (used > 0) {
		check_inside(h.name, copy, (size_t)used);
		check_inside(h.alpn, copy, (size_t)used);
		check_inside(h.authority, copy, (size_t)used);
	}
	free(copy);
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ssize_t used = parse_copy(data, size);

	if (used > 0) {
		check(parse_copy(data, (size_t)used) == used);
		check(parse_copy(data, (size_t)used - 1) == 0);
	} else if (used == 0) {
		check(size < PROXY_HEADER_MOST);
	}
	return 0;
}
