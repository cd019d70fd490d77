#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_tail(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

/* The second byte's range depends on the first (Unicode, table 3-7). */
static bool is_second(uint8_t first, uint8_t second)
{
	uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	return second >= low && second <= high;
}

size_t utf8_sequence(const char *p, size_t n)
{
	uint8_t first = (uint8_t)p[0];
	size_t length = first < 0x80   ? 1
			: first < 0xc2 ? 0
			: first < 0xe0 ? 2
			: first < 0xf0 ? 3
			: first < 0xf5 ? 4
				       : 0;

	if (length == 0 || length > n)
		return 0;
	if (length >= 2 && !is_second(first, (uint8_t)p[1]))
		return 0;
	if (length >= 3 && !is_tail(p[2]))
		return 0;
	if (length == 4 && !is_tail(p[3]))
		return 0;
	return length;
}

size_t utf8_valid_prefix(const char *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		uint64_t word;
		size_t length;

		if (n - at >= 8) {
			memcpy(&word, p + at, 8);
			if ((word & 0x8080808080808080u) == 0) {
				at += 8;
				continue;
			}
		}
		length = utf8_sequence(p + at, n - at);
		if (length == 0)
			return at;
		at += length;
	}
	return n;
}
