/* publish/target.c - one target: its connection, and what it answers
 *
 *     PUBACK   taken            acknowledged; a refusal before it is forgotten
 *              0x97             "later": nothing is sent until all others are answered and a pause has
 *                               passed (1 s doubling to a minute), then those answered so, in order
 *              0x80, 0x83       a fault over there: the same, and at the third time refused
 *              others           refused for good: counted, logged, not sent again
 *
 *     closed   A broker of 3.1.1 has no other word for "you may not publish this", and does not say which
 *              message it means. So what was open is sent again one by one; a connection that is closed
 *              upon the same single message three times makes that one a loss, counted and logged.
 *              Shutting down, being busy or taken over is no such word, nor is silence. Some refuse by
 *              PUBACK and close all the same (mosquitto 2.0.11): then it is known which it was.
 *
 * Our session there is dropped at the first CONNECT of this process, which knows of none, and kept from
 * then on: what was open is sent again with its packet id and DUP.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "mqtt/reason.h"
#include "publish/internal.h"
#include "uplink/pause.h"

#define SESSION_EXPIRY_S 3600u
#define IN_FLIGHT 1024u   /* most open, whatever the target allows */
#define IN_FLIGHT_V3 128u /* a target of 3.1.1 does not say */
#define IN_LARGEST 65536u /* a packet of the target's */
#define STRIKES 3u
#define BLAME_MS 10000u /* a connection that lasts longer was not closed for what was sent */
#define LOG_MS 10000u   /* messages lost or refused are told so often */
#define PATIENCE_LOOK_MS 100u

static struct target *target_of(struct uplink *u)
{
	return container_of(u, struct target, uplink);
}

uint64_t target_position(const struct target *t)
{
	return t->window.count ? inflight_seq(&t->window, 0) : t->feed.next;
}

uint32_t target_limit(const struct target *t)
{
	return target_position(t) < t->careful_to ? 1 : t->receive_maximum;
}

/* --- what is not delivered --------------------------------------------------- */

/* The record's topic for the log, quoted; "" when it is not at hand. */
static const char *topic_of(struct target *t, uint64_t seq, char room[LOG_QUOTE_BYTES])
{
	const struct journal_segment *segment = journal_find(t->set->journal, seq);
	struct view topic;

	if (segment == NULL || !journal_is_warm(t->set->journal, seq))
		return "";
	topic = feeding_topic(segment, &segment->entries[seq - segment->base]);
	return log_quote(topic.p, topic.n, room);
}

void target_lose(struct target *t, enum publish_loss why, uint64_t seq)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	count_add(&t->figures.lost[why], 1);
	if (!log_allowed(&t->lost_log, loop_now_ms(t->worker->loop), LOG_MS, &skipped))
		return;
	log_error("publish", "message-lost",
		"target=%s record=%" PRIu64 " topic=%s why=\"%s\" others=%" PRIu64, t->name, seq,
		topic_of(t, seq, quoted), publish_loss_text(why), skipped);
}

static void refuse(struct target *t, uint64_t seq, uint8_t reason)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	count_add(&t->figures.refused, 1);
	if (!log_allowed(&t->refused_log, loop_now_ms(t->worker->loop), LOG_MS, &skipped))
		return;
	journal_reader_enter(&t->worker->reader);
	log_warn("publish", "message-refused",
		"target=%s record=%" PRIu64 " topic=%s reason=0x%02x why=\"%s\" others=%" PRIu64,
		t->name, seq, topic_of(t, seq, quoted), reason, mqtt_reason_text(reason), skipped);
	journal_reader_leave(&t->worker->reader);
}

/* A mark against the one message that is open. True: the third. */
static bool strike(struct target *t)
{
	uint64_t seq = target_position(t);

	t->strikes = t->strike_seq == seq ? t->strikes + 1 : 1;
	t->strike_seq = seq;
	if (t->strikes < STRIKES)
		return false;
	t->strikes = 0;
	return true;
}

/* From now on one by one, to find out which of those sent it is. True: it was so already. */
static bool was_careful(struct target *t)
{
	if (target_limit(t) == 1)
		return true;
	t->careful_to = t->feed.next;
	return false;
}

/* --- patience ------------------------------------------------------------------ */

static uint64_t patience_ms(const struct target *t)
{
	uint64_t seed = clock_mono_ns();

	if (t->set->times.patience_ms != PAUSE_FIRST_MS)
		return t->set->times.patience_ms;
	return pause_ms(t->delays, (uint32_t)XXH3_64bits(&seed, sizeof(seed)));
}

static void be_patient(struct target *t)
{
	count_add(&t->figures.delayed, 1);
	t->waiting++;
	if (t->patient)
		return;
	t->patient = true;
	t->delays++;
	timer_start(t->worker->loop, &t->timer, patience_ms(t));
}

/* What is not answered yet may not be sent again on this connection: it is waited for. */
static void end_patience(struct target *t)
{
	if (inflight_open(&t->window) > t->waiting) {
		timer_start(t->worker->loop, &t->timer, PATIENCE_LOOK_MS);
		return;
	}
	t->patient = false;
	t->waiting = 0;
	t->has_session = false; /* answered, so none of them is a duplicate */
	inflight_set_sent(&t->window, 0);
}

static void on_time(struct timer *timer)
{
	struct target *t = container_of(timer, struct target, timer);

	if (t->draining)
		uplink_stop(&t->uplink);
	else
		end_patience(t);
}

/* --- PUBACK ---------------------------------------------------------------------- */

enum verdict { TAKEN, LATER, FAULT, REFUSED };

static enum verdict judge(uint8_t reason)
{
	switch (reason) {
	case MQTT_RC_QUOTA_EXCEEDED:
		return LATER;
	case MQTT_RC_UNSPECIFIED_ERROR:
	case MQTT_RC_IMPLEMENTATION_SPECIFIC_ERROR:
		return FAULT;
	default:
		return reason < MQTT_RC_UNSPECIFIED_ERROR ? TAKEN : REFUSED;
	}
}

/* The record that this id stands for, sent and not acknowledged; UINT64_MAX: none. */
static uint64_t open_record(const struct target *t, uint16_t id)
{
	uint32_t i = t->window.count ? (id + 65535u - inflight_id(&t->window, 0)) % 65535u : 0;

	return id && i < t->window.sent ? inflight_seq(&t->window, (uint16_t)i) : INFLIGHT_ACKED;
}

static void take_puback(struct target *t, const struct mqtt_ack *ack)
{
	uint64_t seq = open_record(t, ack->packet_id);
	enum verdict v = judge(ack->reason);

	if (seq == INFLIGHT_ACKED)
		return; /* of an id that is not open: nothing hangs on it */
	t->heard_ms = loop_now_ms(t->worker->loop);
	if (v == FAULT)
		v = was_careful(t) && strike(t) ? REFUSED : LATER;
	if (v == LATER) {
		be_patient(t);
		return;
	}
	t->has_refused = v == REFUSED;
	inflight_ack(&t->window, ack->packet_id);
	uplink_proved(&t->uplink);
	if (v == REFUSED) {
		refuse(t, seq, ack->reason);
		return;
	}
	count_add(&t->figures.acknowledged, 1);
	t->delays = 0;
}

/* --- the connection ----------------------------------------------------------------- */

/* Draining ends on the connection there is: on no other, and not before its time. */
static bool is_wanted(struct uplink *u)
{
	return !target_of(u)->draining || u->has_conn;
}

static void on_state(struct uplink *u)
{
	struct target *t = target_of(u);
	bool is_connected = u->state == UPLINK_CONNECTED;
	bool was_connected = count_read(&t->figures.connected) != 0;

	count_set(&t->figures.state, u->state);
	count_set(&t->figures.connected, is_connected);
	if (is_connected != was_connected)
		share_changed(t);
	if (!is_connected)
		return;
	count_add(&t->figures.connects, 1);
	count_set(&t->figures.connected_since_ms, loop_wall_ms(u->loop));
	log_info("publish", "connected",
		"target=%s version=%s receive_maximum=%u open=%u lag=%" PRIu64, t->name,
		u->version == MQTT_5 ? "5" : "3.1.1", t->receive_maximum, t->window.count,
		journal_tail(t->set->journal) - target_position(t));
}

static void on_hello(struct uplink *u, struct buf *id, bool *clean_start, struct buf *properties)
{
	const struct target *t = target_of(u);

	buf_printf(id, "%s-publish-%08x", t->set->centre_id,
		(unsigned)XXH3_64bits(t->name, strlen(t->name)));
	if (t->set->node) /* each node of a cluster has a connection of its own */
		buf_printf(id, "-%s", t->set->node);
	*clean_start = !t->greeted; /* [MQTT-3.2.2-4] */
	mqtt_put_number(properties, MQTT_PROPERTY_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
}

static void read_connack(struct target *t, const struct mqtt_packet *connack)
{
	const struct mqtt_properties *p = &connack->properties;
	uint32_t ours = t->uplink.version == MQTT_5 ? IN_FLIGHT : IN_FLIGHT_V3;
	uint32_t theirs = mqtt_number(p, MQTT_PROPERTY_RECEIVE_MAXIMUM, 65535);

	t->receive_maximum = theirs < ours ? theirs : ours; /* [MQTT-3.3.4-9] */
	t->largest = mqtt_number(p, MQTT_PROPERTY_MAXIMUM_PACKET_SIZE, MQTT_PACKET_LARGEST);
	t->keeps_retained = mqtt_number(p, MQTT_PROPERTY_RETAIN_AVAILABLE, 1) != 0;
	t->has_session = t->greeted && connack->connack.session_present;
}

static void on_accepted(struct uplink *u, const struct mqtt_packet *connack)
{
	struct target *t = target_of(u);

	if (mqtt_number(&connack->properties, MQTT_PROPERTY_MAXIMUM_QOS, 2) == 0) {
		uplink_drop(u, NEXT_ENDPOINT, ERR_QOS, /* [MQTT-3.2.2-11] */
			"the broker takes QoS 0 only, which acknowledges nothing");
		return;
	}
	read_connack(t, connack);
	t->greeted = true;
	t->excused = false;
	t->has_refused = false;
	t->waiting = 0;
	t->heard_ms = loop_now_ms(u->loop);
	uplink_connected(u);
}

/* Ends that say something about the connection, not about what was sent on it. */
static bool is_excuse(uint8_t reason)
{
	static const uint8_t reasons[] = {MQTT_RC_SUCCESS, MQTT_RC_SERVER_BUSY,
		MQTT_RC_SERVER_SHUTTING_DOWN, MQTT_RC_KEEP_ALIVE_TIMEOUT,
		MQTT_RC_SESSION_TAKEN_OVER, MQTT_RC_MESSAGE_RATE_TOO_HIGH, MQTT_RC_QUOTA_EXCEEDED,
		MQTT_RC_ADMINISTRATIVE_ACTION, MQTT_RC_USE_ANOTHER_SERVER, MQTT_RC_SERVER_MOVED,
		MQTT_RC_CONNECTION_RATE_EXCEEDED, MQTT_RC_MAXIMUM_CONNECT_TIME};

	return memchr(reasons, reason, sizeof(reasons)) != NULL;
}

static int take(struct target *t, const struct mqtt_packet *packet, const char **why)
{
	if (packet->type == MQTT_PUBACK) {
		take_puback(t, &packet->ack);
		return 0;
	}
	t->excused = packet->type == MQTT_DISCONNECT && is_excuse(packet->reason.reason);
	return uplink_take_other(&t->uplink, packet, why);
}

static void finish_draining(struct target *t)
{
	if (t->draining && inflight_open(&t->window) <= t->waiting)
		uplink_stop(&t->uplink);
}

static ssize_t on_bytes(struct uplink *u, const uint8_t *p, size_t n)
{
	struct target *t = target_of(u);
	const char *why = NULL;
	size_t at = 0;

	while (at < n && conn_is_open(&u->conn)) {
		struct mqtt_packet packet;
		int64_t used = mqtt_decode(
			p + at, n - at, MQTT_FROM_SERVER, u->version, IN_LARGEST, &packet, &why);
		int err = used < 0 ? (int)used : 0;

		if (used > 0)
			err = take(t, &packet, &why);
		if (err < 0) {
			uplink_say_disconnect(u, err_reason_code(err));
			uplink_drop(u, NEXT_ADDRESS, err, why ? why : err_text(err));
			return (ssize_t)n;
		}
		if (used == 0)
			break;
		at += (size_t)used;
	}
	count_set(&t->figures.position, target_position(t));
	if (t->window.count == 0)
		share_ended(t);
	finish_draining(t);
	return (ssize_t)at;
}

/* Did the target close the connection because of what was sent? */
static void judge_end(struct target *t, int err)
{
	bool by_target = err == ERR_CLOSED || err == ERR_SYSTEM || err == ERR_TLS;
	uint64_t seq = target_position(t);

	if (by_target && t->has_refused) { /* some refuse and close; the answer said which */
		uplink_soon(&t->uplink);
		return;
	}
	if (!by_target || t->excused || inflight_open(&t->window) == 0)
		return;
	if (!was_careful(t) || loop_now_ms(t->worker->loop) - t->pushed_ms > BLAME_MS)
		return;
	if (!strike(t))
		return;
	uplink_proved(&t->uplink);
	journal_reader_enter(&t->worker->reader);
	target_lose(t, PUBLISH_CLOSED, seq);
	journal_reader_leave(&t->worker->reader);
	inflight_forget(&t->window, 0);
	inflight_set_sent(&t->window, t->window.sent);
}

static void on_end(struct uplink *u, int err)
{
	struct target *t = target_of(u);

	if (u->state == UPLINK_CONNECTED) {
		judge_end(t, err);
		t->lost_ms = loop_now_ms(u->loop);
	}
	inflight_set_sent(&t->window, 0); /* [MQTT-4.4.0-1] */
	feeding_end(t);
	feeding_forget_others(t);
	t->waiting = 0;
	if (!t->draining) {
		t->patient = false;
		timer_stop(u->loop, &t->timer);
	}
}

static void on_stopped(struct uplink *u)
{
	struct target *t = target_of(u);

	timer_stop(u->loop, &t->timer);
	feeding_end(t);
	list_remove(&t->link);
	count_set(&t->figures.position, target_position(t));
	share_show(t);
	publisher_target_stopped(t);
}

static const struct uplink_handler handler = {
	.room = "publish",
	.is_wanted = is_wanted,
	.on_state = on_state,
	.on_hello = on_hello,
	.on_accepted = on_accepted,
	.on_bytes = on_bytes,
	.on_end = on_end,
	.on_stopped = on_stopped,
};

/* --- figures --------------------------------------------------------------------- */

static void show_lag(struct target *t)
{
	struct journal *j = t->set->journal;
	uint64_t position = target_position(t);
	const struct journal_segment *segment = journal_find(j, position);
	uint64_t now = journal_now(j);

	count_set(&t->figures.position, position);
	if (position >= journal_tail(j)) {
		count_set(&t->figures.lag_ms, 0);
	} else if (segment) { /* what is removed already is at least as old as it was */
		uint64_t at = segment->entries[position - segment->base].time_ms;

		count_set(&t->figures.lag_ms, now > at ? now - at : 0);
	}
}

void target_tick(struct target *t)
{
	uint64_t quiet = loop_now_ms(t->worker->loop) - t->heard_ms;

	show_lag(t);
	share_show(t);
	if (t->uplink.state == UPLINK_CONNECTED && inflight_open(&t->window) > t->waiting &&
		quiet >= t->set->times.stall_ms)
		uplink_drop(&t->uplink, NEXT_ADDRESS, ERR_TIMEOUT,
			"connected, but nothing is acknowledged");
}

/* --- life ---------------------------------------------------------------------------- */

struct target *target_new(struct publisher *set, struct publish_worker *w, const char *name,
	struct publish_setup *setup, uint64_t position)
{
	struct target *t = mem_new(sizeof(*t));
	char *label = mem_printf("target=%s", name);

	t->name = mem_text(name);
	t->set = set;
	t->worker = w;
	t->setup = setup;
	t->feed.next = position;
	t->strike_seq = UINT64_MAX;
	t->stuck_at = UINT64_MAX;
	t->upto_at = UINT64_MAX;
	pthread_mutex_init(&t->look_lock, NULL);
	t->timer.on_time = on_time;
	count_set(&t->figures.position, position);
	list_init(&t->link);
	uplink_init(&t->uplink, &handler, &set->uplinks, w->loop, label);
	uplink_set_plan(&t->uplink, &setup->plan);
	free(label);
	return t;
}

void target_free(struct target *t)
{
	uplink_fini(&t->uplink);
	inflight_fini(&t->window);
	publish_setup_free(t->setup);
	pthread_mutex_destroy(&t->look_lock);
	free(t->parts);
	free(t->known);
	free(t->name);
	free(t);
}

void target_begin(struct target *t)
{
	list_append(&t->worker->all, &t->link);
	share_begin(t);
	uplink_begin(&t->uplink);
}

void target_change(struct target *t, struct publish_setup *setup)
{
	struct publish_setup *old = t->setup;

	t->setup = setup;
	uplink_change(&t->uplink, &setup->plan);
	publish_setup_free(old);
}

void target_quit(struct target *t)
{
	t->draining = true;
	if (t->uplink.state != UPLINK_CONNECTED || inflight_open(&t->window) <= t->waiting)
		uplink_stop(&t->uplink);
	else
		timer_start(t->worker->loop, &t->timer, t->set->times.drain_ms);
}
