/* Where a shard is taken up, by what journal and bookmark have left of it. */
#include "cluster/resume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "commit/fixture.h"
#include "commit/follow.h"

#define SHARDS_HERE 3u
#define MINUTE (60000ull << 24)

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct resume from[SHARDS_MOST];
	struct bookmark m;
	uint32_t ids;
};

static int set_up(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));

	f->commit = fixture_open_commit(f->dir, 1000);
	f->m.count = SHARDS_HERE;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	fixture_close_commit(f->dir, f->commit);
	free(f);
	return 0;
}

/* A record of this shard at this place into the journal. */
static void follow(struct fixture *f, uint8_t shard, uint64_t place)
{
	struct commit_record r = {.message = {.topic = VIEW("t"), .shard = shard, .log_id = place}};
	struct commit_line line = {.records = &r, .n = 1};

	f->ids++;
	memcpy(r.message.id.b, &f->ids, sizeof(f->ids));
	assert_int_equal(commit_follow(f->commit, &line, 1), 0);
}

/* The bookmark says so, of process 'a' + shard. */
static void mark(struct fixture *f, uint32_t shard, uint64_t place, uint64_t ordinal)
{
	f->m.rows[shard] = (struct bookmark_row){place, ordinal, {0}};
	memset(f->m.rows[shard].run_id, (int)('a' + shard), RUN_ID_BYTES);
}

static void expect(struct fixture *f, uint32_t shard, uint64_t place, uint64_t ordinal)
{
	const struct mark *got = &f->from[shard].mark;

	assert_int_equal(got->place, place);
	assert_int_equal(got->is_counted, ordinal != BOOKMARK_UNCOUNTED);
	if (got->is_counted)
		assert_int_equal(got->ordinal, ordinal);
}

static void without_a_bookmark_the_journal_says(void **state)
{
	struct fixture *f = *state;

	follow(f, 1, 50);
	follow(f, 1, 60);
	resume_find(f->commit, NULL, SHARDS_HERE, f->from);
	expect(f, 0, 0, BOOKMARK_UNCOUNTED);
	expect(f, 1, 60, BOOKMARK_UNCOUNTED);
	assert_int_equal(f->from[1].run_id[0], 0);
}

static void what_came_behind_the_bookmark_is_counted_on(void **state)
{
	struct fixture *f = *state;

	follow(f, 1, 50);
	mark(f, 0, 40, 4);
	mark(f, 1, 50, 5);
	mark(f, 2, 70, BOOKMARK_UNCOUNTED);
	f->m.seq = 1;
	follow(f, 1, 60);
	follow(f, 1, 45); /* read again after a change of master */
	follow(f, 1, 61);
	follow(f, 2, 71);
	resume_find(f->commit, &f->m, SHARDS_HERE, f->from);
	expect(f, 0, 40, 4);
	expect(f, 1, 61, 7);
	expect(f, 2, 71, BOOKMARK_UNCOUNTED);
	assert_int_equal(f->from[0].run_id[0], 'a');
}

static void a_journal_that_lost_its_end_is_believed(void **state)
{
	struct fixture *f = *state;

	follow(f, 1, 50 * MINUTE);
	mark(f, 0, 2 * MINUTE, 1);  /* old: nothing of it was lost */
	mark(f, 1, 51 * MINUTE, 5); /* the journal knows better */
	mark(f, 2, 52 * MINUTE, 6); /* young, and not in the journal: it may be lost */
	f->m.seq = 9;
	resume_find(f->commit, &f->m, SHARDS_HERE, f->from);
	expect(f, 0, 2 * MINUTE, BOOKMARK_UNCOUNTED);
	expect(f, 1, 50 * MINUTE, BOOKMARK_UNCOUNTED);
	expect(f, 2, 51 * MINUTE, BOOKMARK_UNCOUNTED);
}

static void a_journal_thrown_away_begins_from_the_beginning(void **state)
{
	struct fixture *f = *state;

	mark(f, 0, 40, 4);
	f->m.seq = 9;
	resume_find(f->commit, &f->m, SHARDS_HERE, f->from);
	expect(f, 0, 0, BOOKMARK_UNCOUNTED);
	assert_int_equal(f->from[0].run_id[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			without_a_bookmark_the_journal_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_came_behind_the_bookmark_is_counted_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_journal_that_lost_its_end_is_believed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_journal_thrown_away_begins_from_the_beginning, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
