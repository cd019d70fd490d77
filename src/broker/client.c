#include "broker/client.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/promise.h"
#include "broker/shared.h"
#include "mqtt/reason.h"

#define FIRST_PACKET_BYTES (64u * 1024u) /* CONNECT: identifier, will, user, password */
#define ANSWER_TIME_MS 60000u            /* CONNACK, at the latest */
#define UNSENT_ANSWERS (64u * 1024u)     /* bytes, besides the rest of a message */

/* --- sending ---------------------------------------------------------- */

void client_send(struct client *c, const struct mqtt_packet *p)
{
	struct buf *out = conn_out(&c->conn);
	size_t before = buf_length(out);

	mqtt_encode(out, c->version, p);
	if (buf_length(out) - before > c->largest) { /* [MQTT-3.1.2-24] */
		buf_cut(out, before);
		conn_close(&c->conn, ERR_TOO_LARGE,
			"an answer above the client's maximum packet size");
		return;
	}
	conn_pushed(&c->conn);
	count_add(&c->worker->counts.answers_sent, 1);
}

uint32_t client_window(const struct client *c)
{
	uint32_t own = c->account->in_flight ? c->account->in_flight : c->worker->limits.in_flight;

	/* [MQTT-3.3.4-9], [MQTT-4.9.0-1] */
	return own < c->receive_maximum ? own : c->receive_maximum;
}

struct alias_sent *client_aliases(struct client *c)
{
	if (c->aliases == NULL && c->alias_maximum) /* [MQTT-3.1.2-27] */
		c->aliases = alias_sent_new(c->alias_maximum);
	return c->aliases;
}

/* A packet of only a reason code, where else to go, and, if wanted, a reason string that fits. */
static void send_disconnect(struct client *c, int err, const char *why)
{
	struct mqtt_packet p = {.type = MQTT_DISCONNECT};
	struct buf block = {0};

	const char *elsewhere = c->worker->broker->elsewhere;

	p.reason.reason = err_reason_code(err); /* [MQTT-3.14.2-1] */
	if (err == ERR_ELSEWHERE && elsewhere[0] && strlen(elsewhere) + 16 < c->largest)
		mqtt_put_text(&block, MQTT_PROPERTY_SERVER_REFERENCE, view_of(elsewhere));
	/* [MQTT-3.14.2-3] */
	if (why && c->wants_problem_info && buf_length(&block) + strlen(why) + 16 < c->largest)
		mqtt_put_text(&block, MQTT_PROPERTY_REASON_STRING, view_of(why));
	p.properties.raw = buf_view(&block);
	client_send(c, &p);
	buf_fini(&block);
}

int client_fault(struct client *c, int err, const char *why)
{
	/* A server of 3.1.1 just closes; MQTT 5 says why, but not before CONNACK [MQTT-3.14.0-1]. */
	if (c->is_connected && c->version == MQTT_5 && conn_is_open(&c->conn))
		send_disconnect(c, err, why);
	/* [MQTT-3.14.4-1], [MQTT-3.14.4-2], [MQTT-4.13.1-1], [MQTT-4.13.2-1] */
	conn_close(&c->conn, err, why);
	return err;
}

/* --- packets ---------------------------------------------------------- */

static int on_pingreq(struct client *c, const struct mqtt_packet *p)
{
	(void)p;
	client_send(c, &(struct mqtt_packet){.type = MQTT_PINGRESP}); /* [MQTT-3.12.4-1] */
	return 0;
}

static uint64_t expiry_within(const struct client *c, uint32_t asked_s)
{
	uint64_t most = c->worker->limits.session_expiry_ms;
	uint64_t asked = asked_s * 1000ull;

	if (c->account->session_expiry_ms < most)
		most = c->account->session_expiry_ms;
	return asked < most ? asked : most;
}

static int on_disconnect(struct client *c, const struct mqtt_packet *p)
{
	if (mqtt_has(&p->properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL)) {
		uint32_t asked = p->properties.number[MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL];

		/* Zero at CONNECT cannot become more (MQTT 5, 3.14.2.2.2). */
		if (c->session->expiry_ms == 0 && asked)
			return client_fault(c, ERR_PROTOCOL,
				"session expiry interval set in DISCONNECT, zero in CONNECT");
		c->session->expiry_ms = expiry_within(c, asked);
	}
	if (p->reason.reason == MQTT_RC_SUCCESS) /* [MQTT-3.1.2-10], [MQTT-3.14.4-3] */
		will_forget(c->session);
	conn_close(&c->conn, ERR_CLOSED, "DISCONNECT");
	return 0;
}

static int on_auth(struct client *c, const struct mqtt_packet *p)
{
	(void)p;
	/* No authentication method was agreed in CONNECT, so re-authentication has none
	 * [MQTT-4.12.1-2]. */
	return client_fault(c, ERR_PROTOCOL, "AUTH without an authentication method");
}

static int on_second_connect(struct client *c, const struct mqtt_packet *p)
{
	(void)p;
	/* [MQTT-3.1.0-2], [MQTT-3.2.0-2] */
	return client_fault(c, ERR_PROTOCOL, "second CONNECT [MQTT-3.1.0-2]");
}

typedef int on_packet(struct client *c, const struct mqtt_packet *p);

static on_packet *const handlers[16] = {
	[MQTT_CONNECT] = on_second_connect,
	[MQTT_PUBACK] = client_on_puback,
	[MQTT_PUBREC] = client_on_pubrec,
	[MQTT_PUBREL] = client_on_pubrel,
	[MQTT_PUBCOMP] = client_on_pubcomp,
	[MQTT_SUBSCRIBE] = client_on_subscribe,
	[MQTT_UNSUBSCRIBE] = client_on_unsubscribe,
	[MQTT_PINGREQ] = on_pingreq,
	[MQTT_DISCONNECT] = on_disconnect,
	[MQTT_AUTH] = on_auth,
};

/* --- bytes ------------------------------------------------------------ */

static uint32_t largest_now(const struct client *c)
{
	uint32_t limit = c->told_bytes ? c->told_bytes : c->worker->limits.packet_bytes;

	return c->is_connected || limit < FIRST_PACKET_BYTES ? limit : FIRST_PACKET_BYTES;
}

/* A CONNECT that cannot be read is refused in the form of the version it names, as far as that has a
 * code for it; an unknown version in that of the nearest. */
static void refuse_first(struct client *c, int err, uint8_t version)
{
	uint8_t reason = err_reason_code(err);
	uint8_t code = version >= MQTT_5 ? reason : mqtt_reason_to_v3(reason);
	uint8_t connack[] = {MQTT_CONNACK << 4, 2, 0, code, 0};

	if (version == 0 || code == 0xff) /* [MQTT3-3.1.4-1], [MQTT3-3.2.2-6] */
		return;
	client_count_refused(c->worker, err);
	if (version >= MQTT_5)
		connack[1] = 3;                        /* with an empty property block */
	conn_push(&c->conn, connack, connack[1] + 2u); /* [MQTT-3.1.2-2] */
}

static int on_decode_fault(struct client *c, int err, struct view packet, const char *why)
{
	if (!c->is_connected && c->connect == NULL)
		refuse_first(c, err, mqtt_connect_version((const uint8_t *)packet.p, packet.n));
	return client_fault(c, err, why); /* [MQTT-3.1.4-1] */
}

/* One packet at p. >0 bytes consumed, 0 need more or cannot take it now, <0 a fault. */
static int64_t take_packet(struct client *c, const uint8_t *p, size_t n, uint32_t *batched)
{
	int64_t length = mqtt_packet_length(p, n, largest_now(c));
	struct mqtt_packet packet;
	const char *why = NULL;
	int64_t used;
	int err = 0;

	/* Known from the first byte [MQTT-3.1.0-1]: another protocol's client is not kept waiting. */
	if (!c->is_connected && c->connect == NULL && p[0] >> 4 != MQTT_CONNECT)
		return client_fault(c, ERR_PROTOCOL, "first packet is not CONNECT");
	if (length < 0)
		return on_decode_fault(
			c, (int)length, (struct view){(const char *)p, n}, err_text((int)length));
	if (length == 0 || (size_t)length > n) {
		conn_want(&c->conn, (uint32_t)length);
		return 0;
	}
	used = mqtt_decode(p, n, MQTT_FROM_CLIENT, c->version, largest_now(c), &packet, &why);
	if (used < 0)
		return on_decode_fault(
			c, (int)used, (struct view){(const char *)p, (size_t)length}, why);
	if (!c->is_connected) /* [MQTT-3.2.0-1] */
		err = c->connect ? ERR_HELD : client_on_connect(c, &packet);
	else if (packet.type == MQTT_PUBLISH)
		err = client_on_publish(c, &packet, batched);
	else if ((err = client_commit(c, batched)) == 0)
		err = handlers[packet.type](c, &packet);
	return err == ERR_HELD ? 0 : err < 0 ? err : used;
}

/* The PUBACK of a busy subscriber, all that most reads contain: 40 02 id id. */
static bool is_short_puback(const struct client *c, const uint8_t *p, size_t n)
{
	return c->is_connected && n >= 4 && p[0] == 0x40 && p[1] == 2 && (p[2] | p[3]);
}

/* A client that asks for answers and takes none is read no further, so that they do not pile up. */
static bool has_too_many(const struct client *c)
{
	return conn_pending(&c->conn) > c->worker->limits.packet_bytes + UNSENT_ANSWERS ||
	       c->promise_count >= PROMISES_MOST;
}

void client_read_on(struct client *c)
{
	if (!c->is_choked || c->promise_count >= PROMISES_MOST)
		return;
	c->is_choked = false;
	conn_resume(&c->conn);
}

static bool is_choked(struct client *c)
{
	if (!has_too_many(c))
		return false;
	c->is_choked = true;
	conn_pause(&c->conn);
	return true;
}

static ssize_t on_bytes(struct conn *conn, const uint8_t *p, size_t n)
{
	struct client *c = container_of(conn, struct client, conn);
	uint32_t batched = 0; /* PUBLISH packets not yet committed */
	size_t committed = 0; /* where they begin */
	size_t at = 0;
	uint32_t packets = 0;
	uint32_t settled = 0; /* of these, before `committed` */

	c->heard_ms = loop_now_ms(c->worker->loop);
	c->is_held = false;
	while (at < n && conn_is_open(conn) && !is_choked(c)) {
		int64_t used = 4;

		if (batched == 0) {
			committed = at;
			settled = packets;
		}
		if (batched == 0 && is_short_puback(c, p + at, n - at))
			client_on_puback(c,
				&(struct mqtt_packet){
					.ack.packet_id = (uint16_t)(p[at + 2] << 8 | p[at + 3])});
		else
			used = take_packet(c, p + at, n - at, &batched);
		if (used <= 0)
			break;
		at += (size_t)used;
		packets++;
	}
	if (batched)
		client_commit(c, &batched);
	/* A batch not taken is shown again, and counted then. */
	count_add(&c->worker->counts.packets_received, c->is_held ? settled : packets);
	if (!conn_is_open(conn))
		return (ssize_t)n;
	return (ssize_t)(c->is_held ? committed : at);
}

/* --- life ------------------------------------------------------------- */

static void on_writable(struct conn *conn)
{
	struct client *c = container_of(conn, struct client, conn);

	client_read_on(c);
	if (c->session) {
		session_ready(c->session);
		shared_go_on(c->session);
	}
}

/* The time limits: CONNECT must come, then something within one and a half times the keep alive. */
static void on_time(struct timer *t)
{
	struct client *c = container_of(t, struct client, timer);
	uint64_t now = loop_now_ms(c->worker->loop);
	uint64_t limit = c->keep_alive_s * 1500ull;

	/* It has come, and is answered when the login or the session's worker has. */
	if (c->connect && now - c->heard_ms < ANSWER_TIME_MS) {
		timer_start(c->worker->loop, t, c->heard_ms + ANSWER_TIME_MS - now);
		return;
	}
	if (!c->is_connected) {
		conn_close(&c->conn, ERR_TIMEOUT,
			c->connect ? "no answer to CONNECT in time" : "no CONNECT in time");
		return;
	}
	if (now - c->heard_ms >= limit) { /* [MQTT-3.1.2-22] */
		client_fault(c, ERR_KEEP_ALIVE, "nothing heard within 1.5 times the keep alive");
		return;
	}
	timer_start(c->worker->loop, t, c->heard_ms + limit - now);
}

static void log_end(const struct client *c, int err, const char *why)
{
	char address[ADDRESS_TEXT_BYTES];
	char quoted[LOG_QUOTE_BYTES];
	char reason[LOG_QUOTE_BYTES];
	struct view id = c->session ? session_client_id(c->session) : VIEW("");

	if (!log_enabled(LOG_DEBUG) && (err == 0 || err == ERR_CLOSED))
		return;
	address_format(&c->conn.peer, address);
	log_event(err == 0 || err == ERR_CLOSED ? LOG_DEBUG : LOG_INFO, "broker", "client-closed",
		"peer=%s client_id=%s why=%s", address, log_quote(id.p, id.n, quoted),
		log_quote(why, strlen(why), reason));
}

static void on_close(struct conn *conn, int err, const char *why)
{
	struct client *c = container_of(conn, struct client, conn);
	struct broker_worker *w = c->worker;

	log_end(c, err, why);
	timer_stop(w->loop, &c->timer);
	roster_pass(w, c);
	list_remove(&c->link);
	client_admit_end(c);
	promise_forget_all(c);
	if (c->session)
		session_detach(c->session);
	client_publish_fini(c);
	client_connect_fini(c);
	if (c->is_counted)
		users_leave(&w->broker->users, c->account->user);
	accounts_unref(c->accounts);
	free(c);
	count_drop(&w->counts.connections, 1); /* what it held of limits and sessions is free */
}

const struct conn_handler client_handler = {
	.on_bytes = on_bytes,
	.on_writable = on_writable,
	.on_close = on_close,
};

#define CONNECT_TIME_MS 10000u

static struct client *client_new(struct broker_worker *w, enum admission admission)
{
	struct client *c = mem_new(sizeof(*c));

	c->worker = w;
	c->number = roster_number(w);
	c->admission = (uint8_t)admission;
	c->largest = MQTT_PACKET_LARGEST;
	c->receive_maximum = 65535;
	c->timer.on_time = on_time;
	list_append(&w->clients, &c->link);
	list_init(&c->promises);
	client_publish_init(c);
	count_add(&w->counts.connections, 1);
	return c;
}

/* err < 0: the connection came to nothing, and on_close will not be called. */
static void client_begin(struct client *c, int err, const struct address *peer)
{
	struct broker_worker *w = c->worker;

	if (err == 0) {
		timer_start(w->loop, &c->timer, CONNECT_TIME_MS);
		return;
	}
	c->conn.peer = *peer;
	client_admit_end(c);
	list_remove(&c->link);
	count_drop(&w->counts.connections, 1);
	client_publish_fini(c);
	free(c);
}

static struct conn_options options_of(const struct broker_worker *w)
{
	return (struct conn_options){.send_buffer_bytes = w->limits.send_buffer_bytes};
}

void broker_accept(struct broker_worker *w, const struct arrival *a)
{
	struct conn_options options = options_of(w);
	enum admission admission = client_admit(w, a->peer);
	struct client *c;

	if (admission == ADMISSION_NOT_TAKEN) {
		close(a->fd);
		return;
	}
	c = client_new(w, admission);
	client_begin(c, conn_accept(&c->conn, w->loop, a, &options, &client_handler), a->peer);
}

void broker_accept_open(struct broker_worker *w, struct conn *from)
{
	struct conn_options options = options_of(w);
	struct address peer = from->peer;
	enum admission admission;
	struct client *c;

	if (w->is_stopping) /* nobody would end it */
		return;
	admission = client_admit(w, &peer);
	if (admission == ADMISSION_NOT_TAKEN)
		return;
	c = client_new(w, admission);
	client_begin(c, conn_move(&c->conn, from, &options, &client_handler), &peer);
}
