/* Frames of either side: read whole and in pieces they give the same payload and the same end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/websocket.h"

/* The first byte chooses the size of the pieces, and its highest bit who sends. Gives the payload, moved to the front of p. */
static size_t read_in_pieces(struct websocket_reader *r, uint8_t *p, size_t n, size_t step)
{
	size_t payload = 0;

	for (size_t at = 0; at < n; at += step) {
		size_t piece = n - at < step ? n - at : step;
		size_t fresh = websocket_read(r, p + at, piece);

		if (fresh > piece)
			abort();
		memmove(p + payload, p + at, fresh);
		payload += fresh;
	}
	return payload;
}

static void same(const struct websocket_reader *a, const struct websocket_reader *b)
{
	if (a->has_ended != b->has_ended || a->by_peer != b->by_peer ||
		a->ping_due != b->ping_due || a->ping_bytes != b->ping_bytes)
		abort();
	if (a->ping_due && memcmp(a->ping, b->ping, a->ping_bytes) != 0)
		abort();
	if (a->has_ended && (a->code != b->code || a->why == NULL || a->why != b->why))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool from_server = size && data[0] & 0x80;
	struct websocket_reader whole = {.from_server = from_server};
	struct websocket_reader parts = {.from_server = from_server};
	uint8_t *a, *b;
	size_t n;

	if (size < 2)
		return 0;
	a = malloc(size - 1);
	b = malloc(size - 1);
	memcpy(a, data + 1, size - 1);
	memcpy(b, data + 1, size - 1);
	n = websocket_read(&whole, a, size - 1);
	if (n != read_in_pieces(&parts, b, size - 1, 1 + data[0] % 37u) || memcmp(a, b, n) != 0)
		abort();
	same(&whole, &parts);
	/* A code that is sent on may be sent. */
	if (whole.has_ended && whole.code && (whole.code < 1000 || whole.code > 4999))
		abort();
	free(a);
	free(b);
	return 0;
}
