/* cluster/tail_batch.c - the entries of a reply become the batch of a tail
 *
 * The reply does not stay, so what entries say is copied; records borrow from the copy.
 */
#include "base/error.h"
#include "base/mem.h"
#include "cluster/followed.h"
#include "cluster/tail_inside.h"

#define BATCH_BYTES (2u << 20)
#define ASK_LEAST 8u

static void make_room(struct tail *t, uint32_t n)
{
	if (n <= t->size)
		return;
	t->size = n;
	t->records = mem_resize(t->records, n * sizeof(*t->records));
	t->ordinals = mem_resize(t->ordinals, n * sizeof(*t->ordinals));
	t->places = mem_resize(t->places, n * sizeof(*t->places));
}

static void complain(struct tail *t, uint64_t place, const char *why)
{
	char text[LOG_PLACE_BYTES];
	uint64_t skipped;

	count_add(&t->figures.malformed, 1);
	if (!log_allowed(
		    &t->complaints, loop_now_ms(t->core->loop), TAIL_COMPLAIN_EVERY_MS, &skipped))
		return;
	log_place_format(place_unpack(place), text);
	log_warn("cluster", "no_record", "shard=%u place=%s skipped=%llu why=\"%s\"", t->shard,
		text, (unsigned long long)skipped, why);
}

static void stand_still(struct tail *t, uint64_t place, unsigned version)
{
	char text[LOG_PLACE_BYTES];

	t->is_newer = true;
	log_place_format(place_unpack(place), text);
	log_error("cluster", "newer_record",
		"shard=%u place=%s version=%u known=%u: this shard is not followed until this "
		"node is upgraded",
		t->shard, text, version, RECORD_VERSION);
}

/* How long it has been in the stream, if it was there before this connection: what came later is read
 * as it comes. Both by Redis' clock. */
static uint64_t age_of(const struct tail *t, uint64_t place)
{
	uint64_t ms = place_unpack(place).ms;

	return ms < t->greeted_clock ? tail_clock(t) - ms : 0;
}

/* What nobody may be sent any more still has its place. */
static struct commit_record record_of(const struct tail *t, const struct record *r, uint64_t place)
{
	struct commit_record c = {
		.message = followed_message(t->core, t->shard, place, r),
		.previous = r->previous,
		.has_previous = r->has_previous,
	};

	if (!followed_is_timely(&c.message, age_of(t, place)))
		c.message.flags |= JOURNAL_HIDDEN;
	return c;
}

/* Reads an entry's record, which stands in t->bytes. False: everything from here on is for later. */
static bool take_record(struct tail *t, struct view bytes, uint64_t place)
{
	struct record r;
	int err = followed_decode(bytes, &r);

	if (err == ERR_VERSION) {
		stand_still(t, place, (uint8_t)bytes.p[0]);
		return false;
	}
	if (err) {
		complain(t, place, err_text(err));
		return true;
	}
	t->records[t->n] = record_of(t, &r, place);
	t->ordinals[t->n++] = t->count + 1;
	return true;
}

/* Copies what the entries say, as the reply does not stay; n of them are well-formed. */
static uint32_t copy_entries(struct tail *t, const struct resp *reply, uint32_t n)
{
	struct log_place place;
	struct view bytes;
	uint32_t i;

	buf_clear(&t->bytes);
	for (i = 0; i < n && log_entry(reply, i, &place, &bytes); i++) {
		uint32_t length = (uint32_t)bytes.n;

		t->places[i] = place_pack(place);
		buf_append(&t->bytes, &length, sizeof(length));
		buf_append(&t->bytes, bytes.p, bytes.n);
		t->largest = length > t->largest ? length : t->largest;
	}
	return i;
}

static void read_entries(struct tail *t, uint32_t n)
{
	struct view rest_of = buf_view(&t->bytes);
	uint32_t length;

	for (t->count = 0; t->count < n; t->count++) {
		memcpy(&length, rest_of.p, sizeof(length));
		if (!take_record(t, (struct view){rest_of.p + sizeof(length), length},
			    t->places[t->count]))
			return;
		t->read_to = t->places[t->count];
		rest_of = view_skip(rest_of, sizeof(length) + length);
	}
}

static void choose_ask(struct tail *t)
{
	uint32_t fit = BATCH_BYTES / (t->largest + 1);

	fit = fit < ASK_LEAST ? ASK_LEAST : fit > TAIL_ASK_MOST ? TAIL_ASK_MOST : fit;
	t->ask_for = fit < t->ask_for * 2 ? fit : t->ask_for * 2;
	t->largest -= t->largest / 16; /* one large entry is forgotten by and by */
}

void tail_read_batch(struct tail *t, const struct resp *reply)
{
	int64_t n = log_count(reply);

	t->n = t->at = t->count = 0;
	t->is_ready = false;
	if (n < 0)
		return;
	make_room(t, (uint32_t)n);
	if (copy_entries(t, reply, (uint32_t)n) < n)
		return;
	t->was_refused = false;
	t->read_to = t->after;
	t->is_full = n >= t->ask_for;
	t->load += (uint32_t)n;
	read_entries(t, (uint32_t)n);
	choose_ask(t);
}
