/* cli/bench_message.c - marks written and read in place, streams read by their packets' heads
 *
 * Places in the payload: run at 7, publisher at 16, sequence at 31, time at 54.
 */
#include "cli/bench_message.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "cli/generate.h"
#include "mqtt/packet.h"

#define AT_RUN 7u
#define AT_PUBLISHER 16u
#define AT_SEQUENCE 31u
#define AT_TIME 54u
#define BLANK_ID "00000000-0000-4000-8000-000000000000"
#define BLANK_TIME ",\"bench\":\"0000000000000000\""

/* --- making ----------------------------------------------------------- */

static void put_hex(uint8_t *p, uint64_t value, unsigned digits)
{
	static const char hex[] = "0123456789abcdef";

	while (digits--) {
		p[digits] = (uint8_t)hex[value & 15];
		value >>= 4;
	}
}

void bench_template_init(
	struct bench_template *t, uint32_t i, uint32_t size_bytes, uint8_t qos, uint8_t version)
{
	struct mqtt_packet p = {.type = MQTT_PUBLISH};
	uint32_t datasets = generate_dataset_count();
	char centre[GENERATE_CENTRE_BYTES];
	struct buf topic = {0}, payload = {0};
	struct random random = {i};
	struct generate_request q = {.dataset = i % datasets,
		.serial = i,
		.wall_ms = clock_wall_ms(),
		.size_bytes = size_bytes,
		.id = VIEW(BLANK_ID),
		.extra = VIEW(BLANK_TIME)};

	generate_centre(i / datasets, centre);
	q.centre = view_of(centre);
	generate_topic(&q, &topic);
	generate_payload(&random, &q, &payload);
	p.publish = (struct mqtt_publish){.topic = buf_view(&topic),
		.payload = buf_view(&payload),
		.packet_id = qos ? 1 : 0,
		.qos = qos};
	*t = (struct bench_template){.topic = mem_text_of(p.publish.topic)};
	check(mqtt_encode(&t->packet, version, &p) == 0);
	t->payload_at = (uint32_t)(buf_length(&t->packet) - buf_length(&payload));
	if (qos)
		t->id_at =
			t->payload_at - 2 - (version == MQTT_5 ? 1 : 0); /* empty property block */
	buf_fini(&topic);
	buf_fini(&payload);
}

void bench_template_fini(struct bench_template *t)
{
	buf_fini(&t->packet);
	free(t->topic);
	t->topic = NULL;
}

void bench_put(const struct bench_template *t, const struct bench_mark *mark, uint16_t packet_id,
	struct buf *out)
{
	size_t n = buf_length(&t->packet);
	uint8_t *p = buf_reserve(out, n);
	uint8_t *payload = p + t->payload_at;

	memcpy(p, buf_bytes(&t->packet), n);
	buf_grown(out, n);
	if (t->id_at) {
		p[t->id_at] = (uint8_t)(packet_id >> 8);
		p[t->id_at + 1] = (uint8_t)packet_id;
	}
	put_hex(payload + AT_RUN, mark->run, 8);
	put_hex(payload + AT_PUBLISHER, mark->publisher, 4);
	put_hex(payload + AT_SEQUENCE, mark->sequence, 12);
	put_hex(payload + AT_TIME, mark->time_ns, 16);
}

/* --- recognising ------------------------------------------------------ */

/* Eight hexadecimal digits at once: digits to nibbles, then neighbours joined thrice. What are no
 * digits gives any number. */
static uint32_t read_hex8(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	v = le64toh(v);
	v = (v & 0x0f0f0f0f0f0f0f0fu) + 9 * (v >> 6 & 0x0101010101010101u);
	v = (v << 4 | v >> 8) & 0x00ff00ff00ff00ffu;
	v = (v << 8 | v >> 16) & 0x0000ffff0000ffffu;
	return (uint32_t)(v << 16 | v >> 32);
}

bool bench_mark_read(const uint8_t *payload, struct bench_mark *out)
{
	if (memcmp(payload + AT_TIME - 11, "\",\"bench\":\"", 11) != 0)
		return false;
	out->run = read_hex8(payload + AT_RUN);
	out->publisher = (uint16_t)(read_hex8(payload + AT_PUBLISHER) >> 16);
	out->sequence = (uint64_t)read_hex8(payload + AT_SEQUENCE) << 16 |
			(read_hex8(payload + AT_SEQUENCE + 4) & 0xffff);
	out->time_ns =
		(uint64_t)read_hex8(payload + AT_TIME) << 32 | read_hex8(payload + AT_TIME + 8);
	return true;
}

/* --- streams ---------------------------------------------------------- */

/* Cursor over the first bytes of a packet: `short_of` once more were needed than are there. */
struct head {
	const uint8_t *p;
	size_t n;
	size_t at;
	bool short_of;
};

static uint32_t take_be(struct head *h, unsigned bytes)
{
	uint32_t value = 0;

	if (h->n - h->at < bytes) {
		h->short_of = true;
		return 0;
	}
	while (bytes--)
		value = value << 8 | h->p[h->at++];
	return value;
}

static uint32_t take_varint(struct head *h)
{
	uint32_t value = 0;

	for (unsigned shift = 0; shift < 28; shift += 7) {
		uint32_t byte = take_be(h, 1);

		value |= (byte & 127) << shift;
		if (byte < 128)
			break;
	}
	return value;
}

static void take_bytes(struct head *h, size_t bytes)
{
	if (h->n - h->at < bytes)
		h->short_of = true;
	else
		h->at += bytes;
}

static void read_publish(
	struct head *h, uint8_t first, size_t length, uint8_t version, struct bench_packet *out)
{
	out->qos = first >> 1 & 3;
	take_bytes(h, take_be(h, 2));
	if (out->qos)
		out->packet_id = (uint16_t)take_be(h, 2);
	if (version == MQTT_5)
		take_bytes(h, take_varint(h));
	if (h->short_of || length < h->at + BENCH_MARKED_BYTES)
		return;
	if (h->n - h->at < BENCH_MARKED_BYTES)
		h->short_of = true;
	else
		out->is_marked = bench_mark_read(h->p + h->at, &out->mark);
}

static void read_other(struct head *h, size_t length, uint8_t version, struct bench_packet *out)
{
	size_t body = length - h->at;

	if (out->type != MQTT_DISCONNECT && body >= 2)
		out->packet_id = (uint16_t)take_be(h, 2);
	if (out->type == MQTT_SUBACK && version == MQTT_5)
		take_bytes(h, take_varint(h));
	if (!h->short_of && h->at < length)
		out->reason = (uint8_t)take_be(h, 1);
}

/* Length of the packet at p once its head has been read into *out; 0: more is needed. */
static int64_t read_head(const uint8_t *p, size_t n, uint8_t version, struct bench_packet *out)
{
	int64_t length = mqtt_packet_length(p, n, MQTT_PACKET_LARGEST);
	struct head h = {.p = p, .n = n, .at = 1};

	if (length <= 0)
		return length;
	if (h.n > (size_t)length)
		h.n = (size_t)length;
	if (h.n > BENCH_HEAD_BYTES)
		h.n = BENCH_HEAD_BYTES; /* the same answer whether the bytes come at once or in pieces */
	*out = (struct bench_packet){.type = p[0] >> 4};
	take_varint(&h);
	if (out->type == MQTT_PUBLISH)
		read_publish(&h, p[0], (size_t)length, version, out);
	else
		read_other(&h, (size_t)length, version, out);
	if (!h.short_of)
		return length;
	if (h.n == BENCH_HEAD_BYTES && (size_t)length > BENCH_HEAD_BYTES)
		return ERR_TOO_LARGE;
	return n < (size_t)length ? 0 : ERR_MALFORMED;
}

/* A head that came in pieces: gives how many of the n bytes were used. */
static ssize_t take_pieces(struct bench_stream *s, const uint8_t *p, size_t n,
	void (*on_packet)(void *context, const struct bench_packet *packet), void *context)
{
	size_t room = BENCH_HEAD_BYTES - s->held;
	size_t take = n < room ? n : room;
	struct bench_packet packet;
	int64_t length;
	size_t before = s->held;

	memcpy(s->head + s->held, p, take);
	length = read_head(s->head, s->held + take, s->version, &packet);
	if (length < 0)
		return (ssize_t)length;
	if (length == 0) {
		s->held += (uint32_t)take;
		return (ssize_t)take; /* read_head() asks for no more than fits */
	}
	if ((size_t)length < before + take)
		take = (size_t)length - before;
	s->held = 0;
	s->skip = (uint32_t)((size_t)length - before - take);
	on_packet(context, &packet);
	return (ssize_t)take;
}

ssize_t bench_stream_take(struct bench_stream *s, const uint8_t *p, size_t n,
	void (*on_packet)(void *context, const struct bench_packet *packet), void *context)
{
	size_t at = 0;

	while (at < n) {
		struct bench_packet packet;
		int64_t length;

		if (s->skip) {
			size_t take = n - at < s->skip ? n - at : s->skip;

			s->skip -= (uint32_t)take;
			at += take;
			continue;
		}
		length = s->held ? 0 : read_head(p + at, n - at, s->version, &packet);
		if (length == 0) {
			ssize_t took = take_pieces(s, p + at, n - at, on_packet, context);

			if (took < 0)
				return took;
			at += (size_t)took;
			continue;
		}
		if (length < 0)
			return (ssize_t)length;
		on_packet(context, &packet);
		s->skip = (uint32_t)length;
	}
	return (ssize_t)n;
}
