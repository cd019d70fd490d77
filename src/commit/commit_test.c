/* Claims, appends, and when it is said that they count. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/harness.h"

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"
#include "commit/fixture.h"
#include "journal/system.h"

#define TOPIC "origin/a/wis2/de-dwd/data/core/weather/surface-based-observations/synop"
#define DONE_MOST 4096

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct loop *loop;
	struct commit_port *port;
	struct commit_owner owner;
	struct commit_waiter waiter;
	struct {
		uint32_t token;
		enum commit_outcome outcome;
		uint64_t safe;
	} done[DONE_MOST];
	int done_count;
	int want;
	int ready;
	bool submitting;
};

static void on_done(struct commit_owner *o, uint32_t token, enum commit_outcome outcome)
{
	struct fixture *f = container_of(o, struct fixture, owner);

	check(!f->submitting);
	f->done[f->done_count].token = token;
	f->done[f->done_count].outcome = outcome;
	f->done[f->done_count++].safe = journal_safe(commit_journal(f->commit));
}

static void on_ready(struct commit_waiter *w)
{
	container_of(w, struct fixture, waiter)->ready++;
}

static void open_commit(struct fixture *f, enum journal_sync sync, const struct journal_system *sys)
{
	f->commit = fixture_open_commit_in(f->dir, 10000, sync, sys);
	f->loop = loop_new();
	f->port = commit_port_new(f->commit, f->loop, 0);
	f->owner.on_done = on_done;
	f->waiter.on_ready = on_ready;
	list_init(&f->waiter.link);
}

static void close_commit(struct fixture *f)
{
	commit_port_free(f->port);
	loop_free(f->loop);
	commit_close(f->commit);
}

static void fixture_init(
	struct fixture *f, enum journal_sync sync, const struct journal_system *sys)
{
	*f = (struct fixture){0};
	fixture_make_dir(f->dir);
	open_commit(f, sync, sys);
}

static void fixture_fini(struct fixture *f)
{
	close_commit(f);
	fixture_remove_dir(f->dir);
}

static struct commit_request request(uint32_t token, uint8_t id, bool claim)
{
	return (struct commit_request){
		.message = {.topic = VIEW(TOPIC),
			.payload = VIEW("payload"),
			.id.b = {id},
			.qos = 1},
		.claim = claim,
		.token = token,
	};
}

static int submit(struct fixture *f, const struct commit_request *requests, uint32_t n)
{
	int err;

	f->submitting = true;
	err = commit_submit(f->port, &f->owner, requests, n);
	f->submitting = false;
	return err;
}

static bool enough_done(void *context)
{
	struct fixture *f = context;

	return f->done_count >= f->want;
}

static void run_until_done(struct fixture *f, int want)
{
	f->want = want;
	drive_until(f->loop, enough_done, f);
	assert_int_equal(f->done_count, want);
}

static void a_repeat_in_the_same_batch_is_found(void **state)
{
	const enum commit_outcome want[] = {
		COMMIT_FIRST, COMMIT_FIRST, COMMIT_REPEAT, COMMIT_FIRST};
	struct commit_request batch[] = {request(7, 1, true), request(8, 2, true),
		request(9, 1, true), request(10, 3, true)};
	struct commit_figures figures;
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, batch, 4), 0);
	run_until_done(&f, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(f.done[i].token, 7 + i);
		assert_int_equal(f.done[i].outcome, want[i]);
	}
	commit_figures(f.commit, &figures);
	assert_int_equal(figures.first, 3);
	assert_int_equal(figures.repeats, 1);
	assert_int_equal(figures.ids, 3);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 3);
	fixture_fini(&f);
}

static void another_message_under_a_known_id_is_a_conflict(void **state)
{
	struct commit_request first = request(0, 1, true);
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, &first, 1), 0);
	for (uint32_t i = 1; i < 5; i++) {
		struct commit_request r = request(i, 1, true);

		if (i == 2)
			r.message.payload = VIEW("another");
		if (i == 3)
			r.message.topic = VIEW(TOPIC "-2");
		if (i == 4) {
			r.message.payload = VIEW("another");
			r.is_changed = true;
		}
		assert_int_equal(submit(&f, &r, 1), 0);
	}
	run_until_done(&f, 5);
	assert_int_equal(f.done[0].outcome, COMMIT_FIRST);
	assert_int_equal(f.done[1].outcome, COMMIT_REPEAT);
	assert_int_equal(f.done[2].outcome, COMMIT_CONFLICT);
	assert_int_equal(f.done[3].outcome, COMMIT_CONFLICT);
	assert_int_equal(f.done[4].outcome, COMMIT_REPEAT);
	assert_int_equal(journal_tail(commit_journal(f.commit)), 1);
	fixture_fini(&f);
}

static void what_is_known_from_before_the_start_is_in_no_conflict(void **state)
{
	struct commit_request first = request(0, 1, true), other = request(1, 1, true);
	struct fixture f;

	(void)state;
	other.message.payload = VIEW("another");
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, &first, 1), 0);
	run_until_done(&f, 1);
	close_commit(&f);
	open_commit(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, &other, 1), 0);
	run_until_done(&f, 2);
	assert_int_equal(f.done[1].outcome, COMMIT_REPEAT);
	fixture_fini(&f);
}

static void without_a_claim_nothing_is_a_repeat(void **state)
{
	struct commit_request batch[] = {request(0, 1, false), request(1, 1, false)};
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, batch, 2), 0);
	run_until_done(&f, 2);
	assert_int_equal(f.done[1].outcome, COMMIT_FIRST);
	fixture_fini(&f);
}

static void what_was_claimed_is_remembered_over_a_restart(void **state)
{
	struct commit_request batch[] = {request(0, 1, true), request(1, 2, false)};
	struct commit_request again[] = {request(2, 1, true), request(3, 2, true)};
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, batch, 2), 0);
	run_until_done(&f, 2);
	close_commit(&f);
	open_commit(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(submit(&f, again, 2), 0);
	run_until_done(&f, 4);
	assert_int_equal(f.done[2].outcome, COMMIT_REPEAT);
	assert_int_equal(f.done[3].outcome, COMMIT_FIRST);
	fixture_fini(&f);
}

static void the_ring_grows_and_keeps_the_order(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	for (uint32_t i = 0; i < 300; i++) { /* moves the ring's start */
		struct commit_request one = request(i, 1, false);

		assert_int_equal(submit(&f, &one, 1), 0);
		if (i == 99)
			run_until_done(&f, 100);
	}
	for (uint32_t i = 300; i < 1500; i++) {
		struct commit_request one = request(i, 1, false);

		assert_int_equal(submit(&f, &one, 1), 0);
	}
	run_until_done(&f, 1500);
	for (uint32_t i = 0; i < 1500; i++)
		assert_int_equal(f.done[i].token, i);
	fixture_fini(&f);
}

static void with_sync_always_a_first_and_its_repeat_wait_for_the_disk(void **state)
{
	struct commit_request first = request(0, 1, true), repeat = request(1, 1, true);
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_ALWAYS, NULL);
	assert_int_equal(submit(&f, &first, 1), 0);
	assert_int_equal(submit(&f, &repeat, 1), 0);
	run_until_done(&f, 2);
	assert_int_equal(f.done[1].outcome, COMMIT_REPEAT);
	assert_true(f.done[0].safe >= 1 && f.done[1].safe >= 1);
	fixture_fini(&f);
}

static void who_went_away_hears_nothing(void **state)
{
	struct commit_request one = request(0, 1, true), two = request(1, 2, true);
	struct commit_owner other = {.on_done = NULL};
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	assert_int_equal(commit_submit(f.port, &other, &one, 1), 0);
	assert_int_equal(submit(&f, &two, 1), 0);
	commit_forget(f.port, &other);
	run_until_done(&f, 1);
	assert_int_equal(f.done[0].token, 1);
	fixture_fini(&f);
}

/* --- a disk that fails ------------------------------------------------- */

static atomic_int writes_fail;
static struct journal_system failing;

static ssize_t fail_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&writes_fail)) {
		errno = ENOSPC;
		return -1;
	}
	return system_real()->pwrite(fd, p, n, at);
}

static bool is_ready(void *context)
{
	return ((struct fixture *)context)->ready > 0;
}

static void what_could_not_be_written_burns_no_id(void **state)
{
	struct commit_request batch[] = {request(0, 1, true), request(1, 2, true)};
	struct commit_figures figures;
	struct fixture f;

	(void)state;
	failing = *system_real();
	failing.pwrite = fail_pwrite;
	fixture_init(&f, JOURNAL_SYNC_NEVER, &failing);
	atomic_store(&writes_fail, 1);
	assert_int_equal(submit(&f, batch, 2), ERR_HELD);
	assert_false(commit_is_ready(f.port));
	commit_figures(f.commit, &figures);
	assert_true(figures.held);
	assert_int_equal(figures.ids, 0);
	commit_wait(f.port, &f.waiter);
	atomic_store(&writes_fail, 0);
	drive_until(f.loop, is_ready, &f);
	assert_int_equal(f.ready, 1);
	assert_int_equal(submit(&f, batch, 2), 0);
	assert_true(commit_is_ready(f.port));
	run_until_done(&f, 2);
	assert_int_equal(f.done[0].outcome, COMMIT_FIRST);
	assert_int_equal(f.done[1].outcome, COMMIT_FIRST);
	fixture_fini(&f);
}

static void who_waits_no_longer_is_not_called(void **state)
{
	struct commit_request one = request(0, 1, true);
	struct commit_waiter gone = {.on_ready = NULL};
	struct fixture f;

	(void)state;
	failing = *system_real();
	failing.pwrite = fail_pwrite;
	fixture_init(&f, JOURNAL_SYNC_NEVER, &failing);
	atomic_store(&writes_fail, 1);
	assert_int_equal(submit(&f, &one, 1), ERR_HELD);
	list_init(&gone.link);
	commit_wait(f.port, &gone);
	commit_wait(f.port, &f.waiter);
	commit_wait_cancel(&gone);
	atomic_store(&writes_fail, 0);
	drive_until(f.loop, is_ready, &f);
	fixture_fini(&f);
}

static void a_batch_over_what_a_segment_takes_is_refused_and_holds_nobody(void **state)
{
	struct commit_request large = request(0, 1, true), small = request(1, 2, true);
	uint64_t most;
	struct fixture f;
	char *payload;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	most = journal_batch_bytes(commit_journal(f.commit));
	payload = mem_new(most);
	large.message.payload = (struct view){payload, most};
	assert_int_equal(submit(&f, &large, 1), ERR_TOO_LARGE);
	assert_true(commit_is_ready(f.port));
	assert_int_equal(submit(&f, &small, 1), 0);
	run_until_done(&f, 1);
	free(payload);
	fixture_fini(&f);
}

/* --- several workers --------------------------------------------------- */

struct reader {
	struct turn_hook hook;
	struct loop *loop;
	struct journal *journal;
};

static bool stop_when_there(struct turn_hook *h)
{
	struct reader *r = container_of(h, struct reader, hook);

	if (journal_tail(r->journal) > 0)
		loop_stop(r->loop);
	return false;
}

static void *run_loop(void *loop)
{
	loop_run(loop);
	return NULL;
}

static void a_submission_wakes_the_other_workers(void **state)
{
	struct commit_request one = request(0, 1, true);
	struct commit_port *second;
	struct reader reader = {0};
	pthread_t thread;
	struct fixture f;

	(void)state;
	fixture_init(&f, JOURNAL_SYNC_NEVER, NULL);
	reader.loop = loop_new();
	reader.journal = commit_journal(f.commit);
	reader.hook.on_turn = stop_when_there;
	second = commit_port_new(f.commit, reader.loop, 1);
	assert_int_equal(commit_port_number(second), 1);
	loop_add_hook(reader.loop, &reader.hook);
	pthread_create(&thread, NULL, run_loop, reader.loop);
	assert_int_equal(submit(&f, &one, 1), 0);
	run_until_done(&f, 1);
	pthread_join(thread, NULL); /* hangs without the wake */
	loop_remove_hook(reader.loop, &reader.hook);
	commit_port_free(second);
	loop_free(reader.loop);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_repeat_in_the_same_batch_is_found),
		cmocka_unit_test(another_message_under_a_known_id_is_a_conflict),
		cmocka_unit_test(what_is_known_from_before_the_start_is_in_no_conflict),
		cmocka_unit_test(without_a_claim_nothing_is_a_repeat),
		cmocka_unit_test(what_was_claimed_is_remembered_over_a_restart),
		cmocka_unit_test(the_ring_grows_and_keeps_the_order),
		cmocka_unit_test(with_sync_always_a_first_and_its_repeat_wait_for_the_disk),
		cmocka_unit_test(who_went_away_hears_nothing),
		cmocka_unit_test(what_could_not_be_written_burns_no_id),
		cmocka_unit_test(who_waits_no_longer_is_not_called),
		cmocka_unit_test(a_batch_over_what_a_segment_takes_is_refused_and_holds_nobody),
		cmocka_unit_test(a_submission_wakes_the_other_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
