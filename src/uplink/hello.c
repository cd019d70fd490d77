/* uplink/hello.c - from CONNECT to CONNACK, and what every client says besides
 *
 *     CONNECT  -> CONNACK   refused: the reason in words; version refused: 3.1.1 from now on
 *     PINGREQ  -> PINGRESP
 *     DISCONNECT, either way
 */
#include <stdio.h>

#include "base/error.h"
#include "mqtt/reason.h"
#include "uplink/uplink.h"

#define CONNACK_LARGEST 4096u

void uplink_sent(struct uplink *u)
{
	u->sent_ms = loop_now_ms(u->loop);
}

void uplink_push(struct uplink *u, const struct mqtt_packet *packet)
{
	mqtt_encode(conn_out(&u->conn), u->version, packet);
	conn_pushed(&u->conn);
	uplink_sent(u);
}

/* --- CONNECT ----------------------------------------------------------- */

static const char *first_of(const char *a, const char *b, const char *c)
{
	const char *given = a ? a : b[0] ? b : c;

	return given ? given : "";
}

/* The endpoint's own, else those in its URL, else the plan's. */
static void credentials(const struct uplink *u, struct view *user, struct view *password)
{
	const struct uplink_endpoint *e = &u->plan->endpoints[u->endpoint_at - 1];

	*user = view_of(first_of(e->username, u->url.user, u->plan->username));
	*password = view_of(first_of(e->password, u->url.password, u->plan->password));
}

void uplink_say_connect(struct uplink *u)
{
	struct mqtt_packet packet = {.type = MQTT_CONNECT};
	struct mqtt_connect *connect = &packet.connect;
	struct buf id = {0}, properties = {0};

	u->handler->on_hello(u, &id, &connect->clean_start, &properties);
	connect->version = u->version;
	connect->client_id = buf_view(&id);
	connect->keep_alive_s = u->means->times.keep_alive_s;
	credentials(u, &connect->user_name, &connect->password);
	connect->has_user_name = connect->user_name.n > 0;
	connect->has_password = connect->has_user_name && connect->password.n > 0;
	packet.properties.raw = buf_view(&properties);
	uplink_push(u, &packet);
	buf_fini(&id);
	buf_fini(&properties);
}

void uplink_say_disconnect(struct uplink *u, uint8_t reason)
{
	struct mqtt_packet packet = {.type = MQTT_DISCONNECT, .reason.reason = reason};

	if (!conn_is_open(&u->conn) || u->state <= UPLINK_CONNACK)
		return;
	if (reason == 0 || u->version == MQTT_5)
		uplink_push(u, &packet);
}

/* --- CONNACK ----------------------------------------------------------- */

/* Return codes of 3.1.1 (table 3.1). */
static const char *refusal_text(uint8_t version, uint8_t code)
{
	static const char *const v3[] = {"accepted", "protocol version not supported",
		"client identifier rejected", "server unavailable", "bad user name or password",
		"not authorized"};

	if (version == MQTT_5)
		return mqtt_reason_text(code);
	return code < sizeof(v3) / sizeof(v3[0]) ? v3[code] : "unknown return code";
}

static bool is_credentials_fault(uint8_t version, uint8_t code)
{
	return version == MQTT_5 ? code == MQTT_RC_BAD_USER_NAME_OR_PASSWORD : code == 4;
}

static void refused(struct uplink *u, uint8_t version, uint8_t code)
{
	struct view user, password;
	char text[200];

	credentials(u, &user, &password);
	if (is_credentials_fault(version, code))
		snprintf(text, sizeof(text), "bad user name or password (user %.100s)", user.p);
	else
		snprintf(text, sizeof(text), "connection refused by the broker: %s",
			refusal_text(version, code));
	uplink_drop(u, NEXT_ENDPOINT, ERR_CREDENTIALS, text);
}

static void fall_back(struct uplink *u)
{
	log_info(u->handler->room, "version",
		"%s the peer does not speak MQTT 5, going on with 3.1.1", u->label);
	u->memory[u->endpoint_at - 1].version = MQTT_3_1_1;
	uplink_drop(u, NEXT_SAME, ERR_VERSION, "MQTT 5 is not spoken there");
}

static void accepted(struct uplink *u, const struct mqtt_packet *packet)
{
	u->keep_alive_s =
		(uint16_t)mqtt_number(&packet->properties, MQTT_PROPERTY_SERVER_KEEP_ALIVE,
			u->means->times.keep_alive_s); /* [MQTT-3.2.2-21] */
	u->handler->on_accepted(u, packet);
}

int64_t uplink_take_connack(struct uplink *u, const uint8_t *p, size_t n)
{
	struct mqtt_packet packet;
	const char *why = NULL;
	int64_t used;

	/* A broker of 3.1.1 answers a CONNECT of MQTT 5 in its own form (3.1.1, 3.1.2.2). */
	if (u->version == MQTT_5 && n >= 4 && p[0] == MQTT_CONNACK << 4 && p[1] == 2) {
		if (p[3] > 1)
			refused(u, MQTT_3_1_1, p[3]);
		else
			fall_back(u);
		return 4;
	}
	used = mqtt_decode(p, n, MQTT_FROM_SERVER, u->version, CONNACK_LARGEST, &packet, &why);
	if (used == 0)
		return n < CONNACK_LARGEST ? 0 : ERR_PROTOCOL;
	if (used > 0 && packet.type != MQTT_CONNACK)
		used = ERR_PROTOCOL;
	if (used < 0) {
		uplink_drop(u, NEXT_ADDRESS, (int)used,
			why ? why : "the peer answers CONNECT with something else");
		return (int64_t)n;
	}
	if (packet.connack.reason == 0)
		accepted(u, &packet);
	else if (u->version == MQTT_5 &&
		 packet.connack.reason == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION)
		fall_back(u);
	else
		refused(u, u->version, packet.connack.reason);
	return used;
}

/* --- the rest ---------------------------------------------------------- */

static void take_disconnect(struct uplink *u, uint8_t reason)
{
	char text[160];

	if (reason == MQTT_RC_SESSION_TAKEN_OVER) {
		snprintf(text, sizeof(text), "another client connected with our client id");
		uplink_yield(u);
	} else {
		snprintf(text, sizeof(text), "disconnected by the broker: %s",
			mqtt_reason_text(reason));
	}
	uplink_drop(u, NEXT_ADDRESS, ERR_CLOSED, text);
}

int uplink_take_other(struct uplink *u, const struct mqtt_packet *packet, const char **why)
{
	switch (packet->type) {
	case MQTT_DISCONNECT:
		take_disconnect(u, packet->reason.reason);
		return 0;
	case MQTT_PINGRESP:
		u->ping_ms = 0;
		return 0;
	default:
		*why = "a packet that no broker sends at this point";
		return ERR_PROTOCOL;
	}
}

bool uplink_keep_alive(struct uplink *u)
{
	const struct uplink_times *times = &u->means->times;
	uint64_t now = loop_now_ms(u->loop);
	uint64_t quiet_ms = (uint64_t)u->keep_alive_s * 500;
	struct mqtt_packet packet = {.type = MQTT_PINGREQ};

	if (u->heard_ms > u->ping_ms)
		u->ping_ms = 0;
	if (u->ping_ms && !u->conn.paused && now - u->ping_ms >= times->ping_limit_ms) {
		uplink_drop(u, NEXT_ADDRESS, ERR_KEEP_ALIVE, "no answer to PINGREQ");
		return false;
	}
	if (u->keep_alive_s == 0)
		return true;
	/* [MQTT-3.1.2-20]; a peer that is silent is asked as well, to find dead connections. */
	if (now - u->sent_ms >= quiet_ms || (now - u->heard_ms >= quiet_ms && u->ping_ms == 0)) {
		uplink_push(u, &packet);
		if (u->ping_ms == 0)
			u->ping_ms = now;
	}
	return true;
}
