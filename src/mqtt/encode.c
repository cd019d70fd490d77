/* Encoding control packets.
 *
 * A body function says once what a packet is made of. It runs twice: first into a sink without a
 * buffer, which only counts and notices lengths that do not fit their field, then, the remaining
 * length being known, into the caller's buffer. So nothing is written before it is certain that
 * everything will be.
 */
#include "mqtt/packet.h"

#include "base/error.h"
#include "mqtt/wire.h"

#define REMAINING_LARGEST 268435455u /* MQTT 5, 1.5.5 */

struct sink {
	struct buf *out; /* NULL: only count */
	uint64_t bytes;
	uint8_t version;
	bool is_too_large;
};

static const uint8_t header_flags[16] = {
#define X(name, value, flags, client, server) [value] = (flags)&15,
#include "mqtt/packet.def"
#undef X
};

static void put(struct sink *s, const void *p, size_t n)
{
	s->bytes += n;
	if (s->out)
		buf_append(s->out, p, n);
}

static void put_u8(struct sink *s, uint8_t value)
{
	put(s, &value, 1);
}

static void put_u16(struct sink *s, size_t value)
{
	put_u8(s, (uint8_t)(value >> 8));
	put_u8(s, (uint8_t)value);
}

static void put_string(struct sink *s, struct view text)
{
	if (text.n > UINT16_MAX)
		s->is_too_large = true;
	put_u16(s, text.n);
	put(s, text.p, text.n);
}

/* The block with its length, which is there even when it is empty. */
static void put_properties(struct sink *s, const struct mqtt_properties *properties)
{
	uint8_t length[4];

	if (s->version < MQTT_5)
		return;
	if (properties->raw.n > REMAINING_LARGEST) {
		s->is_too_large = true;
		return;
	}
	/* [MQTT-2.2.2-1] */
	put(s, length, wire_write_varint(length, (uint32_t)properties->raw.n));
	put(s, properties->raw.p, properties->raw.n);
}

static uint8_t connect_flags(const struct mqtt_connect *c)
{
	unsigned flags = (unsigned)c->clean_start << 1 | (unsigned)c->has_password << 6 |
			 (unsigned)c->has_user_name << 7;

	if (c->has_will)
		flags |= 1u << 2 | (unsigned)c->will.qos << 3 | (unsigned)c->will.retain << 5;
	return (uint8_t)flags;
}

static void put_connect(struct sink *s, const struct mqtt_packet *packet)
{
	const struct mqtt_connect *c = &packet->connect;

	put_string(s, VIEW("MQTT"));
	put_u8(s, s->version);
	put_u8(s, connect_flags(c));
	put_u16(s, c->keep_alive_s);
	put_properties(s, &packet->properties);
	put_string(s, c->client_id);
	if (c->has_will) {
		put_properties(s, &c->will.properties);
		put_string(s, c->will.topic);
		put_string(s, c->will.payload);
	}
	if (c->has_user_name)
		put_string(s, c->user_name);
	if (c->has_password)
		put_string(s, c->password);
}

static void put_connack(struct sink *s, const struct mqtt_packet *packet)
{
	put_u8(s, packet->connack.session_present); /* [MQTT-3.2.2-1] */
	put_u8(s, packet->connack.reason);
	put_properties(s, &packet->properties);
}

static void put_publish(struct sink *s, const struct mqtt_packet *packet)
{
	const struct mqtt_publish *publish = &packet->publish;

	put_string(s, publish->topic);
	if (publish->qos)
		put_u16(s, publish->packet_id);
	put_properties(s, &packet->properties);
	put(s, publish->payload.p, publish->payload.n);
}

/* The shortest form: success and no properties are left out (MQTT 5, 3.4.2.1). */
static void put_ack(struct sink *s, const struct mqtt_packet *packet)
{
	bool has_properties = packet->properties.raw.n > 0;

	put_u16(s, packet->ack.packet_id);
	if (s->version < MQTT_5 || (packet->ack.reason == 0 && !has_properties))
		return;
	put_u8(s, packet->ack.reason);
	if (has_properties)
		put_properties(s, &packet->properties);
}

static void put_list(struct sink *s, const struct mqtt_packet *packet)
{
	put_u16(s, packet->list.packet_id);
	put_properties(s, &packet->properties);
	if (packet->type == MQTT_UNSUBACK && s->version < MQTT_5) /* 3.1.1, 3.11.3: no payload */
		return;
	put(s, packet->list.items.p, packet->list.items.n);
}

static void put_ping(struct sink *s, const struct mqtt_packet *packet)
{
	(void)s;
	(void)packet;
}

/* DISCONNECT and AUTH (MQTT 5, 3.14.2.1, 3.15.2.1) */
static void put_reason(struct sink *s, const struct mqtt_packet *packet)
{
	bool has_properties = packet->properties.raw.n > 0;

	if (s->version < MQTT_5 || (packet->reason.reason == 0 && !has_properties))
		return;
	put_u8(s, packet->reason.reason);
	if (has_properties || packet->type == MQTT_AUTH)
		put_properties(s, &packet->properties);
}

static void (*const bodies[16])(struct sink *s, const struct mqtt_packet *packet) = {
	[MQTT_CONNECT] = put_connect,
	[MQTT_CONNACK] = put_connack,
	[MQTT_PUBLISH] = put_publish,
	[MQTT_PUBACK] = put_ack,
	[MQTT_PUBREC] = put_ack,
	[MQTT_PUBREL] = put_ack,
	[MQTT_PUBCOMP] = put_ack,
	[MQTT_SUBSCRIBE] = put_list,
	[MQTT_SUBACK] = put_list,
	[MQTT_UNSUBSCRIBE] = put_list,
	[MQTT_UNSUBACK] = put_list,
	[MQTT_PINGREQ] = put_ping,
	[MQTT_PINGRESP] = put_ping,
	[MQTT_DISCONNECT] = put_reason,
	[MQTT_AUTH] = put_reason,
};

static size_t put_header(
	uint8_t out[MQTT_HEADER_LARGEST], unsigned type, uint8_t flags, uint32_t remaining)
{
	out[0] = (uint8_t)(type << 4 | (flags & 15));
	return 1 + wire_write_varint(out + 1, remaining);
}

size_t mqtt_publish_header(uint8_t out[MQTT_HEADER_LARGEST], uint8_t flags, uint32_t remaining)
{
	return put_header(out, MQTT_PUBLISH, flags, remaining);
}

static uint8_t flags_of(const struct mqtt_packet *packet)
{
	const struct mqtt_publish *publish = &packet->publish;

	if (packet->type != MQTT_PUBLISH)
		return header_flags[packet->type];
	return (uint8_t)(publish->dup << 3 | publish->qos << 1 | publish->retain);
}

int mqtt_encode(struct buf *out, uint8_t version, const struct mqtt_packet *packet)
{
	struct sink count = {.version = version};
	struct sink write = {.version = version, .out = out};
	uint8_t header[MQTT_HEADER_LARGEST];

	bodies[packet->type](&count, packet);
	if (count.is_too_large || count.bytes > REMAINING_LARGEST)
		return ERR_TOO_LARGE;
	buf_append(out, header,
		put_header(header, packet->type, flags_of(packet), (uint32_t)count.bytes));
	buf_reserve(out, (size_t)count.bytes);
	bodies[packet->type](&write, packet);
	return 0;
}
