/* The pure parts: the window of acknowledgements, the rate, the poisoned packet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "source/pace.h"
#include "source/window.h"

static void places_leave_in_order_however_they_are_done(void **state)
{
	struct window_place place;
	struct window w = {0};
	uint32_t a = window_take(&w, 7, 1), b = window_take(&w, 8, 1), c = window_take(&w, 0, 0);

	(void)state;
	assert_int_equal(w.unacknowledged, 2);
	window_done(&w, c);
	window_done(&w, b);
	assert_false(window_pop(&w, &place));
	window_done(&w, a);
	assert_true(window_pop(&w, &place));
	assert_int_equal(place.packet_id, 7);
	assert_true(window_pop(&w, &place));
	assert_int_equal(place.packet_id, 8);
	assert_true(window_pop(&w, &place));
	assert_int_equal(place.packet_id, 0);
	assert_false(window_pop(&w, &place));
	assert_int_equal(w.unacknowledged, 0);
	window_fini(&w);
}

static void the_window_grows_to_all_packet_ids_and_is_full(void **state)
{
	struct window_place place;
	struct window w = {0};

	(void)state;
	for (uint32_t i = 0; i < 100; i++) { /* the ring's start is not the array's */
		window_done(&w, window_take(&w, 1, 1));
		assert_true(window_pop(&w, &place));
	}
	for (uint32_t i = 0; i < WINDOW_MOST; i++) {
		assert_false(window_is_full(&w));
		window_done(&w, window_take(&w, (uint16_t)i, 1));
	}
	assert_true(window_is_full(&w));
	for (uint32_t i = 0; i < WINDOW_MOST; i++) {
		assert_true(window_pop(&w, &place));
		assert_int_equal(place.packet_id, i & 0xffff);
	}
	assert_true(window_is_empty(&w));
	window_fini(&w);
}

static void places_given_back_are_taken_again(void **state)
{
	struct window_place place;
	struct window w = {0};
	uint32_t first = window_take(&w, 1, 1), second = window_take(&w, 2, 1);

	(void)state;
	window_take(&w, 3, 1);
	window_give_back(&w, second);
	assert_int_equal(w.unacknowledged, 1);
	assert_int_equal(window_take(&w, 4, 1), second);
	window_done(&w, first);
	window_done(&w, second);
	assert_true(window_pop(&w, &place));
	assert_true(window_pop(&w, &place));
	assert_int_equal(place.packet_id, 4);
	window_fini(&w);
}

static void an_abandoned_window_acknowledges_nothing(void **state)
{
	struct window_place place;
	struct window w = {0};
	uint32_t token = window_take(&w, 1, 1);

	(void)state;
	window_abandon(&w);
	assert_int_equal(w.unacknowledged, 0);
	window_done(&w, token);
	assert_true(window_pop(&w, &place));
	assert_int_equal(place.packet_id, 0);
	window_fini(&w);
}

static void a_bucket_gives_a_seconds_worth_and_then_its_rate(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 4, 1000);
	for (int i = 0; i < 4; i++)
		assert_true(bucket_take(&b, 1000));
	assert_false(bucket_take(&b, 1000));
	assert_int_equal(bucket_wait_ms(&b), 250);
	assert_false(bucket_take(&b, 1249));
	assert_true(bucket_take(&b, 1250));
	assert_false(bucket_take(&b, 1250));
	bucket_give_back(&b, 1);
	assert_true(bucket_take(&b, 1250));
	for (int i = 0; i < 4; i++)
		assert_true(bucket_take(&b, 1000000)); /* never more than a second's worth */
	assert_false(bucket_take(&b, 1000000));
	bucket_init(&b, 0, 0);
	for (int i = 0; i < 100; i++)
		assert_true(bucket_take(&b, 0));
}

static void the_third_fault_on_the_same_packet_is_the_one(void **state)
{
	struct poison p = {0};

	(void)state;
	assert_false(poison_strike(&p, 1, 5));
	assert_false(poison_strike(&p, 1, 9)); /* the same bytes */
	assert_false(poison_strike(&p, 2, 7)); /* another packet */
	assert_false(poison_strike(&p, 3, 7)); /* the same place */
	assert_true(poison_strike(&p, 3, 8));
	assert_false(poison_strike(&p, 3, 8)); /* counting begins again */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_leave_in_order_however_they_are_done),
		cmocka_unit_test(the_window_grows_to_all_packet_ids_and_is_full),
		cmocka_unit_test(places_given_back_are_taken_again),
		cmocka_unit_test(an_abandoned_window_acknowledges_nothing),
		cmocka_unit_test(a_bucket_gives_a_seconds_worth_and_then_its_rate),
		cmocka_unit_test(the_third_fault_on_the_same_packet_is_the_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
