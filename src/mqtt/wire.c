/* The parts of the cursor that are not worth inlining: errors, text, variable byte integers. */
#include "mqtt/wire.h"

#include "base/utf8.h"

void wire_fail(struct wire *w, int err, const char *why)
{
	if (w->err == 0) {
		w->err = err;
		w->why = why;
	}
	w->p = w->end;
}

void wire_short(struct wire *w)
{
	wire_fail(w, ERR_MALFORMED, "a field reaches past the end of the packet (MQTT 5, 4.13.1)");
}

bool wire_is_text(struct view text)
{
	return text.n == 0 ||
	       (memchr(text.p, 0, text.n) == NULL && utf8_valid_prefix(text.p, text.n) == text.n);
}

struct view wire_string(struct wire *w)
{
	struct view text = wire_binary(w);

	if (wire_is_text(text))
		return text;
	/* [MQTT-1.5.4-1], [MQTT-1.5.4-2] */
	wire_fail(w, ERR_MALFORMED, "a string is not UTF-8 or has U+0000 [MQTT-1.5.4-1]");
	return (struct view){NULL, 0};
}

uint32_t wire_varint(struct wire *w)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint8_t byte = wire_u8(w);

		value |= (uint32_t)(byte & 0x7f) << (7 * i);
		if (byte & 0x80)
			continue;
		if (byte == 0 && i > 0) /* [MQTT-1.5.5-1] */
			wire_fail(w, ERR_MALFORMED,
				"an integer is not in its shortest form [MQTT-1.5.5-1]");
		return w->err ? 0 : value;
	}
	wire_fail(w, ERR_MALFORMED, "an integer takes more than four bytes (MQTT 5, 1.5.5)");
	return 0;
}

size_t wire_write_varint(uint8_t out[4], uint32_t value)
{
	size_t n = 0;

	for (; value > 127; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}

uint16_t wire_packet_id(struct wire *w)
{
	uint16_t id = wire_u16(w);

	if (id == 0) /* [MQTT-2.2.1-3] */
		wire_fail(w, ERR_PROTOCOL, "packet identifier is 0 [MQTT-2.2.1-3]");
	return id;
}

void wire_finish(struct wire *w)
{
	if (w->err == 0 && wire_left(w))
		wire_fail(w, ERR_MALFORMED, "bytes behind the last field (MQTT 5, 4.13.1)");
}
