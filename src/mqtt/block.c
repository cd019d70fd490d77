/* Judging the properties of a packet (MQTT 5, 2.2.2 and the sections of the packets).
 *
 * Two answers are told apart as MQTT 5 does: a property that this packet type never has is
 * malformed (2.2.2.2), one that only the other side may send, that comes twice, or that has a
 * value nobody may send is a protocol error.
 */
#include "mqtt/block.h"

#include "mqtt/context.h"
#include "mqtt/filter.h"

struct rule {
	uint32_t where;
	uint32_t many;
};

static const struct rule rules[MQTT_PROPERTY_COUNT] = {
#define X(name, id, words, type, where, many) {where, many},
#include "mqtt/property.def"
#undef X
};

/* Numbers that not every value of their type may be; most 0: no limit. */
struct range {
	uint32_t least;
	uint32_t most;
	int err;
	const char *why;
};

#define FLAG(name, text) [MQTT_PROPERTY_##name] = {0, 1, ERR_PROTOCOL, text}

static const struct range ranges[MQTT_PROPERTY_COUNT] = {
	FLAG(PAYLOAD_FORMAT_INDICATOR, "payload format is not 0 or 1 (MQTT 5, 3.3.2.3.2)"),
	FLAG(REQUEST_PROBLEM_INFORMATION, "request problem is not 0 or 1 (MQTT 5, 3.1.2.11.7)"),
	FLAG(REQUEST_RESPONSE_INFORMATION, "request response is not 0 or 1 (MQTT 5, 3.1.2.11.6)"),
	FLAG(MAXIMUM_QOS, "maximum QoS is not 0 or 1 (MQTT 5, 3.2.2.3.4)"),
	FLAG(RETAIN_AVAILABLE, "retain available is not 0 or 1 (MQTT 5, 3.2.2.3.5)"),
	FLAG(WILDCARD_SUBSCRIPTION_AVAILABLE,
		"wildcard subscription available is not 0 or 1 (MQTT 5, 3.2.2.3.11)"),
	FLAG(SUBSCRIPTION_IDENTIFIER_AVAILABLE,
		"subscription identifier available is not 0 or 1 (MQTT 5, 3.2.2.3.12)"),
	FLAG(SHARED_SUBSCRIPTION_AVAILABLE,
		"shared subscription available is not 0 or 1 (MQTT 5, 3.2.2.3.13)"),
	[MQTT_PROPERTY_RECEIVE_MAXIMUM] = {1, UINT16_MAX, ERR_PROTOCOL,
		"receive maximum is 0 (MQTT 5, 3.1.2.11.3)"},
	[MQTT_PROPERTY_MAXIMUM_PACKET_SIZE] = {1, UINT32_MAX, ERR_PROTOCOL,
		"maximum packet size is 0 (MQTT 5, 3.1.2.11.4)"},
	[MQTT_PROPERTY_TOPIC_ALIAS] = {1, UINT16_MAX, ERR_TOPIC_ALIAS,
		"topic alias is 0 [MQTT-3.3.2-8]"}, /* [MQTT-3.3.2-8] */
	[MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER] = {1, UINT32_MAX, ERR_PROTOCOL,
		"subscription identifier is 0 (MQTT 5, 3.8.2.1.2)"},
};

static void check_place(struct wire *w, uint32_t context, enum mqtt_property which)
{
	uint32_t where = rules[which].where;

	if (where & context)
		return;
	if (where & context_turned(context)) /* [MQTT-3.3.4-6] */
		wire_fail(w, ERR_PROTOCOL,
			"a property that only the other side may send [MQTT-3.3.4-6] "
			"[MQTT-3.14.2-2]");
	else
		wire_fail(w, ERR_MALFORMED,
			"a property that this packet never has (MQTT 5, 2.2.2.2)");
}

static void check_value(struct wire *w, const struct mqtt_property_item *item)
{
	const struct range *range = &ranges[item->which];

	if (range->most && (item->number < range->least || item->number > range->most))
		wire_fail(w, range->err, range->why);
	/* [MQTT-3.3.2-14] */
	if (item->which == MQTT_PROPERTY_RESPONSE_TOPIC && !topic_is_valid(item->text))
		wire_fail(w, ERR_PROTOCOL, "response topic is not a topic name [MQTT-3.3.2-14]");
}

/* What holds between properties. */
static void check_together(struct wire *w, uint32_t context, const struct block *b)
{
	bool has_method = b->present >> MQTT_PROPERTY_AUTHENTICATION_METHOD & 1;
	bool has_data = b->present >> MQTT_PROPERTY_AUTHENTICATION_DATA & 1;

	if ((context & C(CONNECT)) && has_data && !has_method)
		wire_fail(w, ERR_PROTOCOL,
			"authentication data without a method (MQTT 5, 3.1.2.11.10)");
	if ((context & B(AUTH)) && !has_method)
		wire_fail(w, ERR_PROTOCOL, "AUTH without a method (MQTT 5, 3.15.2.2.2)");
}

static void read_all(struct wire *in, uint32_t context, struct block *b)
{
	struct mqtt_property_item item;

	while (wire_left(in) && mqtt_read_property(in, &item)) {
		uint32_t bit = UINT32_C(1) << item.which;

		check_place(in, context, item.which);
		if ((b->present & bit) && !(rules[item.which].many & context))
			wire_fail(in, ERR_PROTOCOL,
				"a property more than once (MQTT 5, 2.2.2.2 and the packet's "
				"section)");
		check_value(in, &item);
		b->present |= bit;
	}
}

void block_read(struct wire *w, uint32_t context, struct block *out)
{
	uint32_t n = wire_varint(w);
	struct block b = {.raw = wire_take(w, n)};
	struct wire in = wire_of(b.raw);

	read_all(&in, context, &b);
	check_together(&in, context, &b);
	if (w->err == 0 && in.err)
		wire_fail(w, in.err, in.why);
	*out = b;
}

void block_fill(const struct block *b, struct mqtt_properties *out)
{
	struct view rest = b->raw;
	struct mqtt_property_item item;

	out->present = b->present;
	out->raw = b->raw;
	while (mqtt_next_property(&rest, &item)) {
		out->number[item.which] = item.number;
		out->text[item.which] = item.text;
	}
}
