#include "broker/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker/segment_of.h"
#include "mqtt/property.h"

/* The bytes a batch would send, decoded packet by packet as a client would. */
struct sent {
	struct buf bytes;
	size_t at;
};

static void gather(const struct batch *b, struct sent *s)
{
	*s = (struct sent){{0}, 0};
	for (uint32_t i = 0; i < b->iov_count; i++)
		buf_append(&s->bytes, b->iov[i].iov_base, b->iov[i].iov_len);
	assert_int_equal(buf_length(&s->bytes), b->bytes);
}

static struct mqtt_packet next(struct sent *s, uint8_t version)
{
	struct mqtt_packet p;
	const char *why = NULL;
	int64_t n = mqtt_decode(buf_bytes(&s->bytes) + s->at, buf_length(&s->bytes) - s->at,
		MQTT_FROM_SERVER, version, MQTT_PACKET_LARGEST, &p, &why);

	if (n <= 0)
		fail_msg("at %zu: %s", s->at, why ? why : "incomplete");
	s->at += (size_t)n;
	return p;
}

static struct batch *batch_new(void)
{
	struct batch *b = mem_new(sizeof(*b));

	batch_clear(b);
	return b;
}

static void batch_free(struct batch *b)
{
	buf_fini(&b->properties);
	free(b);
}

static void neighbours_in_the_journal_become_one_iovec(void **state)
{
	struct batch_form form = {.version = 4, .is_direct = true, .largest = UINT32_MAX};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	struct sent s;

	(void)state;
	made_add(&made, 0, "a", "one", "", 1);
	made_add(&made, 0, "a", "two", "", 1);
	made_add(&made, 0, "b", "skipped", "", 1);
	made_add(&made, 0, "a", "three", "", 1);
	for (uint32_t i = 0; i < 4; i++) {
		if (i != 2)
			assert_int_equal(batch_add(b, &form, &made.segment, &made.entries[i], i, 0),
				BATCH_ADDED);
	}
	assert_int_equal(b->iov_count, 2);
	gather(b, &s);
	assert_true(view_equal(next(&s, 4).publish.payload, VIEW("one")));
	assert_true(view_equal(next(&s, 4).publish.payload, VIEW("two")));
	assert_true(view_equal(next(&s, 4).publish.payload, VIEW("three")));
	buf_fini(&s.bytes);
	made_fini(&made);
	batch_free(b);
}

static void properties_behind_a_packet_do_not_reach_version_3(void **state)
{
	struct batch_form form = {.version = 4, .is_direct = true, .largest = UINT32_MAX};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	struct sent s;

	(void)state;
	made_add(&made, 0, "a", "one", "\x01\x01", 1);
	made_add(&made, 0, "a", "two", "", 1);
	for (uint32_t i = 0; i < 2; i++)
		batch_add(b, &form, &made.segment, &made.entries[i], i, 0);
	gather(b, &s);
	assert_true(view_equal(next(&s, 4).publish.payload, VIEW("one")));
	assert_true(view_equal(next(&s, 4).publish.payload, VIEW("two")));
	assert_int_equal(s.at, buf_length(&s.bytes));
	buf_fini(&s.bytes);
	made_fini(&made);
	batch_free(b);
}

static void version_5_gets_properties_and_the_expiry_that_is_left(void **state)
{
	struct batch_form form = {.version = 5, .largest = UINT32_MAX, .now_ms = 1000 + 4500};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	struct mqtt_packet p;
	struct sent s;

	(void)state;
	made_add(&made, 0, "a", "one", "\x01\x01", 1);
	made.entries[0].expiry_s = 60;
	assert_int_equal(batch_add(b, &form, &made.segment, &made.entries[0], 7, 1), BATCH_ADDED);
	b->scratch[b->records[0].id_at + 1] = 9;
	gather(b, &s);
	p = next(&s, 5);
	assert_int_equal(p.publish.packet_id, 9);
	assert_int_equal(p.publish.qos, 1);
	assert_true(view_equal(p.publish.payload, VIEW("one")));
	assert_int_equal(mqtt_number(&p.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0), 56);
	assert_int_equal(mqtt_number(&p.properties, MQTT_PROPERTY_PAYLOAD_FORMAT_INDICATOR, 0), 1);
	buf_fini(&s.bytes);
	made_fini(&made);
	batch_free(b);
}

static void what_has_expired_is_left_out(void **state)
{
	struct batch_form form = {.version = 5, .largest = UINT32_MAX, .now_ms = 1000 + 60000};
	struct made_segment made = {0};
	struct batch *b = batch_new();

	(void)state;
	made_add(&made, 0, "a", "one", "", 1);
	made.entries[0].expiry_s = 60;
	assert_int_equal(batch_add(b, &form, &made.segment, &made.entries[0], 7, 1), BATCH_EXPIRED);
	assert_int_equal(b->count, 0);
	made_fini(&made);
	batch_free(b);
}

/* [MQTT-3.1.2-24] */
static void a_packet_over_the_clients_maximum_is_left_out(void **state)
{
	struct batch_form form = {.version = 5, .largest = 11};
	struct made_segment made = {0};
	struct batch *b = batch_new();

	(void)state;
	made_add(&made, 0, "a", "1234", "", 1); /* 2 + 3 + 2 + 1 + 4 = 12 at QoS 1 */
	assert_int_equal(
		batch_add(b, &form, &made.segment, &made.entries[0], 0, 1), BATCH_TOO_LARGE);
	form.largest = 12;
	assert_int_equal(batch_add(b, &form, &made.segment, &made.entries[0], 0, 1), BATCH_ADDED);
	made_fini(&made);
	batch_free(b);
}

static void a_resend_says_so(void **state)
{
	struct batch_form form = {.version = 4, .largest = UINT32_MAX, .dup = true};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	struct sent s;

	(void)state;
	made_add(&made, 0, "a", "one", "", 1);
	batch_add(b, &form, &made.segment, &made.entries[0], 0, 1);
	b->scratch[b->records[0].id_at + 1] = 1;
	gather(b, &s);
	assert_true(next(&s, 4).publish.dup);
	buf_fini(&s.bytes);
	made_fini(&made);
	batch_free(b);
}

static void a_resend_is_not_stopped_by_its_expiry(void **state)
{
	struct batch_form form = {
		.version = 5, .largest = UINT32_MAX, .now_ms = 1000 + 90000, .dup = true};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	struct mqtt_packet p;
	struct sent s;

	(void)state;
	made_add(&made, 0, "a", "one", "", 2);
	made.entries[0].expiry_s = 60;
	assert_int_equal(batch_add(b, &form, &made.segment, &made.entries[0], 7, 2), BATCH_ADDED);
	b->scratch[b->records[0].id_at + 1] = 1;
	gather(b, &s);
	p = next(&s, 5);
	assert_int_equal(p.publish.qos, 2);
	assert_int_equal(mqtt_number(&p.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 9), 0);
	buf_fini(&s.bytes);
	made_fini(&made);
	batch_free(b);
}

/* Topics and aliases as one client hears them. */
static void assert_topics(struct batch *b, const char *const *topics, const bool *told, uint32_t n)
{
	struct sent s;

	gather(b, &s);
	for (uint32_t i = 0; i < n; i++) {
		struct mqtt_packet p = next(&s, 5);

		assert_true(mqtt_has(&p.properties, MQTT_PROPERTY_TOPIC_ALIAS));
		assert_true(view_equal(p.publish.topic, view_of(told[i] ? topics[i] : "")));
	}
	assert_int_equal(s.at, buf_length(&s.bytes));
	buf_fini(&s.bytes);
}

static void a_topic_is_told_with_its_alias_and_then_left_out(void **state)
{
	static const char *const topics[] = {"a", "a", "b", "a"};
	struct alias_sent *aliases = alias_sent_new(1);
	struct batch_form form = {.version = 5, .largest = UINT32_MAX, .aliases = aliases};
	struct made_segment made = {0};
	struct batch *b = batch_new();

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		made_add(&made, 0, topics[i], "x", "", 0);
		batch_add(b, &form, &made.segment, &made.entries[i], i, 0);
	}
	assert_topics(b, topics, (const bool[]){true, false, true, true}, 4);
	alias_settle(aliases, 2); /* "a" was told, then both others did not leave */
	batch_clear(b);
	batch_add(b, &form, &made.segment, &made.entries[2], 2, 0);
	batch_add(b, &form, &made.segment, &made.entries[2], 2, 0);
	assert_topics(b, (const char *const[]){"b", "b"}, (const bool[]){true, false}, 2);
	alias_settle(aliases, 2);
	batch_clear(b);
	batch_add(b, &form, &made.segment, &made.entries[2], 2, 0);
	assert_topics(b, (const char *const[]){"b"}, (const bool[]){false}, 1);
	alias_sent_free(aliases);
	made_fini(&made);
	batch_free(b);
}

static void a_full_batch_takes_no_more(void **state)
{
	struct batch_form form = {.version = 4, .largest = UINT32_MAX};
	struct made_segment made = {0};
	struct batch *b = batch_new();
	enum batch_answer answer = BATCH_ADDED;
	uint32_t n = 0;

	(void)state;
	made_add(&made, 0, "a", "one", "", 1);
	while (answer == BATCH_ADDED && n < 5000) {
		answer = batch_add(b, &form, &made.segment, &made.entries[0], n, 1);
		n += answer == BATCH_ADDED;
	}
	assert_int_equal(answer, BATCH_IS_FULL);
	assert_int_equal(b->count, n);
	assert_true(b->iov_count <= BATCH_IOVECS);
	made_fini(&made);
	batch_free(b);
}

static void a_window_takes_what_it_has_room_for(void **state)
{
	struct batch_form form = {.version = 4, .largest = UINT32_MAX};
	struct made_segment made = {0};
	struct batch *b = batch_new();

	(void)state;
	made_add(&made, 0, "a", "one", "", 1);
	for (uint32_t i = 0; i < 4; i++)
		batch_add(b, &form, &made.segment, &made.entries[0], i, (uint8_t)(i != 1));
	assert_int_equal(batch_within(b, 0), 0);
	assert_int_equal(batch_within(b, 1), 2);
	assert_int_equal(batch_within(b, 2), 3);
	assert_int_equal(batch_within(b, 3), 4);
	made_fini(&made);
	batch_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_in_the_journal_become_one_iovec),
		cmocka_unit_test(properties_behind_a_packet_do_not_reach_version_3),
		cmocka_unit_test(version_5_gets_properties_and_the_expiry_that_is_left),
		cmocka_unit_test(what_has_expired_is_left_out),
		cmocka_unit_test(a_packet_over_the_clients_maximum_is_left_out),
		cmocka_unit_test(a_resend_says_so),
		cmocka_unit_test(a_resend_is_not_stopped_by_its_expiry),
		cmocka_unit_test(a_topic_is_told_with_its_alias_and_then_left_out),
		cmocka_unit_test(a_full_batch_takes_no_more),
		cmocka_unit_test(a_window_takes_what_it_has_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
