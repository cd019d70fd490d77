/* source/hello.c - what a source says and hears besides PUBLISH
 *
 *     CONNECT  -> CONNACK     by its uplink; client id and session are said here
 *     SUBSCRIBE -> SUBACK     a refused filter ends the attempt
 *
 * The client id is fixed, clean start is off: the peer keeps what is published while we are away
 * (GB-44). MQTT 3.1.1 has no clean start that keeps the session afterwards, so a session is dropped
 * there by a connection of its own.
 */
#include <stdio.h>

#include "base/error.h"
#include "mqtt/reason.h"
#include "source/internal.h"

#define SESSION_EXPIRY_S 86400u
#define SUBSCRIBE_ID 1u
#define UNSUBSCRIBE_ID 2u
#define RETAIN_IF_NEW 1u /* MQTT 5, 3.8.3.1 */

void source_on_hello(struct uplink *u, struct buf *id, bool *clean_start, struct buf *properties)
{
	struct source *s = container_of(u, struct source, uplink);
	uint16_t receive_maximum = s->setup->config.receive_maximum;

	buf_printf(id, "%s-%s-%u", s->set->centre_id, s->name, s->slot);
	*clean_start = s->clean_next;
	mqtt_put_number(properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
	if (receive_maximum)
		mqtt_put_number(properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, receive_maximum);
}

/* --- SUBSCRIBE --------------------------------------------------------- */

static void say_subscribe(struct source *s)
{
	const struct source_filters *f = &s->setup->filters;
	struct mqtt_packet packet = {.type = MQTT_SUBSCRIBE};
	struct buf items = {0};

	for (uint32_t i = 0; i < f->count; i++) {
		struct mqtt_subscription sub = {
			.filter = view_of(f->texts[i]),
			.qos = s->setup->config.qos,
			.retain_handling = s->uplink.version == MQTT_5 ? RETAIN_IF_NEW : 0,
		};

		mqtt_put_subscription(&items, s->uplink.version, &sub);
	}
	packet.list = (struct mqtt_list){SUBSCRIBE_ID, buf_view(&items), f->count};
	uplink_push(&s->uplink, &packet);
	buf_fini(&items);
}

/* Filters of an earlier configuration live on in the peer's session. */
static void say_unsubscribe(struct source *s)
{
	struct mqtt_packet packet = {.type = MQTT_UNSUBSCRIBE};
	struct buf items = {0};

	if (s->stale.count == 0)
		return;
	for (uint32_t i = 0; i < s->stale.count; i++)
		mqtt_put_string(&items, view_of(s->stale.texts[i]));
	packet.list = (struct mqtt_list){UNSUBSCRIBE_ID, buf_view(&items), s->stale.count};
	uplink_push(&s->uplink, &packet);
	buf_fini(&items);
}

static int take_suback(struct source *s, const struct mqtt_list *list, const char **why)
{
	const struct source_filters *f = &s->setup->filters;

	if (list->packet_id != SUBSCRIBE_ID || list->items.n != f->count) {
		*why = "SUBACK does not answer our SUBSCRIBE [MQTT-3.8.4-2]";
		return ERR_PROTOCOL;
	}
	for (uint32_t i = 0; i < f->count; i++) {
		uint8_t code = (uint8_t)list->items.p[i];
		char text[200];

		if (code < 0x80)
			continue;
		snprintf(text, sizeof(text), "subscription refused (%s): %.120s",
			s->uplink.version == MQTT_5 ? mqtt_reason_text(code) : "failure",
			f->texts[i]);
		uplink_drop(&s->uplink, NEXT_ENDPOINT, ERR_DENIED, text);
		return 0;
	}
	if (s->uplink.state == UPLINK_SUBSCRIBING)
		uplink_connected(&s->uplink);
	return 0;
}

/* --- CONNACK ----------------------------------------------------------- */

static void note_clean_start(struct source *s)
{
	log_error("source", "session-dropped",
		"name=%s three protocol errors on the same packet: what the peer had queued for us "
		"is lost",
		s->name);
	count_add(&s->figures.lost_by_clean_start, 1);
	s->clean_next = false;
}

void source_on_accepted(struct uplink *u, const struct mqtt_packet *connack)
{
	struct source *s = container_of(u, struct source, uplink);

	count_add(&s->figures.bytes, connack->bytes);
	s->taken = 0;
	s->told_excess = false;
	if (s->clean_next) {
		note_clean_start(s);
		if (u->version != MQTT_5) {
			uplink_say_disconnect(u, 0);
			uplink_drop(u, NEXT_SAME, 0, "the session was dropped");
			return;
		}
	}
	uplink_enter(u, UPLINK_SUBSCRIBING);
	say_subscribe(s);
	say_unsubscribe(s);
}

/* --- the rest ---------------------------------------------------------- */

/* Only a peer that ignores the QoS it granted comes here. */
static void take_pubrel(struct source *s, uint16_t packet_id)
{
	struct mqtt_packet packet = {.type = MQTT_PUBCOMP, .ack.packet_id = packet_id};

	uplink_push(&s->uplink, &packet); /* [MQTT-4.3.3-11] */
}

int source_take_other(struct source *s, const struct mqtt_packet *packet, const char **why)
{
	switch (packet->type) {
	case MQTT_SUBACK:
		return take_suback(s, &packet->list, why);
	case MQTT_PUBREL:
		take_pubrel(s, packet->ack.packet_id);
		return 0;
	case MQTT_UNSUBACK:
		return 0;
	default:
		return uplink_take_other(&s->uplink, packet, why);
	}
}
