/* Decoding CONNECT (MQTT 5, 3.1; MQTT 3.1.1, 3.1), the one packet that says which version it is. */
#include "mqtt/context.h"
#include "mqtt/decode.h"
#include "mqtt/filter.h"

enum connect_flag {
	FLAG_RESERVED = 0x01,
	FLAG_CLEAN = 0x02,
	FLAG_WILL = 0x04,
	FLAG_WILL_QOS = 0x18,
	FLAG_WILL_RETAIN = 0x20,
	FLAG_PASSWORD = 0x40,
	FLAG_USER_NAME = 0x80,
};

/* Protocol name and level: 0 or the version, with an error noted when it is not ours. */
static uint8_t read_version(struct wire *w)
{
	struct view name = wire_binary(w);
	uint8_t version = wire_u8(w);
	bool is_old = view_equal(name, VIEW("MQIsdp")) && version == MQTT_3_1;

	if (w->err)
		return 0;
	if (!is_old && !view_equal(name, VIEW("MQTT"))) { /* [MQTT-3.1.2-1] */
		wire_fail(w, ERR_PROTOCOL, "unknown protocol name [MQTT-3.1.2-1]");
		return 0;
	}
	if (is_old || (version != MQTT_3_1_1 && version != MQTT_5)) /* [MQTT-3.1.2-2] */
		wire_fail(w, ERR_VERSION, "unsupported protocol version [MQTT-3.1.2-2]");
	return version;
}

static void check_will_flags(struct wire *w, uint8_t flags)
{
	if ((flags & FLAG_WILL_QOS) == FLAG_WILL_QOS) /* [MQTT-3.1.2-12] */
		wire_fail(w, ERR_MALFORMED, "will QoS 3 [MQTT-3.1.2-12]");
	if (!(flags & FLAG_WILL) && (flags & FLAG_WILL_QOS)) /* [MQTT-3.1.2-11] */
		wire_fail(w, ERR_PROTOCOL, "will QoS without a will [MQTT-3.1.2-11]");
	if (!(flags & FLAG_WILL) && (flags & FLAG_WILL_RETAIN)) /* [MQTT-3.1.2-13] */
		wire_fail(w, ERR_PROTOCOL, "will retain without a will [MQTT-3.1.2-13]");
}

static void check_flags(struct wire *w, uint8_t flags, uint8_t version)
{
	if (flags & FLAG_RESERVED) /* [MQTT-3.1.2-3] */
		wire_fail(w, ERR_MALFORMED, "reserved CONNECT flag [MQTT-3.1.2-3]");
	check_will_flags(w, flags);
	/* [MQTT3-3.1.2-22]; MQTT 5 allows it (3.1.2.9). */
	if (version < MQTT_5 && (flags & FLAG_PASSWORD) && !(flags & FLAG_USER_NAME))
		wire_fail(w, ERR_PROTOCOL, "password without user name [MQTT3-3.1.2-22]");
}

static void read_will_topic(struct wire *w, struct mqtt_will *will)
{
	will->topic = wire_string(w);                    /* [MQTT-3.1.3-11] */
	if (w->err == 0 && !topic_is_valid(will->topic)) /* [MQTT-4.7.0-1], [MQTT-4.7.3-1] */
		wire_fail(w, ERR_TOPIC, "the will topic is not a topic name [MQTT-4.7.0-1]");
}

/* Reads what the flags say, in their order; a field the flags do not name is not there. */
static void read_payload(
	struct packet_in *in, uint8_t flags, struct mqtt_connect *connect, struct block *will)
{
	struct wire *w = &in->w;

	/* [MQTT-3.1.3-1], [MQTT-3.1.3-3], [MQTT-3.1.3-4] */
	connect->client_id = wire_string(w);
	if (flags & FLAG_WILL) { /* [MQTT-3.1.2-9] */
		if (in->version >= MQTT_5)
			block_read(w, WILL, will);
		read_will_topic(w, &connect->will);
		connect->will.payload = wire_binary(w);
	}
	if (flags & FLAG_USER_NAME) /* [MQTT-3.1.2-17], [MQTT-3.1.3-12] */
		connect->user_name = wire_string(w);
	if (flags & FLAG_PASSWORD) /* [MQTT-3.1.2-19] */
		connect->password = wire_binary(w);
	wire_finish(w); /* [MQTT-3.1.2-16], [MQTT-3.1.2-18] */
	/* [MQTT3-3.1.3-7], [MQTT3-3.1.3-8]; an MQTT 5 client may do so (3.1.3.1) */
	if (in->version < MQTT_5 && connect->client_id.n == 0 && !connect->clean_start)
		wire_fail(w, ERR_CLIENT_ID, "empty client id with clean session 0 [MQTT3-3.1.3-8]");
}

void decode_connect(struct packet_in *in, struct mqtt_packet *out)
{
	struct mqtt_connect connect = {.version = read_version(&in->w)};
	struct block will = {0};
	struct block b;
	uint8_t flags;

	in->version = connect.version;
	if (in->w.err == ERR_VERSION)
		out->connect.version = connect.version;
	if (in->w.err)
		return;
	check_padding(in);
	flags = wire_u8(&in->w);
	check_flags(&in->w, flags, in->version);
	connect.clean_start = flags & FLAG_CLEAN;
	connect.has_will = flags & FLAG_WILL;
	connect.has_user_name = flags & FLAG_USER_NAME;
	connect.has_password = flags & FLAG_PASSWORD;
	connect.will.retain = flags & FLAG_WILL_RETAIN;
	connect.will.qos = flags >> 3 & 3;
	connect.keep_alive_s = wire_u16(&in->w);
	read_properties(in, &b);
	read_payload(in, flags, &connect, &will);
	if (in->w.err && in->w.err != ERR_CLIENT_ID)
		return;
	take_properties(&connect.will.properties, &will);
	out->connect = connect;
	take_properties(&out->properties, &b);
}

uint8_t mqtt_connect_version(const uint8_t *p, size_t n)
{
	struct wire w = wire_of((struct view){(const char *)p, n});

	if (wire_u8(&w) != MQTT_CONNECT << 4)
		return 0;
	for (unsigned i = 0; i < 4 && (wire_u8(&w) & 0x80); i++)
		;
	return read_version(&w);
}
