/* The edit distance by bits: the column of the dynamic programming table is kept as two words of
 * differences between neighbours, up and down, and one step per byte of the candidate moves it on
 * (G. Myers, 1999; H. Hyyro, 2003). */
#include "wis2/nearest.h"

void nearest_init(struct nearest *n, struct view misspelt)
{
	memset(n, 0, sizeof(*n));
	if (misspelt.n == 0 || misspelt.n > NEAREST_LONGEST)
		return;
	for (size_t i = 0; i < misspelt.n; i++) {
		unsigned char c = (unsigned char)misspelt.p[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		n->places[c] |= 1ull << i;
	}
	n->length = misspelt.n;
	n->distance = (misspelt.n > 1 ? misspelt.n / 2 : 1) + 1;
}

static size_t distance_to(const struct nearest *n, struct view name)
{
	uint64_t last = 1ull << (n->length - 1);
	uint64_t up = ~0ull, down = 0;
	size_t distance = n->length;

	for (size_t i = 0; i < name.n; i++) {
		uint64_t same = n->places[(unsigned char)name.p[i]];
		uint64_t diagonal = (((same & up) + up) ^ up) | same | down;
		uint64_t right_up = down | ~(diagonal | up);
		uint64_t right_down = up & diagonal;

		if (right_up & last)
			distance++;
		if (right_down & last)
			distance--;
		right_up = right_up << 1 | 1;
		right_down <<= 1;
		up = right_down | ~(diagonal | right_up);
		down = right_up & diagonal;
	}
	return distance;
}

void nearest_try(struct nearest *n, struct view name)
{
	size_t apart = name.n > n->length ? name.n - n->length : n->length - name.n;
	size_t distance;

	if (apart >= n->distance)
		return;
	distance = distance_to(n, name);
	if (distance < n->distance) {
		n->distance = distance;
		n->best = name;
	}
}
