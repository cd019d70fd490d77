#include "broker/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker/broker.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define START 1000000u /* the clock is the test's own */

static int begin(void **state)
{
	static struct addresses a;

	addresses_init(&a);
	*state = &a;
	return 0;
}

static int end(void **state)
{
	addresses_fini(*state);
	return 0;
}

static uint64_t key_of(const char *text)
{
	struct address a;

	assert_true(address_parse(view_of(text), 1883, &a));
	return address_key(&a);
}

static void an_ipv6_address_counts_with_its_64_an_ipv4_address_alone(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1:2:3", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"::1", "127.0.0.1", false},
		{"::1", "::2", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		assert_int_equal(key_of(rows[i].a) == key_of(rows[i].b), rows[i].same);
		assert_true(key_of(rows[i].a) != 0);
	}
}

static void loopback_is_known_in_both_families(void **state)
{
	(void)state;
	assert_true(address_key_is_loopback(key_of("127.0.0.1")));
	assert_true(address_key_is_loopback(key_of("127.255.0.9")));
	assert_true(address_key_is_loopback(key_of("::1")));
	assert_false(address_key_is_loopback(key_of("128.0.0.1")));
	assert_false(address_key_is_loopback(key_of("2001:db8::1")));
}

static void connections_over_the_limit_are_told_and_twice_over_it_not_taken(void **state)
{
	const struct broker_limits l = {.connections_per_address = 2};
	static const enum admission want[] = {ADMITTED, ADMITTED, ADMISSION_MANY, ADMISSION_MANY,
		ADMISSION_NOT_TAKEN, ADMISSION_NOT_TAKEN};
	struct addresses *a = *state;

	for (size_t i = 0; i < COUNT_OF(want); i++)
		assert_int_equal(addresses_enter(a, 7, &l, START), want[i]);
	assert_int_equal(addresses_enter(a, 8, &l, START), ADMITTED);
	addresses_leave(a, 7, ADMISSION_MANY, START);
	assert_int_equal(addresses_enter(a, 7, &l, START), ADMISSION_MANY);
	addresses_leave(a, 7, ADMITTED, START);
	assert_int_equal(addresses_enter(a, 7, &l, START), ADMITTED);
}

static void the_rate_of_connecting_is_a_second_worth_at_once_then_steady(void **state)
{
	const struct broker_limits l = {.connect_rate_per_address = 2};
	static const struct {
		uint64_t at_ms;
		enum admission want;
	} rows[] = {
		{0, ADMITTED},
		{0, ADMITTED},
		{0, ADMISSION_FAST},
		{10, ADMISSION_FAST},
		{10, ADMISSION_NOT_TAKEN},
		{499, ADMISSION_NOT_TAKEN},
		{500, ADMITTED},
		{500, ADMISSION_FAST},
		{999, ADMISSION_NOT_TAKEN},
		{1000, ADMITTED},
		{9000, ADMITTED},
		{9000, ADMITTED},
		{9000, ADMISSION_FAST},
	};
	struct addresses *a = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_int_equal(addresses_enter(a, 7, &l, START + rows[i].at_ms), rows[i].want);
}

static void failed_logins_delay_ever_longer_and_are_forgotten(void **state)
{
	static const uint32_t want[] = {100, 200, 400, 800, 1600, 3200, 6400, 6400};
	struct addresses *a = *state;

	assert_int_equal(addresses_delay(a, 7, START), 0);
	for (size_t i = 0; i < COUNT_OF(want); i++)
		assert_int_equal(addresses_failed(a, 7, START + i), want[i]);
	assert_int_equal(addresses_delay(a, 7, START + 7), 6400);
	assert_int_equal(addresses_delay(a, 8, START + 7), 0);
	assert_int_equal(addresses_delay(a, 7, START + 7 + ADDRESSES_FORGET_MS - 1), 6400);
	assert_int_equal(addresses_delay(a, 7, START + 7 + ADDRESSES_FORGET_MS), 0);
	assert_int_equal(addresses_failed(a, 7, START + 7 + ADDRESSES_FORGET_MS), 100);
}

static void a_clock_that_lags_a_little_gives_nothing_away(void **state)
{
	const struct broker_limits l = {.connect_rate_per_address = 1};
	struct addresses *a = *state;

	assert_int_equal(addresses_enter(a, 7, &l, START), ADMITTED);
	assert_int_equal(addresses_enter(a, 7, &l, START - 5), ADMISSION_FAST);
	assert_int_equal(addresses_failed(a, 7, START), 100);
	assert_int_equal(addresses_failed(a, 7, START - 5), 200);
}

static void an_address_with_nothing_to_remember_is_forgotten(void **state)
{
	const struct broker_limits l = {.connect_rate_per_address = 1};
	struct addresses *a = *state;

	for (uint64_t key = 1; key <= 100; key++) {
		assert_int_equal(addresses_enter(a, key, &l, START), ADMITTED);
		addresses_leave(a, key, ADMITTED, START);
	}
	for (uint64_t key = 1; key <= 100; key++) {
		assert_int_equal(addresses_enter(a, 1000, &l, START + key * 1000), ADMITTED);
		addresses_leave(a, 1000, ADMITTED, START + key * 1000);
	}
	assert_in_range(addresses_count(a), 0, 1);
}

static void many_addresses_push_out_their_own_single_failures_first(void **state)
{
	struct addresses *a = *state;

	for (int i = 0; i < 5; i++)
		addresses_failed(a, 7, START);
	for (uint64_t key = 100; key < 100 + 3 * ADDRESSES_IDLE; key++)
		addresses_failed(a, key, START + 1);
	assert_int_equal(addresses_count(a), ADDRESSES_IDLE);
	assert_int_equal(addresses_delay(a, 7, START + 2), 1600);
}

static void a_connection_or_a_session_left_behind_is_never_pushed_out(void **state)
{
	const struct broker_limits l = {.connections_per_address = 1};
	struct addresses *a = *state;
	struct list session;

	list_init(&session);
	assert_int_equal(addresses_enter(a, 7, &l, START), ADMITTED);
	addresses_leave_behind(a, 8, &session, 1, NULL, NULL);
	for (uint64_t key = 100; key < 100 + 2 * ADDRESSES_IDLE; key++)
		addresses_failed(a, key, START);
	assert_int_equal(addresses_enter(a, 7, &l, START), ADMISSION_MANY);
	addresses_take_back(a, 8, &session, START);
	assert_true(list_is_empty(&session));
}

static void note(void *context, struct list *oldest)
{
	*(struct list **)context = oldest;
}

static void the_oldest_session_left_behind_goes_when_there_is_one_too_many(void **state)
{
	struct addresses *a = *state;
	struct list links[4];
	struct list *over = NULL;

	for (size_t i = 0; i < COUNT_OF(links); i++)
		list_init(&links[i]);
	addresses_leave_behind(a, 7, &links[0], 2, note, &over);
	addresses_leave_behind(a, 7, &links[1], 2, note, &over);
	assert_null(over);
	addresses_leave_behind(a, 7, &links[2], 2, note, &over);
	assert_ptr_equal(over, &links[0]);
	addresses_take_back(a, 7, &links[0], START); /* it is out already */
	addresses_take_back(a, 7, &links[1], START);
	over = NULL;
	addresses_leave_behind(a, 7, &links[3], 2, note, &over);
	assert_null(over);
	addresses_leave_behind(a, 7, &links[0], 0, note, &over); /* no limit */
	assert_null(over);
	for (size_t i = 0; i < COUNT_OF(links); i++)
		addresses_take_back(a, 7, &links[i], START);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(an_ipv6_address_counts_with_its_64_an_ipv4_address_alone),
		TEST(loopback_is_known_in_both_families),
		TEST(connections_over_the_limit_are_told_and_twice_over_it_not_taken),
		TEST(the_rate_of_connecting_is_a_second_worth_at_once_then_steady),
		TEST(failed_logins_delay_ever_longer_and_are_forgotten),
		TEST(a_clock_that_lags_a_little_gives_nothing_away),
		TEST(an_address_with_nothing_to_remember_is_forgotten),
		TEST(many_addresses_push_out_their_own_single_failures_first),
		TEST(a_connection_or_a_session_left_behind_is_never_pushed_out),
		TEST(the_oldest_session_left_behind_goes_when_there_is_one_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
