/* Walking the list of a SUBSCRIBE or UNSUBSCRIBE, and building it. */
#include "base/check.h"
#include "mqtt/packet.h"
#include "mqtt/wire.h"

/* The list was judged when it was decoded: the filter is text and all bytes are there. */
static bool finish_item(const struct wire *w, struct view *rest)
{
	if (w->err)
		return false;
	*rest = view_skip(*rest, rest->n - wire_left(w));
	return true;
}

bool mqtt_next_filter(struct view *rest, struct view *out)
{
	struct wire w = wire_of(*rest);
	struct view filter = wire_binary(&w);

	if (!finish_item(&w, rest))
		return false;
	*out = filter;
	return true;
}

bool mqtt_next_subscription(struct view *rest, struct mqtt_subscription *out)
{
	struct wire w = wire_of(*rest);
	struct view filter = wire_binary(&w);
	uint8_t options = wire_u8(&w); /* MQTT 5, 3.8.3.1; in 3.1.1 all but the QoS are 0 */

	if (!finish_item(&w, rest))
		return false;
	*out = (struct mqtt_subscription){
		.filter = filter,
		.qos = options & 3,
		.no_local = options >> 2 & 1,
		.retain_as_published = options >> 3 & 1,
		.retain_handling = options >> 4 & 3,
	};
	return true;
}

void mqtt_put_string(struct buf *out, struct view text)
{
	uint8_t length[2] = {(uint8_t)(text.n >> 8), (uint8_t)text.n};

	check(text.n <= UINT16_MAX);
	buf_append(out, length, sizeof(length));
	buf_append(out, text.p, text.n);
}

void mqtt_put_subscription(struct buf *out, uint8_t version, const struct mqtt_subscription *s)
{
	uint8_t options = s->qos;

	if (version >= MQTT_5)
		options |= (uint8_t)(s->no_local << 2 | s->retain_as_published << 3 |
				     s->retain_handling << 4);
	mqtt_put_string(out, s->filter);
	buf_append(out, &options, 1);
}
