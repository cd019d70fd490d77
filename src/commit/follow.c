/* commit/follow.c - lines of shards, merged into the journal under its lock
 *
 * Room for all of them is reserved first. Then each line goes on until a record waits for one that is
 * not known, round by round while any line gets on: what stands in this batch lets others pass. Only
 * when none does may the oldest overdue one go, and then again all that this lets pass.
 * Everything taken is claimed, whatever it is, so that what is read twice is written once.
 */
#include "commit/follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "commit/internal.h"

#define PREFETCH_MOST 64u

/* --- the batch ------------------------------------------------------------ */

static void prefetch(const struct commit *c, const struct commit_line *line)
{
	const struct uuid *ids[PREFETCH_MOST];

	for (uint32_t i = 0, n; i < line->n; i += n) {
		n = line->n - i < PREFETCH_MOST ? line->n - i : PREFETCH_MOST;
		for (uint32_t k = 0; k < n; k++)
			ids[k] = &line->records[i + k].message.id;
		seen_prefetch(c->seen, ids, n);
	}
}

/* What is known itself waits for nothing. */
static bool is_kept_back(const struct commit *c, const struct commit_line *line)
{
	const struct commit_record *r = &line->records[line->taken];

	return r->has_previous && !seen_has(c->seen, &r->previous) &&
	       !seen_has(c->seen, &r->message.id);
}

static void take_one(struct commit *c, struct commit_line *line, uint64_t now)
{
	const struct commit_record *r = &line->records[line->taken++];

	if (seen_claim(c->seen, &r->message.id, r->print, now) == SEEN_FIRST)
		c->followed[c->followed_count++] = &r->message;
	else
		line->known++;
}

/* Takes what this line can give now. */
static bool advance(struct commit *c, struct commit_line *line, uint64_t now)
{
	uint32_t before = line->taken;

	while (line->taken < line->n && !is_kept_back(c, line))
		take_one(c, line, now);
	return line->taken > before;
}

static void advance_all(struct commit *c, struct commit_line *lines, uint32_t n, uint64_t now)
{
	bool got_on;

	do {
		got_on = false;
		for (uint32_t i = 0; i < n; i++)
			got_on |= advance(c, &lines[i], now);
	} while (got_on);
}

/* No line gets on: the oldest record that is overdue does not wait any longer. */
static bool force_oldest(struct commit *c, struct commit_line *lines, uint32_t n, uint64_t now)
{
	struct commit_line *oldest = NULL;
	uint64_t place = UINT64_MAX;

	for (uint32_t i = 0; i < n; i++) {
		struct commit_line *line = &lines[i];

		if (line->taken < line->overdue &&
			line->records[line->taken].message.log_id < place) {
			oldest = line;
			place = line->records[line->taken].message.log_id;
		}
	}
	if (oldest == NULL)
		return false;
	take_one(c, oldest, now);
	oldest->forced++;
	return true;
}

static void take(struct commit *c, struct commit_line *lines, uint32_t n)
{
	uint64_t now = journal_now(c->journal);

	c->followed_count = 0;
	for (uint32_t i = 0; i < n; i++)
		prefetch(c, &lines[i]);
	do
		advance_all(c, lines, n, now);
	while (force_oldest(c, lines, n, now));
}

static void note_places(struct commit *c)
{
	uint64_t seq = journal_tail(c->journal) - c->followed_count;

	for (uint32_t i = 0; i < c->followed_count; i++)
		follow_note(c, seq + i, c->followed[i]->shard, c->followed[i]->log_id);
}

static bool may_retain(const struct commit *c)
{
	for (uint32_t i = 0; i < c->followed_count; i++) {
		if (c->followed[i]->flags & JOURNAL_RETAIN)
			return true;
	}
	return false;
}

/* With the lock and room reserved. */
static int take_and_append(struct commit *c, struct commit_line *lines, uint32_t n)
{
	int err;

	commit_expire_sometimes(c);
	take(c, lines, n);
	if (c->followed_count == 0)
		return 0;
	err = commit_append_and_tell(c, c->followed, c->followed_count, may_retain(c));
	if (err == 0)
		note_places(c);
	else
		seen_forget_newest(c->seen, c->followed_count);
	return err;
}

static void make_room(struct commit *c, uint32_t records)
{
	if (records <= c->followed_size)
		return;
	c->followed = mem_resize(c->followed, records * sizeof(*c->followed));
	c->followed_size = records;
}

int commit_follow(struct commit *c, struct commit_line *lines, uint32_t n)
{
	uint64_t bytes = 0;
	uint32_t records = 0;
	bool is_new = false;
	int err;

	for (uint32_t i = 0; i < n; i++) {
		lines[i].taken = lines[i].known = lines[i].forced = 0;
		records += lines[i].n;
		for (uint32_t k = 0; k < lines[i].n; k++) {
			struct commit_record *r = &lines[i].records[k];

			r->print = commit_print_of(c, &r->message);
			bytes += commit_bytes_of(&r->message);
		}
	}
	make_room(c, records);
	journal_lock(c->journal);
	err = journal_reserve(c->journal, bytes, records);
	if (err == 0)
		err = take_and_append(c, lines, n);
	if (err == 0)
		is_new = c->followed_count > 0;
	journal_unlock(c->journal);
	if (is_new)
		port_wake_all(c);
	for (uint32_t i = 0; i < n && err; i++)
		lines[i].taken = lines[i].known = lines[i].forced = 0;
	return err == 0 || err == ERR_TOO_LARGE ? err : ERR_HELD;
}

/* --- positions -------------------------------------------------------------- */

void follow_note(struct commit *c, uint64_t seq, uint32_t shard, uint64_t place)
{
	if (c->vectors == NULL)
		c->vectors = vector_log_new();
	vector_log_note(c->vectors, seq, shard, place, c->journal ? journal_head(c->journal) : 0);
}

void commit_position(struct commit *c, struct vector *out)
{
	memset(out, 0, sizeof(*out));
	journal_lock(c->journal);
	if (c->vectors)
		vector_log_now(c->vectors, out);
	journal_unlock(c->journal);
}

/* Walks [from, end) of the journal as long as on_entry() says so; gives where it stopped. */
static uint64_t walk(const struct journal *j, uint64_t from, uint64_t end,
	bool (*on_entry)(struct vector *v, const struct journal_entry *e), struct vector *v)
{
	const struct journal_segment *s;

	while (from < end && (s = journal_find(j, from)) != NULL) {
		uint64_t stop = s->end < end ? s->end : end;

		for (; from < stop; from++) {
			if (!on_entry(v, &s->entries[from - s->base]))
				return from;
		}
	}
	return from;
}

static bool add_entry(struct vector *v, const struct journal_entry *e)
{
	if (e->log_id > v->place[e->shard])
		v->place[e->shard] = e->log_id;
	return true;
}

static bool is_not_beyond(struct vector *v, const struct journal_entry *e)
{
	return e->log_id <= v->place[e->shard];
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void commit_vector_at(
	struct commit *c, const struct journal_reader *r, uint64_t seq, struct vector *out)
{
	uint64_t tail = journal_tail(r->journal);
	uint64_t row = 0;

	seq = seq < tail ? seq : tail;
	memset(out, 0, sizeof(*out));
	journal_lock(c->journal);
	if (c->vectors)
		row = vector_log_row(c->vectors, seq, out);
	journal_unlock(c->journal);
	walk(r->journal, later(row, journal_head(r->journal)), seq, add_entry, out);
}

uint64_t commit_first_beyond(
	struct commit *c, const struct journal_reader *r, const struct vector *v)
{
	uint64_t tail = journal_tail(r->journal);
	struct vector bound = *v;
	uint64_t row = tail;

	journal_lock(c->journal);
	if (c->vectors)
		row = vector_log_within(c->vectors, v);
	journal_unlock(c->journal);
	return walk(r->journal, later(row, journal_head(r->journal)), tail, is_not_beyond, &bound);
}

/* Is a row of the vectors between the journal's head and seq? Then the vector at seq knows what was
 * removed, too. */
static bool is_exact_at(struct commit *c, uint64_t seq)
{
	struct vector v;
	uint64_t row = 0;

	journal_lock(c->journal);
	if (c->vectors)
		row = vector_log_row(c->vectors, seq, &v);
	journal_unlock(c->journal);
	return row >= journal_head(c->journal);
}

bool commit_reaches(struct commit *c, const struct journal_reader *r, uint32_t shard,
	uint64_t place, uint64_t *first)
{
	const struct journal_segment *s;
	struct vector v, now, kept = {{0}};
	uint64_t seq;

	memset(&v, 0xff, sizeof(v)); /* no record of any other shard is beyond */
	v.place[shard] = place;
	seq = commit_first_beyond(c, r, &v);
	s = journal_find(r->journal, seq);
	*first = s ? s->entries[seq - s->base].log_id : 0;
	commit_position(c, &now);
	if (now.place[shard] == 0)
		return place == 0;
	if (now.place[shard] <= place)
		return true;
	if (is_exact_at(c, seq)) {
		commit_vector_at(c, r, seq, &v);
		return v.place[shard] ? v.place[shard] <= place : place == 0;
	}
	walk(r->journal, journal_head(r->journal), seq, add_entry, &kept);
	return kept.place[shard] != 0;
}
