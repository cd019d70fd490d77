/* Acknowledgements from a client: what it has of what was sent to it, what it releases of what it sent.
 *
 *      to the client     PUBLISH 1 -> PUBACK
 *                        PUBLISH 2 -> PUBREC -> PUBREL -> PUBCOMP     (session->window)
 *      from the client   PUBLISH 2 -> PUBREC -> PUBREL -> PUBCOMP     (session->received)
 *
 * PUBLISH from the client and what answers it directly is publish.c's.
 */
#include "base/error.h"
#include "broker/client.h"
#include "broker/persist.h"
#include "broker/shared.h"
#include "mqtt/reason.h"

void client_send_pubrel(struct client *c, uint16_t packet_id, uint8_t reason)
{
	struct mqtt_packet p = {.type = MQTT_PUBREL};

	p.ack.packet_id = packet_id; /* [MQTT-2.2.1-5] */
	p.ack.reason = reason;       /* [MQTT-3.6.2-1] */
	client_send(c, &p);
}

/* The window or the receive maximum has room again. */
static void go_on(struct client *c)
{
	struct session *s = c->session;
	uint32_t limit;

	shared_go_on(s);
	if (s->state != SESSION_BEHIND)
		return;
	limit = client_window(c);
	/* A quarter of the window makes the next write worth its call; a client that keeps most of
	 * what it got open must not wait for that for ever. */
	if (s->window.sent < s->window.count || inflight_room(&s->window, limit) * 4 >= limit)
		session_ready(s);
	else
		session_ready_soon(s);
}

/* An id that is not open is a repeat, or from before this session: harmless. */
static int on_answer(struct client *c, enum inflight_answer answer)
{
	if (answer == INFLIGHT_OUT_OF_ORDER)
		return client_fault(c, ERR_PROTOCOL,
			"an acknowledgement that is not the next for its packet identifier");
	if (answer == INFLIGHT_TAKEN) {
		count_add(&c->worker->counts.acknowledged, 1);
		go_on(c);
	}
	return 0;
}

int client_on_puback(struct client *c, const struct mqtt_packet *p)
{
	return on_answer(c, inflight_ack(&c->session->window, p->ack.packet_id));
}

int client_on_pubrec(struct client *c, const struct mqtt_packet *p)
{
	struct inflight *window = &c->session->window;
	enum inflight_answer answer;

	if (p->ack.reason >= 0x80) /* [MQTT-4.4.0-2], [MQTT-4.8.2-6] */
		return on_answer(c, inflight_reject(window, p->ack.packet_id));
	answer = inflight_release(window, p->ack.packet_id);
	if (answer == INFLIGHT_OUT_OF_ORDER)
		return on_answer(c, answer);
	/* [MQTT-4.3.3-4]. An id unknown here is let go as well, or the client would keep it for ever
	 * (MQTT 5, 3.6.2.1). */
	client_send_pubrel(c, p->ack.packet_id,
		answer == INFLIGHT_TAKEN ? MQTT_RC_SUCCESS : MQTT_RC_PACKET_IDENTIFIER_NOT_FOUND);
	go_on(c);
	return 0;
}

int client_on_pubcomp(struct client *c, const struct mqtt_packet *p)
{
	return on_answer(c, inflight_complete(&c->session->window, p->ack.packet_id));
}

/* The id is free again; one that was not taken is answered all the same, as the
 * PUBCOMP for it may have been lost (MQTT 5, 3.7.2.1). */
int client_on_pubrel(struct client *c, const struct mqtt_packet *p)
{
	struct mqtt_packet pubcomp = {.type = MQTT_PUBCOMP};

	pubcomp.ack.packet_id = p->ack.packet_id;                         /* [MQTT-2.2.1-5] */
	if (!received_remove(&c->session->received, p->ack.packet_id))    /* [MQTT-4.3.3-12] */
		pubcomp.ack.reason = MQTT_RC_PACKET_IDENTIFIER_NOT_FOUND; /* [MQTT-3.7.2-1] */
	else if (c->unreleased)
		c->unreleased--;
	persist_touch(c->session);
	client_send(c, &pubcomp); /* [MQTT-4.3.3-11] */
	return 0;
}
