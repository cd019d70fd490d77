/* mqtt/wire.h - a bounded cursor over received bytes, with a sticky error
 *
 * All pointer arithmetic over what a peer sent is here. A read past the end, or of something
 * ill-formed, notes the first error and its reason, empties the cursor, and gives zero from then
 * on: decoders read straight through and look at `err` once at the end.
 *
 * Of the room alone. Borrows the bytes; no allocation.
 */
#ifndef MQTT_WIRE_H
#define MQTT_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/view.h"

struct wire {
	const uint8_t *p;
	const uint8_t *end;
	int err;         /* the first error; 0 none */
	const char *why; /* static text naming the fault and its clause */
};

static inline struct wire wire_of(struct view bytes)
{
	const uint8_t *p = (const uint8_t *)(bytes.p ? bytes.p : "");

	return (struct wire){p, p + bytes.n, 0, NULL};
}

static inline size_t wire_left(const struct wire *w)
{
	return (size_t)(w->end - w->p);
}

/* Notes the error unless there is one already, and empties the cursor. */
void wire_fail(struct wire *w, int err, const char *why);

/* Running out of bytes inside a packet whose length is known is a malformed packet. */
void wire_short(struct wire *w);

static inline uint8_t wire_u8(struct wire *w)
{
	if (wire_left(w) < 1) {
		wire_short(w);
		return 0;
	}
	return *w->p++;
}

static inline uint16_t wire_u16(struct wire *w)
{
	uint16_t value;

	if (wire_left(w) < 2) {
		wire_short(w);
		return 0;
	}
	value = (uint16_t)(w->p[0] << 8 | w->p[1]);
	w->p += 2;
	return value;
}

static inline uint32_t wire_u32(struct wire *w)
{
	uint32_t high = wire_u16(w);

	return high << 16 | wire_u16(w);
}

static inline struct view wire_take(struct wire *w, size_t n)
{
	struct view bytes;

	if (wire_left(w) < n) {
		wire_short(w);
		return (struct view){NULL, 0};
	}
	bytes = (struct view){(const char *)w->p, n};
	w->p += n;
	return bytes;
}

static inline struct view wire_rest(struct wire *w)
{
	return wire_take(w, wire_left(w));
}

/* Two bytes of length, then that many (MQTT 5, 1.5.6). */
static inline struct view wire_binary(struct wire *w)
{
	return wire_take(w, wire_u16(w));
}

/* The same as text: UTF-8 without U+0000 (MQTT 5, 1.5.4). */
struct view wire_string(struct wire *w);

/* A variable byte integer in its shortest form (MQTT 5, 1.5.5). */
uint32_t wire_varint(struct wire *w);

/* Writes one, at most 268435455; gives its length. */
size_t wire_write_varint(uint8_t out[4], uint32_t value);

/* A packet identifier, which is never 0 (MQTT 5, 2.2.1). */
uint16_t wire_packet_id(struct wire *w);

/* Fails when bytes are left over. */
void wire_finish(struct wire *w);

/* Is it UTF-8 [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2]? */
bool wire_is_text(struct view text);

#endif
