#include "wis2/record.h"

#include <jansson.h>

#include "base/error.h"
#include "mqtt/filter.h"

/* Lower-case letters, digits and dashes: loose, because published examples have `int` here. */
static bool is_centre_text(struct view text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return text.n > 0;
}

struct view metadata_id_centre(struct view id)
{
	const struct view prefix = VIEW("urn:wmo:md:");
	struct view rest = view_skip(id, prefix.n), centre;

	if (!view_starts_with(id, prefix))
		return (struct view){NULL, 0};
	centre = view_cut(&rest, ':');
	if (!is_centre_text(centre) || rest.p == NULL || rest.n == 0)
		return (struct view){NULL, 0};
	for (size_t i = 0; i < rest.n; i++) {
		if (rest.p[i] <= ' ' || rest.p[i] > '~' || rest.p[i] == ';')
			return (struct view){NULL, 0};
	}
	return centre;
}

/* MD-04: metadata topics are never asked for. */
bool record_tail_is_valid(struct view tail)
{
	for (size_t i = 0; i < tail.n; i++) {
		if (tail.p[i] <= ' ' && tail.p[i] >= 0)
			return false;
	}
	return tail.n > 0 && tail.n <= RECORD_TAIL_MOST && filter_is_valid(tail) &&
	       (view_starts_with(tail, VIEW("data/")) || tail.p[0] == '+' || tail.p[0] == '#');
}

struct view record_tail(struct view channel)
{
	static const struct view prefixes[] = {VIEW("origin/a/wis2/"), VIEW("cache/a/wis2/")};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct view rest = view_skip(channel, prefixes[i].n);
		struct view centre;

		if (!view_starts_with(channel, prefixes[i]))
			continue;
		centre = view_cut(&rest, '/');
		if (view_equal(centre, VIEW("#")) && rest.p == NULL)
			return centre;
		if (record_tail_is_valid(rest))
			return rest;
		break;
	}
	return (struct view){NULL, 0};
}

static struct view text_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		return (struct view){NULL, 0};
	return (struct view){json_string_value(value), json_string_length(value)};
}

static bool leads_to_broker(struct view href)
{
	static const struct view schemes[] = {
		VIEW("mqtt://"), VIEW("mqtts://"), VIEW("ws://"), VIEW("wss://")};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (view_starts_with(href, schemes[i]))
			return true;
	}
	return false;
}

/* {NULL,0}: the link names no topic. */
static struct view link_tail(const json_t *link)
{
	struct view channel = text_of(link, "channel");

	if (!leads_to_broker(text_of(link, "href")))
		return (struct view){NULL, 0};
	if (channel.p == NULL)
		channel = text_of(link, "wmo:topic");
	return record_tail(channel);
}

/* Catalogues name the same topic once for each Global Broker. */
static bool is_among(const struct view *tails, int n, struct view tail)
{
	for (int i = 0; i < n; i++) {
		if (view_equal(tails[i], tail))
			return true;
	}
	return false;
}

static int read_links(struct view id, const json_t *links, record_on_pair *on_pair, void *context)
{
	struct view tails[RECORD_PAIRS_MOST];
	int pairs = 0;
	size_t at;
	json_t *link;

	json_array_foreach(links, at, link)
	{
		struct view tail = link_tail(link);

		if (tail.p == NULL || is_among(tails, pairs, tail))
			continue;
		if ((unsigned)pairs >= RECORD_PAIRS_MOST)
			break;
		on_pair(context, id, tail);
		tails[pairs++] = tail;
	}
	return pairs;
}

int record_read(struct view json, record_on_pair *on_pair, void *context)
{
	json_t *record = json.n <= RECORD_BYTES_MOST ? json_loadb(json.p, json.n, 0, NULL) : NULL;
	struct view id = text_of(record, "id");
	int pairs = ERR_MALFORMED;

	if (id.n <= RECORD_ID_MOST && metadata_id_centre(id).p &&
		json_is_array(json_object_get(record, "links")))
		pairs = read_links(id, json_object_get(record, "links"), on_pair, context);
	json_decref(record);
	return pairs;
}
