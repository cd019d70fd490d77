/* What is encoded decodes to the same, for every packet, version, side and property. */
#include "mqtt/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/error.h"
#include "mqtt/bytes_test.h"
#include "mqtt/context.h"

#define LARGEST MQTT_PACKET_LARGEST

enum property_type {
	BYTE,
	TWO_BYTES,
	FOUR_BYTES,
	VARINT,
	STRING,
	PAIR,
	BINARY,
};

struct property_row {
	enum property_type type;
	uint32_t where;
	uint32_t many;
};

static const struct property_row properties[MQTT_PROPERTY_COUNT] = {
#define X(name, id, words, type, where, many) {type, where, many},
#include "mqtt/property.def"
#undef X
};

/* Packets in their shortest written form; encoding what they decode to gives the same bytes. */
struct row {
	char side;
	uint8_t version;
	const char *packet;
};

static const struct row rows[] = {
	{'c', 4, "10* 0004 'MQTT' 04 02 003c 0000"},
	{'c', 4, "10* 0004 'MQTT' 04 f6 ffff 0001 'c' 0001 't' 0001 00 0001 'u' 0001 'p'"},
	{'c', 5, "10* 0004 'MQTT' 05 02 003c * 21 0001; 0000"},
	{'c', 5,
		"10* 0004 'MQTT' 05 6e 0000 00 0001 'c' * 18 00000001 01 01; 0001 't' 0000 0001 "
		"'p'"},
	{'s', 4, "20* 01 00"},
	{'s', 4, "20* 00 05"},
	{'s', 5, "20* 00 87 * 1f 0001 'r'"},
	{'c', 4, "30* 0001 't'"},
	{'c', 4, "3d* 0001 't' 0102 'payload'"},
	{'s', 5, "32* 0001 't' ffff 00"},
	{'s', 5, "30* 0000 * 23 0001; 'payload'"},
	{'c', 4, "40* 0001"},
	{'c', 5, "50* 0001"},
	{'s', 5, "40* 0001 10"},
	{'s', 5, "62* 0001 92 * 26 0001 'k' 0001 'v'"},
	{'c', 5, "70* 0001 00 * 1f 0001 'r'"},
	{'c', 4, "82* 0001 0001 'a' 01 0001 'b' 02"},
	{'c', 5, "82* 0001 * 0b 01; 0001 'a' 2d"},
	{'s', 4, "90* 0001 00 80"},
	{'s', 5, "90* 0001 00 00 80"},
	{'c', 4, "a2* 0001 0001 'a'"},
	{'c', 5, "a2* 0001 00 0001 'a' 0001 'b'"},
	{'s', 4, "b0* 0001"},
	{'s', 5, "b0* 0001 00 11"},
	{'c', 4, "c0*"},
	{'s', 5, "d0*"},
	{'c', 4, "e0*"},
	{'c', 5, "e0*"},
	{'c', 5, "e0* 04"},
	{'s', 5, "e0* 00 * 1f 0001 'r'"},
	{'c', 5, "f0* 18 * 15 0001 'm'"},
	{'s', 5, "f0*"},
};

static int64_t decode(const struct buf *b, char side, uint8_t version, struct mqtt_packet *out)
{
	return mqtt_decode(buf_bytes(b), buf_length(b),
		side == 'c' ? MQTT_FROM_CLIENT : MQTT_FROM_SERVER, version, LARGEST, out, NULL);
}

static void a_packet_in_its_shortest_form_comes_back_the_same(void **state)
{
	struct buf in = {0};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct mqtt_packet packet;

		buf_clear(&in);
		buf_clear(&out);
		buf_grown(&in, bytes_of(rows[i].packet, buf_reserve(&in, 512)));
		if (decode(&in, rows[i].side, rows[i].version, &packet) != (int64_t)buf_length(&in))
			fail_msg("%s is not decoded", rows[i].packet);
		assert_int_equal(mqtt_encode(&out, rows[i].version, &packet), 0);
		if (!view_equal(buf_view(&in), buf_view(&out)))
			fail_msg("%s comes back differently", rows[i].packet);
	}
	buf_fini(&in);
	buf_fini(&out);
}

/* A valid value for the property; 1 satisfies every range. */
static void put_property(struct buf *block, enum mqtt_property which)
{
	if (properties[which].type == PAIR)
		mqtt_put_user(block, VIEW("key"), VIEW("value"));
	else if (properties[which].type == STRING || properties[which].type == BINARY)
		mqtt_put_text(block, which, VIEW("text"));
	else
		mqtt_put_number(block, which, 1);
}

/* A packet of the type that is valid apart from its properties. */
static struct mqtt_packet plain_packet(unsigned type)
{
	struct mqtt_packet packet = {.type = (enum mqtt_type)type};

	if (type == MQTT_PUBLISH)
		packet.publish = (struct mqtt_publish){.topic = VIEW("t"), .payload = VIEW("p")};
	else if (type >= MQTT_PUBACK && type <= MQTT_PUBCOMP)
		packet.ack.packet_id = 1;
	else if (type == MQTT_SUBSCRIBE)
		packet.list = (struct mqtt_list){.packet_id = 1, .items = VIEW("\0\1a\0")};
	else if (type == MQTT_UNSUBSCRIBE)
		packet.list = (struct mqtt_list){.packet_id = 1, .items = VIEW("\0\1a")};
	else if (type == MQTT_SUBACK || type == MQTT_UNSUBACK)
		packet.list = (struct mqtt_list){.packet_id = 1, .items = VIEW("\0")};
	else if (type == MQTT_AUTH)
		packet.reason.reason = 0x18;
	return packet;
}

static void check_value(const struct mqtt_properties *got, enum mqtt_property which)
{
	if (!mqtt_has(got, which))
		fail_msg("%s is lost", mqtt_property_name(which));
	if (properties[which].type < STRING)
		assert_int_equal(got->number[which], 1);
	else if (properties[which].type == PAIR)
		assert_true(view_equal(got->text[which], VIEW("value")));
	else
		assert_true(view_equal(got->text[which], VIEW("text")));
}

/* Encodes a packet of the type with the block and decodes it as coming from the side. */
static int64_t pass(unsigned type, char side, const struct buf *block, struct buf *bytes,
	struct mqtt_packet *out)
{
	struct mqtt_packet packet = plain_packet(type);

	packet.properties.raw = buf_view(block);
	buf_clear(bytes);
	assert_int_equal(mqtt_encode(bytes, MQTT_5, &packet), 0);
	return decode(bytes, side, MQTT_5, out);
}

/* Allowed: decodes to the same value. From the other side only: a protocol error. Never: malformed.
 * Twice: a protocol error unless it may. */
static void try_property(unsigned type, char side, enum mqtt_property which)
{
	uint32_t context = context_of(side == 'c' ? MQTT_FROM_CLIENT : MQTT_FROM_SERVER, type);
	bool is_allowed = properties[which].where & context;
	struct buf block = {0};
	struct buf bytes = {0};
	struct mqtt_packet out;
	int64_t got;

	/* What AUTH and authentication data need besides. */
	if (which != MQTT_PROPERTY_AUTHENTICATION_METHOD &&
		(type == MQTT_AUTH || which == MQTT_PROPERTY_AUTHENTICATION_DATA) &&
		(properties[MQTT_PROPERTY_AUTHENTICATION_METHOD].where & context))
		put_property(&block, MQTT_PROPERTY_AUTHENTICATION_METHOD);
	put_property(&block, which);
	got = pass(type, side, &block, &bytes, &out);
	if (is_allowed) {
		assert_int_equal(got, buf_length(&bytes));
		check_value(&out.properties, which);
		put_property(&block, which);
		got = pass(type, side, &block, &bytes, &out);
		if (properties[which].many & context)
			assert_int_equal(got, buf_length(&bytes));
		else
			assert_int_equal(got, ERR_PROTOCOL);
	} else {
		assert_int_equal(got, properties[which].where & context_turned(context)
					      ? ERR_PROTOCOL
					      : ERR_MALFORMED);
	}
	buf_fini(&block);
	buf_fini(&bytes);
}

static void every_property_passes_where_it_may_and_only_there(void **state)
{
	static const char sides[] = {'c', 's'};

	(void)state;
	for (unsigned type = MQTT_CONNECT; type <= MQTT_AUTH; type++) {
		for (size_t side = 0; side < 2; side++) {
			uint32_t context = context_of((enum mqtt_side)side, type);

			if (!((ANY)&context))
				continue;
			for (unsigned p = 0; p < MQTT_PROPERTY_COUNT; p++)
				try_property(type, sides[side], (enum mqtt_property)p);
		}
	}
}

static void every_property_passes_in_a_will_where_it_may(void **state)
{
	(void)state;
	for (unsigned p = 0; p < MQTT_PROPERTY_COUNT; p++) {
		enum mqtt_property which = (enum mqtt_property)p;
		struct mqtt_packet packet = {.type = MQTT_CONNECT};
		struct mqtt_packet got;
		struct buf block = {0};
		struct buf bytes = {0};

		put_property(&block, which);
		packet.connect.has_will = true;
		packet.connect.will.topic = VIEW("t");
		packet.connect.will.properties.raw = buf_view(&block);
		assert_int_equal(mqtt_encode(&bytes, MQTT_5, &packet), 0);
		if (properties[which].where & WILL) {
			assert_int_equal(decode(&bytes, 'c', 0, &got), buf_length(&bytes));
			check_value(&got.connect.will.properties, which);
			assert_int_equal(got.properties.present, 0);
		} else {
			assert_int_equal(decode(&bytes, 'c', 0, &got), ERR_MALFORMED);
		}
		buf_fini(&block);
		buf_fini(&bytes);
	}
}

static void a_length_that_does_not_fit_appends_nothing(void **state)
{
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};
	struct view long_text = {calloc(1, 65536), 65536};
	struct buf out = {0};

	(void)state;
	buf_text(&out, "before");
	packet.publish.topic = long_text;
	assert_int_equal(mqtt_encode(&out, MQTT_5, &packet), ERR_TOO_LARGE);
	packet.publish.topic = VIEW("t");
	/* Only counted, never read. */
	packet.publish.payload = (struct view){long_text.p, 268435456u - 3};
	assert_int_equal(mqtt_encode(&out, MQTT_3_1_1, &packet), ERR_TOO_LARGE);
	packet.publish.payload.n = 0;
	packet.properties.raw = (struct view){long_text.p, 268435456u};
	assert_int_equal(mqtt_encode(&out, MQTT_5, &packet), ERR_TOO_LARGE);
	assert_true(view_equal(buf_view(&out), VIEW("before")));
	buf_fini(&out);
	free((void *)(uintptr_t)long_text.p);
}

static void the_fixed_header_of_a_publish_is_as_long_as_its_length_needs(void **state)
{
	static const struct {
		uint32_t remaining;
		size_t bytes;
	} want[] = {{0, 2}, {127, 2}, {128, 3}, {16383, 3}, {16384, 4}, {2097151, 4}, {2097152, 5},
		{268435455, 5}};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
		uint8_t header[MQTT_HEADER_LARGEST];
		size_t n = mqtt_publish_header(header, 0x0b, want[i].remaining);

		assert_int_equal(n, want[i].bytes);
		assert_int_equal(n, 1 + mqtt_varint_bytes(want[i].remaining));
		assert_int_equal(header[0], 0x3b);
		assert_int_equal(mqtt_packet_length(header, n, MQTT_PACKET_LARGEST),
			(int64_t)(n + want[i].remaining));
	}
}

static void subscription_options_are_written_for_the_version(void **state)
{
	const struct mqtt_subscription s = {VIEW("a"), 1, true, true, 2};
	struct buf out = {0};

	(void)state;
	mqtt_put_subscription(&out, MQTT_3_1_1, &s);
	mqtt_put_subscription(&out, MQTT_5, &s);
	assert_true(view_equal(buf_view(&out), VIEW("\0\1a\x01\0\1a\x2d")));
	buf_fini(&out);
}

static void a_block_is_walked_in_order(void **state)
{
	struct mqtt_property_item item;
	struct buf block = {0};
	struct view rest;

	(void)state;
	mqtt_put_number(&block, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, 268435455);
	mqtt_put_user(&block, VIEW("k"), VIEW("v"));
	mqtt_put_number(&block, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0x01020304);
	rest = buf_view(&block);
	assert_true(mqtt_next_property(&rest, &item));
	assert_true(
		item.which == MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER && item.number == 268435455);
	assert_true(mqtt_next_property(&rest, &item));
	assert_true(item.which == MQTT_PROPERTY_USER_PROPERTY && view_equal(item.name, VIEW("k")) &&
		    view_equal(item.text, VIEW("v")));
	assert_true(view_equal(item.raw, VIEW("\x26\0\1k\0\1v")));
	assert_true(mqtt_next_property(&rest, &item));
	assert_true(item.number == 0x01020304 && item.raw.n == 5);
	assert_false(mqtt_next_property(&rest, &item));
	assert_string_equal(mqtt_property_name(MQTT_PROPERTY_MAXIMUM_QOS), "Maximum QoS");
	buf_fini(&block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_in_its_shortest_form_comes_back_the_same),
		cmocka_unit_test(every_property_passes_where_it_may_and_only_there),
		cmocka_unit_test(every_property_passes_in_a_will_where_it_may),
		cmocka_unit_test(a_length_that_does_not_fit_appends_nothing),
		cmocka_unit_test(the_fixed_header_of_a_publish_is_as_long_as_its_length_needs),
		cmocka_unit_test(subscription_options_are_written_for_the_version),
		cmocka_unit_test(a_block_is_walked_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
