/* Who waits, until when, and in which order all are told. */
#include "cluster/receipts.h"

#include "net/harness.h"

#define ASKED_MOST 4u

struct asked {
	struct receipt receipt;
	struct rig *rig;
	uint32_t told;  /* how often */
	uint32_t place; /* in the order of being told, from 1 */
	uint64_t told_ms;
};

struct rig {
	struct loop *loop;
	struct receipts all;
	struct list with; /* those that wait for the same */
	struct list others;
	struct asked asked[ASKED_MOST];
	uint32_t told;
};

static void on_done(struct receipt *r)
{
	struct asked *a = container_of(r, struct asked, receipt);

	a->told++;
	a->place = ++a->rig->told;
	a->told_ms = loop_now_ms(a->rig->loop);
}

static int set_up(void **state)
{
	static struct rig rig;

	rig = (struct rig){.loop = loop_new()};
	receipts_init(&rig.all, rig.loop, "rows");
	list_init(&rig.with);
	list_init(&rig.others);
	for (uint32_t i = 0; i < ASKED_MOST; i++) {
		rig.asked[i].rig = &rig;
		rig.asked[i].receipt.on_done = on_done;
	}
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	receipts_fini(&r->all);
	loop_free(r->loop);
	return 0;
}

static struct asked *ask(struct rig *r, uint32_t i, struct list *with)
{
	receipts_wait(&r->all, &r->asked[i].receipt, with);
	return &r->asked[i];
}

static bool is_told(void *asked)
{
	return ((struct asked *)asked)->told > 0;
}

static void those_of_the_same_are_told_once_in_their_order_and_no_others(void **state)
{
	struct rig *r = *state;
	struct asked *first = ask(r, 0, &r->with);
	struct asked *other = ask(r, 1, &r->others);
	struct asked *second = ask(r, 2, &r->with);

	assert_int_equal(r->told, 0);
	receipts_tell(&r->with);
	assert_int_equal(first->place, 1);
	assert_int_equal(second->place, 2);
	assert_int_equal(other->told, 0);
	assert_true(list_is_empty(&r->with));
	drive_until(r->loop, is_told, other); /* too late */
	assert_int_equal(first->told + second->told, 2);
	assert_int_equal(other->told, 1);
	assert_true(list_is_empty(&r->others));
}

static void one_that_waited_too_long_is_told_with_all_and_nobody_waits_until_something_is_written(
	void **state)
{
	struct rig *r = *state;
	struct asked *first = ask(r, 0, &r->with);
	uint64_t begun = loop_now_ms(r->loop);
	struct asked *late = ask(r, 1, &r->others);

	drive_until(r->loop, is_told, first);
	assert_true(first->told_ms >= begun + RECEIPTS_WAIT_MS);
	assert_int_equal(first->place, 1);
	assert_int_equal(late->place, 2);
	assert_int_equal(ask(r, 2, &r->with)->told, 1);
	receipts_resume(&r->all);
	assert_int_equal(ask(r, 3, &r->with)->told, 0);
	receipts_tell(&r->with);
	assert_int_equal(r->asked[3].told, 1);
}

static void on_while_over(struct timer *t)
{
	t->due_ms = 0;
}

static bool is_over(void *timer)
{
	return ((struct timer *)timer)->due_ms == 0;
}

static void one_that_comes_later_has_its_own_time(void **state)
{
	struct rig *r = *state;
	struct timer a_while = {.on_time = on_while_over};
	struct asked *second;
	uint64_t begun, due_ms;

	ask(r, 0, &r->with);
	timer_start(r->loop, &a_while, 50);
	drive_until(r->loop, is_over, &a_while);
	due_ms = r->all.timer.due_ms;
	ask(r, 2, &r->others);
	assert_int_equal(r->all.timer.due_ms, due_ms); /* the first waits no longer for that */
	receipts_tell(&r->others);
	receipts_tell(&r->with);
	begun = loop_now_ms(r->loop);
	second = ask(r, 1, &r->with);
	drive_until(r->loop, is_told, second);
	assert_true(second->told_ms >= begun + RECEIPTS_WAIT_MS);
	assert_true(r->all.is_away);
}

static void at_the_end_nobody_is_told(void **state)
{
	struct rig *r = *state;
	struct asked *a = ask(r, 0, &r->with);

	receipts_fini(&r->all);
	assert_int_equal(a->told, 0);
	assert_int_equal(r->all.timer.place, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			those_of_the_same_are_told_once_in_their_order_and_no_others, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_waited_too_long_is_told_with_all_and_nobody_waits_until_something_is_written,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_comes_later_has_its_own_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(at_the_end_nobody_is_told, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
