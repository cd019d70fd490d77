#include "base/uuid.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/check.h"

/* Value of a hexadecimal digit, 0xff for anything else. */
/* clang-format off */
static const uint8_t digits[256] = {
#define ROW8(x) x, x, x, x, x, x, x, x
#define ROW16(x) ROW8(x), ROW8(x)
	ROW16(0xff), ROW16(0xff), ROW16(0xff),
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 10, 11, 12, 13, 14, 15, 0xff, ROW8(0xff), ROW16(0xff),
	0xff, 10, 11, 12, 13, 14, 15, 0xff, ROW8(0xff), ROW16(0xff),
	ROW16(0xff), ROW16(0xff), ROW16(0xff), ROW16(0xff),
	ROW16(0xff), ROW16(0xff), ROW16(0xff), ROW16(0xff),
};
/* clang-format on */

bool uuid_parse(struct view text, struct uuid *out)
{
	static const uint8_t places[16] = {
		0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
	struct uuid id;
	uint8_t bad = 0;

	if (text.n != UUID_TEXT_BYTES)
		return false;
	if (text.p[8] != '-' || text.p[13] != '-' || text.p[18] != '-' || text.p[23] != '-')
		return false;
	for (int i = 0; i < 16; i++) {
		uint8_t high = digits[(uint8_t)text.p[places[i]]];
		uint8_t low = digits[(uint8_t)text.p[places[i] + 1]];

		bad |= (uint8_t)((high | low) & 0xf0);
		id.b[i] = (uint8_t)(high << 4 | (low & 0x0f));
	}
	if (bad)
		return false;
	*out = id;
	return true;
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT_BYTES + 1])
{
	const uint8_t *b = id->b;

	snprintf(out, UUID_TEXT_BYTES + 1,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
}

void uuid_random(struct uuid *out)
{
	check(getrandom(out->b, sizeof(out->b), 0) == (ssize_t)sizeof(out->b));
	out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x40);
	out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80);
}
