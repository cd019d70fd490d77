#include "source/forward.h"

static bool is_forwarded(enum mqtt_property which)
{
	return which == MQTT_PROPERTY_USER_PROPERTY || which == MQTT_PROPERTY_CONTENT_TYPE ||
	       which == MQTT_PROPERTY_PAYLOAD_FORMAT_INDICATOR;
}

static struct view keep(struct buf *bytes, struct view a, struct view c)
{
	struct view kept;

	buf_append(bytes, a.p, a.n);
	buf_append(bytes, c.p, c.n);
	kept.n = a.n + c.n;
	kept.p = (const char *)bytes->data + bytes->end - kept.n;
	return kept;
}

struct view forward_properties(struct buf *bytes, const struct mqtt_properties *p)
{
	struct view rest = p->raw, kept = {NULL, 0};
	struct mqtt_property_item item;

	if (p->present == 0)
		return kept;
	while (mqtt_next_property(&rest, &item)) {
		struct view one;

		if (!is_forwarded(item.which))
			continue;
		one = keep(bytes, item.raw, (struct view){NULL, 0});
		kept = (struct view){kept.p ? kept.p : one.p, kept.n + one.n};
	}
	return kept;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct view forward_without(struct buf *bytes, struct view payload, struct view content)
{
	const char *end = payload.p + payload.n;
	const char *from = content.p, *to = content.p + content.n;
	const char *at = to;

	while (at < end && is_space(*at))
		at++;
	if (at < end && *at == ',') {
		to = at + 1;
	} else {
		for (at = from; at > payload.p && is_space(at[-1]);)
			at--;
		if (at > payload.p && at[-1] == ',')
			from = at - 1;
	}
	return keep(bytes, (struct view){payload.p, (size_t)(from - payload.p)},
		(struct view){to, (size_t)(end - to)});
}
