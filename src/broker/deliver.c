#include "broker/deliver.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker/batch.h"
#include "broker/catch_up.h"
#include "broker/client.h"
#include "broker/outgoing.h"
#include "broker/own.h"
#include "broker/shared.h"
#include "broker/worker.h"

#define LIVE_RECORDS 4096u /* new records looked at per turn */

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

int deliver_qos(struct session *s, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq)
{
	int qos = seq >= s->subscriptions.youngest
			  ? group_wants(s->group, segment, entry)
			  : subscriptions_want(
				    &s->subscriptions, s->client->account, segment, entry, seq);

	return s->group->alone ? qos_alone(s->group, segment, entry, seq, qos) : qos;
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
	catch_up_turn(w);
	shared_turn(w);
	journal_reader_leave(&w->reader);
	return deliver_has_work(w);
}
