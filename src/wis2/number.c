#include "wis2/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The program never sets a locale, so the point is a point. A number is always followed by another
 * byte of the text, where strtod() stops. */
static double convert(struct view text)
{
	return strtod(text.p, NULL);
}

/* No point and no exponent, hence only digits behind the sign. */
static bool is_whole(struct view text)
{
	for (size_t i = text.p[0] == '-'; i < text.n; i++) {
		if ((unsigned char)(text.p[i] - '0') > 9)
			return false;
	}
	return true;
}

static int64_t whole_value(struct view text)
{
	bool negative = text.p[0] == '-';
	int64_t value = 0;

	for (size_t i = negative; i < text.n; i++) {
		if (value > (INT64_MAX - 9) / 10)
			return negative ? -INT64_MAX : INT64_MAX;
		value = value * 10 + (text.p[i] - '0');
	}
	return negative ? -value : value;
}

bool number_integer(struct view text, int64_t *out)
{
	double value;

	if (is_whole(text)) {
		*out = whole_value(text);
		return true;
	}
	value = convert(text);
	if (!isfinite(value) || floor(value) != value)
		return false;
	*out = value >= 9e18 ? INT64_MAX : value <= -9e18 ? -INT64_MAX : (int64_t)value;
	return true;
}

/* "12.5" and the like: at most three digits and then a point or nothing, so that the digits before
 * the point alone decide unless they are the limit itself. -1: not so. */
static int plain_whole_part(struct view text)
{
	size_t i = text.p[0] == '-';
	size_t begin = i;
	int value = 0;

	while (i < text.n && i < begin + 3 && (unsigned char)(text.p[i] - '0') < 10)
		value = value * 10 + (text.p[i++] - '0');
	if (i < text.n && text.p[i] != '.')
		return -1;
	while (i < text.n && (text.p[i] | 0x20) != 'e')
		i++;
	return i == text.n ? value : -1;
}

bool number_within(struct view text, unsigned limit)
{
	int whole = plain_whole_part(text);

	if (whole >= 0 && whole != (int)limit)
		return whole < (int)limit;
	return fabs(convert(text)) <= limit;
}

bool number_is_finite(struct view text)
{
	bool has_exponent = memchr(text.p, 'e', text.n) || memchr(text.p, 'E', text.n);

	return (!has_exponent && text.n < 300) || isfinite(convert(text));
}

bool number_equal(struct view a, struct view b)
{
	return view_equal(a, b) || convert(a) == convert(b);
}
