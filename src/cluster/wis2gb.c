/* cluster/wis2gb.c - keys, calls and answers of the existing antiloop's filter */
#include "cluster/wis2gb.h"

#include <string.h>

#include "commit/gate.h"

#define PREFIX "wis2gb:dedup:"
#define VALUE "isobar"
#define REMEMBER_S 7200u /* as they do */
#define QUOTED_BYTES (UUID_TEXT_BYTES + 2u)

/* At a quotation mark: is this id the whole text behind it? */
static bool is_quoted_here(const char *p, const struct uuid *id)
{
	struct uuid found;

	return p[QUOTED_BYTES - 1] == '"' &&
	       uuid_parse((struct view){p + 1, UUID_TEXT_BYTES}, &found) &&
	       memcmp(&found, id, sizeof(found)) == 0;
}

/* The id as the message writes it; NULL: with escapes. */
static const char *find_text(struct view payload, const struct uuid *id)
{
	const char *end = payload.p + payload.n, *p = payload.p;

	while (p && (size_t)(end - p) >= QUOTED_BYTES) {
		p = memchr(p, '"', (size_t)(end - p) - (QUOTED_BYTES - 1));
		if (p && is_quoted_here(p, id))
			return p + 1;
		p += p != NULL;
	}
	return NULL;
}

bool wis2gb_key(const struct record *r, char out[WIS2GB_KEY_BYTES])
{
	struct uuid hash = gate_identity_of_bytes(r->topic, r->payload);
	char *to = out + strlen(PREFIX);
	const char *text;

	if (memcmp(&hash, &r->id, sizeof(hash)) == 0)
		return false;
	memcpy(out, PREFIX, sizeof(PREFIX));
	uuid_format(&r->id, to);
	text = find_text(r->payload, &r->id);
	if (text)
		memcpy(to, text, UUID_TEXT_BYTES);
	return true;
}

void wis2gb_call(struct buf *b, struct view key)
{
	resp_begin(b, 7);
	resp_bytes(b, VIEW("SET"));
	resp_bytes(b, key);
	resp_bytes(b, VIEW(VALUE));
	resp_bytes(b, VIEW("EX"));
	resp_number(b, REMEMBER_S);
	resp_bytes(b, VIEW("NX"));
	resp_bytes(b, VIEW("GET"));
}

/* Whatever else is there under that name, of whatever type, is not ours. */
enum wis2gb_answer wis2gb_answer_of(const struct resp *reply)
{
	if (reply->type == RESP_NIL)
		return WIS2GB_OURS;
	if (reply->type == RESP_STRING)
		return view_equal(reply->text, VIEW(VALUE)) ? WIS2GB_OURS : WIS2GB_THEIRS;
	if (reply->type == RESP_ERROR && view_starts_with(reply->text, VIEW("WRONGTYPE")))
		return WIS2GB_THEIRS;
	return WIS2GB_UNKNOWN;
}
