/* Submissions to a shared log: what is known here, what is offered, who is told when. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/harness.h"

#include "base/check.h"
#include "base/error.h"
#include "commit/fixture.h"
#include "commit/follow.h"

#define MOST 600

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct loop *loop;
	struct commit_port *port;
	struct commit_owner owner;
	struct commit_waiter waiter;
	int refuse; /* so many offers */
	uint32_t tickets[MOST];
	uint32_t offered;
	uint32_t done[MOST];
	enum commit_outcome outcomes[MOST];
	uint32_t done_count;
	uint32_t want;
	int ready;
};

static int offer(void *context, struct commit_port *p, const void *connection,
	const struct commit_offer *offers, uint32_t n)
{
	struct fixture *f = context;

	assert_ptr_equal(p, f->port);
	assert_ptr_equal(connection, &f->owner);
	if (f->refuse > 0) {
		f->refuse--;
		return ERR_HELD;
	}
	for (uint32_t i = 0; i < n; i++)
		f->tickets[f->offered++] = offers[i].ticket;
	return 0;
}

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct fixture *f = container_of(o, struct fixture, owner);

	f->done[f->done_count] = token;
	f->outcomes[f->done_count++] = outcome;
	if (f->done_count == f->want)
		loop_stop(f->loop);
}

static void on_ready(struct commit_waiter *w)
{
	struct fixture *f = container_of(w, struct fixture, waiter);

	f->ready++;
	loop_stop(f->loop);
}

static void fixture_init(struct fixture *f)
{

	*f = (struct fixture){.owner.on_done = on_done, .waiter.on_ready = on_ready};
	f->commit = fixture_open_commit(f->dir, 10000);
	commit_set_log(f->commit, &(struct commit_log){.offer = offer, .context = f});
	f->loop = loop_new();
	f->port = commit_port_new(f->commit, f->loop, 0);
	list_init(&f->waiter.link);
}

static void fixture_fini(struct fixture *f)
{

	commit_port_free(f->port);
	loop_free(f->loop);
	fixture_close_commit(f->dir, f->commit);
}

static struct journal_message message(uint32_t id)
{
	struct journal_message m = {.topic = VIEW("t"), .payload = VIEW("payload"), .qos = 1};

	memcpy(m.id.b, &id, sizeof(id));
	return m;
}

static int submit(struct fixture *f, uint32_t first, uint32_t n)
{
	struct commit_request requests[MOST];

	for (uint32_t i = 0; i < n; i++)
		requests[i] = (struct commit_request){
			.message = message(first + i), .claim = true, .token = first + i};
	return commit_submit(f->port, &f->owner, requests, n);
}

static void answer(struct fixture *f, uint32_t at, enum commit_outcome outcome)
{
	commit_port_answer(f->port, &(struct commit_answer){f->tickets[at], outcome}, 1);
}

/* Turns until so many have been told in all. */
static void run_until(struct fixture *f, uint32_t done)
{
	f->want = done;
	if (f->done_count < done)
		loop_run(f->loop);
	assert_int_equal(f->done_count, done);
}

static void what_the_log_answers_is_told_in_the_order_of_submission(void **state)
{
	struct commit_figures figures;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(submit(&f, 1, 3), 0);
	assert_int_equal(f.offered, 3);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 0); /* the follower writes it */
	answer(&f, 2, COMMIT_FIRST);
	answer(&f, 0, COMMIT_REPEAT);
	run_until(&f, 1);
	assert_int_equal(f.done[0], 1);
	assert_int_equal(f.outcomes[0], COMMIT_REPEAT);
	answer(&f, 1, COMMIT_FIRST);
	run_until(&f, 3);
	assert_int_equal(f.done[1], 2);
	assert_int_equal(f.done[2], 3);
	assert_int_equal(f.outcomes[2], COMMIT_FIRST);
	commit_figures(f.commit, &figures);
	assert_int_equal(figures.first, 2);
	assert_int_equal(figures.repeats, 1);
	fixture_fini(&f);
}

static void tickets_keep_their_numbers_while_their_ring_grows(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(submit(&f, 0, 200), 0);
	for (uint32_t i = 0; i < 100; i++)
		answer(&f, i, COMMIT_FIRST);
	run_until(&f, 100);
	assert_int_equal(submit(&f, 200, 400), 0); /* more than the ring has */
	for (uint32_t i = 100; i < 600; i++)
		answer(&f, i, i % 2 ? COMMIT_FIRST : COMMIT_REPEAT);
	run_until(&f, 600);
	for (uint32_t i = 100; i < 600; i++) {
		assert_int_equal(f.done[i], i);
		assert_int_equal(f.outcomes[i], i % 2 ? COMMIT_FIRST : COMMIT_REPEAT);
	}
	fixture_fini(&f);
}

static void what_was_followed_is_a_repeat_without_asking(void **state)
{
	struct commit_record record = {.message = message(2)};
	struct commit_line line = {.records = &record, .n = 1};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	record.message.log_id = 1;
	assert_int_equal(commit_follow(f.commit, &line, 1), 0);
	assert_int_equal(submit(&f, 1, 3), 0);
	assert_int_equal(f.offered, 2);
	answer(&f, 0, COMMIT_FIRST);
	answer(&f, 1, COMMIT_FIRST);
	run_until(&f, 3);
	assert_int_equal(f.outcomes[1], COMMIT_REPEAT);
	assert_int_equal(f.done[1], 2);
	fixture_fini(&f);
}

static void what_was_followed_with_other_bytes_is_a_conflict(void **state)
{
	struct commit_record record = {.message = message(2)};
	struct commit_line line = {.records = &record, .n = 1};
	struct commit_figures figures;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	record.message.log_id = 1;
	record.message.payload = VIEW("another");
	assert_int_equal(commit_follow(f.commit, &line, 1), 0);
	assert_int_equal(submit(&f, 2, 1), 0);
	assert_int_equal(f.offered, 0);
	run_until(&f, 1);
	assert_int_equal(f.outcomes[0], COMMIT_CONFLICT);
	commit_figures(f.commit, &figures);
	assert_int_equal(figures.repeats, 1);
	fixture_fini(&f);
}

static void a_log_that_takes_nothing_holds_until_it_says_that_it_is_ready(void **state)
{
	struct commit_figures figures;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.refuse = 2;
	assert_int_equal(submit(&f, 1, 2), ERR_HELD);
	assert_false(commit_is_ready(f.port));
	commit_figures(f.commit, &figures);
	assert_true(figures.held);
	assert_int_equal(f.offered, 0);
	commit_wait(f.port, &f.waiter);
	commit_log_ready(f.commit);
	loop_run(f.loop);
	assert_int_equal(f.ready, 1);
	assert_int_equal(submit(&f, 1, 2), 0);
	answer(&f, 0, COMMIT_FIRST);
	answer(&f, 1, COMMIT_FIRST);
	run_until(&f, 2);
	fixture_fini(&f);
}

/* The sign that there is room may come between the refusal and the note of it. */
static void a_refusal_is_asked_about_once_more(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.refuse = 1;
	assert_int_equal(submit(&f, 1, 1), 0);
	assert_true(commit_is_ready(f.port));
	assert_int_equal(f.offered, 1);
	fixture_fini(&f);
}

static void who_went_away_is_not_told(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(submit(&f, 1, 2), 0);
	commit_forget(f.port, &f.owner);
	answer(&f, 0, COMMIT_FIRST);
	answer(&f, 1, COMMIT_FIRST);
	assert_int_equal(submit(&f, 3, 1), 0);
	answer(&f, 2, COMMIT_FIRST);
	run_until(&f, 1);
	assert_int_equal(f.done[0], 3);
	fixture_fini(&f);
}

static void what_is_published_here_is_not_written_again_when_the_log_gives_it(void **state)
{
	struct journal_message messages[] = {message(1), message(2), message(1)};
	struct commit_record record = {.message = message(2)};
	struct commit_line line = {.records = &record, .n = 1};
	struct fixture f;

	(void)state;
	fixture_init(&f);
	record.message.log_id = 1;
	assert_int_equal(commit_publish(f.commit, messages, 3), 0);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 2);
	assert_int_equal(commit_follow(f.commit, &line, 1), 0);
	assert_int_equal(line.taken, 1);
	assert_int_equal(line.known, 1);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 2);
	fixture_fini(&f);
}

static void a_log_out_of_reach_counts_as_time_held(void **state)
{
	struct commit_figures before, after;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	commit_log_holds(f.commit, true);
	usleep(20000);
	commit_figures(f.commit, &before);
	assert_true(before.held_ms >= 20);
	assert_false(before.held); /* it takes messages all the same */
	commit_log_holds(f.commit, false);
	commit_figures(f.commit, &before);
	usleep(20000);
	commit_figures(f.commit, &after);
	assert_int_equal(before.held_ms, after.held_ms);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_log_answers_is_told_in_the_order_of_submission),
		cmocka_unit_test(tickets_keep_their_numbers_while_their_ring_grows),
		cmocka_unit_test(what_was_followed_is_a_repeat_without_asking),
		cmocka_unit_test(what_was_followed_with_other_bytes_is_a_conflict),
		cmocka_unit_test(a_log_that_takes_nothing_holds_until_it_says_that_it_is_ready),
		cmocka_unit_test(a_refusal_is_asked_about_once_more),
		cmocka_unit_test(who_went_away_is_not_told),
		cmocka_unit_test(what_is_published_here_is_not_written_again_when_the_log_gives_it),
		cmocka_unit_test(a_log_out_of_reach_counts_as_time_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
