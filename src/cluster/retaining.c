/* cluster/retaining.c - pages of {k}:retained, taken entry by entry */
#include "cluster/retaining.h"

#include <stdio.h>

#include "base/error.h"
#include "cluster/followed.h"
#include "cluster/stream.h"
#include "commit/retaining.h"

#define ASK_MOST 64u /* a power of two */
#define PAGE_BYTES (2u << 20)
#define COMPLAIN_EVERY_MS 10000u

/* --- asking and reading -------------------------------------------------------- */

void retaining_ask(struct retaining_round *r, struct buf *command)
{
	char key[24];
	int n = snprintf(key, sizeof(key), "{%u}:retained", r->shard);

	resp_begin(command, 5);
	resp_bytes(command, VIEW("HSCAN"));
	resp_bytes(command, (struct view){key, (size_t)n});
	resp_bytes(command, buf_view(&r->cursor));
	resp_bytes(command, VIEW("COUNT"));
	resp_number(command, r->ask_for);
}

static void end(struct retaining_round *r)
{
	if (r->taken || r->refused)
		log_info("cluster", "retained", "shard=%u taken=%u no_room=%u", r->shard, r->taken,
			r->refused);
	r->step = RETAINING_IDLE;
}

/* It would be refused again, and the shard is to be followed. */
static void give_up(struct retaining_round *r, const struct resp *refusal)
{
	char quoted[LOG_QUOTE_BYTES];

	log_error("cluster", "retained_refused", "shard=%u redis=%s", r->shard,
		log_quote(refusal->text.p, refusal->text.n, quoted));
	end(r);
}

static void put(struct buf *b, struct view text)
{
	uint32_t length = (uint32_t)text.n;

	buf_append(b, &length, sizeof(length));
	buf_append(b, text.p, text.n);
}

/* [cursor, [field, value, ...]] */
int retaining_read(struct retaining_round *r, const struct resp *reply)
{
	const struct resp *cursor = resp_item(reply, 0, RESP_STRING);
	const struct resp *fields = resp_item(reply, 1, RESP_ARRAY);

	if (reply->type == RESP_ERROR) {
		give_up(r, reply);
		return 0;
	}
	if (cursor == NULL || cursor->text.n == 0 || fields == NULL || fields->count % 2)
		return ERR_MALFORMED;
	buf_clear(&r->page);
	r->at = 0;
	for (uint32_t i = 0; i < fields->count; i++) {
		const struct resp *text = resp_item(fields, i, RESP_STRING);

		if (text == NULL)
			return ERR_MALFORMED;
		put(&r->page, text->text);
	}
	buf_clear(&r->next);
	buf_append(&r->next, cursor->text.p, cursor->text.n);
	if (buf_length(&r->page) < PAGE_BYTES && r->ask_for < ASK_MOST)
		r->ask_for *= 2;
	return 0;
}

void retaining_confirm(struct retaining_round *r)
{
	if (r->step == RETAINING_ASK)
		r->step = RETAINING_TAKE;
}

void retaining_ask_for_less(struct retaining_round *r)
{
	r->ask_for = r->ask_for > 1 ? r->ask_for / 2 : 1;
}

/* --- taking ---------------------------------------------------------------------- */

static void complain(struct retaining_round *r, struct view topic, const char *why)
{
	char quoted[LOG_QUOTE_BYTES];
	uint64_t skipped;

	if (log_allowed(&r->complaints, loop_now_ms(r->core->loop), COMPLAIN_EVERY_MS, &skipped))
		log_warn("cluster", "no_retained", "shard=%u topic=%s skipped=%llu why=\"%s\"",
			r->shard, log_quote(topic.p, topic.n, quoted), (unsigned long long)skipped,
			why);
}

/* "<place> " in front of what is left. */
static int take_place(struct view *value, struct log_place *place)
{
	return log_place_parse(view_cut(value, ' '), place) ? 0 : ERR_MALFORMED;
}

static int check(const struct retaining_round *r, struct view topic, const struct record *record)
{
	if (!view_equal(topic, record->topic) || !(record->flags & JOURNAL_RETAIN) ||
		record->payload.n == 0 || claim_shard_of_topic(topic, r->core->shards) != r->shard)
		return ERR_MALFORMED;
	return 0;
}

static int take_message(struct retaining_round *r, const struct journal_message *m)
{
	const struct retaining_host *host = r->core->retaining;
	int err;

	if (host->has(host->context, m->topic, m->log_id, r->number))
		return 0;
	err = host->take(host->context, m, r->number);
	r->taken += err == 0;
	r->refused += err == ERR_QUOTA;
	return err == ERR_QUOTA ? 0 : err;
}

static uint64_t age_of(struct log_place place, uint64_t clock_ms)
{
	return clock_ms > place.ms ? clock_ms - place.ms : 0;
}

/* What this version cannot read stays as it is here. */
static int pass_over(struct retaining_round *r, struct view topic, int err)
{
	const struct retaining_host *host = r->core->retaining;

	complain(r, topic, err_text(err));
	host->has(host->context, topic, 0, r->number);
	return 0;
}

static int take_entry(
	struct retaining_round *r, struct view topic, struct view value, uint64_t clock_ms)
{
	struct journal_message m;
	struct log_place place;
	struct record record;
	int err = take_place(&value, &place);

	if (err == 0 && topic.n == 0) {
		r->from = place_pack(place);
		return 0;
	}
	if (err == 0)
		err = followed_decode(value, &record);
	if (err == 0)
		err = check(r, topic, &record);
	if (err)
		return pass_over(r, topic, err);
	m = followed_message(r->core, r->shard, place_pack(place), &record);
	return followed_is_timely(&m, age_of(place, clock_ms)) ? take_message(r, &m) : 0;
}

/* The text that stands at *at, which goes behind it. */
static struct view next_text(const struct retaining_round *r, size_t *at)
{
	struct view rest = view_skip(buf_view(&r->page), *at);
	uint32_t length;

	memcpy(&length, rest.p, sizeof(length));
	*at += sizeof(length) + length;
	return (struct view){rest.p + sizeof(length), length};
}

static int take_page(struct retaining_round *r, uint64_t clock_ms)
{
	while (r->at < buf_length(&r->page)) {
		size_t at = r->at;
		struct view topic = next_text(r, &at);
		struct view value = next_text(r, &at);
		int err = take_entry(r, topic, value, clock_ms);

		if (err)
			return err;
		r->at = at;
	}
	buf_clear(&r->page);
	r->at = 0;
	buf_clear(&r->cursor);
	buf_append(&r->cursor, buf_bytes(&r->next), buf_length(&r->next));
	r->step = view_equal(buf_view(&r->cursor), VIEW("0")) ? RETAINING_DROP : RETAINING_ASK;
	return 0;
}

static void drop(struct retaining_round *r)
{
	const struct retaining_host *host = r->core->retaining;

	host->drop(host->context, r->shard, r->from, r->number, &r->dropped);
	if (buf_length(&r->dropped) == 0)
		end(r);
}

int retaining_go_on(struct retaining_round *r, uint64_t clock_ms)
{
	if (r->step == RETAINING_TAKE)
		return take_page(r, clock_ms);
	if (r->step == RETAINING_DROP)
		drop(r);
	return 0;
}

/* --- life --------------------------------------------------------------------------- */

void retaining_init(struct retaining_round *r, const struct cluster_core *core, uint32_t shard)
{
	r->core = core;
	r->shard = shard;
	r->number = shard;
	r->ask_for = ASK_MOST;
}

/* Numbers of shards never meet; the first is above 0. */
void retaining_begin(struct retaining_round *r)
{
	if (r->core->retaining == NULL)
		return;
	r->step = RETAINING_ASK;
	r->number += SHARDS_MOST;
	r->from = UINT64_MAX;
	r->at = 0;
	r->taken = r->refused = 0;
	buf_clear(&r->cursor);
	buf_text(&r->cursor, "0");
	buf_clear(&r->page);
	buf_clear(&r->dropped);
}

void retaining_fini(struct retaining_round *r)
{
	buf_fini(&r->cursor);
	buf_fini(&r->next);
	buf_fini(&r->page);
	buf_fini(&r->dropped);
}
