/* cli/quantity.c - numbers, durations, sizes, shares and dates as people write them
 *
 * A quantity is digits and a unit from a table; sums that leave 64 bits are refused. A duration
 * without a unit is refused too: nobody knows whether 24 means seconds or hours.
 */
#include "cli/quantity.h"

#include <stdio.h>
#include <time.h>

struct unit {
	const char *name;
	uint64_t times;
};

/* Ascending, as the formatters walk them. */
static const struct unit durations[] = {
	{"ms", 1},
	{"s", 1000},
	{"m", 60 * 1000},
	{"h", 3600 * 1000},
	{"d", 24 * 3600 * 1000},
};

static const struct unit sizes[] = {
	{"B", 1},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{"kB", 1000},
	{"MB", 1000ull * 1000},
	{"GB", 1000ull * 1000 * 1000},
	{"TB", 1000ull * 1000 * 1000 * 1000},
};
#define BINARY_SIZES 5

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes digits off the front. */
static bool cut_number(struct view *rest, uint64_t *out)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < rest->n && is_digit(rest->p[i]); i++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
			__builtin_add_overflow(n, (uint64_t)(rest->p[i] - '0'), &n))
			return false;
	if (i == 0)
		return false;
	*rest = view_skip(*rest, i);
	*out = n;
	return true;
}

/* Takes letters off the front and finds what they count. */
static bool cut_unit(struct view *rest, const struct unit *units, size_t n, uint64_t *times)
{
	struct view name = {rest->p, 0};

	while (name.n < rest->n && !is_digit(rest->p[name.n]))
		name.n++;
	for (size_t i = 0; i < n; i++) {
		if (!view_equal(name, view_of(units[i].name)))
			continue;
		*times = units[i].times;
		*rest = view_skip(*rest, name.n);
		return true;
	}
	return false;
}

bool quantity_number(struct view text, uint64_t *out)
{
	uint64_t n;

	if (!cut_number(&text, &n) || text.n)
		return false;
	*out = n;
	return true;
}

bool quantity_duration(struct view text, uint64_t *ms)
{
	uint64_t sum = 0;
	uint64_t n;
	uint64_t times;

	if (view_equal(text, VIEW("0"))) {
		*ms = 0;
		return true;
	}
	do {
		if (!cut_number(&text, &n) ||
			!cut_unit(&text, durations, COUNT_OF(durations), &times))
			return false;
		if (__builtin_mul_overflow(n, times, &n) || __builtin_add_overflow(sum, n, &sum))
			return false;
	} while (text.n);
	*ms = sum;
	return true;
}

bool quantity_size(struct view text, uint64_t *bytes)
{
	uint64_t n;
	uint64_t times = 1;

	if (!cut_number(&text, &n))
		return false;
	if (text.n && (!cut_unit(&text, sizes, COUNT_OF(sizes), &times) || text.n))
		return false;
	if (__builtin_mul_overflow(n, times, &n))
		return false;
	*bytes = n;
	return true;
}

bool quantity_share(struct view text, uint32_t *percent)
{
	uint64_t n;

	if (!cut_number(&text, &n) || !view_equal(text, VIEW("%")) || n < 1 || n > 100)
		return false;
	*percent = (uint32_t)n;
	return true;
}

/* --- dates ------------------------------------------------------------ */

/* Digits by a pattern in which 0 is a digit and everything else itself. */
static bool fits(struct view text, const char *pattern)
{
	if (text.n != strlen(pattern))
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (pattern[i] == '0' ? !is_digit(text.p[i]) : text.p[i] != pattern[i])
			return false;
	return true;
}

static int two(const char *p)
{
	return (p[0] - '0') * 10 + p[1] - '0';
}

/* Seconds since 1970 of the day's start; false for a day that is not in the calendar. */
static bool day_start(struct view text, int64_t *out)
{
	struct tm day = {.tm_year = two(text.p) * 100 + two(text.p + 2) - 1900,
		.tm_mon = two(text.p + 5) - 1,
		.tm_mday = two(text.p + 8)};
	struct tm asked = day;
	time_t seconds = timegm(&day);

	if (day.tm_mon != asked.tm_mon || day.tm_mday != asked.tm_mday || asked.tm_mday < 1)
		return false;
	*out = (int64_t)seconds;
	return seconds >= 0;
}

/* "Z" or "+02:00": what to take off to have UTC. */
static bool offset_seconds(struct view text, int64_t *out)
{
	int64_t sign;

	if (view_equal(text, VIEW("Z"))) {
		*out = 0;
		return true;
	}
	if (text.n == 0 || (text.p[0] != '+' && text.p[0] != '-') ||
		!fits(view_skip(text, 1), "00:00"))
		return false;
	sign = text.p[0] == '-' ? -1 : 1;
	*out = sign * (two(text.p + 1) * 3600 + two(text.p + 4) * 60);
	return two(text.p + 1) < 24 && two(text.p + 4) < 60;
}

bool quantity_date(struct view text, uint64_t *wall_ms)
{
	const int64_t day_seconds = 24 * 3600;
	struct view time = view_skip(text, 10);
	int64_t seconds;
	int64_t offset;

	if (!fits((struct view){text.p, text.n < 10 ? text.n : 10}, "0000-00-00") ||
		!day_start(text, &seconds))
		return false;
	if (time.n == 0) {
		*wall_ms = (uint64_t)(seconds + day_seconds) * 1000;
		return true;
	}
	if (time.n < 10 || !fits((struct view){time.p, 9}, "T00:00:00") ||
		!offset_seconds(view_skip(time, 9), &offset))
		return false;
	if (two(time.p + 1) > 23 || two(time.p + 4) > 59 || two(time.p + 7) > 59)
		return false;
	seconds += two(time.p + 1) * 3600 + two(time.p + 4) * 60 + two(time.p + 7) - offset;
	if (seconds < 0)
		return false;
	*wall_ms = (uint64_t)seconds * 1000;
	return true;
}

/* --- the way back ----------------------------------------------------- */

static const char *format(
	uint64_t value, const struct unit *units, size_t n, char out[QUANTITY_TEXT_BYTES])
{
	size_t i = n;

	while (i > 1 && (value == 0 || value % units[i - 1].times))
		i--;
	snprintf(out, QUANTITY_TEXT_BYTES, "%llu%s",
		(unsigned long long)(value / units[i - 1].times), value ? units[i - 1].name : "");
	return out;
}

const char *quantity_format_duration(uint64_t ms, char out[QUANTITY_TEXT_BYTES])
{
	bool in_days = ms >= 2 * durations[COUNT_OF(durations) - 1].times; /* a day is 24h */

	return format(ms, durations, COUNT_OF(durations) - !in_days, out);
}

const char *quantity_format_size(uint64_t bytes, char out[QUANTITY_TEXT_BYTES])
{
	return format(bytes, sizes, BINARY_SIZES, out);
}
