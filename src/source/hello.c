/* source/hello.c - from CONNECT to SUBACK, and what is said besides PUBLISH
 *
 *     CONNECT  -> CONNACK   refused: the reason in words; version refused: 3.1.1 from now on
 *     SUBSCRIBE -> SUBACK   a refused filter ends the attempt
 *     PINGREQ  -> PINGRESP
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
#define PUBLIC_ACCOUNT "everyone" /* user and password, not a secret (GB-41) */
#define HOLDER_SLOT 0u            /* architecture.md, "Sources": the other slot is the cluster's */
#define SUBSCRIBE_ID 1u
#define UNSUBSCRIBE_ID 2u
#define RETAIN_IF_NEW 1u /* MQTT 5, 3.8.3.1 */

static void push(struct source *s, const struct mqtt_packet *packet)
{
	mqtt_encode(conn_out(&s->conn), s->version, packet);
	conn_pushed(&s->conn);
	s->sent_ms = loop_now_ms(s->worker->loop);
}

/* --- CONNECT ----------------------------------------------------------- */

static const char *first_of(const char *a, const char *b, const char *c)
{
	const char *given = a ? a : b[0] ? b : c;

	return given ? given : PUBLIC_ACCOUNT;
}

/* The endpoint's own, else those in its URL, else the source's. */
static void credentials(const struct source *s, struct view *user, struct view *password)
{
	const struct source_config *c = &s->setup->config;
	const struct source_endpoint *e = &c->endpoints[s->endpoint_at - 1];

	*user = view_of(first_of(e->username, s->url.user, c->username));
	*password = view_of(first_of(e->password, s->url.password, c->password));
}

void source_say_connect(struct source *s)
{
	const struct source_config *c = &s->setup->config;
	struct mqtt_packet packet = {.type = MQTT_CONNECT};
	struct mqtt_connect *connect = &packet.connect;
	struct buf id = {0}, properties = {0};

	buf_printf(&id, "%s-%s-%u", s->set->centre_id, s->name, HOLDER_SLOT);
	connect->version = s->version;
	connect->client_id = buf_view(&id);
	connect->clean_start = s->clean_next;
	connect->keep_alive_s = s->set->times.keep_alive_s;
	credentials(s, &connect->user_name, &connect->password);
	connect->has_user_name = connect->user_name.n > 0;
	connect->has_password = connect->has_user_name && connect->password.n > 0;
	mqtt_put_number(&properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
	if (c->receive_maximum)
		mqtt_put_number(&properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, c->receive_maximum);
	packet.properties.raw = buf_view(&properties);
	push(s, &packet);
	buf_fini(&id);
	buf_fini(&properties);
}

void source_say_disconnect(struct source *s, uint8_t reason)
{
	struct mqtt_packet packet = {.type = MQTT_DISCONNECT, .reason.reason = reason};

	if (!conn_is_open(&s->conn) || s->state <= SOURCE_STATE_CONNACK)
		return;
	if (reason == 0 || s->version == MQTT_5)
		push(s, &packet);
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
			.retain_handling = s->version == MQTT_5 ? RETAIN_IF_NEW : 0,
		};

		mqtt_put_subscription(&items, s->version, &sub);
	}
	packet.list = (struct mqtt_list){SUBSCRIBE_ID, buf_view(&items), f->count};
	push(s, &packet);
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
	push(s, &packet);
	buf_fini(&items);
}

static void enter_connected(struct source *s)
{
	char url[URL_TEXT_BYTES];

	s->connected_ms = loop_now_ms(s->worker->loop);
	count_add(&s->figures.connects, 1);
	count_set(&s->figures.connected, 1);
	count_set(&s->figures.connected_since_ms, loop_wall_ms(s->worker->loop));
	source_filters_fini(&s->stale);
	s->memory[s->endpoint_at - 1].closes = 0;
	source_enter(s, SOURCE_STATE_CONNECTED);
	source_show_error(s, "");
	timer_start(s->worker->loop, &s->timer, 0); /* keep alive begins */
	source_probe_begin(s);
	url_format(&s->url, url);
	log_info("source", "connected", "name=%s url=%s version=%s filters=%u", s->name, url,
		s->version == MQTT_5 ? "5" : "3.1.1", s->setup->filters.count);
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
			s->version == MQTT_5 ? mqtt_reason_text(code) : "failure", f->texts[i]);
		source_drop(s, NEXT_ENDPOINT, ERR_DENIED, text);
		return 0;
	}
	if (s->state == SOURCE_STATE_SUBSCRIBING)
		enter_connected(s);
	return 0;
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

static void refused(struct source *s, uint8_t version, uint8_t code)
{
	struct view user, password;
	char text[200];

	credentials(s, &user, &password);
	if (is_credentials_fault(version, code))
		snprintf(text, sizeof(text), "bad user name or password (user %.100s)", user.p);
	else
		snprintf(text, sizeof(text), "connection refused by the broker: %s",
			refusal_text(version, code));
	source_drop(s, NEXT_ENDPOINT, ERR_CREDENTIALS, text);
}

static void fall_back(struct source *s)
{
	log_info("source", "version", "name=%s the peer does not speak MQTT 5, going on with 3.1.1",
		s->name);
	s->memory[s->endpoint_at - 1].version = MQTT_3_1_1;
	source_drop(s, NEXT_SAME, ERR_VERSION, "MQTT 5 is not spoken there");
}

static void note_clean_start(struct source *s)
{
	log_error("source", "session-dropped",
		"name=%s three protocol errors on the same packet: what the peer had queued for us "
		"is lost",
		s->name);
	count_add(&s->figures.lost_by_clean_start, 1);
	s->clean_next = false;
}

static void accepted(struct source *s, const struct mqtt_packet *packet)
{
	const struct mqtt_properties *p = &packet->properties;

	s->keep_alive_s = (uint16_t)mqtt_number(p, MQTT_PROPERTY_SERVER_KEEP_ALIVE,
		s->set->times.keep_alive_s); /* [MQTT-3.2.2-21] */
	if (s->clean_next) {
		note_clean_start(s);
		if (s->version != MQTT_5) {
			source_say_disconnect(s, 0);
			source_drop(s, NEXT_SAME, 0, "the session was dropped");
			return;
		}
	}
	source_enter(s, SOURCE_STATE_SUBSCRIBING);
	say_subscribe(s);
	say_unsubscribe(s);
}

int64_t source_take_connack(struct source *s, const uint8_t *p, size_t n)
{
	struct mqtt_packet packet;
	const char *why = NULL;
	int64_t used;

	/* A broker of 3.1.1 answers a CONNECT of MQTT 5 in its own form (3.1.1, 3.1.2.2). */
	if (s->version == MQTT_5 && n >= 4 && p[0] == MQTT_CONNACK << 4 && p[1] == 2) {
		if (p[3] > 1)
			refused(s, MQTT_3_1_1, p[3]);
		else
			fall_back(s);
		return 4;
	}
	used = mqtt_decode(p, n, MQTT_FROM_SERVER, s->version, 4096, &packet, &why);
	if (used == 0)
		return n < 4096 ? 0 : ERR_PROTOCOL;
	if (used > 0 && packet.type != MQTT_CONNACK)
		used = ERR_PROTOCOL;
	if (used < 0) {
		source_drop(s, NEXT_ADDRESS, (int)used,
			why ? why : "the peer answers CONNECT with something else");
		return (int64_t)n;
	}
	if (packet.connack.reason == 0)
		accepted(s, &packet);
	else if (s->version == MQTT_5 &&
		 packet.connack.reason == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION)
		fall_back(s);
	else
		refused(s, s->version, packet.connack.reason);
	return used;
}

/* --- the rest ---------------------------------------------------------- */

/* Only a peer that ignores the QoS it granted comes here. */
static void take_pubrel(struct source *s, uint16_t packet_id)
{
	struct mqtt_packet packet = {.type = MQTT_PUBCOMP, .ack.packet_id = packet_id};

	push(s, &packet); /* [MQTT-4.3.3-11] */
}

static void take_disconnect(struct source *s, uint8_t reason)
{
	char text[160];

	if (reason == MQTT_RC_SESSION_TAKEN_OVER)
		snprintf(text, sizeof(text), "another client connected with our client id");
	else
		snprintf(text, sizeof(text), "disconnected by the broker: %s",
			mqtt_reason_text(reason));
	source_drop(s, NEXT_ADDRESS, ERR_CLOSED, text);
}

int source_take_other(struct source *s, const struct mqtt_packet *packet, const char **why)
{
	switch (packet->type) {
	case MQTT_SUBACK:
		return take_suback(s, &packet->list, why);
	case MQTT_PUBREL:
		take_pubrel(s, packet->ack.packet_id);
		return 0;
	case MQTT_DISCONNECT:
		take_disconnect(s, packet->reason.reason);
		return 0;
	case MQTT_UNSUBACK:
		return 0;
	case MQTT_PINGRESP:
		s->ping_ms = 0;
		return 0;
	default:
		*why = "a packet that no broker sends at this point";
		return ERR_PROTOCOL;
	}
}

bool source_keep_alive(struct source *s)
{
	uint64_t now = loop_now_ms(s->worker->loop);
	uint64_t quiet_ms = (uint64_t)s->keep_alive_s * 500;
	struct mqtt_packet packet = {.type = MQTT_PINGREQ};

	if (s->heard_ms > s->ping_ms)
		s->ping_ms = 0;
	if (s->ping_ms && !s->pauses && now - s->ping_ms >= s->set->times.ping_limit_ms) {
		source_drop(s, NEXT_ADDRESS, ERR_KEEP_ALIVE, "no answer to PINGREQ");
		return false;
	}
	if (s->keep_alive_s == 0)
		return true;
	/* [MQTT-3.1.2-20]; a peer that is silent is asked as well, to find dead connections. */
	if (now - s->sent_ms >= quiet_ms || (now - s->heard_ms >= quiet_ms && s->ping_ms == 0)) {
		push(s, &packet);
		if (s->ping_ms == 0)
			s->ping_ms = now;
	}
	return true;
}
