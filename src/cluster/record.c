/* cluster/record.c - messages of the shared log, written and read */
#include "cluster/record.h"

#include "base/error.h"
#include "mqtt/wire.h"

#define PREVIOUS_AT 23u /* behind version, flags, qos, expiry and id */

static void put_number(struct buf *b, uint32_t value, unsigned bytes)
{
	uint8_t *p = buf_reserve(b, bytes);

	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	buf_grown(b, bytes);
}

static void put_text(struct buf *b, struct view text, unsigned length_bytes)
{
	put_number(b, (uint32_t)text.n, length_bytes);
	if (text.n)
		buf_append(b, text.p, text.n);
}

int record_encode(struct buf *b, const struct record *r)
{
	unsigned flags = (r->flags & RECORD_FLAGS_SHARED) | (r->has_previous ? RECORD_PREVIOUS : 0);

	if (r->topic.n > UINT16_MAX || r->publisher.n > UINT16_MAX || r->source.n > UINT16_MAX ||
		r->properties.n > UINT32_MAX)
		return ERR_TOO_LARGE;
	put_number(b, RECORD_VERSION, 1);
	put_number(b, flags, 1);
	put_number(b, r->qos, 1);
	put_number(b, r->expiry_s, 4);
	buf_append(b, r->id.b, sizeof(r->id.b));
	if (r->has_previous)
		buf_append(b, r->previous.b, sizeof(r->previous.b));
	put_text(b, r->topic, 2);
	put_text(b, r->publisher, 2);
	put_text(b, r->source, 2);
	put_text(b, r->properties, 4);
	if (r->payload.n)
		buf_append(b, r->payload.p, r->payload.n);
	return 0;
}

static struct uuid take_id(struct wire *w)
{
	struct view bytes = wire_take(w, sizeof(struct uuid));
	struct uuid id = {{0}};

	if (bytes.n)
		memcpy(id.b, bytes.p, sizeof(id.b));
	return id;
}

int record_decode(struct view bytes, struct record *out)
{
	struct wire w = wire_of(bytes);
	struct record r = {0};
	unsigned flags;

	if (wire_u8(&w) != RECORD_VERSION)
		return w.err ? ERR_MALFORMED : ERR_VERSION;
	flags = wire_u8(&w);
	r.flags = (uint8_t)(flags & RECORD_FLAGS_SHARED);
	r.has_previous = (flags & RECORD_PREVIOUS) != 0;
	r.qos = wire_u8(&w);
	r.expiry_s = wire_u32(&w);
	r.id = take_id(&w);
	if (r.has_previous)
		r.previous = take_id(&w);
	r.topic = wire_binary(&w);
	r.publisher = wire_binary(&w);
	r.source = wire_binary(&w);
	r.properties = wire_take(&w, wire_u32(&w));
	r.payload = wire_rest(&w);
	if (w.err || r.qos > 2 || r.topic.n == 0 ||
		(flags & ~(RECORD_FLAGS_SHARED | RECORD_PREVIOUS)))
		return ERR_MALFORMED;
	*out = r;
	return 0;
}

uint32_t record_set_previous(uint8_t *record, const struct uuid *previous)
{
	if (previous) {
		memcpy(record + PREVIOUS_AT, previous->b, sizeof(previous->b));
		return 0;
	}
	record[1] &= (uint8_t)~RECORD_PREVIOUS;
	memmove(record + sizeof(previous->b), record, PREVIOUS_AT);
	return sizeof(previous->b);
}
