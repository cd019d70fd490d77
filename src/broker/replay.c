#include "broker/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"

static uint64_t unit_ms(char c)
{
	switch (c) {
	case 's':
		return 1000;
	case 'm':
		return 60u * 1000;
	case 'h':
		return 3600u * 1000;
	case 'd':
		return 86400u * 1000;
	default:
		return 0;
	}
}

static bool parse_duration(struct view text, uint64_t *ms)
{
	uint64_t n = 0;
	uint64_t unit = text.n > 1 ? unit_ms(text.p[text.n - 1]) : 0;

	if (unit == 0 || text.n > 10)
		return false;
	for (size_t i = 0; i + 1 < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text.p[i] - '0');
	}
	*ms = n * unit;
	return true;
}

static bool parse_time(struct view text, uint64_t *ms)
{
	char copy[40];
	struct tm t = {0};
	unsigned long fraction = 0;
	int end = 0;

	if (text.n < 20 || text.n >= sizeof(copy))
		return false;
	snprintf(copy, sizeof(copy), "%.*s", VIEW_ARG(text));
	if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour,
		    &t.tm_min, &t.tm_sec, &end) != 6 ||
		end != 19)
		return false;
	if (copy[end] == '.') {
		char *rest;
		double seconds = strtod(copy + end, &rest);

		/* .001 as a double may be a little less than it says. */
		fraction = (unsigned long)(seconds * 1000 + 1e-6);
		end = (int)(rest - copy);
	}
	if (strcmp(copy + end, "Z") != 0)
		return false;
	/* Before timegm(), which makes another month of a thirteenth. */
	if (t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > 31 || t.tm_hour > 23 ||
		t.tm_min > 59 || t.tm_sec > 60 || t.tm_year < 1970)
		return false;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	*ms = (uint64_t)timegm(&t) * 1000 + fraction;
	return true;
}

bool replay_parse_since(struct view since, uint64_t now_ms, uint64_t *out_ms)
{
	uint64_t back;

	if (parse_duration(since, &back)) {
		*out_ms = back < now_ms ? now_ms - back : 0;
		return true;
	}
	return parse_time(since, out_ms);
}

int replay_cut(struct view whole, struct view *since, struct view *filter)
{
	struct view prefix = VIEW("$replay/");
	struct view rest;

	if (!view_starts_with(whole, prefix))
		return 0;
	rest = view_skip(whole, prefix.n);
	*since = view_cut(&rest, '/');
	if (since->n == 0 || rest.p == NULL || rest.n == 0)
		return ERR_FILTER;
	*filter = rest;
	return 1;
}
