/* Lines of a shared log, merged: what is written, what waits, what a vector says afterwards. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "commit/fixture.h"
#include "commit/follow.h"
#include "journal/system.h"

#define SHARDS 3u
#define MOST 64u

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct journal_reader reader;
	struct commit_record records[SHARDS][MOST];
	struct commit_line lines[SHARDS];
	uint32_t retained;
};

static void on_retain(void *context, const struct journal_message *m, uint64_t seq)
{
	(void)m;
	(void)seq;
	((struct fixture *)context)->retained++;
}

static void open_commit(struct fixture *f, const struct journal_system *sys)
{
	f->commit = fixture_open_commit_in(f->dir, 200000, JOURNAL_SYNC_NEVER, sys);
	commit_on_retain(f->commit, on_retain, f);
	journal_reader_open(commit_journal(f->commit), &f->reader);
}

static void close_commit(struct fixture *f)
{
	journal_reader_close(&f->reader);
	commit_close(f->commit);
}

static struct fixture *fixture_new(const struct journal_system *sys)
{
	struct fixture *f = mem_new(sizeof(*f));

	fixture_make_dir(f->dir);
	open_commit(f, sys);
	return f;
}

static void fixture_free(struct fixture *f)
{
	close_commit(f);
	fixture_remove_dir(f->dir);
	free(f);
}

static struct uuid id_of(uint32_t n)
{
	struct uuid id = {{0}};

	memcpy(id.b, &n, sizeof(n));
	return id;
}

/* The next record of a line; previous 0: none. */
static struct commit_record *add(struct fixture *f, uint32_t shard, uint32_t id, uint32_t previous)
{
	struct commit_line *line = &f->lines[shard];
	struct commit_record *r = &f->records[shard][line->n++];

	*r = (struct commit_record){
		.message = {.topic = VIEW("origin/a/wis2/de-dwd/data"),
			.payload = VIEW("payload"),
			.id = id_of(id),
			.log_id = id,
			.shard = (uint8_t)shard,
			.qos = 1},
		.previous = id_of(previous),
		.has_previous = previous != 0,
	};
	line->records = f->records[shard];
	return r;
}

/* Follows what the lines have and takes away what was taken. */
static int follow(struct fixture *f)
{
	int err = commit_follow(f->commit, f->lines, SHARDS);

	for (uint32_t i = 0; i < SHARDS; i++) {
		struct commit_line *line = &f->lines[i];

		line->n -= line->taken;
		line->overdue = 0;
		memmove(f->records[i], f->records[i] + line->taken,
			line->n * sizeof(f->records[i][0]));
	}
	return err;
}

/* The ids in the journal are these, in this order. */
static void expect_journal(struct fixture *f, const uint32_t *want, uint32_t n)
{
	struct journal *j = commit_journal(f->commit);

	assert_int_equal(journal_tail(j), n);
	journal_reader_enter(&f->reader);
	for (uint32_t i = 0; i < n; i++) {
		const struct journal_segment *s = journal_find(j, i);
		const struct journal_entry *e = &s->entries[i - s->base];

		assert_int_equal(e->log_id, want[i]);
		struct uuid id = id_of(want[i]);

		assert_memory_equal(&e->id, &id, sizeof(id));
	}
	journal_reader_leave(&f->reader);
}

#define EXPECT_JOURNAL(f, ...)                             \
	expect_journal(f, (const uint32_t[]){__VA_ARGS__}, \
		sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* --- merging ------------------------------------------------------------ */

static void what_is_read_twice_is_written_once_also_after_a_restart(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 1, 0);
	add(f, 0, 2, 0);
	add(f, 1, 3, 0);
	assert_int_equal(follow(f), 0);
	assert_int_equal(f->lines[0].taken + f->lines[1].taken, 3);
	add(f, 0, 2, 0);
	add(f, 0, 4, 0);
	assert_int_equal(follow(f), 0);
	assert_int_equal(f->lines[0].taken, 2);
	assert_int_equal(f->lines[0].known, 1);
	close_commit(f);
	open_commit(f, NULL);
	add(f, 1, 3, 0); /* the claim flag is not what it is remembered by */
	add(f, 1, 5, 0);
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 1, 2, 3, 4, 5);
	fixture_free(f);
}

static void a_record_waits_for_the_one_before_it_and_its_line_with_it(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 2, 1);
	add(f, 0, 3, 0);
	add(f, 2, 4, 0);
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 4);
	add(f, 1, 1, 0);
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 4, 1, 2, 3);
	fixture_free(f);
}

static void records_of_one_batch_let_each_other_pass(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 4, 3);
	add(f, 1, 3, 2);
	add(f, 2, 2, 1);
	add(f, 2, 5, 4);
	add(f, 1, 6, 5);
	f->lines[2].overdue = 1;
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 2, 3, 4, 5, 6);
	fixture_free(f);
}

static void what_is_overdue_waits_no_longer(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 2, 1);
	add(f, 0, 4, 3);
	f->lines[0].overdue = 1;
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 2);
	assert_int_equal(f->lines[0].n, 1);
	assert_int_equal(f->lines[0].forced, 1);
	fixture_free(f);
}

static void what_is_overdue_still_waits_for_what_stands_in_the_same_batch(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 13, 12);
	add(f, 1, 12, 11);
	add(f, 2, 14, 13);
	for (uint32_t i = 0; i < SHARDS; i++)
		f->lines[i].overdue = 1;
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 12, 13, 14);
	assert_int_equal(f->lines[0].forced + f->lines[2].forced, 0);
	assert_int_equal(f->lines[1].forced, 1);
	fixture_free(f);
}

static void what_is_known_waits_for_nothing(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 2, 0);
	assert_int_equal(follow(f), 0);
	add(f, 0, 2, 1);
	add(f, 0, 3, 0);
	assert_int_equal(follow(f), 0);
	EXPECT_JOURNAL(f, 2, 3);
	fixture_free(f);
}

static void retained_messages_are_told(void **state)
{
	struct fixture *f = fixture_new(NULL);

	(void)state;
	add(f, 0, 1, 0)->message.flags = JOURNAL_RETAIN;
	add(f, 0, 2, 0);
	assert_int_equal(follow(f), 0);
	assert_int_equal(f->retained, 1);
	add(f, 0, 1, 0)->message.flags = JOURNAL_RETAIN;
	assert_int_equal(follow(f), 0);
	assert_int_equal(f->retained, 1);
	fixture_free(f);
}

static atomic_int writes_fail;

static ssize_t fail_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&writes_fail)) {
		errno = ENOSPC;
		return -1;
	}
	return system_real()->pwrite(fd, p, n, at);
}

static void a_journal_that_is_held_takes_nothing_and_burns_no_id(void **state)
{
	struct journal_system failing = *system_real();
	struct fixture *f;
	struct vector v;
	int err;

	(void)state;
	failing.pwrite = fail_pwrite;
	f = fixture_new(&failing);
	add(f, 0, 1, 0);
	atomic_store(&writes_fail, 1);
	assert_int_equal(follow(f), ERR_HELD);
	assert_int_equal(f->lines[0].n, 1);
	commit_position(f->commit, &v);
	assert_int_equal(v.place[0], 0);
	atomic_store(&writes_fail, 0);
	while ((err = follow(f)) == ERR_HELD) /* until its pause is over */
		usleep(1000);
	assert_int_equal(err, 0);
	EXPECT_JOURNAL(f, 1);
	fixture_free(f);
}

static void more_than_a_segment_takes_is_said_so(void **state)
{
	struct fixture *f = fixture_new(NULL);
	uint64_t most = journal_batch_bytes(commit_journal(f->commit));
	char *payload = mem_new(most);

	(void)state;
	add(f, 0, 1, 0)->message.payload = (struct view){payload, most};
	assert_int_equal(follow(f), ERR_TOO_LARGE);
	assert_int_equal(journal_tail(commit_journal(f->commit)), 0);
	free(payload);
	fixture_free(f);
}

/* --- vectors -------------------------------------------------------------- */

/* So many records, over the shards by chance; a local record now and then. */
static void fill(struct fixture *f, uint32_t from, uint32_t n)
{
	uint64_t seq;

	for (uint32_t id = from; id < from + n;) {
		struct journal_message local = {
			.topic = VIEW("x"), .flags = JOURNAL_HIDDEN, .id = id_of(UINT32_MAX - id)};

		for (uint32_t k = 0; k < 48 && id < from + n; k++, id++)
			add(f, (uint32_t)rand() % SHARDS, id, 0);
		assert_int_equal(follow(f), 0);
		if (rand() % 4 == 0)
			assert_int_equal(commit_append(f->commit, &local, &seq), 0);
	}
}

static const struct journal_entry *entry_at(struct fixture *f, uint64_t seq)
{
	const struct journal_segment *s = journal_find(commit_journal(f->commit), seq);

	return &s->entries[seq - s->base];
}

/* Against reading the whole journal: at every 97th record, and whether the vector leads back. */
static void check_vectors(struct fixture *f)
{
	uint64_t tail = journal_tail(commit_journal(f->commit));
	struct vector want = {{0}}, got;

	journal_reader_enter(&f->reader);
	for (uint64_t seq = 0; seq <= tail; seq++) {
		const struct journal_entry *e = seq < tail ? entry_at(f, seq) : NULL;
		uint64_t beyond = seq;

		if (seq % 97 == 0 || seq == tail) {
			commit_vector_at(f->commit, &f->reader, seq, &got);
			assert_memory_equal(&got, &want, sizeof(want));
			while (beyond < tail && entry_at(f, beyond)->log_id == 0)
				beyond++;
			assert_int_equal(commit_first_beyond(f->commit, &f->reader, &want), beyond);
		}
		if (e && e->log_id > want.place[e->shard])
			want.place[e->shard] = e->log_id;
	}
	journal_reader_leave(&f->reader);
	commit_position(f->commit, &got);
	assert_memory_equal(&got, &want, sizeof(want));
}

static void a_vector_says_what_stands_before_a_record_and_leads_back_to_it(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct vector none = {{0}};

	(void)state;
	journal_reader_enter(&f->reader);
	assert_int_equal(commit_first_beyond(f->commit, &f->reader, &none), 0);
	journal_reader_leave(&f->reader);
	srand(1);
	fill(f, 1, 5000);
	check_vectors(f);
	close_commit(f);
	open_commit(f, NULL);
	check_vectors(f);
	fill(f, 5001, 3000);
	check_vectors(f);
	fixture_free(f);
}

static void a_vector_of_another_machine_is_found_where_one_shard_goes_beyond(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct vector v = {{0}};

	(void)state;
	add(f, 0, 10, 0);
	add(f, 0, 20, 0);
	add(f, 1, 11, 0);
	add(f, 2, 12, 0);
	assert_int_equal(follow(f), 0);
	journal_reader_enter(&f->reader);
	v = (struct vector){{20, 11, 12}};
	assert_int_equal(commit_first_beyond(f->commit, &f->reader, &v), 4);
	v = (struct vector){{10, 11, 12}};
	assert_int_equal(commit_first_beyond(f->commit, &f->reader, &v), 1);
	v = (struct vector){{20, 11, 0}};
	assert_int_equal(commit_first_beyond(f->commit, &f->reader, &v), 3);
	journal_reader_leave(&f->reader);
	fixture_free(f);
}

static bool reaches(struct fixture *f, uint32_t shard, uint64_t place, uint64_t want_first)
{
	uint64_t first;
	bool answer;

	journal_reader_enter(&f->reader);
	answer = commit_reaches(f->commit, &f->reader, shard, place, &first);
	journal_reader_leave(&f->reader);
	assert_int_equal(first, want_first);
	return answer;
}

static void a_journal_reaches_back_as_far_as_it_knows_a_shard(void **state)
{
	struct fixture *f = fixture_new(NULL);
	struct vector now;
	struct journal *j;

	(void)state;
	assert_true(reaches(f, 0, 0, 0));
	assert_false(reaches(f, 0, 7, 0));
	add(f, 0, 10, 0);
	add(f, 0, 20, 0);
	add(f, 1, 11, 0);
	assert_int_equal(follow(f), 0);
	assert_true(reaches(f, 0, 0, 10));
	assert_false(reaches(f, 0, 9, 10));
	assert_true(reaches(f, 0, 10, 20));
	assert_true(reaches(f, 0, 20, 0));
	assert_true(reaches(f, 0, 21, 0));
	assert_false(reaches(f, 2, 9, 0));
	close_commit(f);
	open_commit(f, NULL);
	j = commit_journal(f->commit);
	journal_release(j, journal_tail(j));
	while (journal_head(j) < journal_tail(j))
		usleep(1000);
	add(f, 0, 30, 0);
	assert_int_equal(follow(f), 0);
	assert_false(reaches(f, 0, 0, 30));
	assert_false(reaches(f, 0, 10, 30));
	assert_false(reaches(f, 0, 20, 30)); /* nothing is missing, but who knows that now? */
	assert_true(reaches(f, 1, 11, 0));
	fill(f, 31, VECTOR_STRIDE_FIRST + 10);
	commit_position(f->commit, &now);
	journal_reader_enter(&f->reader);
	assert_true(commit_reaches(f->commit, &f->reader, 0, now.place[0] - 1, &(uint64_t){0}));
	journal_reader_leave(&f->reader);
	assert_false(reaches(f, 0, 10, 30));
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_twice_is_written_once_also_after_a_restart),
		cmocka_unit_test(a_record_waits_for_the_one_before_it_and_its_line_with_it),
		cmocka_unit_test(records_of_one_batch_let_each_other_pass),
		cmocka_unit_test(what_is_overdue_waits_no_longer),
		cmocka_unit_test(what_is_overdue_still_waits_for_what_stands_in_the_same_batch),
		cmocka_unit_test(what_is_known_waits_for_nothing),
		cmocka_unit_test(retained_messages_are_told),
		cmocka_unit_test(a_journal_that_is_held_takes_nothing_and_burns_no_id),
		cmocka_unit_test(more_than_a_segment_takes_is_said_so),
		cmocka_unit_test(a_vector_says_what_stands_before_a_record_and_leads_back_to_it),
		cmocka_unit_test(a_vector_of_another_machine_is_found_where_one_shard_goes_beyond),
		cmocka_unit_test(a_journal_reaches_back_as_far_as_it_knows_a_shard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
