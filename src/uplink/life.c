/* uplink/life.c - one connection from its plan to CONNECT and back
 *
 *     begin_round --> endpoint 1: look up --> address 1: connect, TLS, CONNECT
 *          ^              |                      address 2 ...
 *          |          endpoint 2 ...  (back to 1: probe.c)   |
 *          +---------- pause (1 s to 60 s) <-- all failed, or a connection was lost
 *
 * A connection ends in one place, on_close(); who wants it to end says with uplink_drop() where to
 * go on. The state is a table of allowed successors.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "uplink/pause.h"
#include "uplink/uplink.h"

#define FAILURE_LOG_MS 600000u /* the same failure is told again after so long */
#define CLOSES_BEFORE_V3 2u
#define YIELD_FAILURES 2u /* the pause after one more is 4 s and a bit */
#define TICK_MOST_MS 5000u
#define SOON_MS 100u

/* --- states ------------------------------------------------------------ */

#define TO(name) (1u << UPLINK_##name)

static const unsigned successors[UPLINK_STATE_COUNT] = {
	[UPLINK_DISABLED] = TO(RESOLVING) | TO(WAITING) | TO(STOPPED),
	[UPLINK_RESOLVING] = TO(CONNECTING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[UPLINK_CONNECTING] =
		TO(CONNACK) | TO(RESOLVING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[UPLINK_CONNACK] = TO(SUBSCRIBING) | TO(CONNECTED) | TO(CONNECTING) | TO(RESOLVING) |
			   TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[UPLINK_SUBSCRIBING] = TO(CONNECTED) | TO(CONNECTING) | TO(RESOLVING) | TO(WAITING) |
			       TO(DISABLED) | TO(STOPPED),
	[UPLINK_CONNECTED] = TO(RESOLVING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[UPLINK_WAITING] = TO(RESOLVING) | TO(DISABLED) | TO(STOPPED),
	[UPLINK_STOPPED] = 0,
};

static const char *const state_texts[UPLINK_STATE_COUNT] = {
#define X(name, text) [UPLINK_##name] = text,
#include "uplink/state.def"
#undef X
};

const char *uplink_state_text(unsigned state)
{
	return state < UPLINK_STATE_COUNT ? state_texts[state] : "?";
}

void uplink_enter(struct uplink *u, enum uplink_state state)
{
	if (state == u->state)
		return;
	check(successors[u->state] >> state & 1);
	log_debug(u->handler->room, "state", "%s from=\"%s\" to=\"%s\"", u->label,
		uplink_state_text(u->state), uplink_state_text(state));
	u->state = state;
	u->handler->on_state(u);
}

/* --- what is shown ----------------------------------------------------- */

void uplink_show_error(struct uplink *u, const char *text)
{
	pthread_mutex_lock(&u->lock);
	snprintf(u->shown.error, sizeof(u->shown.error), "%s", text);
	pthread_mutex_unlock(&u->lock);
}

static void show_endpoint(struct uplink *u)
{
	pthread_mutex_lock(&u->lock);
	url_format(&u->url, u->shown.url);
	u->shown.protocol = u->version;
	pthread_mutex_unlock(&u->lock);
}

static void show_plan(struct uplink *u)
{
	const struct uplink_plan *p = u->plan;
	struct url url;
	const char *why;

	pthread_mutex_lock(&u->lock);
	u->shown.protocol = p->protocol;
	if (p->endpoint_count && url_parse(view_of(p->endpoints[0].url), &url, &why) == 0)
		url_format(&url, u->shown.url);
	pthread_mutex_unlock(&u->lock);
}

void uplink_look(struct uplink *u, struct uplink_shown *out)
{
	pthread_mutex_lock(&u->lock);
	*out = u->shown;
	pthread_mutex_unlock(&u->lock);
}

/* The same failure over and over is one line in ten minutes. */
static void tell_failure(struct uplink *u, const char *event, const char *text)
{
	uint64_t hash = XXH3_64bits(text, strlen(text));
	char url[URL_TEXT_BYTES], quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	uplink_show_error(u, text);
	if (hash != u->failure_hash)
		u->failure_log = (struct log_limit){0};
	u->failure_hash = hash;
	if (!log_allowed(&u->failure_log, loop_now_ms(u->loop), FAILURE_LOG_MS, &skipped))
		return;
	url_format(&u->url, url);
	log_warn(u->handler->room, event, "%s url=%s why=%s repeated=%llu", u->label, url,
		log_quote(text, strlen(text), quoted), (unsigned long long)skipped);
}

/* --- the way to a connection ------------------------------------------- */

static void advance(struct uplink *u);
static void begin_round(struct uplink *u);

static uint32_t chance(const struct uplink *u)
{
	uint64_t seed[2] = {clock_mono_ns(), XXH3_64bits(u->label, strlen(u->label))};

	return (uint32_t)XXH3_64bits(seed, sizeof(seed));
}

static void wait_before_round(struct uplink *u)
{
	uint64_t delay;

	u->failures++;
	delay = pause_ms(u->failures, chance(u));
	if (u->soon)
		delay = SOON_MS;
	u->soon = false;
	if (delay > u->means->times.pause_most_ms)
		delay = u->means->times.pause_most_ms;
	uplink_enter(u, UPLINK_WAITING);
	timer_start(u->loop, &u->timer, delay);
}

void uplink_yield(struct uplink *u)
{
	if (u->failures < YIELD_FAILURES)
		u->failures = YIELD_FAILURES;
}

const struct address *uplink_local_for(const struct uplink *u, const struct address *peer)
{
	for (uint32_t i = 0; i < u->plan->bind_count; i++) {
		if (u->plan->bind[i].any.sa_family == peer->any.sa_family)
			return &u->plan->bind[i];
	}
	return NULL;
}

static void on_open(struct conn *c)
{
	struct uplink *u = container_of(c, struct uplink, conn);

	uplink_enter(u, UPLINK_CONNACK);
	timer_start(u->loop, &u->timer, u->means->times.handshake_ms);
	u->heard_ms = loop_now_ms(u->loop);
	uplink_say_connect(u);
}

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct uplink *u = container_of(c, struct uplink, conn);
	int64_t used = 0;
	ssize_t rest;

	u->heard_ms = loop_now_ms(u->loop);
	if (u->state == UPLINK_CONNACK) {
		used = uplink_take_connack(u, p, n);
		if (used < 0)
			uplink_drop(u, NEXT_ADDRESS, (int)used, err_text((int)used));
		if (used <= 0 || (size_t)used == n || !conn_is_open(c) || c->paused)
			return used < 0 ? (ssize_t)n : (ssize_t)used;
	}
	rest = u->handler->on_bytes(u, p + used, n - (size_t)used);
	return rest < 0 ? rest : rest + (ssize_t)used;
}

static void on_writable(struct conn *c)
{
	struct uplink *u = container_of(c, struct uplink, conn);

	if (u->handler->on_writable)
		u->handler->on_writable(u);
}

static void on_close(struct conn *c, int err, const char *why);

static const struct conn_handler handler = {
	.on_open = on_open,
	.on_bytes = on_bytes,
	.on_writable = on_writable,
	.on_close = on_close,
};

static int open_address(struct uplink *u)
{
	const struct address *to = &u->addresses[u->address_at++];
	struct conn_options options = {.url = &u->url};
	char at[ADDRESS_TEXT_BYTES], text[200];
	int err;

	uplink_enter(u, UPLINK_CONNECTING);
	u->next = NEXT_ADDRESS;
	u->version = u->memory[u->endpoint_at - 1].version;
	u->ping_ms = 0;
	show_endpoint(u);
	err = conn_open(&u->conn, u->loop, to, uplink_local_for(u, to),
		u->url.tls ? u->plan->tls[u->endpoint_at - 1].context : NULL,
		u->url.tls ? u->url.host : NULL, &options, &handler);
	if (err < 0) {
		address_format(to, at);
		snprintf(text, sizeof(text), "cannot connect to %s: %s", at,
			err == ERR_SYSTEM ? strerror(errno) : err_text(err));
		tell_failure(u, "failed", text);
		return err;
	}
	u->has_conn = true;
	timer_start(u->loop, &u->timer, u->means->times.handshake_ms);
	return 0;
}

static void on_answer(void *context, const struct address *addresses, int n, const char *why)
{
	struct uplink *u = context;
	char text[400];

	u->query = NULL;
	if (n == 0) {
		snprintf(text, sizeof(text), "host %s not found: %s", u->url.host, why);
		tell_failure(u, "failed", text);
	}
	u->address_count = n < RESOLVE_ADDRESSES ? n : RESOLVE_ADDRESSES;
	for (int i = 0; i < u->address_count; i++)
		u->addresses[i] = addresses[i];
	u->address_at = 0;
	advance(u);
}

/* Why this endpoint cannot be used, or NULL. */
static const char *endpoint_fault(struct uplink *u, uint32_t at)
{
	const char *why = NULL;

	if (url_parse(view_of(u->plan->endpoints[at].url), &u->url, &why) < 0)
		return why;
	if (u->url.scheme == URL_HTTP || u->url.scheme == URL_HTTPS)
		return "the address of a broker begins with mqtt://, mqtts://, ws:// or wss://";
	if (u->url.tls && u->plan->tls[at].context == NULL)
		return u->plan->tls[at].why ? u->plan->tls[at].why : "TLS cannot be set up";
	return NULL;
}

static int ask_endpoint(struct uplink *u)
{
	const char *why = endpoint_fault(u, u->endpoint_at++);

	u->address_count = 0;
	u->address_at = 0;
	if (why) {
		tell_failure(u, "failed", why);
		return ERR_CONFIG;
	}
	uplink_enter(u, UPLINK_RESOLVING);
	u->query =
		resolve_start(u->means->resolver, u->loop, u->url.host, u->url.port, on_answer, u);
	return 0;
}

/* The next address, else the next endpoint, else a pause. */
static void advance(struct uplink *u)
{
	timer_stop(u->loop, &u->timer);
	for (;;) {
		if (u->address_at < u->address_count) {
			if (open_address(u) == 0)
				return;
		} else if (u->endpoint_at < u->plan->endpoint_count) {
			if (ask_endpoint(u) == 0)
				return;
		} else {
			wait_before_round(u);
			return;
		}
	}
}

static void begin_round(struct uplink *u)
{
	if (!u->handler->is_wanted(u)) {
		timer_stop(u->loop, &u->timer);
		uplink_enter(u, UPLINK_DISABLED);
		return;
	}
	u->endpoint_at = 0;
	u->address_at = u->address_count = 0;
	advance(u);
}

/* --- the end of a connection ------------------------------------------- */

void uplink_drop(struct uplink *u, enum uplink_next next, int err, const char *text)
{
	u->next = next;
	conn_close(&u->conn, err, text);
}

/* A peer that closes on CONNECT again and again may only know the other version. */
static void note_closed_on_connect(struct uplink *u)
{
	struct uplink_memory *m = &u->memory[u->endpoint_at - 1];

	if (u->plan->protocol != MQTT_5 || ++m->closes < CLOSES_BEFORE_V3)
		return;
	m->closes = 0;
	m->version = m->version == MQTT_5 ? MQTT_3_1_1 : MQTT_5;
	log_info(u->handler->room, "version", "%s the peer closes on CONNECT, trying MQTT %s",
		u->label, m->version == MQTT_5 ? "5" : "3.1.1");
	u->next = NEXT_SAME;
}

static void go_on(struct uplink *u, bool was_connected)
{
	if (u->next == NEXT_ROUND) {
		begin_round(u);
		return;
	}
	if (was_connected) { /* not the next address: the first endpoint again, after a pause */
		wait_before_round(u);
		return;
	}
	if (u->next == NEXT_SAME)
		u->address_at--;
	else if (u->next == NEXT_ENDPOINT)
		u->address_at = u->address_count;
	advance(u);
}

static void tell_end(struct uplink *u, int err, const char *why)
{
	if (u->next == NEXT_ROUND)
		log_info(u->handler->room, "closed", "%s", u->label);
	else if (u->state == UPLINK_CONNECTED)
		tell_failure(u, "lost", why);
	else if (u->next == NEXT_ADDRESS || u->next == NEXT_ENDPOINT)
		tell_failure(u, "failed", why);
	if (err == ERR_CLOSED && u->state == UPLINK_CONNACK && u->next == NEXT_ADDRESS)
		note_closed_on_connect(u);
}

static void finish(struct uplink *u)
{
	uplink_enter(u, UPLINK_STOPPED);
	u->handler->on_stopped(u);
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct uplink *u = container_of(c, struct uplink, conn);
	uint64_t now = loop_now_ms(u->loop);
	bool was_connected = u->state == UPLINK_CONNECTED;

	u->has_conn = false;
	timer_stop(u->loop, &u->timer);
	uplink_probe_end(u);
	u->handler->on_end(u, err);
	if (u->stopping) {
		finish(u);
		return;
	}
	tell_end(u, err, why);
	if (was_connected && now - u->connected_ms >= u->means->times.stable_ms) {
		u->failures = 0;
		u->failure_hash = 0; /* the next failure is news */
	}
	go_on(u, was_connected && u->next != NEXT_ROUND);
}

/* --- timer -------------------------------------------------------------- */

static uint64_t tick_ms(const struct uplink *u)
{
	uint64_t quarter = (uint64_t)u->keep_alive_s * 250;

	return quarter == 0 || quarter > TICK_MOST_MS ? TICK_MOST_MS : quarter;
}

void uplink_connected(struct uplink *u)
{
	u->connected_ms = loop_now_ms(u->loop);
	u->memory[u->endpoint_at - 1].closes = 0;
	uplink_enter(u, UPLINK_CONNECTED);
	uplink_show_error(u, "");
	timer_start(u->loop, &u->timer, 0); /* keep alive begins */
	uplink_probe_begin(u);
}

void uplink_proved(struct uplink *u)
{
	u->failures = 0;
}

void uplink_soon(struct uplink *u)
{
	u->soon = true;
}

static void on_tick(struct uplink *u)
{
	if (!u->handler->is_wanted(u))
		uplink_leave(u);
	else if (uplink_keep_alive(u))
		timer_start(u->loop, &u->timer, tick_ms(u));
}

static void on_time(struct timer *t)
{
	struct uplink *u = container_of(t, struct uplink, timer);

	switch (u->state) {
	case UPLINK_WAITING:
		begin_round(u);
		return;
	case UPLINK_CONNECTED:
		on_tick(u);
		return;
	case UPLINK_CONNECTING:
		uplink_drop(u, NEXT_ADDRESS, ERR_TIMEOUT,
			u->conn.state == CONN_UPGRADE
				? "no answer to the WebSocket handshake in time"
				: "no connection within the time limit");
		return;
	default:
		if (u->conn.paused) /* the answer may stand behind what we do not read now */
			timer_start(u->loop, t, u->means->times.handshake_ms);
		else
			uplink_drop(u, NEXT_ADDRESS, ERR_TIMEOUT,
				"no answer to CONNECT or SUBSCRIBE in time");
	}
}

/* --- begin, change, stop ------------------------------------------------ */

void uplink_means_init(struct uplink_means *m, struct resolver *resolver)
{
	*m = (struct uplink_means){
		.resolver = resolver,
		.times =
			{
				.keep_alive_s = 60,
				.handshake_ms = 15000,
				.ping_limit_ms = 15000,
				.stable_ms = 30000,
				.pause_most_ms = PAUSE_MOST_MS,
				.probe_ms = 30000,
			},
	};
}

void uplink_endpoint_fini(struct uplink_endpoint *e)
{
	free(e->url);
	free(e->username);
	free(e->password);
	free(e->tls_ca);
	free(e->tls_max);
	*e = (struct uplink_endpoint){0};
}

bool uplink_needs_tls(const struct uplink_endpoint *e)
{
	struct url url;
	const char *why;

	return url_parse(view_of(e->url), &url, &why) == 0 && url.tls;
}

struct address *uplink_read_bind(char *const *texts, uint32_t n, uint32_t *found)
{
	struct address *list = mem_new(n * sizeof(*list));

	*found = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (address_parse(view_of(texts[i]), 0, &list[*found]))
			(*found)++;
	}
	return list;
}

void uplink_init(struct uplink *u, const struct uplink_handler *owner,
	const struct uplink_means *means, struct loop *loop, const char *label)
{
	u->handler = owner;
	u->means = means;
	u->loop = loop;
	u->label = mem_text(label);
	u->timer.on_time = on_time;
	pthread_mutex_init(&u->lock, NULL);
	uplink_probe_init(&u->probe);
}

void uplink_fini(struct uplink *u)
{
	pthread_mutex_destroy(&u->lock);
	free(u->memory);
	free(u->label);
}

void uplink_set_plan(struct uplink *u, const struct uplink_plan *plan)
{
	u->plan = plan;
	u->failures = 0;
	u->failure_hash = 0;
	free(u->memory);
	u->memory = mem_new(plan->endpoint_count * sizeof(*u->memory));
	for (uint32_t i = 0; i < plan->endpoint_count; i++)
		u->memory[i].version = plan->protocol;
	show_plan(u);
}

void uplink_begin(struct uplink *u)
{
	begin_round(u);
}

bool uplink_leave(struct uplink *u)
{
	timer_stop(u->loop, &u->timer);
	if (u->query)
		resolve_cancel(u->query);
	u->query = NULL;
	if (!u->has_conn)
		return true;
	if (u->handler->on_leave)
		u->handler->on_leave(u);
	uplink_say_disconnect(u, 0);
	uplink_drop(u, NEXT_ROUND, 0, NULL);
	return false;
}

void uplink_change(struct uplink *u, const struct uplink_plan *plan)
{
	bool is_free = uplink_leave(u);

	uplink_set_plan(u, plan);
	if (is_free)
		begin_round(u);
}

void uplink_stop(struct uplink *u)
{
	u->stopping = true;
	if (uplink_leave(u))
		finish(u);
}
