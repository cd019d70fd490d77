/* broker/passport.c - positions to places and back */
#include "broker/passport.h"

#include "base/error.h"
#include "mqtt/inflight.h"

#define VERSION 1
#define NO_SLOT 0xffffu
#define FLAGS_KEPT ((INFLIGHT_QOS_2 | INFLIGHT_RELEASED | INFLIGHT_RETAIN) >> INFLIGHT_SHARE)
#define SEQ_MASK ((1ull << INFLIGHT_SHARE) - 1)

/* --- writing ---------------------------------------------------------------- */

static void put(struct buf *out, uint64_t value, unsigned bytes)
{
	uint8_t text[8];

	for (unsigned i = 0; i < bytes; i++)
		text[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	buf_append(out, text, bytes);
}

void vector_write(struct buf *out, const struct vector *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VECTOR_SHARDS; i++)
		n += v->place[i] != 0;
	put(out, n, 2);
	for (unsigned i = 0; i < VECTOR_SHARDS; i++) {
		if (v->place[i] == 0)
			continue;
		put(out, i, 1);
		put(out, v->place[i], 8);
	}
}

static const struct journal_entry *entry_at(const struct journal *j, uint64_t seq)
{
	const struct journal_segment *segment = journal_find(j, seq);

	return segment ? &segment->entries[seq - segment->base] : NULL;
}

static void put_slot(const struct passport_desk *d, uint64_t raw, struct buf *out)
{
	const struct journal_entry *e =
		raw == INFLIGHT_ACKED ? NULL : entry_at(d->journal, raw & SEQ_MASK);
	bool is_shared = e && e->log_id;

	put(out, is_shared ? raw >> INFLIGHT_SHARE & FLAGS_KEPT : NO_SLOT, 2);
	put(out, is_shared ? e->shard : 0, 1);
	put(out, is_shared ? e->log_id : 0, 8);
}

void passport_write(const struct passport_desk *d, const struct row *row, enum passport_kind kind,
	struct buf *out)
{
	struct row rest = *row;
	struct vector at = {0};
	size_t n = row->slots.n / sizeof(uint64_t);

	journal_reader_enter(d->reader);
	if (kind != PASSPORT_LIVE)
		commit_vector_at(d->commit, d->reader, row->position, &at);
	put(out, (uint64_t)kind, 1);
	put(out, VERSION, 1);
	vector_write(out, &at);
	put(out, n, 4);
	for (size_t i = 0; i < n; i++) {
		uint64_t raw;

		memcpy(&raw, row->slots.p + i * sizeof(raw), sizeof(raw));
		put_slot(d, raw, out);
	}
	journal_reader_leave(d->reader);
	rest.slots = (struct view){NULL, 0};
	rest.position = 0;
	row_encode(&rest, out);
}

/* --- reading ------------------------------------------------------------------ */

/* False: there is not so much. */
static bool get(struct view *rest, unsigned bytes, uint64_t *value)
{
	*value = 0;
	if (rest->n < bytes)
		return false;
	for (unsigned i = 0; i < bytes; i++)
		*value = *value << 8 | (uint8_t)rest->p[i];
	*rest = view_skip(*rest, bytes);
	return true;
}

static bool vector_read(struct view *rest, struct vector *out)
{
	uint64_t n, shard;

	*out = (struct vector){0};
	if (!get(rest, 2, &n))
		return false;
	for (uint64_t i = 0; i < n; i++) {
		if (!get(rest, 1, &shard) || !get(rest, 8, &out->place[shard]))
			return false;
	}
	return true;
}

/* The record at this place in this journal, or none: its message cannot be sent again from here. */
static uint64_t slot_of_place(
	const struct passport_desk *d, uint64_t flags, uint64_t shard, uint64_t place)
{
	const struct journal_entry *e;
	struct vector before;
	uint64_t seq;

	if (flags == NO_SLOT || place == 0)
		return INFLIGHT_ACKED;
	for (unsigned i = 0; i < VECTOR_SHARDS; i++)
		before.place[i] = UINT64_MAX;
	before.place[shard] = place - 1;
	seq = commit_first_beyond(d->commit, d->reader, &before);
	e = entry_at(d->journal, seq);
	if (e == NULL || e->shard != shard || e->log_id != place)
		return INFLIGHT_ACKED;
	return seq | (flags & FLAGS_KEPT) << INFLIGHT_SHARE;
}

static bool read_slots(const struct passport_desk *d, struct view *rest, struct buf *out)
{
	uint64_t n, flags, shard, place, raw;

	if (!get(rest, 4, &n) || n > UINT16_MAX || rest->n < n * 11)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		get(rest, 2, &flags);
		get(rest, 1, &shard);
		get(rest, 8, &place);
		raw = slot_of_place(d, flags, shard, place);
		buf_append(out, &raw, sizeof(raw));
	}
	return true;
}

static int read_all(
	const struct passport_desk *d, struct view rest, struct view mark, struct passport *out)
{
	uint64_t kind, version;
	int err;

	if (!get(&rest, 1, &kind) || !get(&rest, 1, &version))
		return ERR_CORRUPT;
	if (version != VERSION)
		return ERR_VERSION;
	if ((kind != PASSPORT_LIVE && kind != PASSPORT_EXACT && kind != PASSPORT_AWAY) ||
		!vector_read(&rest, &out->got) || !read_slots(d, &rest, &out->slots))
		return ERR_CORRUPT;
	out->kind = (enum passport_kind)kind;
	/* Without a mark nothing is known of how far it got: all that the journal has. */
	if (kind == PASSPORT_LIVE && !vector_read(&mark, &out->got))
		out->got = (struct vector){0};
	err = row_decode(rest, &out->row);
	if (err < 0)
		return err;
	out->row.slots = buf_view(&out->slots);
	out->row.position = commit_first_beyond(d->commit, d->reader, &out->got);
	return 0;
}

int passport_read(
	const struct passport_desk *d, struct view bytes, struct view mark, struct passport *out)
{
	int err;

	*out = (struct passport){0};
	journal_reader_enter(d->reader);
	err = read_all(d, bytes, mark, out);
	journal_reader_leave(d->reader);
	if (err < 0)
		passport_fini(out);
	return err;
}

void passport_fini(struct passport *p)
{
	buf_fini(&p->slots);
}
