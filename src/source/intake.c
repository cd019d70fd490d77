/* source/intake.c - PUBLISH packets: judged, committed, counted, acknowledged
 *
 * All packets of one read make one batch. Nothing is counted and no packet is consumed before the
 * batch is taken by commit: when it is refused, the connection is paused, the bytes stay in it, and
 * they are read again when commit has room. So a held source keeps no copy of its own.
 *
 *     read: packet, packet, packet ...    window: a place each    gate: verdict each
 *     end of read: commit_submit(batch)   refused: places and rate given back, paused
 *                                         taken:   counted; refused messages are done at once
 *     later: on_done()                    done in the window; PUBACKs leave at the end of the turn
 *
 * A PUBLISH over the packet size is read past without being kept: its head tells the packet id.
 * **Invariant:** between reads the worker's batch is empty.
 */
#include <stdio.h>
#include <xxhash.h>

#include "base/error.h"
#include "commit/metadata.h"
#include "mqtt/filter.h"
#include "report/report.h"
#include "source/forward.h"
#include "source/internal.h"

#define REJECTED_LOG_MS 10000u
#define HEAD_LARGEST (MQTT_HEADER_LARGEST + 2u + 65535u + 2u)
#define FINGERPRINT_BYTES 4096u
#define JOURNAL_QOS 1 /* what a node sends at QoS 0 is passed on at QoS 1 */

/* --- acknowledgements -------------------------------------------------- */

static void mark_dirty(struct source *s)
{
	if (list_is_empty(&s->dirty))
		list_append(&s->worker->dirty, &s->dirty);
}

static void pause_reading(struct source *s, enum source_pause why)
{
	s->pauses |= (unsigned)why;
	count_set(&s->figures.is_paused, s->pauses != 0);
	conn_pause(&s->uplink.conn);
}

static void resume_reading(struct source *s, enum source_pause why)
{
	if ((s->pauses & (unsigned)why) == 0)
		return;
	s->pauses &= ~(unsigned)why;
	count_set(&s->figures.is_paused, s->pauses != 0);
	if (s->pauses == 0 && s->uplink.has_conn)
		conn_resume(&s->uplink.conn);
}

void source_acknowledge(struct source *s)
{
	bool is_open = s->uplink.has_conn && conn_is_open(&s->uplink.conn);
	struct window_place place;
	bool any = false;

	while (window_pop(&s->window, &place)) {
		uint8_t type = place.qos == 2 ? MQTT_PUBREC : MQTT_PUBACK;
		uint8_t ack[4] = {(uint8_t)(type << 4), 2, (uint8_t)(place.packet_id >> 8),
			(uint8_t)place.packet_id};

		if (place.packet_id == 0 || !is_open)
			continue;
		buf_append(conn_out(&s->uplink.conn), ack, sizeof(ack)); /* [MQTT-4.6.0-2] */
		any = true;
	}
	if (any) {
		uplink_sent(&s->uplink);
		conn_flush(&s->uplink.conn);
	}
	count_set(&s->figures.waiting, s->window.unacknowledged);
	resume_reading(s, PAUSED_WINDOW);
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct source *s = container_of(o, struct source, owner);

	uint16_t centre = window_done(&s->window, token);

	if (outcome == COMMIT_FIRST) {
		count_add(&s->figures.published, 1);
		count_add(&s->figures.ahead, !s->is_voice);
		firsts_add(&s->firsts, centre);
	} else {
		count_add(s->is_voice ? &s->figures.duplicates : &s->figures.standby_duplicates, 1);
		count_add(&s->figures.conflicts, s->is_voice && outcome == COMMIT_CONFLICT);
	}
	mark_dirty(s);
}

static void on_ready(struct commit_waiter *w)
{
	resume_reading(container_of(w, struct source, waiter), PAUSED_HELD);
}

static void on_rate(struct timer *t)
{
	resume_reading(container_of(t, struct source, rate_timer), PAUSED_RATE);
}

void source_intake_init(struct source *s)
{
	s->owner.on_done = on_done;
	s->waiter.on_ready = on_ready;
	list_init(&s->waiter.link);
	s->rate_timer.on_time = on_rate;
}

void source_intake_closed(struct source *s)
{
	timer_stop(s->worker->loop, &s->rate_timer);
	commit_wait_cancel(&s->waiter);
	window_abandon(&s->window);
	if (s->skip)
		window_done(&s->window, s->skip_token);
	s->skip = 0;
	s->pauses = 0;
	count_set(&s->figures.is_paused, 0);
	mark_dirty(s);
}

void source_intake_fini(struct source *s)
{
	timer_stop(s->worker->loop, &s->rate_timer);
	commit_wait_cancel(&s->waiter);
	commit_forget(s->worker->port, &s->owner);
	window_fini(&s->window);
}

/* --- the batch --------------------------------------------------------- */

static void log_broken(struct source *s, const struct source_broken *broken)
{
	const struct finding *f = &broken->finding;
	char quoted[LOG_QUOTE_BYTES], at[LOG_QUOTE_BYTES], level[16];
	uint64_t skipped;

	if (!log_allowed(&s->rejected_log, loop_now_ms(s->worker->loop), REJECTED_LOG_MS, &skipped))
		return;
	snprintf(level, sizeof(level), "level=%u", f->level);
	log_warn("source", broken->passes ? "let-through" : "rejected",
		"name=%s rule=%s %s%s topic=%s why=\"%s\"%s%.*s others=%llu", s->name,
		rule_id(f->rule),
		f->level ? "" : "path=", f->level ? level : log_quote(f->path, strlen(f->path), at),
		log_quote(broken->topic.p, broken->topic.n, quoted),
		f->reason ? f->reason : rule_text(f->rule), f->nearest.n ? " nearest=" : "",
		VIEW_ARG(f->nearest), (unsigned long long)skipped);
}

static void report(const struct source *s, const struct source_broken *broken)
{
	if (s->set->reports == NULL || !s->is_voice)
		return;
	reports_add(s->set->reports, &(struct report){
					     .source = s->name,
					     .centre = s->setup->config.centre_id,
					     .topic = broken->topic,
					     .payload = broken->payload,
					     .finding = &broken->finding,
					     .passes = broken->passes,
					     .speaks_for_others = s->setup->policy.any_centre,
				     });
}

/* Its centre names the dataset wrongly, or has just renamed it (metadata.md, section 2). */
static void log_by_centre(struct source *s, struct view topic)
{
	uint64_t now = loop_now_ms(s->worker->loop), skipped;
	char quoted[LOG_QUOTE_BYTES];

	if (log_allowed(&s->by_centre_log, now, REJECTED_LOG_MS, &skipped))
		log_warn("source", "metadata-by-centre",
			"name=%s topic=%s why=\"metadata_id is unknown, the centre has another "
			"record for the topic\" others=%llu",
			s->name, log_quote(topic.p, topic.n, quoted), (unsigned long long)skipped);
}

/* Behind the figures of what these broke: who finds them received finds those too. */
static void count_received(struct source *s, uint32_t n)
{
	count_set(&s->figures.last_message_ms, loop_wall_ms(s->worker->loop));
	count_set(&s->figures.waiting, s->window.unacknowledged);
	count_add(s->is_voice ? &s->figures.received : &s->figures.standby_received, n);
}

static void count_rule(struct source *s, enum rule rule, enum rule_check check)
{
	if (!s->is_voice) {
		count_add(&s->figures.standby_rejected, 1);
		return;
	}
	count_add(&s->figures.rejected[rule], 1);
	count_add(&s->figures.checks[check], 1);
}

/* MON-03: received once, then at most one of published and the error counters; `verify` both. */
static void count_batch(struct source *s)
{
	const struct source_batch *b = s->worker->batch;

	for (uint32_t i = 0; i < b->item_count; i++) {
		const struct source_item *item = &b->items[i];

		if (item->rule)
			count_rule(s, (enum rule)item->rule, (enum rule_check)item->check);
		count_add(&s->figures.by_centre, item->by_centre && s->is_voice);
		if (item->has_delay && s->is_voice)
			histogram_add(&s->figures.delay, item->delay_us, 1);
		if (!item->pass) {
			window_done(&s->window, item->token);
			mark_dirty(s);
		}
	}
	if (b->broken_count)
		log_broken(s, &b->broken[0]);
	for (uint32_t i = 0; i < b->broken_count; i++)
		report(s, &b->broken[i]);
	count_received(s, b->item_count);
}

static void clear_batch(struct source_batch *b)
{
	b->item_count = 0;
	b->request_count = 0;
	b->broken_count = 0;
	buf_clear(&b->bytes);
}

/* Hands the batch to commit. False: refused, reading has to go back to where it began. */
static bool end_batch(struct source *s)
{
	struct source_batch *b = s->worker->batch;
	bool taken;

	if (b->item_count == 0)
		return true;
	taken = commit_submit(s->worker->port, &s->owner, b->requests, b->request_count) == 0;
	if (taken) {
		s->taken += b->item_count;
		count_batch(s);
	} else {
		b->rewind = b->start;
		window_give_back(&s->window, b->items[0].token);
		bucket_give_back(&s->bucket, b->item_count);
		pause_reading(s, PAUSED_HELD);
		commit_wait(s->worker->port, &s->waiter);
	}
	clear_batch(b);
	return taken;
}

static struct source_item *add_item(
	struct source *s, const uint8_t *at, uint16_t packet_id, uint8_t qos)
{
	struct source_batch *b = s->worker->batch;
	struct source_item *item = &b->items[b->item_count];

	if (b->item_count++ == 0)
		b->start = at;
	*item = (struct source_item){.token = window_take(&s->window, packet_id, qos)};
	return item;
}

static void note_broken(struct source_batch *b, const struct finding *f, struct view topic,
	struct view payload, bool passes)
{
	b->broken[b->broken_count++] = (struct source_broken){*f, topic, payload, passes};
}

/* --- one PUBLISH ------------------------------------------------------- */

static void add_request(struct source *s, const struct mqtt_packet *packet,
	const struct gate_verdict *v, uint32_t token)
{
	struct source_batch *b = s->worker->batch;
	struct commit_request *r = &b->requests[b->request_count++];
	struct view payload = packet->publish.payload;
	uint32_t expiry = 0;

	if (s->setup->config.strip_content && v->note.content.p)
		payload = forward_without(&b->bytes, payload, v->note.content);
	if (mqtt_has(&packet->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL)) {
		expiry = packet->properties.number[MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL];
		expiry = expiry ? expiry : 1; /* 0 means none to the journal */
	}
	*r = (struct commit_request){
		.message =
			{
				.topic = packet->publish.topic,
				.payload = payload,
				.properties = forward_properties(&b->bytes, &packet->properties),
				.id = v->identity,
				.expiry_s = expiry,
				.publisher = s->number,
				.qos = JOURNAL_QOS,
			},
		.publisher = view_of(s->name),
		.claim = v->claim,
		.is_changed = v->note.content.p && atomic_load(&s->set->cuts_content),
		.token = token,
	};
}

static void judge(struct source *s, const struct mqtt_packet *packet, const uint8_t *at)
{
	struct source_batch *b = s->worker->batch;
	struct gate_verdict *v = &b->verdict;
	struct source_item *item = add_item(s, at, packet->publish.packet_id, packet->publish.qos);
	uint64_t wall = loop_wall_ms(s->worker->loop);

	gate_judge(s->worker->hierarchy, &s->setup->policy, packet->publish.topic,
		packet->publish.payload, v);
	metadata_judge(s->set->shelf, &s->setup->policy, packet->publish.payload, v);
	item->pass = v->pass;
	item->rule = (uint16_t)v->rule;
	item->check = (uint8_t)v->check;
	if (v->rule != RULE_NONE)
		note_broken(
			b, &v->finding, packet->publish.topic, packet->publish.payload, v->pass);
	if (!v->pass)
		return;
	item->by_centre = v->by_centre;
	if (v->by_centre)
		log_by_centre(s, packet->publish.topic);
	item->has_delay = v->note.has_pubtime;
	if (v->note.has_pubtime && wall > v->note.pubtime_ms)
		item->delay_us = (wall - v->note.pubtime_ms) * 1000;
	if (v->parts.centre.n)
		window_set_centre(
			&s->window, item->token, firsts_number(&s->firsts, v->parts.centre));
	add_request(s, packet, v, item->token);
}

/* Is there room and leave for one more? Pauses if not. */
static bool may_take(struct source *s)
{
	if (window_is_full(&s->window)) {
		pause_reading(s, PAUSED_WINDOW);
		return false;
	}
	if (bucket_take(&s->bucket, loop_now_ms(s->worker->loop)))
		return true;
	timer_start(s->worker->loop, &s->rate_timer, bucket_wait_ms(&s->bucket));
	pause_reading(s, PAUSED_RATE);
	return false;
}

/* mosquitto 2.0.11 sends more than receive maximum allows when a session is resumed, and forgets
 * what it had queued when we disconnect for it. The window bounds memory, so it is tolerated. */
static void note_excess(struct source *s)
{
	uint16_t most = s->setup->config.receive_maximum;

	if (s->told_excess || s->uplink.version != MQTT_5 || most == 0 ||
		s->window.unacknowledged <= most)
		return;
	s->told_excess = true;
	log_info("source", "receive-maximum", "name=%s the peer sends more than %u at once",
		s->name, most);
}

/* --- a PUBLISH that cannot be decoded whole ----------------------------- */

/* What the first bytes of a PUBLISH say. False: not there yet, or not well-formed. */
struct publish_head {
	struct view topic;
	uint16_t packet_id;
	uint8_t qos;
	uint32_t bytes; /* up to and with the packet id */
};

static bool read_head(const uint8_t *p, size_t n, struct publish_head *out)
{
	size_t at = 1;

	while (at < n && at < MQTT_HEADER_LARGEST && p[at] & 0x80)
		at++;
	at++;
	if (n < at + 2)
		return false;
	out->qos = p[0] >> 1 & 3;
	out->topic.n = (size_t)p[at] << 8 | p[at + 1];
	out->topic.p = (const char *)p + at + 2;
	at += 2 + out->topic.n;
	out->packet_id = 0;
	if (out->qos) {
		if (n < at + 2)
			return false;
		out->packet_id = (uint16_t)(p[at] << 8 | p[at + 1]);
		at += 2;
	} else if (n < at) {
		return false;
	}
	out->bytes = (uint32_t)at;
	return out->qos < 3 && (out->qos == 0 || out->packet_id != 0);
}

/* A topic that is none is no fault of the connection: the message is refused and acknowledged. */
static bool reject_topic(struct source *s, const uint8_t *p, size_t n)
{
	static const struct finding finding = {
		.rule = RULE_WTH_01, .level = 1, .reason = "not a topic name to publish on"};
	struct publish_head head;
	struct source_item *item;

	if (!read_head(p, n, &head) || topic_is_valid(head.topic))
		return false;
	item = add_item(s, p, head.packet_id, head.qos);
	item->rule = RULE_WTH_01;
	item->check = CHECK_TOPIC;
	note_broken(s->worker->batch, &finding, head.topic, (struct view){"", 0}, false);
	return true;
}

static uint64_t fingerprint(const uint8_t *p, size_t n)
{
	struct publish_head head;
	size_t most = n < FINGERPRINT_BYTES ? n : FINGERPRINT_BYTES;

	/* DUP and the packet id may differ when it is sent again. */
	if (p[0] >> 4 == MQTT_PUBLISH && read_head(p, most, &head))
		return XXH3_64bits_withSeed(
			p + head.bytes, most - head.bytes, XXH3_64bits(head.topic.p, head.topic.n));
	return XXH3_64bits(p, most);
}

static void fault(struct source *s, int err, const char *why, const uint8_t *p, size_t n)
{
	if (s->uplink.state >= UPLINK_SUBSCRIBING && n)
		s->clean_next =
			poison_strike(&s->poison, fingerprint(p, n), s->taken) || s->clean_next;
	uplink_say_disconnect(&s->uplink, err_reason_code(err));
	uplink_drop(&s->uplink, NEXT_ADDRESS, err, why ? why : err_text(err));
}

/* --- an oversized PUBLISH ---------------------------------------------- */

static void finish_skipping(struct source *s)
{
	window_done(&s->window, s->skip_token);
	mark_dirty(s);
}

/* Reads past what is left. Gives the bytes used. */
static size_t skip_bytes(struct source *s, size_t n)
{
	size_t used = n < s->skip ? n : s->skip;

	s->skip -= (uint32_t)used;
	if (s->skip == 0)
		finish_skipping(s);
	return used;
}

/* Counted as a payload over the limit, whatever else it may be (WNM-01). */
static int64_t begin_skipping(struct source *s, const uint8_t *p, size_t n, uint32_t length)
{
	struct source_broken broken = {
		.finding = {.rule = RULE_WNM_01, .reason = "packet too large, read past"}};
	struct publish_head head;

	if (!read_head(p, n, &head))
		return n < HEAD_LARGEST ? 0 : ERR_MALFORMED;
	if (head.bytes > length)
		return ERR_MALFORMED;
	if (!may_take(s))
		return 0;
	count_add(&s->figures.oversized, 1);
	count_rule(s, RULE_WNM_01, CHECK_MESSAGE);
	broken.topic = head.topic;
	log_broken(s, &broken);
	report(s, &broken);
	s->taken++;
	s->skip_token = window_take(&s->window, head.packet_id, head.qos);
	count_received(s, 1);
	s->skip = length - head.bytes;
	if (s->skip == 0)
		finish_skipping(s);
	return head.bytes;
}

/* --- one packet -------------------------------------------------------- */

static int64_t take_publish(struct source *s, const uint8_t *p, size_t length, const char **why)
{
	struct mqtt_packet packet;
	int64_t used;

	used = mqtt_decode(
		p, length, MQTT_FROM_SERVER, s->uplink.version, s->set->packet_size, &packet, why);
	if (used > 0 && mqtt_has(&packet.properties, MQTT_PROPERTY_TOPIC_ALIAS))
		used = ERR_TOPIC_ALIAS; /* we announced none [MQTT-3.1.2-26] */
	if (used > 0) {
		if (!may_take(s))
			return 0;
		judge(s, &packet, p);
		note_excess(s);
	} else if ((used == ERR_TOPIC || used == ERR_MALFORMED) && !window_is_full(&s->window) &&
		   reject_topic(s, p, length)) {
		used = (int64_t)length;
	}
	return used;
}

/* Anything but a PUBLISH that fits; the batch so far is handed over first, so that only PUBLISH
 * packets are ever read twice. */
static int64_t take_single(
	struct source *s, const uint8_t *p, size_t n, int64_t length, const char **why)
{
	struct mqtt_packet packet;
	int64_t used;
	int err;

	if (!end_batch(s))
		return 0;
	if (p[0] >> 4 == MQTT_PUBLISH)
		return begin_skipping(s, p, n, (uint32_t)length);
	used = mqtt_decode(
		p, n, MQTT_FROM_SERVER, s->uplink.version, s->set->packet_size, &packet, why);
	if (used <= 0)
		return used;
	err = source_take_other(s, &packet, why);
	return err < 0 ? err : used;
}

static int64_t take(struct source *s, const uint8_t *p, size_t n, const char **why)
{
	bool is_publish = p[0] >> 4 == MQTT_PUBLISH;
	int64_t length;

	if (s->skip)
		return (int64_t)skip_bytes(s, n);
	length = mqtt_packet_length(p, n, MQTT_PACKET_LARGEST);
	if (length <= 0)
		return length;
	if (is_publish && length > s->set->packet_size)
		return take_single(s, p, n, length, why);
	if (length > s->set->packet_size) {
		*why = "packet over the size limit";
		return ERR_TOO_LARGE;
	}
	if ((uint64_t)length > n) {
		conn_want(&s->uplink.conn, (uint32_t)length);
		return 0;
	}
	if (is_publish)
		return take_publish(s, p, (size_t)length, why);
	return take_single(s, p, (size_t)length, length, why);
}

ssize_t source_on_bytes(struct uplink *u, const uint8_t *p, size_t n)
{
	struct source *s = container_of(u, struct source, uplink);
	struct source_batch *b = s->worker->batch;
	const char *why = NULL;
	int64_t used = 1;
	size_t at = 0;

	b->rewind = NULL;
	buf_reserve(&b->bytes, 2 * n); /* so that what is kept there does not move */
	while (at < n && b->item_count < BATCH_MOST && conn_is_open(&u->conn) && !s->pauses) {
		used = take(s, p + at, n - at, &why);
		if (used <= 0)
			break;
		at += (size_t)used;
	}
	if (!end_batch(s) || b->rewind) {
		at = (size_t)(b->rewind - p);
	} else if (used < 0) {
		fault(s, (int)used, why, p + at, n - at);
		at = n;
	}
	count_add(&s->figures.bytes, at);
	return (ssize_t)at;
}
