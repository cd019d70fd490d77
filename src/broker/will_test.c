#include "broker/will.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"

#define TOPIC_AT 32u /* behind the head */
#define FLAGS_AT 28u
#define ID_BYTES 16u

/* A will with a delay, an expiry and a content type, as in a row. */
static void encoded(struct buf *out)
{
	struct buf block = {0};
	struct mqtt_will m = {.topic = VIEW("a/b"), .payload = VIEW("gone"), .qos = 1};
	struct will *will;

	mqtt_put_number(&block, MQTT_PROPERTY_WILL_DELAY_INTERVAL, 5);
	mqtt_put_number(&block, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 9);
	mqtt_put_text(&block, MQTT_PROPERTY_CONTENT_TYPE, VIEW("t"));
	m.properties.raw = buf_view(&block);
	m.properties.present = 1u << MQTT_PROPERTY_WILL_DELAY_INTERVAL |
			       1u << MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL |
			       1u << MQTT_PROPERTY_CONTENT_TYPE;
	m.properties.number[MQTT_PROPERTY_WILL_DELAY_INTERVAL] = 5;
	m.properties.number[MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL] = 9;
	will = will_new(&m);
	will_encode(will, out);
	will_free(&will);
	assert_null(will);
	buf_fini(&block);
}

static void only_what_subscribers_get_is_kept_of_the_properties(void **state)
{
	struct buf b = {0};

	(void)state;
	encoded(&b);
	assert_int_equal(buf_length(&b), TOPIC_AT + 3 + 4 + 4 + ID_BYTES);
	assert_memory_equal(b.data + TOPIC_AT, "a/bgone\x03\x00\x01t", 11);
	buf_fini(&b);
}

static void a_will_comes_back_from_its_bytes(void **state)
{
	struct buf b = {0};
	struct buf again = {0};
	struct will *will = NULL;

	(void)state;
	encoded(&b);
	assert_int_equal(will_decode(buf_view(&b), &will), 0);
	will_encode(will, &again);
	assert_true(view_equal(buf_view(&b), buf_view(&again)));
	will_free(&will);
	buf_fini(&again);
	buf_fini(&b);
}

static void a_will_of_a_row_without_identifier_gets_one(void **state)
{
	struct buf b = {0};
	struct buf again = {0};
	struct will *will = NULL;

	(void)state;
	encoded(&b);
	b.data[FLAGS_AT] = 1;
	assert_int_equal(
		will_decode((struct view){(const char *)b.data, buf_length(&b) - ID_BYTES}, &will),
		0);
	will_encode(will, &again);
	assert_int_equal(buf_length(&again), buf_length(&b));
	assert_int_equal(again.data[FLAGS_AT], 3);
	assert_memory_not_equal(again.data + buf_length(&b) - ID_BYTES,
		b.data + buf_length(&b) - ID_BYTES, ID_BYTES);
	will_free(&will);
	buf_fini(&again);
	buf_fini(&b);
}

static void no_bytes_are_no_will(void **state)
{
	struct will *will = NULL;
	struct buf b = {0};

	(void)state;
	assert_int_equal(will_decode(VIEW(""), &will), 0);
	assert_null(will);
	will_encode(NULL, &b);
	assert_int_equal(buf_length(&b), 0);
}

static void what_is_cut_or_too_long_is_refused(void **state)
{
	struct buf b = {0};
	struct will *will = NULL;

	(void)state;
	encoded(&b);
	for (size_t n = 1; n < buf_length(&b); n++)
		assert_int_equal(
			will_decode((struct view){(const char *)b.data, n}, &will), ERR_CORRUPT);
	buf_append(&b, "x", 1);
	assert_int_equal(will_decode(buf_view(&b), &will), ERR_CORRUPT);
	assert_null(will);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_subscribers_get_is_kept_of_the_properties),
		cmocka_unit_test(a_will_comes_back_from_its_bytes),
		cmocka_unit_test(a_will_of_a_row_without_identifier_gets_one),
		cmocka_unit_test(no_bytes_are_no_will),
		cmocka_unit_test(what_is_cut_or_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
