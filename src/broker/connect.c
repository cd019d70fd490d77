/* CONNECT to CONNACK: who is it, may it, which session.
 *
 * Two things may take time and happen elsewhere: checking a hashed password (broker/password.h), and
 * fetching the session from the worker that owns it:
 *
 *     home: claim --owned by another--> owner: move_arrive (closes the old connection, lets go)
 *       ^                                  |
 *       +--------- move_home <-------------+
 *
 * Reading pauses meanwhile; the client may vanish at any time.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/client.h"
#include "broker/will.h"
#include "commit/gate.h"
#include "mqtt/reason.h"

#define CLIENT_ID_BYTES 1024u

struct session_move;

/* What CONNECT said, kept until CONNACK. */
struct connect_request {
	struct client *client;
	struct buf key;        /* of the session */
	struct view client_id; /* in key */
	uint64_t expiry_ms;
	uint32_t asked_expiry_s;
	uint16_t keep_alive_s;
	bool clean_start;
	bool is_assigned;  /* the client identifier is ours */
	struct will *will; /* owned, until the session takes it */
	struct password_check *check;
	struct session_move *move;
};

struct session_move {
	struct task task;
	struct client *client; /* home's; NULL: gone meanwhile */
	struct broker_worker *home;
	struct broker_worker *at;
	struct session *session;
	struct buf key;
};

void client_connect_fini(struct client *c)
{
	struct connect_request *r = c->connect;

	if (r == NULL)
		return;
	if (r->check)
		password_cancel(r->check);
	if (r->move)
		r->move->client = NULL;
	buf_fini(&r->key);
	will_free(&r->will);
	free(r);
	c->connect = NULL;
}

/* --- CONNACK ---------------------------------------------------------- */

static int refuse(struct client *c, int err, const char *why)
{
	uint8_t reason = err_reason_code(err);
	uint8_t code = c->version == MQTT_5 ? reason : mqtt_reason_to_v3(reason);
	struct mqtt_packet p = {.type = MQTT_CONNACK};
	struct buf block = {0};
	char address[ADDRESS_TEXT_BYTES];

	address_format(&c->conn.peer, address);
	log_info("broker", "connect-refused", "peer=%s why=\"%s\"", address, why);
	count_add(&c->worker->counts.connects_refused, 1);
	/* [MQTT-3.2.2-19] */
	if (c->version == MQTT_5 && c->wants_problem_info && strlen(why) + 16 < c->largest) {
		mqtt_put_text(&block, MQTT_PROPERTY_REASON_STRING, view_of(why));
		p.properties.raw = buf_view(&block);
	}
	p.connack.reason = code; /* [MQTT-3.2.2-6], [MQTT-3.2.2-8] */
	if (code != 0xff)
		client_send(c, &p);
	buf_fini(&block);
	conn_close(&c->conn, err, why); /* [MQTT-3.1.4-6], [MQTT-3.2.2-7] */
	return err;
}

static void put_limits(const struct client *c, const struct connect_request *r, struct buf *block)
{
	const struct broker_limits *limits = &c->worker->limits;

	if (r->expiry_ms != r->asked_expiry_s * 1000ull)
		mqtt_put_number(block, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL,
			(uint32_t)(r->expiry_ms / 1000));
	mqtt_put_number(block, MQTT_PROPERTY_RECEIVE_MAXIMUM, limits->receive_maximum);
	mqtt_put_number(block, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, ALIAS_NAMES);
	mqtt_put_number(block, MQTT_PROPERTY_RETAIN_AVAILABLE, 0);
	mqtt_put_number(block, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, limits->packet_bytes);
	mqtt_put_number(block, MQTT_PROPERTY_SHARED_SUBSCRIPTION_AVAILABLE, 0);
	if (c->keep_alive_s != r->keep_alive_s) /* [MQTT-3.2.2-21] */
		mqtt_put_number(block, MQTT_PROPERTY_SERVER_KEEP_ALIVE, c->keep_alive_s);
	if (r->is_assigned) /* [MQTT-3.1.3-7] */
		mqtt_put_text(block, MQTT_PROPERTY_ASSIGNED_CLIENT_IDENTIFIER, r->client_id);
}

static void send_connack(struct client *c, const struct connect_request *r, bool present)
{
	struct mqtt_packet p = {.type = MQTT_CONNACK};
	struct buf block = {0};

	if (c->version == MQTT_5)
		put_limits(c, r, &block);
	p.connack.session_present = present; /* [MQTT-3.2.2-2], [MQTT-3.2.2-3] */
	p.properties.raw = buf_view(&block);
	client_send(c, &p);
	buf_fini(&block);
}

/* --- session ---------------------------------------------------------- */

static void set_keep_alive(struct client *c, uint16_t asked_s)
{
	uint32_t most = c->worker->limits.keep_alive_s;

	c->keep_alive_s = asked_s; /* [MQTT-3.2.2-22] */
	/* Only MQTT 5 can be told that another one is in force. */
	if (c->version == MQTT_5 && most && (asked_s == 0 || asked_s > most))
		c->keep_alive_s = (uint16_t)most;
	timer_stop(c->worker->loop, &c->timer);
	if (c->keep_alive_s)
		timer_start(c->worker->loop, &c->timer, c->keep_alive_s * 1500ull);
}

static void log_connected(const struct client *c, bool present)
{
	char address[ADDRESS_TEXT_BYTES];
	char quoted[LOG_QUOTE_BYTES];
	struct view id = session_client_id(c->session);

	if (!log_enabled(LOG_DEBUG))
		return;
	address_format(&c->conn.peer, address);
	log_debug("broker", "client-connected", "peer=%s client_id=%s version=%d present=%d",
		address, log_quote(id.p, id.n, quoted), c->version, present);
}

static void finish(struct client *c, struct session *s, bool present)
{
	struct connect_request *r = c->connect;

	c->session = s;
	c->is_connected = true;
	s->expiry_ms = r->expiry_ms; /* [MQTT-3.1.2-23] */
	set_keep_alive(c, r->keep_alive_s);
	send_connack(c, r, present); /* [MQTT-3.1.4-5] */
	will_connected(s, &r->will);
	session_attach(s, c);
	count_add(&c->worker->counts.connects, 1);
	log_connected(c, present);
	client_connect_fini(c);
	conn_resume(&c->conn);
}

/* Ends the connection that has the session now; the session may end with it. */
static void take_from(struct session *s)
{
	struct client *old = s->client;

	if (old == NULL)
		return;
	/* [MQTT-3.1.4-3] */
	client_fault(old, ERR_TAKEN_OVER, "another connection uses this client identifier");
	old->session = NULL;
	session_detach(s);
}

static void move_arrive(struct task *task);

static void fetch(struct client *c, struct broker_worker *owner)
{
	struct session_move *m = mem_new(sizeof(*m));

	m->task.run = move_arrive;
	m->client = c;
	m->home = c->worker;
	m->at = owner;
	buf_append(&m->key, buf_bytes(&c->connect->key), buf_length(&c->connect->key));
	c->connect->move = m;
	loop_post(owner->loop, &m->task);
}

/* The session of this key if this worker owns it; *owner: who does (NULL: nobody has it). */
static struct session *find_session(
	struct broker_worker *w, struct view key, struct broker_worker **owner)
{
	struct registry *r = &w->broker->registry;
	struct session *s;

	pthread_mutex_lock(&r->lock);
	s = map_get(&r->sessions, key);
	*owner = s ? s->worker : NULL;
	pthread_mutex_unlock(&r->lock);
	return s && *owner == w ? s : NULL;
}

/* Puts a new session into the registry; NULL when there are too many or another came first. */
static struct session *make_session(struct client *c, struct view key, bool *full)
{
	struct broker_worker *w = c->worker;
	struct registry *r = &w->broker->registry;
	struct session *s = NULL;

	pthread_mutex_lock(&r->lock);
	*full = r->sessions.count >= w->limits.sessions;
	if (!*full && map_get(&r->sessions, key) == NULL) {
		s = session_new(w, key);
		s->position = w->live;
		map_put(&r->sessions, s->key, s);
	}
	pthread_mutex_unlock(&r->lock);
	return s;
}

static int claim_session(struct client *c)
{
	struct view key = buf_view(&c->connect->key);
	struct broker_worker *owner;
	struct session *s;
	bool full = false;

	for (;;) {
		s = find_session(c->worker, key, &owner);
		if (s && s->client) {
			take_from(s);
			continue;
		}
		if (s) {                             /* [MQTT-3.1.2-5] */
			if (c->connect->clean_start) /* [MQTT-3.1.2-4], [MQTT-3.1.4-4] */
				session_reset(s);
			finish(c, s, !c->connect->clean_start);
			return 0;
		}
		if (owner) {
			fetch(c, owner);
			return 0;
		}
		s = make_session(c, key, &full); /* [MQTT-3.1.2-6] */
		if (full)
			return refuse(c, ERR_QUOTA, "the limit on sessions is reached");
		if (s) {
			finish(c, s, false);
			return 0;
		}
	}
}

static void move_home(struct task *task)
{
	struct session_move *m = container_of(task, struct session_move, task);
	struct client *c = m->client;
	struct session *s = m->session;

	if (s && s->state == SESSION_OFFLINE && s->expiry_ms != UINT64_MAX)
		timer_start(m->home->loop, &s->expiry, s->expiry_ms);
	if (s && s->state == SESSION_OFFLINE)
		will_disconnected(s);
	buf_fini(&m->key);
	free(m);
	if (c) {
		c->connect->move = NULL;
		claim_session(c);
	}
}

/* On the owner's loop, as far as was known; it may have gone on meanwhile. */
static void move_arrive(struct task *task)
{
	struct session_move *m = container_of(task, struct session_move, task);
	struct broker_worker *owner;
	struct session *s = find_session(m->at, buf_view(&m->key), &owner);

	if (s && s->client) {
		take_from(s);
		s = find_session(m->at, buf_view(&m->key), &owner);
	}
	if (s == NULL && owner && owner != m->home) {
		m->at = owner;
		loop_post(owner->loop, task);
		return;
	}
	if (s) {
		struct registry *r = &m->at->broker->registry;

		timer_stop(m->at->loop, &s->expiry);
		will_pause(s);
		pthread_mutex_lock(&r->lock);
		s->worker = m->home;
		pthread_mutex_unlock(&r->lock);
		m->session = s;
	}
	task->run = move_home;
	loop_post(m->home->loop, task);
}

/* --- who is it? ------------------------------------------------------- */

static uint64_t connections_now(const struct broker *b)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < b->worker_count; i++)
		n += count_read(&b->workers[i].counts.connections);
	return n;
}

static int authenticated(struct client *c)
{
	struct connect_request *r = c->connect;
	uint64_t most = c->worker->limits.session_expiry_ms;

	if (c->worker->broker->shadow)
		return refuse(c, ERR_BUSY, "this Global Broker runs in shadow and serves nobody");
	if (connections_now(c->worker->broker) > c->worker->limits.connections)
		return refuse(c, ERR_QUOTA, "the limit on connections is reached");
	c->is_counted =
		users_enter(&c->worker->broker->users, c->account->user, c->account->connections);
	if (!c->is_counted)
		return refuse(c, ERR_QUOTA, "the account's limit on connections is reached");
	if (c->account->session_expiry_ms < most)
		most = c->account->session_expiry_ms;
	r->expiry_ms = r->asked_expiry_s * 1000ull;
	if (r->expiry_ms > most)
		r->expiry_ms = most;
	return claim_session(c);
}

static void on_password(void *context, bool matches)
{
	struct client *c = context;

	c->connect->check = NULL;
	if (matches)
		authenticated(c);
	else
		refuse(c, ERR_CREDENTIALS, "bad user name or password");
}

static int authenticate(struct client *c, const struct mqtt_connect *m)
{
	const struct account *a = c->account;

	if (a == NULL)
		return m->has_user_name
			       ? refuse(c, ERR_CREDENTIALS, "bad user name or password")
			       : refuse(c, ERR_DENIED, "a user name and a password are needed");
	if (a->password && !view_equal(m->password, view_of(a->password))) /* [MQTT-3.1.4-2] */
		return refuse(c, ERR_CREDENTIALS, "bad user name or password");
	if (a->password_hash == NULL)
		return authenticated(c);
	conn_pause(&c->conn);
	c->connect->check = password_start(c->worker->broker->passwords, c->worker->loop,
		m->password, a->password_hash, on_password, c);
	return 0;
}

/* --- CONNECT ---------------------------------------------------------- */

static void read_properties(struct client *c, const struct mqtt_packet *p)
{
	const struct mqtt_properties *props = &p->properties;

	c->version = p->connect.version;
	c->receive_maximum =
		(uint16_t)mqtt_number(props, MQTT_PROPERTY_RECEIVE_MAXIMUM, c->receive_maximum);
	c->largest = mqtt_number(props, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, c->largest);
	c->alias_maximum = (uint16_t)mqtt_number(props, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, 0);
	/* [MQTT-3.1.2-29] */
	c->wants_problem_info = c->version == MQTT_5 &&
				mqtt_number(props, MQTT_PROPERTY_REQUEST_PROBLEM_INFORMATION, 1);
}

static uint32_t asked_expiry(const struct client *c, const struct mqtt_packet *p)
{
	if (c->version != MQTT_5) /* clean session 0 keeps it as long as this server keeps any */
		return p->connect.clean_start ? 0 : UINT32_MAX;
	return mqtt_number(&p->properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, 0);
}

static void name_session(struct client *c, struct connect_request *r, struct view asked)
{
	char made[UUID_TEXT_BYTES + 8] = "isobar-";
	struct view id = asked;
	struct uuid random;

	if (asked.n == 0) {           /* [MQTT-3.1.3-6] */
		uuid_random(&random); /* [MQTT-3.2.2-16] */
		uuid_format(&random, made + 7);
		id = view_of(made);
		r->is_assigned = true;
	}
	session_key(&r->key, c->account ? c->account->user : NULL, id); /* [MQTT-3.1.3-2] */
	r->client_id = view_skip(buf_view(&r->key), buf_length(&r->key) - id.n);
}

int client_on_connect(struct client *c, const struct mqtt_packet *p)
{
	const struct mqtt_connect *m = &p->connect;
	struct connect_request *r = mem_new(sizeof(*r));

	c->connect = r;
	r->client = c;
	read_properties(c, p);
	c->accounts = accounts_ref(c->worker->accounts);
	c->account = accounts_find(c->accounts, m->has_user_name, m->user_name);
	r->clean_start = m->clean_start;
	r->keep_alive_s = m->keep_alive_s;
	r->asked_expiry_s = asked_expiry(c, p);
	/* None is supported [MQTT-4.12.0-1]. */
	if (mqtt_has(&p->properties, MQTT_PROPERTY_AUTHENTICATION_METHOD)) {
		static const uint8_t bad_method[] = {
			0x20, 3, 0, MQTT_RC_BAD_AUTHENTICATION_METHOD, 0};

		conn_push(&c->conn, bad_method, sizeof(bad_method));
		conn_close(&c->conn, ERR_DENIED, "authentication method not supported");
		return ERR_DENIED;
	}
	if (m->client_id.n > CLIENT_ID_BYTES) /* [MQTT-3.1.3-8], [MQTT3-3.1.3-9] */
		return refuse(c, ERR_CLIENT_ID, "client identifier longer than 1024 bytes");
	if (m->has_will && m->will.retain && c->version == MQTT_5 && !gate_is_wis2(m->will.topic))
		return refuse(c, ERR_RETAIN, "retain is not available [MQTT-3.2.2-13]");
	if (m->has_will) /* [MQTT3-3.1.2-12] */
		r->will = will_new(&m->will);
	name_session(c, r, m->client_id);
	conn_pause(&c->conn);
	return authenticate(c, m);
}
