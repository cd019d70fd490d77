/* cluster/stream.c - what Redis says of a stream and of itself, read */
#include "cluster/stream.h"

#include <stdio.h>

#include "base/error.h"

#define EPOCH_MS 1600000000000ull /* as in claim.lua */
#define NUMBER_BITS 24
#define DIGITS_MOST 18
#define NUMBER_MOST ((1u << NUMBER_BITS) - 1)

uint64_t place_pack(struct log_place place)
{
	uint64_t number = place.number < NUMBER_MOST ? place.number : NUMBER_MOST;

	return place.ms < EPOCH_MS ? 0 : (place.ms - EPOCH_MS) << NUMBER_BITS | number;
}

struct log_place place_unpack(uint64_t packed)
{
	if (packed == 0)
		return (struct log_place){0, 0};
	return (struct log_place){EPOCH_MS + (packed >> NUMBER_BITS), packed & NUMBER_MOST};
}

uint64_t place_before(uint64_t packed, uint64_t ms)
{
	return place_ms(packed) > ms ? (place_ms(packed) - ms) << NUMBER_BITS : 0;
}

/* --- how the stream is ------------------------------------------------------ */

static void put_key(struct buf *b, uint32_t shard)
{
	char key[16];
	int n = snprintf(key, sizeof(key), "{%u}:log", shard);

	resp_bytes(b, (struct view){key, (size_t)n});
}

void stream_ask(struct buf *b, uint32_t shard)
{
	resp_begin(b, 3);
	resp_bytes(b, VIEW("XINFO"));
	resp_bytes(b, VIEW("STREAM"));
	put_key(b, shard);
}

void stream_ask_upto(struct buf *b, uint32_t shard, uint64_t place)
{
	char text[LOG_PLACE_BYTES];

	log_place_format(place_unpack(place), text);
	resp_begin(b, 6);
	resp_bytes(b, VIEW("XREVRANGE"));
	put_key(b, shard);
	resp_bytes(b, view_of(text));
	resp_bytes(b, VIEW("-"));
	resp_bytes(b, VIEW("COUNT"));
	resp_number(b, 1);
}

/* [[place, [field, value]]] */
int stream_upto_of(const struct resp *reply, uint64_t *place)
{
	const struct resp *entry = resp_item(reply, 0, RESP_ARRAY);
	const struct resp *at = entry ? resp_item(entry, 0, RESP_STRING) : NULL;
	struct log_place found = {0, 0};

	if (reply->type != RESP_ARRAY)
		return ERR_MALFORMED;
	if (reply->count && (at == NULL || !log_place_parse(at->text, &found)))
		return ERR_MALFORMED;
	*place = place_pack(found);
	return 0;
}

/* The value of a name in a flat list of names and values. */
static const struct resp *value_of(const struct resp *reply, struct view name)
{
	for (uint32_t i = 0; i + 1 < reply->count; i += 2) {
		const struct resp *key = resp_item(reply, i, RESP_STRING);

		if (key && view_equal(key->text, name))
			return &reply->items[i + 1];
	}
	return NULL;
}

int stream_state_of(const struct resp *reply, struct stream_state *out)
{
	const struct resp *last, *added;
	struct log_place place;

	if (reply->type == RESP_ERROR && view_equal(reply->text, VIEW("ERR no such key"))) {
		*out = (struct stream_state){0};
		return 0;
	}
	if (reply->type != RESP_ARRAY)
		return ERR_MALFORMED;
	last = value_of(reply, VIEW("last-generated-id"));
	added = value_of(reply, VIEW("entries-added"));
	if (last == NULL || last->type != RESP_STRING || !log_place_parse(last->text, &place) ||
		added == NULL || added->type != RESP_INTEGER || added->integer < 0)
		return ERR_MALFORMED;
	*out = (struct stream_state){place_pack(place), (uint64_t)added->integer};
	return 0;
}

/* --- what INFO says ------------------------------------------------------------ */

struct view info_value(const struct resp *reply, struct view name)
{
	struct view rest = reply->type == RESP_STRING ? reply->text : VIEW("");

	while (rest.n) {
		struct view line = view_cut(&rest, '\n');

		if (!view_starts_with(line, name))
			continue;
		if (view_ends_with(line, VIEW("\r")))
			line.n--;
		return view_skip(line, name.n);
	}
	return VIEW("");
}

bool run_id_of(const struct resp *reply, char out[RUN_ID_BYTES])
{
	struct view id = info_value(reply, VIEW("run_id:"));

	if (id.n != RUN_ID_BYTES)
		return false;
	memcpy(out, id.p, RUN_ID_BYTES);
	return true;
}

uint64_t server_clock_of(const struct resp *reply)
{
	struct view text = info_value(reply, VIEW("server_time_usec:"));
	uint64_t us = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || i >= DIGITS_MOST)
			return 0;
		us = us * 10 + (uint64_t)(text.p[i] - '0');
	}
	return us / 1000;
}
