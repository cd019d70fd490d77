#include "mqtt/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/error.h"
#include "mqtt/context.h"

/* How many codes each packet has in its section of MQTT 5, by who sends it. */
static const struct {
	uint32_t context;
	int codes;
} tables[] = {
	{S(CONNACK), 22}, /* 3.2.2.2 */
	{C(PUBACK), 8},   /* 3.4.2.1, without "no matching subscribers" */
	{S(PUBACK), 9},
	{C(PUBREC), 8},
	{S(PUBREC), 9},
	{C(PUBREL), 2},
	{S(PUBCOMP), 2},
	{S(SUBACK), 12},     /* 3.9.3 */
	{S(UNSUBACK), 7},    /* 3.11.3 */
	{C(DISCONNECT), 14}, /* 3.14.2.1 */
	{S(DISCONNECT), 29}, /* 3.14.2.1 and, from 2.4, 0x8c */
	{C(AUTH), 2},        /* 3.15.2.1 */
	{S(AUTH), 2},
	{C(CONNECT), 0},
	{B(PUBLISH), 0},
};

static void each_packet_has_the_codes_of_its_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		int codes = 0;

		for (unsigned reason = 0; reason < 256; reason++)
			codes += context_has_reason(tables[i].context, (uint8_t)reason);
		if (codes != tables[i].codes)
			fail_msg("table %zu: %d codes, want %d", i, codes, tables[i].codes);
	}
}

static void codes_have_texts(void **state)
{
	(void)state;
	assert_string_equal(mqtt_reason_text(0), "Success");
	assert_string_equal(mqtt_reason_text(0x87), "Not authorized");
	assert_string_equal(mqtt_reason_text(0xa2), "Wildcard Subscriptions not supported");
	assert_string_equal(mqtt_reason_text(0x05), "unknown reason code");
	assert_string_equal(mqtt_reason_text(0xff), "unknown reason code");
}

static void a_311_client_is_told_what_comes_closest(void **state)
{
	(void)state;
	assert_int_equal(mqtt_reason_to_v3(0), 0);
	assert_int_equal(mqtt_reason_to_v3(0x84), 1);
	assert_int_equal(mqtt_reason_to_v3(0x85), 2);
	assert_int_equal(mqtt_reason_to_v3(0x89), 3);
	assert_int_equal(mqtt_reason_to_v3(0x86), 4);
	assert_int_equal(mqtt_reason_to_v3(0x87), 5);
	assert_int_equal(mqtt_reason_to_v3(0x81), 0xff);
	assert_int_equal(mqtt_reason_to_v3(0x05), 0xff);
}

/* Both tables are read by people who answer an error with a packet. */
static void every_error_has_a_code_that_a_packet_can_carry(void **state)
{
	(void)state;
	for (int err = -1; err >= -(int)ERR_COUNT; err--) {
		uint8_t reason = err_reason_code(err);

		if (!context_has_reason(S(CONNACK) | S(DISCONNECT) | S(PUBACK), reason))
			fail_msg("%s: 0x%02x", err_text(err), reason);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_packet_has_the_codes_of_its_table),
		cmocka_unit_test(codes_have_texts),
		cmocka_unit_test(a_311_client_is_told_what_comes_closest),
		cmocka_unit_test(every_error_has_a_code_that_a_packet_can_carry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
