#include "broker/deliver.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/backlog.h"
#include "broker/batch.h"
#include "broker/client.h"
#include "broker/lost.h"
#include "broker/outgoing.h"
#include "broker/own.h"
#include "broker/shared.h"
#include "broker/walk.h"
#include "broker/worker.h"
#include "mqtt/reason.h"

#define LIVE_RECORDS 4096u        /* new records looked at per turn */
#define SCAN_RECORDS 8192u        /* index entries a session behind looks at per piece */
#define CATCH_UP_BYTES (8u << 20) /* sent to sessions behind per turn */

static struct batch_form form_of(
	const struct broker_worker *w, struct client *c, const struct group *group)
{
	return (struct batch_form){
		.ids = group && group->has_ids ? &c->session->subscriptions : NULL,
		.alone = group ? group->alone : NULL,
		.as_published = group && group->as_published ? &c->session->subscriptions : NULL,
		.aliases = client_aliases(c),
		.now_ms = w->now_ms,
		.largest = c->largest,
		.version = c->version,
		.is_direct = group && group->is_direct,
	};
}

/* --- live sessions ---------------------------------------------------- */

/* What a group of one gets of a record it wants: -1 when its session published it and all filters
 * that match are No Local. */
static int qos_alone(const struct group *group, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq, int qos)
{
	const struct session *s = group->alone;

	if (qos < 0 || !session_published(s, entry, seq))
		return qos;
	return subscriptions_want_own(&s->subscriptions, group->account, segment, entry, seq);
}

static void note_record(struct broker_worker *w, struct group *group, uint32_t delta, int qos)
{
	if (qos < 0)
		return;
	if (!group->is_active) {
		group->is_active = true;
		group->next_active = w->active;
		w->active = group;
	}
	group_add_ref(group, delta, (uint8_t)qos);
}

/* Notes records [from, to) at the groups that want them. */
static void collect(struct broker_worker *w, uint64_t from, uint64_t to)
{
	const struct journal_segment *segment = NULL;

	for (uint64_t seq = from; seq < to; seq++) {
		const struct journal_entry *entry;
		const struct match *m;

		if (segment == NULL || seq >= segment->end)
			segment = journal_find(w->journal, seq);
		if (segment == NULL)
			continue;
		entry = &segment->entries[seq - segment->base];
		if (entry->flags & JOURNAL_HIDDEN)
			continue;
		m = match_record(&w->groups, segment, entry);
		for (uint32_t i = 0; i < m->count; i++) {
			struct group *group = m->items[i].group;
			/* [MQTT-3.8.4-8] */
			int qos = qos_least(m->items[i].qos, journal_entry_qos(entry));

			if (list_is_empty(&group->live))
				continue;
			if (group->alone)
				qos = qos_alone(group, segment, entry, seq, qos);
			note_record(w, group, (uint32_t)(seq - from), qos); /* [MQTT-4.5.0-1] */
		}
	}
}

/* Fills the batch with the group's records from ref i on; gives the next ref. */
static uint32_t fill_from_refs(
	struct broker_worker *w, const struct group *group, uint32_t i, uint64_t from)
{
	const struct journal_segment *segment = NULL;
	struct batch_form form = {
		.ids = group->has_ids ? &group->filters : NULL,
		.alone = group->alone,
		.as_published = group->as_published ? &group->filters : NULL,
		.now_ms = w->now_ms,
		.aliases = group->alone ? client_aliases(group->alone->client) : NULL,
		.largest = UINT32_MAX,
		.version = group->version,
		.is_direct = group->is_direct,
	};

	batch_clear(w->batch);
	for (; i < group->ref_count; i++) {
		uint64_t seq = from + group->refs[i].delta;

		if (segment == NULL || seq >= segment->end)
			segment = journal_find(w->journal, seq);
		if (segment == NULL)
			continue;
		if (batch_add(w->batch, &form, segment, &segment->entries[seq - segment->base], seq,
			    group->refs[i].qos) == BATCH_IS_FULL)
			break;
	}
	return i;
}

static void send_live(struct broker_worker *w, struct session *s)
{
	struct client *c = s->client;
	struct batch *b = w->batch;
	uint32_t room = batch_within(b, inflight_room(&s->window, client_window(c)));
	uint32_t most = outgoing_grant(w, s, room);
	int sent = 0;

	if (conn_pending(&c->conn) && conn_flush(&c->conn) < 0)
		sent = ERR_CLOSED;
	else if (conn_pending(&c->conn) == 0 && c->largest >= b->largest)
		sent = batch_send(b, most, &c->conn, &s->window);
	outgoing_count_sent(w, s, b, sent);
	if (c->aliases)
		alias_settle(c->aliases, sent > 0 ? (uint32_t)sent : 0);
	if (sent > 0)
		b->records[sent - 1].sessions++;
	if (s->window.count)
		persist_touch(s);
	if (sent == (int)b->count)
		return;
	session_fall_behind(s, b->records[sent > 0 ? sent : 0].seq);
	if (c->largest < b->largest)
		session_ready(s);
	else if (most < room && sent == (int)most)
		throttle_wait(s, sent > 0);
}

static void count_delays(struct broker_worker *w)
{
	struct batch *b = w->batch;
	uint64_t sessions = 0;

	for (uint32_t i = b->count; i-- > 0;) {
		sessions += b->records[i].sessions;
		if (sessions)
			histogram_add(&w->counts.delivery,
				(w->now_ms - b->records[i].time_ms) * 1000, sessions);
	}
}

static void deliver_group(struct broker_worker *w, struct group *group, uint64_t from)
{
	uint32_t i = 0;

	while (i < group->ref_count && !list_is_empty(&group->live)) {
		struct list *link = group->live.next;

		i = fill_from_refs(w, group, i, from);
		if (w->batch->count == 0)
			continue;
		while (link != &group->live) {
			struct session *s = container_of(link, struct session, link);

			link = link->next;
			send_live(w, s);
		}
		count_delays(w);
	}
	group->ref_count = 0;
	group->is_active = false;
}

static void deliver_live(struct broker_worker *w)
{
	uint64_t from = w->live;
	uint64_t to = journal_tail(w->journal);

	if (to == from)
		return;
	if (to - from > LIVE_RECORDS)
		to = from + LIVE_RECORDS;
	collect(w, from, to);
	while (w->active) {
		struct group *group = w->active;

		w->active = group->next_active;
		deliver_group(w, group, from);
	}
	w->live = to;
}

/* --- sessions that are behind ----------------------------------------- */

enum piece {
	PIECE_BLOCKED, /* something will wake the session: socket, acknowledgement, prefetch */
	PIECE_MORE,    /* goes on next turn */
	PIECE_LIVE,    /* reached the tail */
};

/* Once a connection, before anything else: PUBREL again for what the client has received and not
 * completed, in the order in which it said so. */
static void release_again(struct client *c, const struct inflight *window)
{
	if (c->has_released)
		return;
	c->has_released = true;
	for (uint16_t i = 0; i < window->count; i++) {
		if (inflight_is_released(window, i)) /* [MQTT-4.4.0-1], [MQTT-4.6.0-4] */
			client_send_pubrel(c, inflight_id(window, i), MQTT_RC_SUCCESS);
	}
}

/* The message of this slot cannot be sent again. At QoS 2 the client may have it and keep the id until
 * PUBREL, which ends it whether it has or not. */
static void lose(struct session *s, uint16_t i)
{
	if (inflight_qos(&s->window, i) == 1) {
		inflight_forget(&s->window, i);
		return;
	}
	inflight_give_up(&s->window, i);
	client_send_pubrel(s->client, inflight_id(&s->window, i), MQTT_RC_SUCCESS);
}

/* Adds the message of slot i; what is gone or too large for this client is left out. */
static enum batch_answer add_again(struct broker_worker *w, struct session *s,
	struct batch_form *form, const struct journal_segment *segment, uint16_t i)
{
	uint64_t seq = inflight_seq(&s->window, i);
	enum batch_answer answer;

	if (segment == NULL) {
		count_add(&w->counts.skipped_records, 1);
		lose(s, i);
		return BATCH_EXPIRED;
	}
	form->retain = inflight_is_retained(&s->window, i);
	answer = batch_add(w->batch, form, segment, &segment->entries[seq - segment->base], seq,
		inflight_qos(&s->window, i));
	if (answer == BATCH_TOO_LARGE) { /* [MQTT-3.1.2-25] */
		worker_count_dropped(w, answer);
		lose(s, i);
	}
	return answer;
}

/* Collects at most `room` messages that were in flight when the last connection ended; slots[] are
 * their places in the window, *next is the first slot not looked at. False: waits for cold packets. */
static bool fill_resend(struct broker_worker *w, struct session *s, uint32_t room, uint16_t *ids,
	uint16_t *slots, uint16_t *next)
{
	struct batch_form form = form_of(w, s->client, s->group);
	struct batch *b = w->batch;
	uint16_t i = s->window.sent;

	form.is_direct = false;
	form.aliases = NULL;
	form.as_published = NULL;
	form.dup = true; /* [MQTT-3.3.1-1], [MQTT-4.3.3-7] */
	batch_clear(b);
	for (; i < s->window.count && b->count < room; i++) { /* [MQTT3-4.6.0-1] */
		uint64_t seq = inflight_seq(&s->window, i);
		const struct journal_segment *segment;
		enum batch_answer answer;

		/* [MQTT-4.3.3-6] */
		if (seq == INFLIGHT_ACKED || inflight_is_released(&s->window, i))
			continue;
		segment = journal_find(w->journal, seq);
		if (segment && !session_is_warm(s, seq)) {
			*next = i;
			return b->count > 0;
		}
		answer = add_again(w, s, &form, segment, i);
		if (answer == BATCH_IS_FULL)
			break;
		if (answer != BATCH_ADDED)
			continue;
		ids[b->count - 1] = inflight_id(&s->window, i);
		slots[b->count - 1] = i;
	}
	*next = i;
	return true;
}

/* What the client's receive maximum lets out again. */
static enum piece resend(struct broker_worker *w, struct session *s)
{
	uint32_t limit = client_window(s->client);
	uint32_t open = inflight_open(&s->window);
	uint16_t ids[BATCH_RECORDS];
	uint16_t slots[BATCH_RECORDS];
	uint16_t next;
	int sent;

	release_again(s->client, &s->window);
	/* [MQTT-3.3.4-9] */
	if (open >= limit || !fill_resend(w, s, limit - open, ids, slots, &next))
		return PIECE_BLOCKED;
	sent = batch_send_again(w->batch, &s->client->conn, ids);
	if (sent < 0)
		return PIECE_BLOCKED;
	outgoing_count_sent(w, s, w->batch, sent);
	count_add(&w->counts.resent, (uint64_t)sent);
	inflight_set_sent(&s->window, (uint32_t)sent == w->batch->count ? next : slots[sent]);
	return (uint32_t)sent == w->batch->count ? PIECE_MORE : PIECE_BLOCKED;
}

int deliver_qos(struct session *s, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq)
{
	int qos = seq >= s->subscriptions.youngest
			  ? group_wants(s->group, segment, entry)
			  : subscriptions_want(
				    &s->subscriptions, s->client->account, segment, entry, seq);

	return s->group->alone ? qos_alone(s->group, segment, entry, seq, qos) : qos;
}

/* Fills the batch from the session's position to at most `end`; gives where it stopped looking. */
static uint64_t fill_by_scan(struct broker_worker *w, struct session *s, uint64_t end)
{
	struct batch_form form = form_of(w, s->client, s->group);
	const struct journal_segment *segment = NULL;
	uint64_t seq = s->position;

	if (end - seq > SCAN_RECORDS)
		end = seq + SCAN_RECORDS;
	batch_clear(w->batch);
	for (; seq < end; seq++) {
		const struct journal_entry *entry;
		enum batch_answer answer;
		int qos;

		if (segment == NULL || seq >= segment->end)
			segment = journal_find(w->journal, seq);
		if (segment == NULL)
			continue;
		entry = &segment->entries[seq - segment->base];
		qos = deliver_qos(s, segment, entry, seq);
		if (qos < 0)
			continue;
		answer = batch_add(w->batch, &form, segment, entry, seq, (uint8_t)qos);
		if (answer == BATCH_IS_FULL)
			break;
		worker_count_dropped(w, answer);
	}
	return seq;
}

/* What was removed before the session got there cannot be had any more. */
static void skip_removed(struct broker_worker *w, struct session *s)
{
	uint64_t head = journal_head(w->journal);

	if (s->position >= head)
		return;
	count_add(&w->counts.skipped_records, head - s->position);
	lost_count(w->broker, &(struct lost_range){.accounts = s->client->accounts,
				      .account = s->client->account,
				      .subscriptions = &s->subscriptions,
				      .who = session_client_id(s),
				      .from = s->position,
				      .head = head});
	s->position = head;
}

/* The batch as far as window and socket take it; how many left, negative: the connection closes. */
static int send_alone(struct broker_worker *w, struct session *s)
{
	struct batch *b = w->batch;
	uint32_t room = batch_within(b, inflight_room(&s->window, client_window(s->client)));
	uint32_t most = outgoing_grant(w, s, room);
	int sent = batch_send(b, most, &s->client->conn, &s->window);

	if (s->client->aliases)
		alias_settle(s->client->aliases, sent > 0 ? (uint32_t)sent : 0);
	outgoing_count_sent(w, s, b, sent);
	if (most < room && sent == (int)most)
		throttle_wait(s, sent > 0);
	return sent;
}

static bool waits_for_throttle(const struct broker_worker *w, struct session *s)
{
	struct throttle *throttle = s->client->account->throttle;

	if (throttle == NULL || !throttle_is_empty(throttle, loop_now_ms(w->loop)))
		return false;
	throttle_wait(s, false);
	return true;
}

/* The session stands where it subscribed: what is retained comes first. */
static enum piece send_walk(struct broker_worker *w, struct session *s)
{
	struct batch_form form = form_of(w, s->client, s->group);
	int sent;

	if (inflight_room(&s->window, client_window(s->client)) == 0 || waits_for_throttle(w, s) ||
		!walk_fill(w, s, &form))
		return PIECE_BLOCKED;
	sent = send_alone(w, s);
	if (sent < 0)
		return PIECE_BLOCKED;
	walk_sent(w, s, (uint32_t)sent);
	return sent < (int)w->batch->count ? PIECE_BLOCKED : PIECE_MORE;
}

static enum piece send_scanned(struct broker_worker *w, struct session *s, uint64_t stopped)
{
	struct batch *b = w->batch;
	int sent = send_alone(w, s);

	if (sent < 0)
		return PIECE_BLOCKED;
	if (sent < (int)b->count) {
		s->position = b->records[sent].seq;
		return PIECE_BLOCKED;
	}
	s->position = stopped;
	return s->position == w->live && s->walks == NULL ? PIECE_LIVE : PIECE_MORE;
}

static enum piece catch_up(struct broker_worker *w, struct session *s)
{
	struct conn *conn = &s->client->conn;
	uint64_t end = w->live;

	if (!conn_is_open(conn))
		return PIECE_BLOCKED;
	if (conn_pending(conn) && (conn_flush(conn) < 0 || conn_pending(conn)))
		return PIECE_BLOCKED;
	if (s->window.sent < s->window.count)
		return waits_for_throttle(w, s) ? PIECE_BLOCKED : resend(w, s);
	if (s->group == NULL)
		s->position = end;
	skip_removed(w, s);
	if (walk_is_due(s))
		return send_walk(w, s);
	end = walk_limit(s, end);
	if (s->position >= end)
		return s->position == end && s->walks == NULL ? PIECE_LIVE : PIECE_MORE;
	if (s->group && !backlog_hold(w, s))
		return PIECE_MORE;
	if (inflight_room(&s->window, client_window(s->client)) == 0 || waits_for_throttle(w, s))
		return PIECE_BLOCKED;
	if (!session_is_warm(s, s->position))
		return PIECE_BLOCKED;
	if (s->position < s->warm_to && s->warm_to < end &&
		!journal_is_warm(w->journal, s->position))
		end = s->warm_to;
	return send_scanned(w, s, fill_by_scan(w, s, end));
}

static void become_live(struct broker_worker *w, struct session *s)
{
	s->state = SESSION_LIVE;
	s->warm_to = 0;
	backlog_end(s);
	count_add(&w->counts.live, 1);
	if (s->group)
		list_append(&s->group->live, &s->link);
}

static void deliver_behind(struct broker_worker *w)
{
	struct list round;
	uint64_t before = count_read(&w->counts.delivered_bytes);

	list_init(&round);
	list_splice(&round, &w->ready);
	while (!list_is_empty(&round)) {
		struct session *s = container_of(round.next, struct session, link);
		enum piece piece;

		if (count_read(&w->counts.delivered_bytes) - before > CATCH_UP_BYTES)
			break;
		list_remove(&s->link);
		s->is_ready = false;
		throttle_end_wait(s);
		piece = catch_up(w, s);
		persist_touch(s);
		shared_go_on(s);
		if (piece == PIECE_LIVE)
			become_live(w, s);
		else if (piece == PIECE_MORE)
			session_ready(s);
	}
	/* Who had no turn goes first next time. */
	list_splice(&round, &w->ready);
	list_splice(&w->ready, &round);
}

/* --- the turn --------------------------------------------------------- */

bool deliver_has_work(const struct broker_worker *w)
{
	return w->live != journal_tail(w->journal) || !list_is_empty(&w->ready) ||
	       shared_has_work(w);
}

bool deliver_turn(struct broker_worker *w)
{
	if (!deliver_has_work(w))
		return false;
	w->now_ms = journal_now(w->journal);
	journal_reader_enter(&w->reader);
	deliver_live(w);
	deliver_behind(w);
	shared_turn(w);
	journal_reader_leave(&w->reader);
	return deliver_has_work(w);
}
