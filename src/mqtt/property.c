/* The properties of MQTT 5 as bytes: reading one, writing one.
 *
 * What a property looks like comes from its type in property.def; whether it may be there is
 * judged in block.c.
 */
#include "mqtt/property.h"

#include "base/check.h"
#include "mqtt/block.h"
#include "mqtt/packet.h"
#include "mqtt/wire.h"

enum property_type {
	BYTE, /* the first three are numbers of 1 << type bytes */
	TWO_BYTES,
	FOUR_BYTES,
	VARINT,
	STRING,
	PAIR,
	BINARY,
};

/* Identifiers are below this (MQTT 5, table 2-4). */
#define IDENTIFIERS 0x2b

static const uint8_t identifiers[MQTT_PROPERTY_COUNT] = {
#define X(name, id, words, type, where, many) id,
#include "mqtt/property.def"
#undef X
};

static const uint8_t types[MQTT_PROPERTY_COUNT] = {
#define X(name, id, words, type, where, many) type,
#include "mqtt/property.def"
#undef X
};

/* Row + 1 by identifier; 0 unknown. */
static const uint8_t rows[IDENTIFIERS] = {
#define X(name, id, words, type, where, many) [id] = MQTT_PROPERTY_##name + 1,
#include "mqtt/property.def"
#undef X
};

static void read_value(struct wire *w, struct mqtt_property_item *item)
{
	switch ((enum property_type)types[item->which]) {
	case BYTE:
		item->number = wire_u8(w);
		break;
	case TWO_BYTES:
		item->number = wire_u16(w);
		break;
	case FOUR_BYTES:
		item->number = wire_u32(w);
		break;
	case VARINT:
		item->number = wire_varint(w);
		break;
	case STRING:
		item->text = wire_string(w); /* [MQTT-3.3.2-13], [MQTT-3.3.2-19] */
		break;
	case PAIR:
		item->name = wire_string(w); /* [MQTT-1.5.7-1] */
		item->text = wire_string(w);
		break;
	case BINARY:
		item->text = wire_binary(w);
		break;
	}
}

bool mqtt_read_property(struct wire *w, struct mqtt_property_item *out)
{
	struct mqtt_property_item item = {.raw = {(const char *)w->p, wire_left(w)}};
	uint32_t id = wire_varint(w);

	if (w->err == 0 && (id >= IDENTIFIERS || rows[id] == 0))
		wire_fail(w, ERR_MALFORMED, "unknown property (MQTT 5, 2.2.2.2)");
	if (w->err)
		return false;
	item.which = (enum mqtt_property)(rows[id] - 1);
	read_value(w, &item);
	if (w->err)
		return false;
	item.raw.n -= wire_left(w);
	*out = item;
	return true;
}

bool mqtt_next_property(struct view *rest, struct mqtt_property_item *out)
{
	struct wire w;

	if (rest->n == 0)
		return false;
	w = wire_of(*rest);
	if (!mqtt_read_property(&w, out))
		return false;
	*rest = view_skip(*rest, out->raw.n);
	return true;
}

static void put_big_endian(struct buf *out, uint32_t value, unsigned bytes)
{
	uint8_t big[4];

	for (unsigned i = 0; i < bytes; i++)
		big[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	buf_append(out, big, bytes);
}

void mqtt_put_varint(struct buf *out, uint32_t value)
{
	uint8_t bytes[4];

	check(value <= 268435455); /* MQTT 5, 1.5.5 */
	buf_append(out, bytes, wire_write_varint(bytes, value));
}

void mqtt_put_number(struct buf *block, enum mqtt_property which, uint32_t value)
{
	buf_append(block, &identifiers[which], 1);
	if (types[which] == VARINT) {
		mqtt_put_varint(block, value);
		return;
	}
	check(types[which] < VARINT);
	put_big_endian(block, value, 1u << types[which]);
}

void mqtt_put_text(struct buf *block, enum mqtt_property which, struct view value)
{
	check(types[which] == STRING || types[which] == BINARY);
	buf_append(block, &identifiers[which], 1);
	mqtt_put_string(block, value);
}

void mqtt_put_user(struct buf *block, struct view name, struct view value)
{
	buf_append(block, &identifiers[MQTT_PROPERTY_USER_PROPERTY], 1);
	mqtt_put_string(block, name);
	mqtt_put_string(block, value);
}

const char *mqtt_property_name(enum mqtt_property which)
{
	static const char *const names[MQTT_PROPERTY_COUNT] = {
#define X(name, id, words, type, where, many) words,
#include "mqtt/property.def"
#undef X
	};

	return (unsigned)which < MQTT_PROPERTY_COUNT ? names[which] : "?";
}
