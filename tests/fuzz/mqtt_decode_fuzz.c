/* Any bytes, decoded as both sides and versions: no fault of memory, and what decodes can be
 * encoded and decodes to the same again. */
#include "mqtt/packet.h"

#include <stdlib.h>

#include "base/check.h"

static void check_properties(const struct mqtt_properties *a, const struct mqtt_properties *b)
{
	check(a->present == b->present && view_equal(a->raw, b->raw));
	for (unsigned i = 0; i < MQTT_PROPERTY_COUNT; i++) {
		if (!mqtt_has(a, (enum mqtt_property)i))
			continue;
		check(a->number[i] == b->number[i] && view_equal(a->text[i], b->text[i]));
	}
}

static void check_connect(const struct mqtt_connect *a, const struct mqtt_connect *b)
{
	check(a->version == b->version && a->clean_start == b->clean_start);
	check(a->has_will == b->has_will && a->keep_alive_s == b->keep_alive_s);
	check(a->has_user_name == b->has_user_name && a->has_password == b->has_password);
	check(view_equal(a->client_id, b->client_id) && view_equal(a->user_name, b->user_name));
	check(view_equal(a->password, b->password) && a->will.qos == b->will.qos);
	check(view_equal(a->will.topic, b->will.topic) && a->will.retain == b->will.retain);
	check(view_equal(a->will.payload, b->will.payload));
	check_properties(&a->will.properties, &b->will.properties);
}

static void check_publish(const struct mqtt_publish *a, const struct mqtt_publish *b)
{
	check(view_equal(a->topic, b->topic) && view_equal(a->payload, b->payload));
	check(a->packet_id == b->packet_id && a->qos == b->qos);
	check(a->retain == b->retain && a->dup == b->dup);
}

static void check_same(const struct mqtt_packet *a, const struct mqtt_packet *b)
{
	check(a->type == b->type);
	check_properties(&a->properties, &b->properties);
	if (a->type == MQTT_CONNECT)
		check_connect(&a->connect, &b->connect);
	else if (a->type == MQTT_CONNACK)
		check(a->connack.reason == b->connack.reason &&
			a->connack.session_present == b->connack.session_present);
	else if (a->type == MQTT_PUBLISH)
		check_publish(&a->publish, &b->publish);
	else if (a->type <= MQTT_PUBCOMP)
		check(a->ack.packet_id == b->ack.packet_id && a->ack.reason == b->ack.reason);
	else if (a->type <= MQTT_UNSUBACK)
		check(a->list.packet_id == b->list.packet_id && a->list.count == b->list.count &&
			view_equal(a->list.items, b->list.items));
	else if (a->type >= MQTT_DISCONNECT)
		check(a->reason.reason == b->reason.reason);
}

static void check_lists(const struct mqtt_packet *packet)
{
	struct view rest = packet->list.items;
	struct mqtt_subscription subscription;
	struct view filter;
	uint32_t count = 0;

	if (packet->type == MQTT_SUBSCRIBE) {
		while (mqtt_next_subscription(&rest, &subscription))
			count++;
	} else if (packet->type == MQTT_UNSUBSCRIBE) {
		while (mqtt_next_filter(&rest, &filter))
			count++;
	} else {
		return;
	}
	check(count == packet->list.count && rest.n == 0);
}

static void try_once(const uint8_t *p, size_t n, enum mqtt_side side, uint8_t version)
{
	struct mqtt_packet first;
	struct mqtt_packet second;
	struct buf out = {0};
	const char *why = NULL;
	int64_t got = mqtt_decode(p, n, side, version, 1 << 20, &first, &why);

	check(got <= (int64_t)n && (got >= 0 || why));
	if (got <= 0)
		return;
	check(first.bytes == got && mqtt_packet_length(p, n, 1 << 20) == got);
	check(mqtt_decode(p, (size_t)got - 1, side, version, 1 << 20, &second, NULL) == 0);
	if (first.type == MQTT_CONNECT)
		version = first.connect.version;
	check_lists(&first);
	check(mqtt_encode(&out, version, &first) == 0);
	check(buf_length(&out) <= (size_t)got); /* ours is the shortest form */
	check(mqtt_decode(buf_bytes(&out), buf_length(&out), side, version, 1 << 20, &second,
		      NULL) == (int64_t)buf_length(&out));
	check_same(&first, &second);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mqtt_connect_version(data, size);
	try_once(data, size, MQTT_FROM_CLIENT, MQTT_3_1_1);
	try_once(data, size, MQTT_FROM_CLIENT, MQTT_5);
	try_once(data, size, MQTT_FROM_SERVER, MQTT_3_1_1);
	try_once(data, size, MQTT_FROM_SERVER, MQTT_5);
	return 0;
}
