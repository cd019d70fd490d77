/* cluster/resume.c - journal and bookmark, put together */
#include "cluster/resume.h"

#include "commit/follow.h"

/* What the last second before a power failure brought may be missing in the journal: as far back as
 * that may be by the streams' clock. */
#define LOST_MS 60000u

/* The bookmark's word on shards of which the journal has nothing, as it lost its last records: what is
 * young may be among them. */
static void take_unknown(const struct bookmark *m, struct resume *out, uint32_t shards)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < m->count; i++)
		newest = m->rows[i].place > newest ? m->rows[i].place : newest;
	for (uint32_t i = 0; i < shards && i < m->count; i++) {
		uint64_t place = m->rows[i].place;

		if (out[i].mark.place == 0)
			out[i].mark.place = place > place_before(newest, LOST_MS)
						    ? place_before(place, LOST_MS)
						    : place;
	}
}

static void take_row(const struct bookmark_row *row, struct resume *out)
{
	out->mark = (struct mark){row->place, row->ordinal, row->ordinal != BOOKMARK_UNCOUNTED};
	memcpy(out->run_id, row->run_id, sizeof(out->run_id));
}

static void add_entry(const struct journal_entry *e, struct resume *out, uint32_t shards)
{
	struct mark *mark = &out[e->shard].mark;

	if (e->shard >= shards || e->log_id <= mark->place)
		return;
	mark->place = e->log_id;
	mark->ordinal++;
}

/* Everything the journal has from seq on. */
static void add_journal(struct journal *j, uint64_t seq, struct resume *out, uint32_t shards)
{
	uint64_t tail = journal_tail(j);
	const struct journal_segment *s;
	struct journal_reader r = {0};

	journal_reader_open(j, &r);
	journal_reader_enter(&r);
	for (; seq < tail && (s = journal_find(j, seq)) != NULL; seq++)
		add_entry(&s->entries[seq - s->base], out, shards);
	journal_reader_leave(&r);
	journal_reader_close(&r);
}

void resume_find(
	struct commit *c, const struct bookmark *m, uint32_t shards, struct resume out[SHARDS_MOST])
{
	struct journal *j = commit_journal(c);
	uint64_t tail = journal_tail(j);
	struct vector known;

	commit_position(c, &known);
	for (uint32_t i = 0; i < shards; i++)
		out[i] = (struct resume){.mark = {.place = known.place[i]}};
	if (m == NULL || tail == 0)
		return;
	if (m->seq > tail || m->seq < journal_head(j)) {
		take_unknown(m, out, shards);
		return;
	}
	for (uint32_t i = 0; i < shards && i < m->count; i++)
		take_row(&m->rows[i], &out[i]);
	add_journal(j, m->seq, out, shards);
	for (uint32_t i = 0; i < shards; i++) {
		if (known.place[i] > out[i].mark.place)
			out[i].mark = (struct mark){.place = known.place[i]};
	}
}
