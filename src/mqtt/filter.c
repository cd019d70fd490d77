/* Topic names and filters.
 *
 * A valid filter is a list of levels, each a text or `+`, and perhaps a tail: a last `#`, which
 * stands for any number of further levels, none included ("a/#" matches "a"). A topic has at
 * least one character, so that two filters are not what they seem: "#" is the same as "+/#", and
 * "/#" the same as "/+/#". Rewritten thus, covering is a comparison level by level.
 */
#include "mqtt/filter.h"

#include "base/error.h"
#include "mqtt/wire.h"

#define LONGEST 65535u /* MQTT 5, 4.7.3 */

#define ONES UINT64_C(0x0101010101010101)
#define TOPS UINT64_C(0x8080808080808080)

/* Has the top bit set in each byte of v that is zero, and perhaps in others above it. */
static uint64_t zero_bytes(uint64_t v)
{
	return (v - ONES) & ~v;
}

/* Bytes at the front, in steps of eight, that need no closer look: ASCII without U+0000, + and #.
 * Every PUBLISH passes here. */
static size_t plain_prefix(struct view v)
{
	size_t at = 0;
	uint64_t word;

	for (; v.n - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, v.p + at, sizeof(word));
		if ((word | zero_bytes(word) | zero_bytes(word ^ ONES * '+') |
			    zero_bytes(word ^ ONES * '#')) &
			TOPS)
			break;
	}
	return at;
}

static bool has_byte(struct view v, char byte)
{
	return v.n && memchr(v.p, byte, v.n) != NULL;
}

bool topic_is_valid(struct view topic)
{
	struct view rest;

	if (topic.n == 0 || topic.n > LONGEST) /* [MQTT-4.7.3-1], [MQTT-4.7.3-3] */
		return false;
	rest = view_skip(topic, plain_prefix(topic));
	/* [MQTT-4.7.0-1], [MQTT-4.7.3-2] */
	return wire_is_text(rest) && !has_byte(rest, '+') && !has_byte(rest, '#');
}

static bool has_wildcards_in_place(struct view filter)
{
	struct view rest = filter;

	while (rest.p) {
		struct view level = view_cut(&rest, '/');

		/* [MQTT-4.7.1-1], [MQTT-4.7.1-2] */
		if (level.n > 1 && (has_byte(level, '+') || has_byte(level, '#')))
			return false;
		if (level.n == 1 && level.p[0] == '#' && rest.p) /* [MQTT-4.7.1-1] */
			return false;
	}
	return true;
}

bool filter_is_well_formed(struct view filter)
{
	/* [MQTT-4.7.3-1] to [MQTT-4.7.3-3] */
	return filter.n && filter.n <= LONGEST && wire_is_text(filter) &&
	       has_wildcards_in_place(filter);
}

bool filter_is_valid(struct view filter)
{
	return filter_is_well_formed(filter) && !view_starts_with(filter, VIEW("$share/"));
}

int filter_cut_share(struct view whole, struct view *group, struct view *filter)
{
	struct view rest;
	struct view name;

	if (!view_starts_with(whole, VIEW("$share/")))
		return 0;
	rest = view_skip(whole, VIEW("$share/").n);
	name = view_cut(&rest, '/');
	/* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
	if (name.n == 0 || has_byte(name, '+') || has_byte(name, '#') || !wire_is_text(name))
		return ERR_FILTER;
	if (rest.p == NULL || !filter_is_valid(rest))
		return ERR_FILTER;
	*group = name;
	*filter = rest;
	return 1;
}

static bool is_hidden(struct view filter, struct view topic)
{
	/* [MQTT-4.7.2-1] */
	return topic.n && topic.p[0] == '$' && filter.n &&
	       (filter.p[0] == '+' || filter.p[0] == '#');
}

bool filter_match(struct view filter, struct view topic)
{
	size_t at = 0;
	size_t i = 0;

	if (is_hidden(filter, topic))
		return false;
	for (; i < filter.n; i++) {
		if (filter.p[i] == '#')
			return true;
		if (filter.p[i] == '+') {
			while (at < topic.n && topic.p[at] != '/')
				at++;
		} else if (at < topic.n) {
			if (filter.p[i] != topic.p[at++])
				return false;
		} else { /* "a/#" matches "a" (MQTT 5, 4.7.1.2) */
			return filter.n - i == 2 && filter.p[i] == '/' && filter.p[i + 1] == '#';
		}
	}
	return at == topic.n;
}

struct levels {
	struct view rest; /* p NULL: none left */
	bool tail;        /* any number of levels may follow */
};

static struct levels levels_of(struct view filter)
{
	if (view_equal(filter, VIEW("#")))
		return (struct levels){VIEW("+"), true};
	if (view_equal(filter, VIEW("/#")))
		return (struct levels){VIEW("/+"), true};
	if (view_ends_with(filter, VIEW("/#")))
		return (struct levels){{filter.p, filter.n - 2}, true};
	return (struct levels){filter, false};
}

static bool is_plus(struct view level)
{
	return level.n == 1 && level.p[0] == '+';
}

bool filter_covers(struct view outer, struct view inner)
{
	struct levels a = levels_of(outer);
	struct levels b = levels_of(inner);

	if (is_hidden(outer, inner))
		return false;
	while (a.rest.p && b.rest.p) {
		struct view level = view_cut(&a.rest, '/');
		struct view other = view_cut(&b.rest, '/');

		if (!is_plus(level) && !view_equal(level, other))
			return false;
	}
	if (a.rest.p) /* inner matches topics too short for outer */
		return false;
	return a.tail || (b.rest.p == NULL && !b.tail);
}
