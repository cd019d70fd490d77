/* cluster/claim.c - the script's call and answer, the stream's entries */
#include "cluster/claim.h"

#include <stdio.h>

#include "cluster/claim_script.h" /* made of claim.lua by tools/embed.awk */
#include "cluster/slots.h"

#define KEY_BYTES 48
#define EPOCH_MS 1600000000000ull /* as in claim.lua */

const char *claim_script(void)
{
	return claim_lua;
}

/* --- keys -------------------------------------------------------------------- */

static struct view key_of(char out[KEY_BYTES], uint32_t shard, const char *name)
{
	int n = snprintf(out, KEY_BYTES, "{%u}:%s", shard, name);

	return (struct view){out, (size_t)n};
}

/* The 16 bytes of the id as they are and nothing else: 22 bytes are the most that take 24 of Redis'
 * memory, and it has one of these for each id remembered. */
static struct view seen_key(char out[KEY_BYTES], uint32_t shard, const struct uuid *id)
{
	int n = snprintf(out, KEY_BYTES, "{%u}:", shard);

	memcpy(out + n, id->b, sizeof(id->b));
	return (struct view){out, (size_t)n + sizeof(id->b)};
}

/* FNV-1a: the same on every machine and in every version. */
static uint32_t shard_of(const void *bytes, size_t n, uint32_t shards)
{
	const uint8_t *p = bytes;
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ p[i]) * 16777619u;
	return hash % shards;
}

uint32_t claim_shard(const struct uuid *id, uint32_t shards)
{
	return shard_of(id->b, sizeof(id->b), shards);
}

uint32_t claim_shard_of_topic(struct view topic, uint32_t shards)
{
	return shard_of(topic.p, topic.n, shards);
}

uint16_t claim_slot(uint32_t shard)
{
	char key[KEY_BYTES];

	return slot_of(key_of(key, shard, "log"));
}

/* --- the call ---------------------------------------------------------------- */

static bool has_retained(const struct claim_message *messages, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (messages[i].retained.n)
			return true;
	}
	return false;
}

/* Its expiry and topic as well, and where it stood, as the script wants them. */
static void put_retained(struct buf *b, const struct claim_message *m)
{
	struct buf text = {0};

	buf_printf(&text, "%u ", m->token % CLAIM_TOKENS);
	if (m->clears)
		buf_text(&text, "-");
	else
		buf_printf(&text, "%u", m->expiry_s);
	if (m->place.ms) {
		char place[LOG_PLACE_BYTES];

		log_place_format(m->place, place);
		buf_printf(&text, "@%s", place);
	}
	buf_text(&text, " ");
	buf_append(&text, m->retained.p, m->retained.n);
	resp_bytes(b, buf_view(&text));
	buf_fini(&text);
}

void claim_call(struct buf *b, const char *sha, uint32_t shard, const struct claim_terms *terms,
	const struct claim_message *messages, uint32_t n)
{
	char key[KEY_BYTES];
	uint32_t more = has_retained(messages, n) ? 2 : 0;

	resp_begin(b, 7 + 3 * n + more);
	resp_bytes(b, VIEW("EVALSHA"));
	resp_bytes(b, view_of(sha));
	resp_number(b, 1 + n + more);
	resp_bytes(b, key_of(key, shard, "log"));
	for (uint32_t i = 0; i < n; i++)
		resp_bytes(b, seen_key(key, shard, messages[i].id));
	if (more) {
		resp_bytes(b, key_of(key, shard, "retained"));
		resp_bytes(b, key_of(key, shard, "expiring"));
	}
	resp_number(b, terms->remember_ms);
	resp_number(b, terms->keep_ms);
	resp_number(b, terms->stream_bytes);
	for (uint32_t i = 0; i < n; i++) {
		if (messages[i].retained.n)
			put_retained(b, &messages[i]);
		else
			resp_number(b, messages[i].token % CLAIM_TOKENS);
		resp_bytes(b, messages[i].record);
	}
}

/* --- the answer --------------------------------------------------------------- */

static bool parse_number(struct view text, uint64_t *out)
{
	uint64_t value = 0;

	if (text.n == 0 || text.n > 20)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		uint64_t digit = (uint64_t)(text.p[i] - '0');

		if (text.p[i] < '0' || digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool claim_answer_of(const struct resp *reply, uint32_t i, struct claim_answer *out)
{
	const struct resp *text = resp_item(reply, i, RESP_STRING);
	struct view v = text ? text->text : VIEW("");
	uint64_t value;

	if (v.n == 0 || (*v.p != '+' && *v.p != '-') || !parse_number(view_skip(v, 1), &value))
		return false;
	*out = (struct claim_answer){
		*v.p == '+', (uint32_t)(value % CLAIM_TOKENS), EPOCH_MS + value / CLAIM_TOKENS};
	return true;
}

/* --- the stream ---------------------------------------------------------------- */

void log_place_format(struct log_place place, char out[LOG_PLACE_BYTES])
{
	snprintf(out, LOG_PLACE_BYTES, "%llu-%llu", (unsigned long long)place.ms,
		(unsigned long long)place.number);
}

bool log_place_parse(struct view text, struct log_place *out)
{
	struct log_place place;
	struct view ms = view_cut(&text, '-');

	if (!parse_number(ms, &place.ms) || !parse_number(text, &place.number))
		return false;
	*out = place;
	return true;
}

int log_place_order(struct log_place a, struct log_place b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return (a.number > b.number) - (a.number < b.number);
}

void log_read(
	struct buf *b, uint32_t shard, struct log_place after, uint32_t most, uint32_t block_ms)
{
	char key[KEY_BYTES], place[LOG_PLACE_BYTES];

	log_place_format(after, place);
	resp_begin(b, block_ms ? 8 : 6);
	resp_bytes(b, VIEW("XREAD"));
	resp_bytes(b, VIEW("COUNT"));
	resp_number(b, most);
	if (block_ms) {
		resp_bytes(b, VIEW("BLOCK"));
		resp_number(b, block_ms);
	}
	resp_bytes(b, VIEW("STREAMS"));
	resp_bytes(b, key_of(key, shard, "log"));
	resp_bytes(b, view_of(place));
}

/* [[key, [[place, ["m", record]], ...]]] or nil */
static const struct resp *entries_of(const struct resp *reply)
{
	return resp_item(resp_item(reply, 0, RESP_ARRAY), 1, RESP_ARRAY);
}

int64_t log_count(const struct resp *reply)
{
	const struct resp *entries = entries_of(reply);

	if (entries)
		return entries->count;
	return reply->type == RESP_NIL || (reply->type == RESP_ARRAY && reply->count == 0) ? 0 : -1;
}

bool log_entry(const struct resp *reply, uint32_t i, struct log_place *place, struct view *record)
{
	const struct resp *entry = resp_item(entries_of(reply), i, RESP_ARRAY);
	const struct resp *at = resp_item(entry, 0, RESP_STRING);
	const struct resp *field = resp_item(resp_item(entry, 1, RESP_ARRAY), 1, RESP_STRING);
	struct log_place read;

	if (at == NULL || field == NULL || !log_place_parse(at->text, &read))
		return false;
	*place = read;
	*record = field->text;
	return true;
}
