/* Decoding control packets: the fixed header and every packet but CONNECT (connect.c).
 *
 * A packet is decoded once all its bytes are there. Each body function reads straight through a
 * cursor with a sticky error and writes to *out only at its end and only if there was none, so
 * a refused packet leaves *out alone. Properties are judged while reading and decoded into the
 * caller's large struct last (block.h).
 *
 * PUBLISH and the acknowledgements of QoS 1 and 2 are nearly all the traffic. They touch a few
 * dozen bytes of *out: nothing is cleared, and without properties only `present` and `raw` of
 * them are set.
 */
#include "mqtt/decode.h"

#include "mqtt/context.h"
#include "mqtt/filter.h"
#include "mqtt/reason.h"

#define ANY_FLAGS 0xff

struct kind {
	const char *name;
	uint8_t flags; /* of the fixed header, or ANY_FLAGS */
	bool from[2];  /* enum mqtt_side */
};

static const struct kind kinds[16] = {
#define X(name, value, flags, client, server) [value] = {#name, flags, {client, server}},
#include "mqtt/packet.def"
#undef X
};

void take_properties(struct mqtt_properties *out, const struct block *b)
{
	if (b->raw.n) {
		block_fill(b, out);
		return;
	}
	out->present = 0;
	out->raw = (struct view){NULL, 0};
}

void check_padding(struct packet_in *in)
{
	if (in->version >= MQTT_5 && in->is_padded)
		wire_fail(&in->w, ERR_MALFORMED,
			"the length is not in its shortest form [MQTT-1.5.5-1]");
}

void read_properties(struct packet_in *in, struct block *b)
{
	*b = (struct block){0};
	if (in->version < MQTT_5)
		return;
	if (wire_left(&in->w) && *in->w.p == 0) /* the usual case, no properties */
		wire_u8(&in->w);
	else
		block_read(&in->w, in->context, b);
}

static void check_reason(struct packet_in *in, uint8_t reason)
{
	/* [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.14.2-1] */
	if (!context_has_reason(in->context, reason))
		wire_fail(&in->w, ERR_PROTOCOL,
			"a reason code that this packet never has (MQTT 5, 2.4) [MQTT-3.4.2-1]");
}

static void check_publish_topic(struct wire *w, struct view topic, const struct block *b)
{
	if (topic.n == 0) {
		/* [MQTT-4.7.3-1] */
		if (!(b->present >> MQTT_PROPERTY_TOPIC_ALIAS & 1))
			wire_fail(w, ERR_PROTOCOL, "no topic and no topic alias (MQTT 5, 3.3.2.1)");
	} else if (!topic_is_valid(topic)) { /* [MQTT-3.3.2-2] */
		if (!wire_is_text(topic))    /* [MQTT-3.3.2-1] */
			wire_fail(w, ERR_MALFORMED, "the topic is not UTF-8 [MQTT-3.3.2-1]");
		else
			wire_fail(w, ERR_TOPIC, "the topic has a wildcard [MQTT-3.3.2-2]");
	}
}

static void decode_publish(struct packet_in *in, struct mqtt_packet *out)
{
	struct wire *w = &in->w;
	uint8_t qos = in->flags >> 1 & 3;
	struct mqtt_publish publish = {
		.qos = qos, .retain = in->flags & 1, .dup = in->flags >> 3 & 1};
	struct block b;

	if (qos == 3) /* [MQTT-3.3.1-4] */
		wire_fail(w, ERR_MALFORMED, "PUBLISH with QoS 3 [MQTT-3.3.1-4]");
	if (qos == 0 && publish.dup) /* [MQTT-3.3.1-2] */
		wire_fail(w, ERR_PROTOCOL, "PUBLISH with QoS 0 and DUP [MQTT-3.3.1-2]");
	publish.topic = wire_binary(w);
	if (qos) /* [MQTT-2.2.1-2] */
		publish.packet_id = wire_packet_id(w);
	read_properties(in, &b);
	check_publish_topic(w, publish.topic, &b);
	publish.payload = wire_rest(w);
	if (w->err)
		return;
	out->publish = publish;
	take_properties(&out->properties, &b);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP */
static void decode_ack(struct packet_in *in, struct mqtt_packet *out)
{
	struct mqtt_ack ack = {.packet_id = wire_packet_id(&in->w)};
	struct block b = {0};

	/* Without a reason code it is 0, without a length there are no properties (MQTT 5,
	 * 3.4.2.1, 3.4.2.2.1). */
	if (in->version >= MQTT_5 && wire_left(&in->w)) {
		ack.reason = wire_u8(&in->w);
		check_reason(in, ack.reason);
		if (wire_left(&in->w))
			read_properties(in, &b);
	}
	wire_finish(&in->w);
	if (in->w.err)
		return;
	out->ack = ack;
	take_properties(&out->properties, &b);
}

static void check_connack(struct packet_in *in, uint8_t flags, uint8_t reason)
{
	if (flags & 0xfe)
		wire_fail(&in->w, ERR_MALFORMED, "reserved CONNACK flags [MQTT-3.2.2-1]");
	if (flags && reason)
		wire_fail(&in->w, ERR_PROTOCOL, "session present with a refusal [MQTT-3.2.2-6]");
	if (in->version >= MQTT_5)
		check_reason(in, reason);
	else if (reason > 5)
		wire_fail(&in->w, ERR_PROTOCOL, "reserved return code (MQTT 3.1.1, 3.2.2.3)");
}

static void decode_connack(struct packet_in *in, struct mqtt_packet *out)
{
	uint8_t flags = wire_u8(&in->w);
	uint8_t reason = wire_u8(&in->w);
	struct block b;

	check_connack(in, flags, reason);
	read_properties(in, &b);
	wire_finish(&in->w);
	if (in->w.err)
		return;
	out->connack = (struct mqtt_connack){.session_present = flags, .reason = reason};
	take_properties(&out->properties, &b);
}

static void check_filter(struct wire *w, struct view filter, uint8_t version, bool *is_shared)
{
	struct view group;
	struct view inner;
	int shared = 0;

	if (version >= MQTT_5)
		shared = filter_cut_share(filter, &group, &inner);
	*is_shared = shared > 0;
	if (shared < 0) /* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
		wire_fail(w, ERR_FILTER, "a shared subscription's filter is wrong [MQTT-4.8.2-2]");
	else if (!filter_is_well_formed(
			 filter)) /* [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1] */
		wire_fail(w, ERR_FILTER, "a topic filter is wrong [MQTT-4.7.1-1] [MQTT-4.7.3-1]");
}

static void check_options_v3(struct wire *w, uint8_t options)
{
	if (options > 2) /* [MQTT3-3.8.3-4] */
		wire_fail(w, ERR_MALFORMED,
			"reserved bits or QoS 3 in a subscription [MQTT3-3.8.3-4]");
}

static void check_options(struct wire *w, uint8_t options, bool is_shared)
{
	if (options & 0xc0) /* [MQTT-3.8.3-5] */
		wire_fail(w, ERR_MALFORMED, "reserved subscription option bits [MQTT-3.8.3-5]");
	if ((options & 3) == 3)
		wire_fail(w, ERR_PROTOCOL, "subscription with QoS 3 (MQTT 5, 3.8.3.1)");
	if ((options >> 4 & 3) == 3)
		wire_fail(w, ERR_PROTOCOL, "retain handling 3 (MQTT 5, 3.8.3.1)");
	if (is_shared && (options & 4)) /* [MQTT-3.8.3-4] */
		wire_fail(w, ERR_PROTOCOL, "no local on a shared subscription [MQTT-3.8.3-4]");
}

static void read_subscription(struct packet_in *in)
{
	bool is_shared;

	check_filter(&in->w, wire_string(&in->w), in->version, &is_shared); /* [MQTT-3.8.3-1] */
	if (in->version >= MQTT_5)
		check_options(&in->w, wire_u8(&in->w), is_shared);
	else
		check_options_v3(&in->w, wire_u8(&in->w));
}

static void read_unsubscription(struct packet_in *in)
{
	bool is_shared;

	check_filter(&in->w, wire_string(&in->w), in->version, &is_shared); /* [MQTT-3.10.3-1] */
}

static void read_suback_code(struct packet_in *in)
{
	uint8_t reason = wire_u8(&in->w);

	if (in->version >= MQTT_5)
		check_reason(in, reason);
	else if (reason > 2 && reason != 0x80)
		wire_fail(&in->w, ERR_PROTOCOL, "reserved return code [MQTT3-3.9.3-2]");
}

/* The four packets that are an identifier, properties and one or more items. */
static void decode_list(
	struct packet_in *in, struct mqtt_packet *out, void (*read_item)(struct packet_in *in))
{
	struct mqtt_list list = {.packet_id = wire_packet_id(&in->w)};
	struct block b;
	struct wire items;

	read_properties(in, &b);
	items = in->w;
	list.items = wire_rest(&items);
	for (; wire_left(&in->w); list.count++)
		read_item(in);
	if (list.count == 0) /* [MQTT-3.8.3-2], [MQTT-3.10.3-2] */
		wire_fail(&in->w, ERR_PROTOCOL, "an empty list [MQTT-3.8.3-2] [MQTT-3.10.3-2]");
	if (in->w.err)
		return;
	out->list = list;
	take_properties(&out->properties, &b);
}

static void decode_subscribe(struct packet_in *in, struct mqtt_packet *out)
{
	decode_list(in, out, read_subscription);
}

static void decode_suback(struct packet_in *in, struct mqtt_packet *out)
{
	decode_list(in, out, read_suback_code);
}

static void decode_unsubscribe(struct packet_in *in, struct mqtt_packet *out)
{
	decode_list(in, out, read_unsubscription);
}

/* In 3.1.1 it has no payload (3.11.3). */
static void decode_unsuback(struct packet_in *in, struct mqtt_packet *out)
{
	struct mqtt_list list = {.packet_id = 0};

	if (in->version >= MQTT_5) {
		decode_list(in, out, read_suback_code);
		return;
	}
	list.packet_id = wire_packet_id(&in->w);
	wire_finish(&in->w);
	if (in->w.err)
		return;
	out->list = list;
	take_properties(&out->properties, &(struct block){0});
}

static void decode_ping(struct packet_in *in, struct mqtt_packet *out)
{
	wire_finish(&in->w);
	if (in->w.err == 0)
		take_properties(&out->properties, &(struct block){0});
}

/* DISCONNECT: an absent reason code is 0, an absent length no properties (MQTT 5, 3.14.2.1,
 * 3.14.2.2.1). AUTH: both or neither (MQTT 5, 3.15.2.1). */
static void decode_reason(struct packet_in *in, struct mqtt_packet *out)
{
	bool is_auth = in->context & B(AUTH);
	struct mqtt_reason reason = {0};
	struct block b = {0};

	if (in->version >= MQTT_5) {
		bool has_reason = wire_left(&in->w) > 0;

		if (has_reason)
			reason.reason = wire_u8(&in->w);
		check_reason(in, reason.reason);
		if (wire_left(&in->w) || (is_auth && has_reason))
			block_read(&in->w, in->context, &b);
	}
	wire_finish(&in->w);
	if (in->w.err)
		return;
	out->reason = reason;
	take_properties(&out->properties, &b);
}

static void (*const bodies[16])(struct packet_in *in, struct mqtt_packet *out) = {
	[MQTT_CONNECT] = decode_connect,
	[MQTT_CONNACK] = decode_connack,
	[MQTT_PUBLISH] = decode_publish,
	[MQTT_PUBACK] = decode_ack,
	[MQTT_PUBREC] = decode_ack,
	[MQTT_PUBREL] = decode_ack,
	[MQTT_PUBCOMP] = decode_ack,
	[MQTT_SUBSCRIBE] = decode_subscribe,
	[MQTT_SUBACK] = decode_suback,
	[MQTT_UNSUBSCRIBE] = decode_unsubscribe,
	[MQTT_UNSUBACK] = decode_unsuback,
	[MQTT_PINGREQ] = decode_ping,
	[MQTT_PINGRESP] = decode_ping,
	[MQTT_DISCONNECT] = decode_reason,
	[MQTT_AUTH] = decode_reason,
};

/* What the first byte alone tells. */
static int check_first(uint8_t first, enum mqtt_side side, uint8_t version, const char **why)
{
	const struct kind *kind = &kinds[first >> 4];

	if (kind->name == NULL || (first >> 4 == MQTT_AUTH && version < MQTT_5)) {
		*why = "reserved packet type (MQTT 5, 2.1.2; MQTT 3.1.1, 2.2.1)";
		return ERR_MALFORMED;
	}
	if (!kind->from[side] || /* MQTT 3.1.1, 3.14 */
		(first >> 4 == MQTT_DISCONNECT && version < MQTT_5 && side == MQTT_FROM_SERVER)) {
		*why = "a packet that only the other side may send (MQTT 5, 2.1.2)";
		return ERR_PROTOCOL;
	}
	/* [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1],
	 * [MQTT-3.15.1-1] */
	if (kind->flags != ANY_FLAGS && (first & 15) != kind->flags) {
		*why = "reserved flags of the fixed header [MQTT-2.1.3-1] [MQTT-3.6.1-1]";
		return ERR_MALFORMED;
	}
	return 0;
}

/* Bytes of the fixed header, or 0: not all there. */
static size_t header_bytes(const uint8_t *p, size_t n)
{
	for (size_t i = 1; i < n && i < MQTT_HEADER_LARGEST; i++) {
		if (!(p[i] & 0x80))
			return i + 1;
	}
	return 0;
}

int64_t mqtt_packet_length(const uint8_t *p, size_t n, uint32_t largest)
{
	size_t header = header_bytes(p, n);
	uint32_t remaining = 0;

	if (header == 0) /* MQTT 5, 2.1.4 */
		return n >= MQTT_HEADER_LARGEST ? ERR_MALFORMED : 0;
	for (size_t i = header - 1; i > 0; i--)
		remaining = remaining << 7 | (p[i] & 0x7f);
	if (header + remaining > largest)
		return ERR_TOO_LARGE;
	return (int64_t)(header + remaining);
}

static int64_t decode_body(
	struct packet_in *in, unsigned type, uint32_t bytes, struct mqtt_packet *out)
{
	if (type != MQTT_CONNECT) /* which tells its version later */
		check_padding(in);
	bodies[type](in, out);
	if (in->w.err == 0 || in->w.err == ERR_VERSION || in->w.err == ERR_CLIENT_ID) {
		out->type = (enum mqtt_type)type;
		out->bytes = bytes;
	}
	return in->w.err ? in->w.err : (int64_t)bytes;
}

static const char *length_fault(int64_t err)
{
	return err == ERR_TOO_LARGE ? "the packet is larger than allowed (MQTT 5, 3.1.2.11.4)"
				    : "the length takes more than four bytes (MQTT 5, 1.5.5)";
}

int64_t mqtt_decode(const uint8_t *p, size_t n, enum mqtt_side side, uint8_t version,
	uint32_t largest, struct mqtt_packet *out, const char **why)
{
	const char *fault = NULL;
	int64_t result = n ? check_first(p[0], side, version, &fault) : 0;

	if (n && result == 0) {
		result = mqtt_packet_length(p, n, largest);
		if (result < 0)
			fault = length_fault(result);
		else if ((uint64_t)result > n)
			result = 0;
	}
	if (result > 0) {
		size_t header = header_bytes(p, n);
		struct packet_in in = {
			.w = {p + header, p + result, 0, NULL},
			.context = context_of(side, p[0] >> 4),
			.version = version,
			.flags = p[0] & 15,
			.is_padded = header > 2 && p[header - 1] == 0,
		};

		result = decode_body(&in, p[0] >> 4, (uint32_t)result, out);
		fault = in.w.why;
	}
	if (result < 0 && why)
		*why = fault;
	return result;
}

const char *mqtt_type_name(unsigned type)
{
	return type < 16 && kinds[type].name ? kinds[type].name : "?";
}
