#include "mqtt/inflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void ids_are_given_in_order_and_wrap_past_zero(void **state)
{
	struct inflight w = {.first_id = 65534};

	(void)state;
	assert_int_equal(inflight_add(&w, 10), 65534);
	assert_int_equal(inflight_add(&w, 11), 65535);
	assert_int_equal(inflight_add(&w, 12), 1);
	assert_int_equal(inflight_ack(&w, 65534), INFLIGHT_TAKEN);
	assert_int_equal(inflight_ack(&w, 65535), INFLIGHT_TAKEN);
	assert_int_equal(inflight_id(&w, 0), 1);
	assert_int_equal(inflight_seq(&w, 0), 12);
	inflight_fini(&w);
}

static void an_ack_out_of_order_frees_room_up_to_a_longest_run(void **state)
{
	struct inflight w = {0};

	(void)state;
	for (uint64_t seq = 0; seq < 4; seq++)
		inflight_add(&w, seq);
	assert_int_equal(inflight_room(&w, 4), 0);
	assert_int_equal(inflight_ack(&w, 2), INFLIGHT_TAKEN);
	assert_int_equal(inflight_room(&w, 4), 1);
	assert_int_equal(inflight_ack(&w, 1), INFLIGHT_TAKEN);
	assert_int_equal(inflight_room(&w, 4), 2);
	assert_int_equal(inflight_id(&w, 0), 3);
	while (inflight_room(&w, 4))
		inflight_ack(&w, inflight_add(&w, 9));
	assert_int_equal(w.count, 4 * 4 + 64);
	assert_int_equal(inflight_open(&w), 2);
	inflight_ack(&w, 3);
	inflight_ack(&w, 4);
	assert_int_equal(w.count, 0);
	assert_int_equal(inflight_room(&w, 4), 4);
	inflight_fini(&w);
}

static void an_unknown_or_repeated_ack_changes_nothing(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 7);
	inflight_add(&w, 8);
	assert_int_equal(inflight_ack(&w, 0), INFLIGHT_UNKNOWN);
	assert_int_equal(inflight_ack(&w, 3), INFLIGHT_UNKNOWN);
	assert_int_equal(inflight_ack(&w, 2), INFLIGHT_TAKEN);
	assert_int_equal(inflight_ack(&w, 2), INFLIGHT_UNKNOWN);
	assert_int_equal(w.count, 2);
	inflight_fini(&w);
}

static void positions_survive_growth_of_a_wrapped_ring(void **state)
{
	struct inflight w = {0};
	uint64_t next = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		inflight_add(&w, next++);
	for (uint16_t id = 1; id <= 8; id++)
		assert_int_equal(inflight_ack(&w, id), INFLIGHT_TAKEN);
	for (int i = 0; i < 100; i++)
		inflight_add(&w, next++);
	for (uint16_t i = 0; i < w.count; i++) {
		assert_int_equal(inflight_seq(&w, i), 8u + i);
		assert_int_equal(inflight_id(&w, i), 9u + i);
	}
	inflight_fini(&w);
}

static void what_was_not_sent_is_taken_back(void **state)
{
	struct inflight w = {0};

	(void)state;
	for (uint64_t seq = 0; seq < 5; seq++)
		inflight_add(&w, seq);
	inflight_take_back(&w, 2);
	assert_int_equal(w.count, 3);
	assert_int_equal(inflight_add(&w, 9), 4);
	assert_int_equal(inflight_seq(&w, 3), 9);
	inflight_fini(&w);
}

static void an_ack_for_a_slot_that_waits_for_its_resend_is_refused(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 1);
	inflight_add(&w, 2);
	w.sent = 0; /* reconnected, nothing sent again yet */
	assert_int_equal(inflight_ack(&w, 1), INFLIGHT_UNKNOWN);
	w.sent = 1;
	assert_int_equal(inflight_ack(&w, 1), INFLIGHT_TAKEN);
	assert_int_equal(w.count, 1);
	inflight_fini(&w);
}

static void a_forgotten_slot_leaves_when_it_reaches_the_front(void **state)
{
	struct inflight w = {0};

	(void)state;
	for (uint64_t seq = 0; seq < 3; seq++)
		inflight_add(&w, seq);
	inflight_set_sent(&w, 0);
	inflight_forget(&w, 0);
	inflight_forget(&w, 1);
	assert_int_equal(w.count, 3);
	inflight_set_sent(&w, 2);
	assert_int_equal(w.count, 1);
	assert_int_equal(inflight_id(&w, 0), 3);
	inflight_fini(&w);
}

static void flags_do_not_show_in_the_position(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 10);
	inflight_add(&w, 11 | INFLIGHT_QOS_2);
	assert_int_equal(inflight_seq(&w, 1), 11);
	assert_true(inflight_raw(&w, 1) == (11 | INFLIGHT_QOS_2));
	assert_int_equal(inflight_qos(&w, 0), 1);
	assert_int_equal(inflight_qos(&w, 1), 2);
	assert_int_equal(inflight_release(&w, 2), INFLIGHT_TAKEN);
	assert_int_equal(inflight_seq(&w, 1), 11);
	assert_int_equal(inflight_complete(&w, 2), INFLIGHT_TAKEN);
	assert_true(inflight_seq(&w, 1) == INFLIGHT_ACKED);
	assert_int_equal(inflight_qos(&w, 1), 1);
	assert_false(inflight_is_released(&w, 1));
	inflight_fini(&w);
}

static void qos_2_is_open_from_publish_to_pubcomp(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 10 | INFLIGHT_QOS_2);
	assert_int_equal(inflight_ack(&w, 1), INFLIGHT_OUT_OF_ORDER);
	assert_int_equal(inflight_complete(&w, 1), INFLIGHT_OUT_OF_ORDER);
	assert_false(inflight_is_released(&w, 0));
	assert_int_equal(inflight_release(&w, 1), INFLIGHT_TAKEN);
	assert_true(inflight_is_released(&w, 0));
	assert_int_equal(inflight_release(&w, 1), INFLIGHT_TAKEN);
	assert_int_equal(w.count, 1);
	assert_int_equal(inflight_complete(&w, 1), INFLIGHT_TAKEN);
	assert_int_equal(inflight_complete(&w, 1), INFLIGHT_UNKNOWN);
	assert_int_equal(inflight_release(&w, 1), INFLIGHT_UNKNOWN);
	assert_int_equal(w.count, 0);
	inflight_fini(&w);
}

static void a_refused_message_is_done_with_its_pubrec(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 10 | INFLIGHT_QOS_2);
	inflight_add(&w, 11);
	assert_int_equal(inflight_reject(&w, 2), INFLIGHT_OUT_OF_ORDER);
	assert_int_equal(inflight_release(&w, 2), INFLIGHT_OUT_OF_ORDER);
	assert_int_equal(inflight_complete(&w, 2), INFLIGHT_OUT_OF_ORDER);
	assert_int_equal(inflight_reject(&w, 1), INFLIGHT_TAKEN);
	assert_int_equal(inflight_reject(&w, 1), INFLIGHT_UNKNOWN);
	assert_int_equal(w.count, 1);
	inflight_fini(&w);
}

static void only_what_was_sent_and_not_received_counts_as_open(void **state)
{
	struct inflight w = {0};

	(void)state;
	for (uint64_t seq = 0; seq < 6; seq++)
		inflight_add(&w, seq | INFLIGHT_QOS_2);
	inflight_release(&w, 2);
	inflight_reject(&w, 3);
	assert_int_equal(inflight_open(&w), 4);
	inflight_set_sent(&w, 4);
	assert_int_equal(inflight_open(&w), 2);
	inflight_give_up(&w, 0);
	assert_true(inflight_is_released(&w, 0));
	assert_int_equal(inflight_open(&w), 1);
	inflight_fini(&w);
}

static void an_empty_window_gives_its_memory_back_and_ids_go_on(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_add(&w, 1);
	inflight_shrink(&w);
	assert_non_null(w.seqs);
	inflight_ack(&w, 1);
	inflight_shrink(&w);
	assert_null(w.seqs);
	assert_int_equal(inflight_add(&w, 2), 2);
	inflight_fini(&w);
}

static const uint64_t stored[] = {10, INFLIGHT_ACKED, 30 | INFLIGHT_QOS_2, 40};

static void a_stored_window_is_resent_with_its_ids_and_goes_on_behind_them(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_restore(&w, 65534, stored, 4, 3, 1000);
	assert_int_equal(w.sent, 0);
	assert_int_equal(inflight_room(&w, 5), 2);
	assert_int_equal(inflight_seq(&w, 2), 30);
	assert_int_equal(inflight_qos(&w, 2), 2);
	assert_int_equal(inflight_id(&w, 2), 1);
	inflight_set_sent(&w, 4);
	assert_int_equal(inflight_add(&w, 50), 3);
	inflight_fini(&w);
}

static void after_a_crash_new_ids_begin_later_and_only_once_the_old_are_done(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_restore(&w, 1, stored, 4, 30000, 1000);
	assert_int_equal(inflight_next_id(&w), 30000);
	inflight_set_sent(&w, 4);
	inflight_ack(&w, 1);
	inflight_ack(&w, 4);
	assert_int_equal(inflight_room(&w, 100), 0);
	inflight_release(&w, 3);
	inflight_complete(&w, 3);
	assert_int_equal(inflight_room(&w, 100), 100);
	assert_int_equal(inflight_add(&w, 50), 30000);
	assert_int_equal(inflight_room(&w, 100), 99);
	inflight_fini(&w);
	inflight_restore(&w, 1, stored, 0, 30000, 1000);
	assert_int_equal(inflight_add(&w, 50), 30000);
	inflight_fini(&w);
}

static void what_the_journal_lost_is_not_resent_but_qos_2_is_released(void **state)
{
	struct inflight w = {0};

	(void)state;
	inflight_restore(&w, 1, stored, 4, 5, 30);
	assert_int_equal(inflight_seq(&w, 0), 10);
	assert_true(inflight_is_released(&w, 2));
	assert_int_equal(inflight_seq(&w, 3), INFLIGHT_ACKED);
	inflight_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_given_in_order_and_wrap_past_zero),
		cmocka_unit_test(an_ack_out_of_order_frees_room_up_to_a_longest_run),
		cmocka_unit_test(an_unknown_or_repeated_ack_changes_nothing),
		cmocka_unit_test(positions_survive_growth_of_a_wrapped_ring),
		cmocka_unit_test(what_was_not_sent_is_taken_back),
		cmocka_unit_test(a_forgotten_slot_leaves_when_it_reaches_the_front),
		cmocka_unit_test(flags_do_not_show_in_the_position),
		cmocka_unit_test(qos_2_is_open_from_publish_to_pubcomp),
		cmocka_unit_test(a_refused_message_is_done_with_its_pubrec),
		cmocka_unit_test(only_what_was_sent_and_not_received_counts_as_open),
		cmocka_unit_test(an_ack_for_a_slot_that_waits_for_its_resend_is_refused),
		cmocka_unit_test(an_empty_window_gives_its_memory_back_and_ids_go_on),
		cmocka_unit_test(a_stored_window_is_resent_with_its_ids_and_goes_on_behind_them),
		cmocka_unit_test(after_a_crash_new_ids_begin_later_and_only_once_the_old_are_done),
		cmocka_unit_test(what_the_journal_lost_is_not_resent_but_qos_2_is_released),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
