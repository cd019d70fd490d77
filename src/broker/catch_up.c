/* What keeps live sessions from noticing: a turn of the worker gives those behind CATCH_UP_NS together,
 * counted in time, because what a piece costs depends on more than its bytes: a filter that matches
 * little is all scanning, TLS costs several times plain TCP, a backlog limit counts both ends. The next
 * turn then delivers what is live first. Who had no piece in this turn has the first in the next, so
 * everybody behind gets as many pieces as the others, and a piece is bounded: SCAN_RECORDS entries of
 * the index, one batch, no more than the client's window has room for, and only what is in memory.
 */
#include "broker/catch_up.h"

#include <stdlib.h>

#include "base/clock.h"
#include "broker/backlog.h"
#include "broker/batch.h"
#include "broker/client.h"
#include "broker/deliver.h"
#include "broker/lost.h"
#include "broker/outgoing.h"
#include "broker/roam.h"
#include "broker/shared.h"
#include "broker/walk.h"
#include "broker/worker.h"
#include "mqtt/reason.h"

#define CATCH_UP_NS 2000000u /* a turn, for all sessions that are behind */
#define SCAN_RECORDS 8192u   /* index entries looked at per piece */

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
		if (segment && session_warm_to(s, seq) == seq) {
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

/* Fills the batch from the session's position to at most `end`, with no more than its window has room
 * for; gives where it stopped looking. */
static uint64_t fill_by_scan(
	struct broker_worker *w, struct session *s, uint32_t room, uint64_t end)
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
		if (roam_has_had(s, entry))
			continue;
		qos = deliver_qos(s, segment, entry, seq);
		if (qos < 0)
			continue;
		if (qos && w->batch->with_id == room)
			break;
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
	bool is_throttled;
	int sent = outgoing_send(w, s, &is_throttled);

	if (is_throttled)
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

static enum piece send_journal(struct broker_worker *w, struct session *s, uint64_t end)
{
	uint32_t room = inflight_room(&s->window, client_window(s->client));
	uint64_t warm_to;

	if (room == 0 || waits_for_throttle(w, s))
		return PIECE_BLOCKED;
	warm_to = session_warm_to(s, s->position);
	if (warm_to == s->position)
		return PIECE_BLOCKED;
	return send_scanned(w, s, fill_by_scan(w, s, room, warm_to < end ? warm_to : end));
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
		return s->position == end ? PIECE_LIVE : PIECE_MORE;
	if (s->group && !backlog_hold(w, s))
		return PIECE_MORE;
	return send_journal(w, s, end);
}

static void become_live(struct broker_worker *w, struct session *s)
{
	s->state = SESSION_LIVE;
	s->warm_to = 0;
	backlog_end(s);
	free(s->had);
	s->had = NULL;
	count_add(&w->counts.live, 1);
	if (s->group)
		list_append(&s->group->live, &s->link);
}

static void take_piece(struct broker_worker *w, struct session *s)
{
	enum piece piece;

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

void catch_up_turn(struct broker_worker *w)
{
	uint64_t begun_ns = clock_mono_ns();
	struct list round;

	list_init(&round);
	list_splice(&round, &w->ready);
	while (!list_is_empty(&round)) {
		take_piece(w, container_of(round.next, struct session, link));
		if (clock_mono_ns() - begun_ns >= CATCH_UP_NS)
			break;
	}
	list_splice(&round, &w->ready);
	list_splice(&w->ready, &round);
}
