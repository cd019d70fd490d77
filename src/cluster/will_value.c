/* cluster/will_value.c - high byte first */
#include "cluster/will_value.h"

#include <string.h>

#include "base/error.h"

void will_value_put(struct buf *b, const struct roaming_will *will)
{
	uint8_t delay[8];

	for (unsigned i = 0; i < sizeof(delay); i++)
		delay[i] = (uint8_t)(will->delay_ms >> (56 - 8 * i));
	buf_append(b, &will->id, WILL_ID_BYTES);
	buf_append(b, delay, sizeof(delay));
	buf_append(b, will->bytes.p, will->bytes.n);
}

int will_value_parse(struct view value, struct roaming_will *out)
{
	const size_t head = WILL_ID_BYTES + 8;

	if (value.n <= head)
		return ERR_MALFORMED;
	memcpy(&out->id, value.p, WILL_ID_BYTES);
	out->delay_ms = 0;
	for (size_t i = WILL_ID_BYTES; i < head; i++)
		out->delay_ms = out->delay_ms << 8 | (uint8_t)value.p[i];
	out->bytes = view_skip(value, head);
	return 0;
}
