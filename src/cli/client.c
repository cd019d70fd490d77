/* cli/client.c - CONNECT, then packets to the owner and acknowledgements back
 *
 *   conn open -> CONNECT -> CONNACK -> on_connected -> packets or stream ... -> on_close
 *
 * A refusal (CONNACK, DISCONNECT) is kept as err and why, so that on_close can tell it whichever
 * side closes first.
 */
#include "cli/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "mqtt/reason.h"

#define PACKET_LARGEST (16u << 20)
#define SHOWN_BYTES (65536 / 8)
#define CONNECT_PATIENCE_MS 15000u

static struct cli_client *client_of(struct conn *c)
{
	return container_of(c, struct cli_client, conn);
}

char *cli_client_reason(uint8_t version, const struct mqtt_packet *p, uint8_t reason)
{
	static const char *const v3[] = {"accepted", "unacceptable protocol version",
		"identifier rejected", "server unavailable", "bad user name or password",
		"not authorized"};
	struct view told = {NULL, 0};

	if (version != MQTT_5 && p->type == MQTT_CONNACK)
		return mem_printf(
			"%s (%u)", reason < 6 ? v3[reason] : "unknown return code", reason);
	if (mqtt_has(&p->properties, MQTT_PROPERTY_REASON_STRING))
		told = p->properties.text[MQTT_PROPERTY_REASON_STRING];
	return mem_printf("%s (0x%02x)%s%.*s", mqtt_reason_text(reason), reason, told.n ? ": " : "",
		VIEW_ARG(told));
}

/* --- sending ---------------------------------------------------------- */

int cli_client_connect_packet(const struct client_settings *s, struct buf *out)
{
	const struct client_target *t = s->target;
	struct mqtt_packet p = {.type = MQTT_CONNECT};
	char random[UUID_TEXT_BYTES + 1];
	struct buf block = {0};
	char *id = mem_text(s->id);
	struct uuid u;
	int err;

	if (id == NULL) {
		uuid_random(&u);
		uuid_format(&u, random);
		id = mem_printf("isobar-%.8s%.4s", random, random + 9);
	}
	p.connect = (struct mqtt_connect){.version = s->version,
		.clean_start = s->session_expiry_s == 0,
		.has_user_name = !t->anonymous,
		.has_password = !t->anonymous,
		.keep_alive_s = s->keep_alive_s,
		.client_id = view_of(id),
		.user_name = view_of(t->url.user),
		.password = view_of(t->url.password)};
	if (s->session_expiry_s)
		mqtt_put_number(&block, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, s->session_expiry_s);
	if (s->receive_maximum)
		mqtt_put_number(&block, MQTT_PROPERTY_RECEIVE_MAXIMUM, s->receive_maximum);
	p.properties.raw = buf_view(&block);
	err = mqtt_encode(out, s->version, &p);
	buf_fini(&block);
	free(id);
	return err;
}

static int send_packet(struct cli_client *c, const struct mqtt_packet *p)
{
	int err = mqtt_encode(conn_out(&c->conn), c->settings->version, p);

	conn_pushed(&c->conn);
	return err;
}

static void send_ack(struct cli_client *c, enum mqtt_type type, uint16_t packet_id)
{
	send_packet(c, &(struct mqtt_packet){.type = type, .ack = {.packet_id = packet_id}});
}

static uint16_t next_id(struct cli_client *c)
{
	c->last_id = (uint16_t)(c->last_id == 65535 ? 1 : c->last_id + 1);
	return c->last_id;
}

int cli_client_subscribe(
	struct cli_client *c, const struct view *filters, uint32_t count, uint8_t qos)
{
	struct mqtt_packet p = {.type = MQTT_SUBSCRIBE};
	struct buf items = {0};
	int err;

	for (uint32_t i = 0; i < count; i++)
		mqtt_put_subscription(&items, c->settings->version,
			&(struct mqtt_subscription){.filter = filters[i], .qos = qos});
	p.list = (struct mqtt_list){next_id(c), buf_view(&items), count};
	err = send_packet(c, &p);
	buf_fini(&items);
	return err ? err : c->last_id;
}

int cli_client_publish(
	struct cli_client *c, struct view topic, struct view payload, uint8_t qos, bool retain)
{
	struct mqtt_packet p = {.type = MQTT_PUBLISH};
	uint16_t id = qos ? next_id(c) : 0;
	int err;

	p.publish = (struct mqtt_publish){
		.topic = topic, .payload = payload, .packet_id = id, .qos = qos, .retain = retain};
	err = send_packet(c, &p);
	return err ? err : id;
}

void cli_client_close(struct cli_client *c)
{
	if (c->connected)
		send_packet(c, &(struct mqtt_packet){.type = MQTT_DISCONNECT});
	conn_close(&c->conn, 0, NULL);
}

/* --- receiving -------------------------------------------------------- */

static void refuse(struct cli_client *c, int err, char *why)
{
	free(c->why);
	c->why = why;
	c->err = err;
	conn_close(&c->conn, err, why);
}

/* ERR_CREDENTIALS or ERR_DENIED: refused; ERR_CLOSED: the server ends the connection for reasons of
 * its own. */
static int error_of(uint8_t version, const struct mqtt_packet *p, uint8_t reason)
{
	static const uint8_t own[] = {MQTT_RC_SERVER_UNAVAILABLE, MQTT_RC_SERVER_BUSY,
		MQTT_RC_SERVER_SHUTTING_DOWN, MQTT_RC_KEEP_ALIVE_TIMEOUT,
		MQTT_RC_SESSION_TAKEN_OVER, MQTT_RC_USE_ANOTHER_SERVER, MQTT_RC_SERVER_MOVED};
	bool is_v3 = version != MQTT_5 && p->type == MQTT_CONNACK; /* return codes of table 3.1 */

	if (reason == (is_v3 ? 4 : MQTT_RC_BAD_USER_NAME_OR_PASSWORD))
		return ERR_CREDENTIALS;
	if (is_v3)
		return reason == 3 ? ERR_CLOSED : ERR_DENIED;
	return memchr(own, reason, sizeof(own)) ? ERR_CLOSED : ERR_DENIED;
}

static void take_connack(struct cli_client *c, const struct mqtt_packet *p)
{
	uint8_t version = c->settings->version;

	if (p->connack.reason) {
		refuse(c, error_of(version, p, p->connack.reason),
			cli_client_reason(version, p, p->connack.reason));
		return;
	}
	c->connected = true;
	c->server_receive_maximum =
		(uint16_t)mqtt_number(&p->properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, 65535);
	timer_stop(c->conn.loop, &c->ping);
	if (c->settings->keep_alive_s)
		timer_start(c->conn.loop, &c->ping, c->settings->keep_alive_s * 500u);
	if (c->handler->on_connected)
		c->handler->on_connected(c, p);
}

/* Method B of MQTT 5, figure 4-3: shown on PUBLISH, its id remembered until PUBREL. */
static bool is_shown_again(struct cli_client *c, uint16_t id)
{
	uint8_t bit = (uint8_t)(1u << (id & 7));
	bool again;

	if (c->shown == NULL)
		c->shown = mem_new(SHOWN_BYTES);
	again = c->shown[id >> 3] & bit;
	c->shown[id >> 3] |= bit;
	return again;
}

static void take_publish(struct cli_client *c, const struct mqtt_packet *p)
{
	uint16_t id = p->publish.packet_id;

	if (p->publish.qos != 2 || !is_shown_again(c, id))
		c->handler->on_packet(c, p);
	if (p->publish.qos == 1)
		send_ack(c, MQTT_PUBACK, id); /* [MQTT-4.3.2-4] */
	else if (p->publish.qos == 2)
		send_ack(c, MQTT_PUBREC, id); /* [MQTT-4.3.3-8] */
}

static void take_pubrel(struct cli_client *c, const struct mqtt_packet *p)
{
	uint16_t id = p->ack.packet_id;

	if (c->shown)
		c->shown[id >> 3] &= (uint8_t) ~(1u << (id & 7));
	send_ack(c, MQTT_PUBCOMP, id); /* [MQTT-4.3.3-11] */
}

static void take_pubrec(struct cli_client *c, const struct mqtt_packet *p)
{
	if (p->ack.reason < 0x80)
		send_ack(c, MQTT_PUBREL, p->ack.packet_id); /* [MQTT-4.3.3-4] */
	c->handler->on_packet(c, p);
}

static void take_disconnect(struct cli_client *c, const struct mqtt_packet *p)
{
	refuse(c, error_of(c->settings->version, p, p->reason.reason),
		cli_client_reason(c->settings->version, p, p->reason.reason));
}

static void take_nothing(struct cli_client *c, const struct mqtt_packet *p)
{
	(void)c, (void)p;
}

static void take_for_owner(struct cli_client *c, const struct mqtt_packet *p)
{
	c->handler->on_packet(c, p);
}

static void (*const takers[16])(struct cli_client *c, const struct mqtt_packet *p) = {
	[MQTT_CONNACK] = take_connack,
	[MQTT_PUBLISH] = take_publish,
	[MQTT_PUBACK] = take_for_owner,
	[MQTT_PUBREC] = take_pubrec,
	[MQTT_PUBREL] = take_pubrel,
	[MQTT_PUBCOMP] = take_for_owner,
	[MQTT_SUBACK] = take_for_owner,
	[MQTT_UNSUBACK] = take_for_owner,
	[MQTT_PINGRESP] = take_nothing,
	[MQTT_DISCONNECT] = take_disconnect,
	[MQTT_AUTH] = take_nothing,
};

static ssize_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct cli_client *c = client_of(conn);
	size_t used = 0;

	c->quiet = false;
	while (conn->state == CONN_OPEN) {
		struct mqtt_packet packet;
		int64_t took;

		if (c->connected && c->handler->on_stream) {
			ssize_t rest = used < n ? c->handler->on_stream(c, p + used, n - used) : 0;

			return rest < 0 ? rest : (ssize_t)used + rest;
		}
		took = mqtt_decode(p + used, n - used, MQTT_FROM_SERVER, c->settings->version,
			PACKET_LARGEST, &packet, NULL);
		if (took < 0)
			return (ssize_t)took;
		if (took == 0)
			break;
		used += (size_t)took;
		if (c->connected == (packet.type == MQTT_CONNACK))
			return ERR_PROTOCOL; /* CONNACK comes first and once [MQTT-3.2.0-1] */
		takers[packet.type](c, &packet);
	}
	return (ssize_t)used;
}

static void on_open(struct conn *conn)
{
	struct cli_client *c = client_of(conn);

	cli_client_connect_packet(c->settings, conn_out(conn));
	conn_pushed(conn);
}

static void on_writable(struct conn *conn)
{
	struct cli_client *c = client_of(conn);

	if (c->connected && c->handler->on_writable)
		c->handler->on_writable(c);
}

static void on_close(struct conn *conn, int err, const char *why)
{
	struct cli_client *c = client_of(conn);
	char *kept = c->why;

	timer_stop(conn->loop, &c->ping);
	free(c->shown);
	c->shown = NULL;
	c->why = NULL;
	c->connected = false;
	c->handler->on_close(c, kept ? c->err : err, kept ? kept : why);
	free(kept);
}

static void on_ping(struct timer *t)
{
	struct cli_client *c = container_of(t, struct cli_client, ping);

	if (!c->connected || c->quiet) {
		conn_close(
			&c->conn, ERR_TIMEOUT, c->connected ? "no answer to PINGREQ" : "no answer");
		return;
	}
	c->quiet = true;
	send_packet(c, &(struct mqtt_packet){.type = MQTT_PINGREQ});
	timer_start(c->conn.loop, t, c->settings->keep_alive_s * 500u);
}

int cli_client_open(struct cli_client *c, struct loop *l, const struct client_settings *settings,
	const struct client_handler *handler)
{
	static const struct conn_handler callbacks = {.on_open = on_open,
		.on_bytes = on_bytes,
		.on_writable = on_writable,
		.on_close = on_close};
	const struct client_target *t = settings->target;
	struct conn_options options = {
		.receive_buffer_bytes = settings->receive_buffer_bytes, .url = &t->url};
	int err;

	*c = (struct cli_client){
		.handler = handler, .settings = settings, .ping = {.on_time = on_ping}};
	timer_start(l, &c->ping, CONNECT_PATIENCE_MS);
	err = conn_open(&c->conn, l, &t->address, NULL, t->tls, t->tls ? t->url.host : NULL,
		&options, &callbacks);
	if (err < 0)
		timer_stop(l, &c->ping);
	return err;
}
