/* mqtt/bytes_test.h - packets written down readably, for this room's tests
 *
 * Hex digits are bytes, 'quoted' characters stand for themselves, blanks separate. A `*` is the
 * one-byte length of everything behind it, up to a `;` or the end: "30* 0003 'a/b' 'payload'".
 */
#ifndef MQTT_BYTES_TEST_H
#define MQTT_BYTES_TEST_H

#include <ctype.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/check.h"

static inline void close_length(uint8_t *out, size_t *length_at, size_t n)
{
	if (*length_at == 0)
		return;
	check(n - *length_at - 1 < 128);
	out[*length_at] = (uint8_t)(n - *length_at - 1);
	*length_at = 0;
}

/* Gives the bytes written, at most 512. */
static inline size_t bytes_of(const char *text, uint8_t out[512])
{
	size_t open[8] = {0}; /* lengths not yet known */
	size_t depth = 0;
	size_t n = 0;

	for (; *text; text++) {
		check(n < 500);
		if (*text == '*') {
			open[depth++] = n++;
		} else if (*text == ';') {
			close_length(out, &open[--depth], n);
		} else if (*text == '\'') {
			for (text++; *text != '\''; text++)
				out[n++] = (uint8_t)*text;
		} else if (isxdigit((unsigned char)*text)) {
			char pair[3] = {text[0], text[1], 0};

			check(isxdigit((unsigned char)text[1]));
			out[n++] = (uint8_t)strtoul(pair, NULL, 16);
			text++;
		} else {
			check(*text == ' ');
		}
	}
	while (depth)
		close_length(out, &open[--depth], n);
	return n;
}

#endif
