#include "wis2/datetime.h"

/* 2026-03-21T12:07:44.314Z or 2026-03-21T12:07:44+01:00 */
#define DATETIME_PREFIX 19u /* up to and with the seconds */
#define FRACTION_UNITS 1000000000000000000u

static bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* Two digits, or a number above 99 that is in no range. */
static unsigned two(const char *p)
{
	return is_digit(p[0]) && is_digit(p[1])
		       ? (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0')
		       : 255;
}

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month] + (month == 2 && is_leap(year) ? 1u : 0u);
}

/* Days from 1970-01-01, counting years from March so that the leap day comes last. */
static int64_t days_from_epoch(unsigned year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t m = month <= 2 ? month + 9 : month - 3;
	int64_t leaps = (y >= 0 ? y / 4 - y / 100 + y / 400 : -1);

	return y * 365 + leaps + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* The zone's offset from UTC in seconds; false when rest is no zone. */
static bool parse_zone(struct view rest, int64_t *offset, struct datetime *out)
{
	unsigned hours, minutes;

	if (rest.n == 1 && (rest.p[0] | 0x20) == 'z') {
		*offset = 0;
		out->is_plain &= rest.p[0] == 'Z';
		return true;
	}
	if (rest.n != 6 || (rest.p[0] != '+' && rest.p[0] != '-') || rest.p[3] != ':')
		return false;
	hours = two(rest.p + 1);
	minutes = two(rest.p + 4);
	*offset = (int64_t)(hours * 3600 + minutes * 60) * (rest.p[0] == '-' ? -1 : 1);
	out->is_plain = false;
	return hours <= 23 && minutes <= 59;
}

static bool parse_fraction(struct view *rest, uint64_t *fraction)
{
	uint64_t unit = FRACTION_UNITS;
	size_t n = 1;

	*fraction = 0;
	if (rest->n == 0 || rest->p[0] != '.')
		return true;
	for (; n < rest->n && is_digit(rest->p[n]); n++) {
		unit /= 10; /* 0 behind the last digit kept */
		*fraction += unit * (uint64_t)(rest->p[n] - '0');
	}
	*rest = view_skip(*rest, n);
	return n > 1;
}

static bool is_shaped(const char *p)
{
	return p[4] == '-' && p[7] == '-' && (p[10] | 0x20) == 't' && p[13] == ':' && p[16] == ':';
}

bool datetime_parse(struct view text, struct datetime *out)
{
	const char *p = text.p;
	struct view rest;
	unsigned century, year, month, day, hour, minute, second;
	int64_t offset;

	if (text.n <= DATETIME_PREFIX || !is_shaped(p))
		return false;
	century = two(p);
	year = century * 100 + two(p + 2);
	month = two(p + 5);
	day = two(p + 8);
	hour = two(p + 11);
	minute = two(p + 14);
	second = two(p + 17);
	if (century > 99 || two(p + 2) > 99 || month < 1 || month > 12 || hour > 23 || minute > 59)
		return false;
	if (day < 1 || day > days_in_month(year, month) || second > 60)
		return false;
	out->is_plain = p[10] == 'T';
	rest = view_skip(text, DATETIME_PREFIX);
	if (!parse_fraction(&rest, &out->fraction) || !parse_zone(rest, &offset, out))
		return false;
	out->is_utc = offset == 0;
	out->seconds = days_from_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 +
		       second - offset;
	/* A leap second is the last of a UTC day; a second later it is midnight. */
	return second != 60 || out->seconds % 86400 == 0;
}

int datetime_compare(const struct datetime *a, const struct datetime *b)
{
	if (a->seconds != b->seconds)
		return a->seconds < b->seconds ? -1 : 1;
	return (a->fraction > b->fraction) - (a->fraction < b->fraction);
}

uint64_t datetime_ms(const struct datetime *t)
{
	if (t->seconds < 0)
		return 0;
	return (uint64_t)t->seconds * 1000 + t->fraction / (FRACTION_UNITS / 1000);
}
