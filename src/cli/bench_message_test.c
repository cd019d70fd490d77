/* Marks survive packets and streams, however the bytes are cut. */
#include "cli/bench_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "mqtt/packet.h"
#include "wis2/notification.h"

static const struct bench_mark mark = {0xdeadbeef, 0x12ab, 0x123456789abc, 0xfedcba9876543210};

struct told {
	struct bench_packet packets[16];
	uint32_t count;
};

static void on_packet(void *context, const struct bench_packet *packet)
{
	struct told *t = context;

	assert_in_range(t->count, 0, 15);
	t->packets[t->count++] = *packet;
}

static void a_message_is_a_valid_notification_with_its_mark(void **state)
{
	struct notification_options options = {.mode = MODE_STRICT};
	struct bench_template t;
	struct mqtt_packet p;
	struct buf out = {0};
	struct notification note;
	struct findings found;
	struct bench_mark read;

	(void)state;
	for (uint8_t version = MQTT_3_1_1; version <= MQTT_5; version++) {
		buf_clear(&out);
		bench_template_init(&t, 3, 1200, 1, version);
		bench_put(&t, &mark, 0x0203, &out);
		assert_true(
			mqtt_decode(buf_bytes(&out), buf_length(&out), MQTT_FROM_CLIENT, version,
				MQTT_PACKET_LARGEST, &p, NULL) == (int64_t)buf_length(&out));
		assert_int_equal(p.publish.packet_id, 0x0203);
		assert_true(bench_mark_read((const uint8_t *)p.publish.payload.p, &read));
		assert_memory_equal(&read.sequence, &mark.sequence, 8);
		assert_int_equal(read.run, mark.run);
		assert_int_equal(read.publisher, mark.publisher);
		assert_int_equal(read.time_ns, mark.time_ns);
		assert_int_equal(notification_judge(p.publish.payload, &options, &note, &found), 0);
		bench_template_fini(&t);
	}
	buf_fini(&out);
}

/* PUBLISH at both QoS, PUBACKs with and without reason, a short PUBLISH, SUBACK, DISCONNECT. */
static void build(struct buf *out)
{
	static const uint8_t acks[] = {0x40, 2, 0, 7, 0x40, 3, 0, 8, 0x87, 0x40, 4, 0, 9, 0x10, 0,
		0x90, 4, 0, 1, 0, 0x81, 0xe0, 1, 0x8b, 0xd0, 0, 0x30, 6, 0, 1, 'a', 0, 'x', 'y'};
	struct bench_template t;

	for (uint8_t qos = 0; qos < 2; qos++) {
		bench_template_init(&t, qos, 1500, qos, MQTT_5);
		bench_put(&t, &mark, 0x0405, out);
		bench_template_fini(&t);
		buf_append(out, acks, sizeof(acks));
	}
}

static void packets_are_told_however_the_bytes_are_cut(void **state)
{
	struct buf bytes = {0};

	(void)state;
	build(&bytes);
	for (size_t piece = 1; piece < buf_length(&bytes) + 1;
		piece = piece < 200 ? piece + 1 : piece * 2) {
		struct bench_stream s = {.version = MQTT_5};
		struct told t = {.count = 0};

		for (size_t at = 0; at < buf_length(&bytes); at += piece) {
			size_t n =
				buf_length(&bytes) - at < piece ? buf_length(&bytes) - at : piece;

			assert_int_equal(
				bench_stream_take(&s, buf_bytes(&bytes) + at, n, on_packet, &t), n);
		}
		assert_int_equal(t.count, 16);
		assert_true(t.packets[0].is_marked && t.packets[8].is_marked);
		assert_true(t.packets[8].mark.sequence == mark.sequence);
		assert_int_equal(t.packets[8].packet_id, 0x0405);
		assert_int_equal(t.packets[1].packet_id, 7);
		assert_int_equal(t.packets[2].reason, 0x87);
		assert_int_equal(t.packets[3].reason, 0x10);
		assert_int_equal(t.packets[4].reason, 0x81);
		assert_int_equal(t.packets[5].reason, 0x8b);
		assert_int_equal(t.packets[7].type, MQTT_PUBLISH);
		assert_false(t.packets[7].is_marked);
		assert_int_equal(s.held + s.skip, 0);
	}
	buf_fini(&bytes);
}

static void lies_about_lengths_are_refused(void **state)
{
	static const uint8_t topic_too_long[] = {0x30, 3, 0, 9, 'a'};
	static const uint8_t bad_length[] = {0x30, 0xff, 0xff, 0xff, 0xff, 1};
	struct bench_stream s = {.version = MQTT_5};
	struct told t = {.count = 0};

	(void)state;
	assert_int_equal(bench_stream_take(&s, topic_too_long, 5, on_packet, &t), ERR_MALFORMED);
	s.held = 0;
	assert_int_equal(bench_stream_take(&s, bad_length, 6, on_packet, &t), ERR_MALFORMED);
}

static void a_topic_beyond_the_head_is_refused(void **state)
{
	uint8_t *p = calloc(1, 5000);
	struct bench_stream s = {.version = MQTT_5};
	struct told t = {.count = 0};

	(void)state;
	memcpy(p, (uint8_t[]){0x30, 0x90, 0x4e, 0x20, 0x00}, 5); /* 10000 bytes, topic of 8192 */
	assert_int_equal(bench_stream_take(&s, p, 5000, on_packet, &t), ERR_TOO_LARGE);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_a_valid_notification_with_its_mark),
		cmocka_unit_test(packets_are_told_however_the_bytes_are_cut),
		cmocka_unit_test(lies_about_lengths_are_refused),
		cmocka_unit_test(a_topic_beyond_the_head_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
