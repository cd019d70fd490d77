#include "broker/backlog.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "broker/client.h"
#include "broker/deliver.h"
#include "broker/worker.h"

#define PIECE_RECORDS 8192u /* looked at in one go, at each end */
#define LOG_EVERY_MS 60000u

struct backlog {
	uint64_t from;
	uint64_t to;
	uint64_t wanted;  /* of [from, to) */
	uint64_t dropped; /* not logged yet */
	uint64_t log_ms;  /* not before */
};

static void log_dropped(struct session *s, uint64_t now_ms)
{
	struct backlog *b = s->backlog;
	char quoted[LOG_QUOTE_BYTES];
	struct view id = session_client_id(s);

	if (b->dropped == 0 || now_ms < b->log_ms)
		return;
	log_warn("broker", "session-over-backlog", "client_id=%s dropped=%llu backlog=%llu",
		log_quote(id.p, id.n, quoted), (unsigned long long)b->dropped,
		(unsigned long long)s->client->account->backlog);
	b->dropped = 0;
	b->log_ms = now_ms + LOG_EVERY_MS;
}

void backlog_end(struct session *s)
{
	if (s->backlog == NULL)
		return;
	log_dropped(s, UINT64_MAX);
	free(s->backlog);
	s->backlog = NULL;
}

/* Messages for s among [*at, end), at most PIECE_RECORDS looked at and `most` found. */
static uint64_t pass(
	struct broker_worker *w, struct session *s, uint64_t *at, uint64_t end, uint64_t most)
{
	const struct journal_segment *segment = NULL;
	uint64_t found = 0;

	if (end - *at > PIECE_RECORDS)
		end = *at + PIECE_RECORDS;
	for (; *at < end && found < most; ++*at) {
		if (segment == NULL || *at >= segment->end)
			segment = journal_find(w->journal, *at);
		if (segment == NULL)
			continue;
		found += deliver_qos(s, segment, &segment->entries[*at - segment->base], *at) >= 0;
	}
	return found;
}

static void begin(struct session *s)
{
	uint64_t log_ms = s->backlog ? s->backlog->log_ms : 0;
	uint64_t dropped = s->backlog ? s->backlog->dropped : 0;

	if (s->backlog == NULL)
		s->backlog = mem_new(sizeof(*s->backlog));
	*s->backlog = (struct backlog){s->position, s->position, 0, dropped, log_ms};
}

/* What has been sent since is no longer waiting. */
static bool follow(struct broker_worker *w, struct session *s)
{
	struct backlog *b = s->backlog;

	b->wanted -= pass(w, s, &b->from, s->position, UINT64_MAX);
	return b->from == s->position;
}

static void drop(struct broker_worker *w, struct session *s, uint64_t most)
{
	struct backlog *b = s->backlog;
	uint64_t gone = pass(w, s, &b->from, b->to, b->wanted - most);

	b->wanted -= gone;
	b->dropped += gone;
	s->position = b->from;
	count_add(&w->counts.dropped_backlog, gone);
}

bool backlog_hold(struct broker_worker *w, struct session *s)
{
	uint64_t most = s->client->account->backlog;

	if (most == 0 || w->live - s->position <= most) {
		backlog_end(s);
		return true;
	}
	/* A replay went back, or the journal has removed what was counted. */
	if (s->backlog == NULL || s->position < s->backlog->from ||
		s->backlog->from < journal_head(w->journal))
		begin(s);
	if (!follow(w, s))
		return false;
	s->backlog->wanted += pass(w, s, &s->backlog->to, w->live, UINT64_MAX);
	if (s->backlog->wanted > most)
		drop(w, s, most);
	if (s->backlog->to < w->live || s->backlog->wanted > most)
		return false;
	log_dropped(s, loop_now_ms(w->loop));
	return true;
}
