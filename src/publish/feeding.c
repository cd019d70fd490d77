/* publish/feeding.c - from the journal into the connection
 *
 *     sent again: what the last connection left open, in its old order, with its old packet ids
 *     then:       records from the feed's place on, as window, socket and memory allow
 *
 * Packets are written into the connection's buffer, at most PENDING_MOST ahead of the socket: a copy
 * of each payload, which for a few targets is cheaper than anything clever. What is not in memory is
 * fetched by the journal's prefetch thread, as for sessions that are behind; a worker never waits for
 * the disk. A piece is bounded, so that targets catching up delay nobody.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "mqtt/filter.h"
#include "publish/internal.h"

#define PENDING_MOST (256u * 1024u)
#define SCAN_RECORDS 2048u /* index entries looked at per piece */
#define WARM_MS 10000u     /* what was fetched for this target counts as warm for so long */

/* --- memory --------------------------------------------------------------- */

/* A question to the prefetch thread; outlives a target that goes meanwhile. */
struct target_prefetch {
	struct journal_prefetch ticket;
	struct task task;
	struct loop *loop;
	struct target *target; /* NULL: gone */
};

static void on_warm_task(struct task *task)
{
	struct target_prefetch *p = container_of(task, struct target_prefetch, task);
	struct target *t = p->target;

	if (t) {
		t->prefetch = NULL;
		t->warm_to = p->ticket.warm_to;
		t->warm_ms = loop_now_ms(p->loop);
	}
	free(p);
}

static void on_warm(struct journal_prefetch *ticket)
{
	struct target_prefetch *p = container_of(ticket, struct target_prefetch, ticket);

	loop_post(p->loop, &p->task);
}

static void fetch(struct target *t, uint64_t seq)
{
	struct target_prefetch *p = mem_new(sizeof(*p));

	p->target = t;
	p->loop = t->worker->loop;
	p->task.run = on_warm_task;
	p->ticket.from = seq;
	p->ticket.on_warm = on_warm;
	list_init(&p->ticket.link);
	t->prefetch = p;
	journal_prefetch(t->set->journal, &p->ticket);
}

/* Records [seq, this) may be read; seq itself when not even that one, which is then fetched. */
static uint64_t warm_to(struct target *t, uint64_t seq)
{
	uint64_t to = journal_warm_to(t->set->journal, seq);
	bool is_fetched = seq < t->warm_to && loop_now_ms(t->worker->loop) - t->warm_ms <= WARM_MS;

	if (is_fetched && to < t->warm_to)
		return t->warm_to;
	if (to == seq)
		fetch(t, seq);
	return to;
}

void feeding_end(struct target *t)
{
	struct target_prefetch *p = t->prefetch;

	t->warm_to = 0;
	if (p == NULL)
		return;
	t->prefetch = NULL;
	p->target = NULL;
	if (journal_prefetch_cancel(t->set->journal, &p->ticket))
		free(p);
}

/* --- one packet ------------------------------------------------------------ */

enum push_answer { PUSH_DONE, PUSH_EXPIRED, PUSH_TOO_LARGE };

/* What of the expiry interval is left; 0: it has none, or nothing is left. */
static uint32_t expiry_left(const struct target *t, const struct journal_entry *e)
{
	uint64_t waited_s = (journal_now(t->set->journal) - e->time_ms) / 1000;

	return waited_s < e->expiry_s ? e->expiry_s - (uint32_t)waited_s : 0;
}

/* Properties as they came, and the expiry interval that is left. */
static struct view make_properties(
	struct target *t, const struct journal_segment *segment, const struct journal_entry *e)
{
	struct buf *b = &t->worker->properties;

	buf_clear(b);
	if (t->uplink.version != MQTT_5)
		return (struct view){"", 0};
	if (e->expiry_s)
		mqtt_put_number(b, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, expiry_left(t, e));
	if (e->property_bytes)
		buf_append(b, segment->packets + e->offset + e->packet_bytes, e->property_bytes);
	return buf_view(b);
}

static enum push_answer push(struct target *t, const struct journal_segment *segment,
	const struct journal_entry *e, uint16_t id, bool again)
{
	struct buf *out = conn_out(&t->uplink.conn);
	struct mqtt_packet packet = {.type = MQTT_PUBLISH};
	struct view topic = feeding_topic(segment, e);
	const uint8_t *payload = (const uint8_t *)topic.p + topic.n;
	size_t before = buf_length(out);

	if (e->expiry_s && !again && expiry_left(t, e) == 0)
		return PUSH_EXPIRED;
	packet.publish = (struct mqtt_publish){
		.topic = topic,
		.payload = {(const char *)payload,
			e->packet_bytes - (size_t)(payload - (segment->packets + e->offset))},
		.packet_id = id,
		.qos = 1,
		/* [MQTT-3.2.2-14] */
		.retain = e->flags & JOURNAL_RETAIN && t->keeps_retained,
		.dup = again && t->has_session, /* [MQTT-3.3.1-1] */
	};
	packet.properties.raw = make_properties(t, segment, e);
	if (mqtt_encode(out, t->uplink.version, &packet) < 0 ||
		buf_length(out) - before > t->largest) { /* [MQTT-3.2.2-15] */
		buf_cut(out, before);
		return PUSH_TOO_LARGE;
	}
	t->pushed_ms = loop_now_ms(t->worker->loop);
	return PUSH_DONE;
}

static bool socket_has_room(const struct target *t)
{
	return conn_pending(&t->uplink.conn) < PENDING_MOST;
}

/* --- sent again ------------------------------------------------------------ */

/* Slot i once more. False: its record has to be fetched first. */
static bool push_again(struct target *t, uint16_t i)
{
	uint64_t seq = inflight_seq(&t->window, i);
	const struct journal_segment *segment;
	enum publish_loss why = PUBLISH_REMOVED;

	if (seq == INFLIGHT_ACKED)
		return true;
	segment = journal_find(t->set->journal, seq);
	if (segment && feed_is_others(&t->feed, &segment->entries[seq - segment->base])) {
		inflight_forget(&t->window, i);
		return true;
	}
	if (segment) {
		if (warm_to(t, seq) == seq)
			return false;
		count_add(&t->figures.resent, 1);
		if (push(t, segment, &segment->entries[seq - segment->base],
			    inflight_id(&t->window, i), true) == PUSH_DONE)
			return true;
		why = PUBLISH_OVERSIZE;
	}
	target_lose(t, why, seq);
	inflight_forget(&t->window, i);
	return true;
}

/* [MQTT-4.4.0-1], [MQTT-4.6.0-1] */
static void resend(struct target *t)
{
	uint32_t open = inflight_open(&t->window);
	uint32_t limit = target_limit(t);

	while (t->window.sent < t->window.count && socket_has_room(t) && open < limit) {
		uint16_t i = t->window.sent;

		if (!push_again(t, i))
			return;
		open += inflight_seq(&t->window, i) != INFLIGHT_ACKED;
		inflight_set_sent(&t->window, (uint16_t)(i + 1));
	}
}

void feeding_forget_others(struct target *t)
{
	struct journal *j = t->set->journal;
	uint16_t done = 0;

	if (!t->feed.by_shard)
		return;
	journal_reader_enter(&t->worker->reader);
	for (uint16_t i = t->window.count; i-- > 0;) {
		uint64_t seq = inflight_seq(&t->window, i);
		const struct journal_segment *segment =
			seq == INFLIGHT_ACKED ? NULL : journal_find(j, seq);

		if (segment && feed_is_others(&t->feed, &segment->entries[seq - segment->base]))
			inflight_forget(&t->window, i);
	}
	journal_reader_leave(&t->worker->reader);
	while (done < t->window.count && inflight_seq(&t->window, done) == INFLIGHT_ACKED)
		done++;
	inflight_set_sent(
		&t->window, done); /* the run begins behind them, and none of it is sent */
}

/* --- new ones ---------------------------------------------------------------- */

/* False: no room; the record stays where it is. */
static bool push_new(
	struct target *t, const struct journal_segment *segment, const struct journal_entry *e)
{
	enum push_answer answer;

	/* [MQTT-3.3.4-9] */
	if (inflight_room(&t->window, target_limit(t)) == 0 || !socket_has_room(t))
		return false;
	answer = push(t, segment, e, inflight_next_id(&t->window), false);
	if (answer == PUSH_EXPIRED) {
		count_add(&t->figures.expired, 1);
	} else if (answer == PUSH_TOO_LARGE) {
		target_lose(t, PUBLISH_OVERSIZE, t->feed.next);
	} else {
		if (t->window.count == 0)
			t->heard_ms = loop_now_ms(t->worker->loop);
		inflight_add(&t->window, t->feed.next);
	}
	return true;
}

/* What was removed before the target got there cannot be had any more. Where no shard is fed it was
 * others' to send: also what this node has without a place comes to them by the shared log. */
static void skip_removed(struct target *t)
{
	uint64_t head = journal_head(t->set->journal);

	if (t->feed.next >= head)
		return;
	if (!t->feed.by_shard || t->feed.owned)
		ledger_lost(t->set->ledger, t, t->feed.next, head);
	t->feed.next = head;
}

/* The entry at the feed's place; *segment: where the one before was found, or NULL. NULL: it is removed. */
static const struct journal_entry *next_entry(
	const struct target *t, const struct journal_segment **segment)
{
	uint64_t seq = t->feed.next;

	if (*segment == NULL || seq >= (*segment)->end)
		*segment = journal_find(t->set->journal, seq);
	return *segment ? &(*segment)->entries[seq - (*segment)->base] : NULL;
}

/* In a cluster: passes over what other nodes send, which takes no connection and no packets, so that
 * only what waits for this node counts as waiting. */
static void skip_others(struct target *t)
{
	struct feed *f = &t->feed;
	uint64_t end = journal_tail(t->set->journal);
	const struct journal_segment *segment = NULL;

	if (!f->by_shard)
		return;
	if (f->owned == 0)
		skip_removed(t);
	if (end > f->next + SCAN_RECORDS)
		end = f->next + SCAN_RECORDS;
	while (f->next < end) {
		const struct journal_entry *e = next_entry(t, &segment);

		if (e == NULL || feed_wants(f, e)) /* removed: told once it would be sent */
			break;
		feed_pass(f, e);
	}
	t->stuck_at = f->next < end ? f->next : UINT64_MAX;
}

static void scan(struct target *t)
{
	struct feed *f = &t->feed;
	const struct journal_segment *segment = NULL;
	uint64_t end = journal_tail(t->set->journal);
	uint64_t warm;

	skip_removed(t);
	skip_others(t);
	if (f->next >= end)
		return;
	warm = warm_to(t, f->next);
	if (end > warm)
		end = warm;
	if (end > f->next + SCAN_RECORDS)
		end = f->next + SCAN_RECORDS;
	while (f->next < end) {
		const struct journal_entry *e = next_entry(t, &segment);

		if (e == NULL) /* removed just now */
			return;
		if (feed_wants(f, e) && publish_setup_wants(t->setup, feeding_topic(segment, e)) &&
			!push_new(t, segment, e))
			return;
		feed_pass(f, e);
	}
}

/* --- the turn ---------------------------------------------------------------- */

static bool may_send(const struct target *t)
{
	return t->uplink.state == UPLINK_CONNECTED && conn_is_open(&t->uplink.conn) &&
	       !t->patient && !t->prefetch && socket_has_room(t);
}

static bool may_take_parts(const struct target *t)
{
	return t->parts && t->window.count == 0 && !t->prefetch;
}

bool feeding_is_due(const struct target *t)
{
	uint64_t tail = journal_tail(t->set->journal);

	if (t->draining)
		return false;
	if (may_take_parts(t))
		return true;
	if (!may_send(t))
		return t->feed.by_shard && t->feed.next < tail && t->stuck_at != t->feed.next;
	if (t->window.sent < t->window.count)
		return inflight_open(&t->window) < target_limit(t);
	return !t->parts && t->feed.next < tail && inflight_room(&t->window, target_limit(t)) > 0;
}

bool feeding_turn(struct target *t)
{
	size_t before = conn_pending(&t->uplink.conn);

	if (may_take_parts(t))
		share_take(t);
	else if (!may_send(t))
		skip_others(t);
	else if (t->window.sent < t->window.count)
		resend(t);
	else
		scan(t);
	if (conn_pending(&t->uplink.conn) > before) {
		uplink_sent(&t->uplink);
		conn_flush(&t->uplink.conn);
	}
	count_set(&t->figures.position, target_position(t));
	return feeding_is_due(t);
}
