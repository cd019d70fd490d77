/* source/life.c - one source from configuration to connection and back
 *
 *     begin_round --> endpoint 1: look up --> address 1: connect, TLS, CONNECT, SUBSCRIBE
 *          ^              |                      address 2 ...
 *          |          endpoint 2 ...  (back to 1: probe.c)   |
 *          +---------- pause (1 s to 60 s) <-- all failed, or a connection was lost
 *
 * A connection ends in one place, on_close(); who wants it to end says with source_drop() where to
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
#include "source/internal.h"

#define FAILURE_LOG_MS 600000u /* the same failure is told again after so long */
#define CLOSES_BEFORE_V3 2u
#define TICK_MOST_MS 5000u

/* --- states ------------------------------------------------------------ */

#define TO(name) (1u << SOURCE_STATE_##name)

static const unsigned successors[SOURCE_STATE_COUNT] = {
	[SOURCE_STATE_DISABLED] = TO(RESOLVING) | TO(WAITING) | TO(STOPPED),
	[SOURCE_STATE_RESOLVING] = TO(CONNECTING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_CONNECTING] =
		TO(CONNACK) | TO(RESOLVING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_CONNACK] = TO(SUBSCRIBING) | TO(CONNECTING) | TO(RESOLVING) | TO(WAITING) |
				 TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_SUBSCRIBING] = TO(CONNECTED) | TO(CONNECTING) | TO(RESOLVING) | TO(WAITING) |
				     TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_CONNECTED] = TO(RESOLVING) | TO(WAITING) | TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_WAITING] = TO(RESOLVING) | TO(DISABLED) | TO(STOPPED),
	[SOURCE_STATE_STOPPED] = 0,
};

void source_enter(struct source *s, enum source_state state)
{
	if (state == s->state)
		return;
	check(successors[s->state] >> state & 1);
	log_debug("source", "state", "name=%s from=\"%s\" to=\"%s\"", s->name,
		source_state_text(s->state), source_state_text(state));
	s->state = state;
	count_set(&s->figures.state, state);
}

/* --- what is shown ----------------------------------------------------- */

void source_show_error(struct source *s, const char *text)
{
	pthread_mutex_lock(&s->set->text_lock);
	snprintf(s->shown.error, sizeof(s->shown.error), "%s", text);
	pthread_mutex_unlock(&s->set->text_lock);
}

void source_show_protocol(struct source *s)
{
	char url[URL_TEXT_BYTES];

	url_format(&s->url, url);
	pthread_mutex_lock(&s->set->text_lock);
	memcpy(s->shown.url, url, sizeof(url));
	s->shown.protocol = s->version;
	pthread_mutex_unlock(&s->set->text_lock);
}

static void show_setup(struct source *s)
{
	const struct source_config *c = &s->setup->config;
	struct url url;
	const char *why;

	pthread_mutex_lock(&s->set->text_lock);
	snprintf(s->shown.centre_id, sizeof(s->shown.centre_id), "%s", c->centre_id);
	s->shown.kind = c->kind;
	s->shown.enabled = c->enabled;
	s->shown.protocol = c->protocol;
	if (c->endpoint_count && url_parse(view_of(c->endpoints[0].url), &url, &why) == 0)
		url_format(&url, s->shown.url);
	pthread_mutex_unlock(&s->set->text_lock);
}

/* The same failure over and over is one line in ten minutes. */
static void tell_failure(struct source *s, const char *event, const char *text)
{
	uint64_t hash = XXH3_64bits(text, strlen(text));
	char url[URL_TEXT_BYTES], quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	source_show_error(s, text);
	if (hash != s->failure_hash)
		s->failure_log = (struct log_limit){0};
	s->failure_hash = hash;
	if (!log_allowed(&s->failure_log, loop_now_ms(s->worker->loop), FAILURE_LOG_MS, &skipped))
		return;
	url_format(&s->url, url);
	log_warn("source", event, "name=%s centre_id=%s url=%s why=%s repeated=%llu", s->name,
		s->setup->config.centre_id, url, log_quote(text, strlen(text), quoted),
		(unsigned long long)skipped);
}

/* --- the way to a connection ------------------------------------------- */

static void advance(struct source *s);
static void begin_round(struct source *s);

static uint32_t chance(const struct source *s)
{
	uint64_t seed[2] = {clock_mono_ns(), s->number};

	return (uint32_t)XXH3_64bits(seed, sizeof(seed));
}

static void wait_before_round(struct source *s)
{
	uint64_t delay;

	s->failures++;
	delay = pause_ms(s->failures, chance(s));
	if (delay > s->set->times.pause_most_ms)
		delay = s->set->times.pause_most_ms;
	source_enter(s, SOURCE_STATE_WAITING);
	timer_start(s->worker->loop, &s->timer, delay);
}

/* The first of our addresses in the peer's family; {0} family: any. */
const struct address *source_local_for(
	const struct source *s, const struct address *peer, struct address *room)
{
	const struct source_config *c = &s->setup->config;

	for (uint32_t i = 0; i < c->bind_count; i++) {
		if (address_parse(view_of(c->bind[i]), 0, room) &&
			room->any.sa_family == peer->any.sa_family)
			return room;
	}
	for (uint32_t i = 0; i < s->set->bind_count && c->bind_count == 0; i++) {
		if (s->set->bind[i].any.sa_family == peer->any.sa_family)
			return &s->set->bind[i];
	}
	return NULL;
}

static void on_open(struct conn *c)
{
	struct source *s = container_of(c, struct source, conn);

	source_enter(s, SOURCE_STATE_CONNACK);
	timer_start(s->worker->loop, &s->timer, s->set->times.handshake_ms);
	s->heard_ms = loop_now_ms(s->worker->loop);
	source_say_connect(s);
}

static void on_close(struct conn *c, int err, const char *why);

static const struct conn_handler handler = {
	.on_open = on_open,
	.on_bytes = source_on_bytes,
	.on_close = on_close,
};

static int open_address(struct source *s)
{
	const struct address *to = &s->addresses[s->address_at++];
	struct conn_options options = {.url = &s->url};
	struct address room;
	char at[ADDRESS_TEXT_BYTES], text[200];
	int err;

	source_enter(s, SOURCE_STATE_CONNECTING);
	s->next = NEXT_ADDRESS;
	s->version = s->memory[s->endpoint_at - 1].version;
	s->taken = 0;
	s->told_excess = false;
	s->ping_ms = 0;
	source_show_protocol(s);
	err = conn_open(&s->conn, s->worker->loop, to, source_local_for(s, to, &room),
		s->url.tls ? s->setup->tls : NULL, s->url.tls ? s->url.host : NULL, &options,
		&handler);
	if (err < 0) {
		address_format(to, at);
		snprintf(text, sizeof(text), "cannot connect to %s: %s", at,
			err == ERR_SYSTEM ? strerror(errno) : err_text(err));
		tell_failure(s, "failed", text);
		return err;
	}
	s->has_conn = true;
	timer_start(s->worker->loop, &s->timer, s->set->times.handshake_ms);
	return 0;
}

static void on_answer(void *context, const struct address *addresses, int n, const char *why)
{
	struct source *s = context;
	char text[400];

	s->query = NULL;
	if (n == 0) {
		snprintf(text, sizeof(text), "host %s not found: %s", s->url.host, why);
		tell_failure(s, "failed", text);
	}
	s->address_count = n < RESOLVE_ADDRESSES ? n : RESOLVE_ADDRESSES;
	for (int i = 0; i < s->address_count; i++)
		s->addresses[i] = addresses[i];
	s->address_at = 0;
	advance(s);
}

/* Why this endpoint cannot be used, or NULL. */
static const char *endpoint_fault(struct source *s, const char *text)
{
	const char *why = NULL;

	if (url_parse(view_of(text), &s->url, &why) < 0)
		return why;
	if (s->url.scheme == URL_HTTP || s->url.scheme == URL_HTTPS)
		return "a source's address begins with mqtt://, mqtts://, ws:// or wss://";
	if (s->url.tls && s->setup->tls == NULL)
		return s->setup->tls_why ? s->setup->tls_why : "TLS cannot be set up";
	return NULL;
}

static int ask_endpoint(struct source *s)
{
	const char *why = endpoint_fault(s, s->setup->config.endpoints[s->endpoint_at++].url);

	s->address_count = 0;
	s->address_at = 0;
	if (why) {
		tell_failure(s, "failed", why);
		return ERR_CONFIG;
	}
	source_enter(s, SOURCE_STATE_RESOLVING);
	s->query = resolve_start(
		s->set->resolver, s->worker->loop, s->url.host, s->url.port, on_answer, s);
	return 0;
}

/* The next address, else the next endpoint, else a pause. */
static void advance(struct source *s)
{
	timer_stop(s->worker->loop, &s->timer);
	for (;;) {
		if (s->address_at < s->address_count) {
			if (open_address(s) == 0)
				return;
		} else if (s->endpoint_at < s->setup->config.endpoint_count) {
			if (ask_endpoint(s) == 0)
				return;
		} else {
			wait_before_round(s);
			return;
		}
	}
}

static bool is_over(const struct source *s)
{
	uint64_t until = s->setup->config.until_ms;

	return until && loop_wall_ms(s->worker->loop) >= until;
}

static void begin_round(struct source *s)
{
	if (s->setup->config.enabled && is_over(s))
		log_info("source", "over", "name=%s its date (until) has passed", s->name);
	if (!s->setup->config.enabled || is_over(s)) {
		timer_stop(s->worker->loop, &s->timer);
		source_enter(s, SOURCE_STATE_DISABLED);
		return;
	}
	s->endpoint_at = 0;
	s->address_at = s->address_count = 0;
	advance(s);
}

/* --- the end of a connection ------------------------------------------- */

void source_drop(struct source *s, enum source_next next, int err, const char *text)
{
	s->next = next;
	conn_close(&s->conn, err, text);
}

/* A peer that closes on CONNECT again and again may only know the other version. */
static void note_closed_on_connect(struct source *s)
{
	struct source_memory *m = &s->memory[s->endpoint_at - 1];

	if (s->setup->config.protocol != MQTT_5 || ++m->closes < CLOSES_BEFORE_V3)
		return;
	m->closes = 0;
	m->version = m->version == MQTT_5 ? MQTT_3_1_1 : MQTT_5;
	log_info("source", "version", "name=%s the peer closes on CONNECT, trying MQTT %s", s->name,
		m->version == MQTT_5 ? "5" : "3.1.1");
	s->next = NEXT_SAME;
}

static void go_on(struct source *s, bool was_connected)
{
	if (s->next == NEXT_ROUND) {
		begin_round(s);
		return;
	}
	if (was_connected) { /* not the next address: the first endpoint again, after a pause */
		wait_before_round(s);
		return;
	}
	if (s->next == NEXT_SAME)
		s->address_at--;
	else if (s->next == NEXT_ENDPOINT)
		s->address_at = s->address_count;
	advance(s);
}

static void tell_end(struct source *s, int err, const char *why)
{
	if (s->next == NEXT_ROUND)
		log_info("source", "closed", "name=%s", s->name);
	else if (s->state == SOURCE_STATE_CONNECTED)
		tell_failure(s, "lost", why);
	else if (s->next == NEXT_ADDRESS || s->next == NEXT_ENDPOINT)
		tell_failure(s, "failed", why);
	if (err == ERR_CLOSED && s->state == SOURCE_STATE_CONNACK && s->next == NEXT_ADDRESS)
		note_closed_on_connect(s);
}

static void finish(struct source *s)
{
	struct source_worker *w = s->worker;

	source_enter(s, SOURCE_STATE_STOPPED);
	source_intake_fini(s);
	list_remove(&s->dirty);
	if (s->ending) {
		list_remove(&s->link);
		source_free(s);
	}
	source_worker_check_stopped(w);
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct source *s = container_of(c, struct source, conn);
	uint64_t now = loop_now_ms(s->worker->loop);
	bool was_connected = s->state == SOURCE_STATE_CONNECTED;

	s->has_conn = false;
	timer_stop(s->worker->loop, &s->timer);
	source_probe_end(s);
	source_intake_closed(s);
	count_set(&s->figures.connected, 0);
	if (s->ending || s->stopping) {
		finish(s);
		return;
	}
	tell_end(s, err, why);
	if (was_connected && now - s->connected_ms >= s->set->times.stable_ms) {
		s->failures = 0;
		s->failure_hash = 0; /* the next failure is news */
	}
	go_on(s, was_connected && s->next != NEXT_ROUND);
}

/* --- timer -------------------------------------------------------------- */

static uint64_t tick_ms(const struct source *s)
{
	uint64_t quarter = (uint64_t)s->keep_alive_s * 250;

	return quarter == 0 || quarter > TICK_MOST_MS ? TICK_MOST_MS : quarter;
}

static void on_tick(struct source *s)
{
	if (is_over(s)) {
		source_say_disconnect(s, 0);
		source_drop(s, NEXT_ROUND, 0, "its date (until) has passed");
	} else if (source_keep_alive(s)) {
		timer_start(s->worker->loop, &s->timer, tick_ms(s));
	}
}

static void on_time(struct timer *t)
{
	struct source *s = container_of(t, struct source, timer);

	switch (s->state) {
	case SOURCE_STATE_WAITING:
		begin_round(s);
		return;
	case SOURCE_STATE_CONNECTED:
		on_tick(s);
		return;
	case SOURCE_STATE_CONNECTING:
		source_drop(s, NEXT_ADDRESS, ERR_TIMEOUT,
			s->conn.state == CONN_UPGRADE
				? "no answer to the WebSocket handshake in time"
				: "no connection within the time limit");
		return;
	default:
		if (s->pauses) /* the answer may stand behind what we do not read now */
			timer_start(s->worker->loop, t, s->set->times.handshake_ms);
		else
			source_drop(s, NEXT_ADDRESS, ERR_TIMEOUT,
				"no answer to CONNECT or SUBSCRIBE in time");
	}
}

/* --- begin, change, quit ------------------------------------------------ */

static void learn_nothing_yet(struct source *s)
{
	const struct source_config *c = &s->setup->config;

	free(s->memory);
	s->memory = mem_new(c->endpoint_count * sizeof(*s->memory));
	for (uint32_t i = 0; i < c->endpoint_count; i++)
		s->memory[i].version = c->protocol;
}

struct source *source_new(
	struct sources *set, struct source_worker *w, uint16_t number, struct source_setup *setup)
{
	struct source *s = mem_new(sizeof(*s));

	s->set = set;
	s->worker = w;
	s->number = number;
	s->name = mem_text(setup->config.name);
	s->setup = setup;
	source_config_copy(&s->known, &setup->config);
	list_init(&s->link);
	list_init(&s->dirty);
	s->timer.on_time = on_time;
	source_probe_init(&s->probe);
	source_intake_init(s);
	show_setup(s);
	return s;
}

void source_free(struct source *s)
{
	source_setup_free(s->setup);
	source_filters_fini(&s->stale);
	source_config_fini(&s->known);
	firsts_fini(&s->firsts);
	free(s->memory);
	free(s->name);
	free(s);
}

void source_begin(struct source *s)
{
	list_append(&s->worker->all, &s->link);
	learn_nothing_yet(s);
	bucket_init(&s->bucket, s->setup->config.rate, loop_now_ms(s->worker->loop));
	begin_round(s);
}

static bool has_filter(const struct source_filters *f, const char *text)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (strcmp(f->texts[i], text) == 0)
			return true;
	}
	return false;
}

/* Keeps what is no longer asked for: it is unsubscribed at the next connection. */
static void note_stale(struct source *s, const struct source_filters *now)
{
	const struct source_filters *was = &s->setup->filters;

	source_filters_fini(&s->stale);
	for (uint32_t i = 0; i < was->count; i++) {
		if (has_filter(now, was->texts[i]))
			continue;
		s->stale.texts = mem_resize(s->stale.texts, (s->stale.count + 1) * sizeof(char *));
		s->stale.texts[s->stale.count++] = mem_text(was->texts[i]);
	}
}

/* Ends whatever is under way. True: nothing is left to wait for. */
static bool leave(struct source *s)
{
	timer_stop(s->worker->loop, &s->timer);
	if (s->query)
		resolve_cancel(s->query);
	s->query = NULL;
	if (!s->has_conn)
		return true;
	source_acknowledge(s);
	source_say_disconnect(s, 0);
	source_drop(s, NEXT_ROUND, 0, NULL);
	return false;
}

void source_change(struct source *s, struct source_setup *setup)
{
	bool is_free = leave(s);

	note_stale(s, &setup->filters);
	source_setup_free(s->setup);
	s->setup = setup;
	s->failures = 0;
	s->failure_hash = 0;
	learn_nothing_yet(s);
	bucket_init(&s->bucket, setup->config.rate, loop_now_ms(s->worker->loop));
	show_setup(s);
	if (is_free)
		begin_round(s);
}

void source_quit(struct source *s, bool ending)
{
	s->ending = s->ending || ending;
	s->stopping = true;
	if (leave(s))
		finish(s);
}
