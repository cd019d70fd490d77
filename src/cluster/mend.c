/* cluster/mend.c - the journal's records of a shard behind a place, claimed piece by piece */
#include "cluster/mend.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "cluster/followed.h"
#include "cluster/intake.h"
#include "cluster/stream.h"
#include "cluster/writer.h"
#include "commit/follow.h"

#define LOOK_EVERY_MS 20u
#define PIECE_RECORDS 64u
#define PIECE_BYTES (1u << 20)
#define LOOKED_AT_MOST 16384u /* records of all shards, in a turn */
#define UNSURE_MS 300000u     /* half of what the id of a message without claim is remembered */

/* What is to be put back of a shard. */
struct stretch {
	bool is_under_way;
	uint64_t seq; /* looked at up to here */
	uint64_t end;
	uint64_t after; /* places: behind this */
	uint64_t upto;
	uint64_t offered;
	uint64_t mended; /* by the writer, before it began */
};

struct piece {
	uint32_t n;
	const struct journal_entry *entries[PIECE_RECORDS];
	struct record records[PIECE_RECORDS];
};

struct mend {
	struct cluster_core *core;
	struct writer *writer;
	struct journal_reader reader;
	struct timer look;
	struct stretch stretches[SHARDS_MOST];
};

/* --- a piece -------------------------------------------------------------------- */

/* A message of the journal as it stood in the shared log, but for who published it. */
static struct record record_of(const struct journal_segment *at, const struct journal_entry *e)
{
	const char *packet = (const char *)at->packets + e->offset, *end = packet + e->packet_bytes;
	const uint8_t *length = (const uint8_t *)packet + e->header_bytes;
	struct view topic = {(const char *)length + 2, (size_t)length[0] << 8 | length[1]};

	return (struct record){
		.topic = topic,
		.payload = {topic.p + topic.n, (size_t)(end - topic.p) - topic.n},
		.properties = {end, e->property_bytes},
		.id = e->id,
		.expiry_s = e->expiry_s,
		.flags = e->flags & RECORD_FLAGS_SHARED,
		.qos = journal_entry_qos(e),
	};
}

static bool is_wanted(const struct stretch *s, uint32_t shard, const struct journal_entry *e)
{
	return e->shard == shard && e->log_id > s->after && e->log_id <= s->upto &&
	       !(e->flags & JOURNAL_HIDDEN);
}

/* What is left of its time; false: nothing. */
static bool is_timely(struct record *r, uint64_t time_ms, uint64_t now)
{
	struct journal_message m = {.expiry_s = r->expiry_s};
	bool is_so = followed_is_timely(&m, now > time_ms ? now - time_ms : 0);

	r->expiry_s = m.expiry_s;
	return is_so;
}

/* The next ones, all of one segment. */
static void choose(struct stretch *s, uint32_t shard, const struct journal_segment *at,
	uint64_t now, struct piece *out)
{
	uint64_t end = at->end < s->end ? at->end : s->end;
	size_t bytes = 0;

	if (end - s->seq > LOOKED_AT_MOST)
		end = s->seq + LOOKED_AT_MOST;
	for (; s->seq < end && out->n < PIECE_RECORDS && bytes < PIECE_BYTES; s->seq++) {
		const struct journal_entry *e = &at->entries[s->seq - at->base];

		if (!is_wanted(s, shard, e))
			continue;
		out->entries[out->n] = e;
		out->records[out->n] = record_of(at, e);
		bytes += e->packet_bytes + e->property_bytes;
		out->n += is_timely(&out->records[out->n], e->time_ms, now);
	}
}

static void put(struct mend *m, const struct piece *piece)
{
	struct parcel *p = intake_parcel(piece->n);

	for (uint32_t i = 0; i < piece->n; i++) {
		const struct journal_entry *e = piece->entries[i];
		struct entry *out = &p->entries[i];

		out->id = e->id;
		out->place = e->log_id;
		out->shard = e->shard;
		out->claim = (e->flags & JOURNAL_CLAIMED) != 0;
		out->at = (uint32_t)buf_length(&p->records);
		(void)record_encode(
			&p->records, &piece->records[i]); /* no text is longer than it was */
		out->bytes = (uint32_t)buf_length(&p->records) - out->at;
	}
	writer_put_back(m->writer, p);
}

/* --- a stretch -------------------------------------------------------------------- */

static void finish(struct mend *m, uint32_t shard, struct stretch *s)
{
	s->is_under_way = false;
	if (s->offered)
		log_warn("cluster", "put_back",
			"shard=%u messages=%llu of=%llu Redis has lost what this node's journal "
			"has",
			shard, (unsigned long long)(writer_mended(m->writer, shard) - s->mended),
			(unsigned long long)s->offered);
}

static void go_on(struct mend *m, uint32_t shard)
{
	struct stretch *s = &m->stretches[shard];
	const struct journal_segment *at;
	struct piece piece = {0};

	if (!s->is_under_way || !writer_is_idle(m->writer, shard))
		return;
	journal_reader_enter(&m->reader);
	at = s->seq < s->end ? journal_find(m->reader.journal, s->seq) : NULL;
	if (at)
		choose(s, shard, at, journal_now(m->reader.journal), &piece);
	s->offered += piece.n;
	if (piece.n)
		put(m, &piece);
	journal_reader_leave(&m->reader);
	if (at == NULL)
		finish(m, shard, s);
}

static void on_look(struct timer *t)
{
	struct mend *m = container_of(t, struct mend, look);
	bool is_under_way = false;

	for (uint32_t i = 0; i < m->core->shards; i++) {
		go_on(m, i);
		is_under_way |= m->stretches[i].is_under_way;
	}
	if (is_under_way)
		timer_start(m->core->loop, t, LOOK_EVERY_MS);
}

/* The first record of the shard behind the place. */
static uint64_t first_behind(struct mend *m, uint32_t shard, uint64_t place)
{
	struct vector v;
	uint64_t seq;

	memset(&v, 0xff, sizeof(v)); /* no record of any other shard is beyond */
	v.place[shard] = place;
	journal_reader_enter(&m->reader);
	seq = commit_first_beyond(m->core->commit, &m->reader, &v);
	journal_reader_leave(&m->reader);
	return seq;
}

static uint64_t place_at(uint64_t clock_ms, uint64_t ms)
{
	return place_pack((struct log_place){clock_ms > ms ? clock_ms - ms : 0, 0});
}

void mend_shard(struct mend *m, uint32_t shard, uint64_t found, uint64_t upto, uint64_t clock_ms)
{
	uint64_t keep_ms = m->core->settings->stream_keep_ms;
	uint64_t oldest = place_at(clock_ms, found ? keep_ms : UNSURE_MS);
	struct stretch *s = &m->stretches[shard];

	*s = (struct stretch){.is_under_way = true,
		.after = found > oldest ? found : oldest,
		.upto = upto,
		.end = journal_tail(m->reader.journal),
		.mended = writer_mended(m->writer, shard)};
	s->seq = first_behind(m, shard, s->after);
	timer_start(m->core->loop, &m->look, LOOK_EVERY_MS);
}

bool mend_is_busy(const struct mend *m, uint32_t shard)
{
	return m->stretches[shard].is_under_way;
}

/* --- life --------------------------------------------------------------------------- */

struct mend *mend_new(struct cluster_core *core, struct writer *writer)
{
	struct mend *m = mem_new(sizeof(*m));

	m->core = core;
	m->writer = writer;
	m->look.on_time = on_look;
	journal_reader_open(commit_journal(core->commit), &m->reader);
	return m;
}

void mend_free(struct mend *m)
{
	if (m == NULL)
		return;
	timer_stop(m->core->loop, &m->look);
	journal_reader_close(&m->reader);
	free(m);
}
