/* CONNECT to CONNACK: who is it, may it, which session.
 *
 * Two things may take time and happen elsewhere: a login that waits or is hashed (broker/login.h), and
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
#include "broker/bans.h"
#include "broker/client.h"
#include "broker/login.h"
#include "broker/roam.h"
#include "broker/will.h"
#include "mqtt/reason.h"

#define CLIENT_ID_BYTES 1024u
#define SUBJECT_BYTES 1024u /* of a client certificate, and the NUL */

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
	bool is_certified; /* its certificate stands for the account */
	struct will *will; /* owned, until the session takes it */
	struct login *login;
	struct session_move *move;
	struct roam_ask *ask; /* NULL: one machine, or a client identifier of ours */
};

struct session_move {
	struct task task;
	struct client *client; /* home's; NULL: gone meanwhile */
	struct broker_worker *home;
	struct broker_worker *at;
	struct session *session;
	struct buf key;
	uint64_t address; /* of the client */
	bool is_scoped;   /* only its own address may take it */
	bool is_refused;
	struct errand errand;
};

void client_connect_fini(struct client *c)
{
	struct connect_request *r = c->connect;

	if (r == NULL)
		return;
	if (r->login)
		login_cancel(r->login);
	if (r->move)
		r->move->client = NULL;
	roam_forget(r->ask);
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
	client_count_refused(c->worker, err);
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

static void put_limits(struct client *c, const struct connect_request *r, struct buf *block)
{
	const struct broker_limits *limits = &c->worker->limits;

	if (r->expiry_ms != r->asked_expiry_s * 1000ull)
		mqtt_put_number(block, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL,
			(uint32_t)(r->expiry_ms / 1000));
	c->told_maximum = (uint16_t)limits->receive_maximum;
	c->told_bytes = limits->packet_bytes;
	mqtt_put_number(block, MQTT_PROPERTY_RECEIVE_MAXIMUM, limits->receive_maximum);
	mqtt_put_number(block, MQTT_PROPERTY_TOPIC_ALIAS_MAXIMUM, ALIAS_NAMES);
	mqtt_put_number(block, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, limits->packet_bytes);
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

	roam_own(r->ask, s);
	c->session = s;
	c->is_connected = true;
	c->connected_s = (uint32_t)(loop_wall_ms(c->worker->loop) / 1000);
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

bool client_let_go(struct session *s)
{
	bool lasts = s->expiry_ms > 0;

	take_from(s);
	return lasts;
}

static void move_free(struct session_move *m)
{
	errand_end(&m->errand);
	buf_fini(&m->key);
	free(m);
}

static void move_drop(struct errand *e)
{
	move_free(container_of(e, struct session_move, errand));
}

static void move_arrive(struct task *task);

static void fetch(struct client *c, struct broker_worker *owner)
{
	struct session_move *m = mem_new(sizeof(*m));

	m->task.run = move_arrive;
	m->client = c;
	m->home = c->worker;
	m->at = owner;
	m->address = address_key(&c->conn.peer);
	m->is_scoped = c->account->address_scope;
	buf_append(&m->key, buf_bytes(&c->connect->key), buf_length(&c->connect->key));
	c->connect->move = m;
	errand_begin(&c->worker->broker->errands, &m->errand, move_drop);
	loop_post(owner->loop, &m->task);
}

/* Puts a new session into the registry; NULL when another came first. */
static struct session *make_session(struct client *c, struct view key)
{
	struct broker_worker *w = c->worker;
	struct registry *r = &w->broker->registry;
	struct session *s = NULL;

	pthread_mutex_lock(&r->lock);
	if (map_get(&r->sessions, key) == NULL) {
		s = session_new(w, key);
		s->position = w->live;
		map_put(&r->sessions, session_key(s), s);
	}
	pthread_mutex_unlock(&r->lock);
	return s;
}

/* A new session that is to last takes one of the places there are. */
static int begin_session(struct client *c, struct view key, struct session **out)
{
	const struct broker_limits *limits = &c->worker->limits;
	struct users *users = &c->worker->broker->users;
	const char *user = c->account->user;
	bool lasts = c->connect->expiry_ms > 0;

	if (lasts && !users_keep(users, user, limits->sessions_per_account, limits->sessions))
		return refuse(c, ERR_QUOTA, "the limit on sessions that last is reached");
	*out = make_session(c, key);
	if (*out)
		(*out)->is_kept = lasts;
	else if (lasts)
		users_drop(users, user);
	return 0;
}

/* client_id_scope: address. The session is its address's as long as it exists. */
static bool may_take(const struct session *s, uint64_t address, bool is_scoped)
{
	return !is_scoped || s->address == 0 || s->address == address;
}

static int refuse_taking(struct client *c)
{
	return refuse(c, ERR_CLIENT_ID, "another address has this client identifier");
}

/* What comes from elsewhere goes on, but for a clean start. */
static void begin(struct client *c, struct session *s)
{
	finish(c, s, !c->connect->clean_start && roam_fill(c->connect->ask, s));
}

/* Of this worker's own. False: it was ended, look again. */
static bool resume(struct client *c, struct session *s, int *err)
{
	uint64_t address = address_key(&c->conn.peer);

	*err = 0;
	if (!may_take(s, address, c->account->address_scope)) {
		*err = refuse_taking(c);
		return true;
	}
	if (s->client) {
		take_from(s);
		return false;
	}
	if (roam_is_stale(c->connect->ask, s)) {
		s->owner = 0;   /* what is elsewhere stays */
		will_forget(s); /* its client has been back since, elsewhere */
		session_end(s);
		return false;
	}
	if (c->connect->clean_start) /* [MQTT-3.1.2-4], [MQTT-3.1.4-4] */
		session_reset(s);
	finish(c, s, !c->connect->clean_start); /* [MQTT-3.1.2-5] */
	return true;
}

static int claim_session(struct client *c)
{
	struct view key = buf_view(&c->connect->key);
	struct broker_worker *owner;
	struct session *s;
	int err;

	for (;;) {
		s = session_find(c->worker, key, &owner);
		if (s && resume(c, s, &err))
			return err;
		if (s)
			continue;
		if (owner) {
			fetch(c, owner);
			return 0;
		}
		if (roam_is_unknown(c->connect->ask) && !c->connect->clean_start &&
			c->connect->expiry_ms)
			return refuse(c, ERR_BUSY,
				"other nodes may have this session and cannot be asked now");
		err = begin_session(c, key, &s); /* [MQTT-3.1.2-6] */
		if (err)
			return err;
		if (s) {
			begin(c, s);
			return 0;
		}
	}
}

static void move_home(struct task *task)
{
	struct session_move *m = container_of(task, struct session_move, task);
	struct client *c = m->client;
	struct session *s = m->session;
	bool is_refused = m->is_refused;

	if (s && s->state == SESSION_OFFLINE && s->expiry_ms != UINT64_MAX)
		timer_start(m->home->loop, &s->expiry, s->expiry_ms);
	if (s && s->state == SESSION_OFFLINE)
		will_disconnected(s);
	move_free(m);
	if (c == NULL)
		return;
	c->connect->move = NULL;
	if (is_refused)
		refuse_taking(c);
	else
		claim_session(c);
}

/* On the owner's loop, as far as was known; it may have gone on meanwhile. */
static void move_arrive(struct task *task)
{
	struct session_move *m = container_of(task, struct session_move, task);
	struct broker_worker *owner;
	struct session *s = session_find(m->at, buf_view(&m->key), &owner);

	if (s && !may_take(s, m->address, m->is_scoped)) {
		m->is_refused = true;
		s = NULL;
		owner = NULL;
	}
	if (s && s->client) {
		take_from(s);
		s = session_find(m->at, buf_view(&m->key), &owner);
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

struct view client_asked_id(const struct client *c)
{
	return c->connect ? c->connect->client_id : (struct view){NULL, 0};
}

/* --- who is it? ------------------------------------------------------- */

static void on_asked(struct client *c)
{
	if (roam_is_refused(c->connect->ask))
		refuse_taking(c);
	else
		claim_session(c);
}

static int authenticated(struct client *c)
{
	struct connect_request *r = c->connect;
	uint64_t most = c->worker->limits.session_expiry_ms;

	if (c->worker->broker->shadow)
		return refuse(c, ERR_BUSY, "this Global Broker runs in shadow and serves nobody");
	c->is_counted =
		users_enter(&c->worker->broker->users, c->account->user, c->account->connections);
	if (!c->is_counted)
		return refuse(c, ERR_QUOTA, "the account's limit on connections is reached");
	if (c->account->session_expiry_ms < most)
		most = c->account->session_expiry_ms;
	r->expiry_ms = r->asked_expiry_s * 1000ull;
	if (r->expiry_ms > most)
		r->expiry_ms = most;
	if (!r->is_assigned)
		r->ask = roam_ask(c, buf_view(&r->key),
			(r->expiry_ms ? ROAMING_LASTS : 0) | (r->clean_start ? ROAMING_CLEAN : 0),
			on_asked);
	return r->ask ? 0 : claim_session(c);
}

static void on_login(void *context, bool is_right)
{
	struct client *c = context;

	c->connect->login = NULL;
	if (is_right)
		authenticated(c);
	else
		refuse(c, ERR_CREDENTIALS, "bad user name or password"); /* [MQTT-3.1.4-2] */
}

static int authenticate(struct client *c, const struct mqtt_connect *m)
{
	if (c->account == NULL && !m->has_user_name) /* [MQTT-3.1.4-2] */
		return refuse(c, ERR_DENIED, "a user name and a password are needed");
	if (c->connect->is_certified || login_is_public(c->account, m->password))
		return authenticated(c);
	c->connect->login = login_start(
		c->worker, address_key(&c->conn.peer), c->account, m->password, on_login, c);
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
	session_put_key(&r->key, c->account ? c->account->user : NULL, id); /* [MQTT-3.1.3-2] */
	r->client_id = view_skip(buf_view(&r->key), buf_length(&r->key) - id.n);
}

/* Who is it? A verified certificate stands for the account that names its subject, unless the client
 * asks for another one by user name, for which it then needs the password. */
static void find_account(struct client *c, struct connect_request *r, const struct mqtt_connect *m)
{
	char subject[SUBJECT_BYTES], name[SUBJECT_BYTES];
	const struct account *certified = NULL;

	c->account = accounts_find(c->accounts, m->has_user_name, m->user_name);
	if (!conn_peer_subject(&c->conn, subject, sizeof(subject)))
		subject[0] = '\0';
	if (!conn_peer_name(&c->conn, name, sizeof(name)))
		name[0] = '\0';
	if (subject[0] || name[0])
		certified = accounts_find_certificate(c->accounts, view_of(subject), view_of(name));
	r->is_certified = certified && (!m->has_user_name || c->account == certified);
	if (r->is_certified)
		c->account = certified;
}

int client_on_connect(struct client *c, const struct mqtt_packet *p)
{
	const struct mqtt_connect *m = &p->connect;
	struct connect_request *r = mem_new(sizeof(*r));
	const char *why;
	int err;

	c->connect = r;
	r->client = c;
	read_properties(c, p);
	err = client_check_admission(c, &why);
	if (err)
		return refuse(c, err, why);
	c->accounts = accounts_ref(c->worker->accounts);
	find_account(c, r, m);
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
	if (m->has_will) /* [MQTT3-3.1.2-12] */
		r->will = will_new(&m->will);
	name_session(c, r, m->client_id);
	if (bans_has(c->worker->broker->bans, &c->conn.peer, r->client_id)) /* [MQTT-3.1.4-2] */
		return refuse(c, ERR_BANNED, "banned by an operator");
	conn_pause(&c->conn);
	return authenticate(c, m);
}
