#include "wis2/inline_data.h"

/* The six bits of a character, 0xff for others. */
static uint8_t sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint8_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint8_t)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (uint8_t)(c - '0' + 52);
	return c == '+' ? 62 : c == '/' ? 63 : 0xff;
}

static size_t padding(struct view text)
{
	return (size_t)(text.n >= 1 && text.p[text.n - 1] == '=') +
	       (size_t)(text.n >= 2 && text.p[text.n - 1] == '=' && text.p[text.n - 2] == '=');
}

int32_t base64_decode(struct view text, uint8_t *out)
{
	size_t letters = text.n - padding(text);
	size_t n = 0;
	uint32_t bits = 0;

	if (text.n % 4 != 0)
		return -1;
	for (size_t i = 0; i < letters; i++) {
		uint8_t six = sextet(text.p[i]);

		if (six == 0xff)
			return -1;
		bits = bits << 6 | six;
		if (i % 4 == 0)
			continue;
		if (out)
			out[n] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
		n++;
	}
	return (int32_t)n;
}
