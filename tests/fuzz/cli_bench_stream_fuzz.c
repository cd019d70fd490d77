/* The load generator's reading of a stream: whatever the bytes and wherever they are cut, the same
 * packets are told. The first byte picks the version, the second the size of the pieces. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/bench_message.h"
#include "mqtt/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t packets;
	uint64_t ids;
	uint64_t marks;
};

static void on_packet(void *context, const struct bench_packet *p)
{
	struct sum *s = context;

	s->packets++;
	s->ids = s->ids * 31 + p->packet_id + p->reason;
	if (p->is_marked)
		s->marks = s->marks * 31 + p->mark.sequence + p->mark.time_ns;
}

static bool feed(const uint8_t *p, size_t n, size_t piece, uint8_t version, struct sum *sum)
{
	struct bench_stream s = {.version = version};

	for (size_t at = 0; at < n; at += piece) {
		size_t take = n - at < piece ? n - at : piece;

		if (bench_stream_take(&s, p + at, take, on_packet, sum) < 0)
			return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole = {0}, cut = {0};
	uint8_t version;
	bool ok;

	if (size < 3)
		return 0;
	version = data[0] & 1 ? MQTT_5 : MQTT_3_1_1;
	ok = feed(data + 2, size - 2, size - 2, version, &whole);
	check(feed(data + 2, size - 2, data[1] + 1u, version, &cut) == ok);
	check(whole.packets == cut.packets && whole.ids == cut.ids && whole.marks == cut.marks);
	return 0;
}
