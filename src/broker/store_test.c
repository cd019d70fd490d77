#include "broker/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/mem.h"
#include "broker/row.h"
#include "broker/store_recent.h"

/* --- a folder, and rows in it ------------------------------------------ */

static int make_dir(void **state)
{
	char *dir = mem_text("/tmp/isobar-store-XXXXXX");

	*state = mkdtemp(dir);
	return *state ? 0 : -1;
}

static char *in(const char *dir, const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

static int drop_dir(void **state)
{
	char *dir = *state;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		char *path = in(dir, e->d_name);

		unlink(path);
		free(path);
	}
	closedir(d);
	rmdir(dir);
	free(dir);
	return 0;
}

static int check_row(struct view bytes)
{
	struct row r;

	return row_decode(bytes, &r);
}

static const struct store_kind kind = {"test", ROW_VERSION, check_row};

static struct store *open_store(const char *dir, uint64_t size)
{
	struct store_config config = {.kind = &kind, .dir = dir, .size_bytes = size};
	struct store *s = NULL;
	char *why = NULL;
	int err = store_open(&s, &config, &why);

	if (err < 0)
		print_error("store_open: %s\n", why);
	free(why);
	assert_int_equal(err, 0);
	return s;
}

static struct store *begin(const char *dir)
{
	struct store *s = open_store(dir, 0);

	store_begin(s, 1, store_past(s)->live);
	return s;
}

static void put(struct store *s, const char *key, uint64_t position, size_t filler, bool is_urgent)
{
	struct buf bytes = {0};
	char *subscriptions = mem_new(filler + 1);

	row_encode(&(struct row){.key = view_of(key),
			   .position = position,
			   .expiry_ms = 1,
			   .subscriptions = {subscriptions, filler}},
		&bytes);
	store_put(s, view_of(key), buf_view(&bytes), is_urgent);
	buf_fini(&bytes);
	free(subscriptions);
}

struct found {
	unsigned count;
	uint64_t sum; /* of positions */
};

static bool on_row(void *context, struct view bytes)
{
	struct found *f = context;
	struct row r;

	assert_int_equal(row_decode(bytes, &r), 0);
	f->count++;
	f->sum += r.position;
	return true;
}

static struct found rows_of(struct store *s)
{
	struct found f = {0};

	store_walk(s, on_row, &f);
	return f;
}

static void assert_rows(const char *dir, unsigned count, uint64_t sum)
{
	struct store *s = open_store(dir, 0);
	struct found f = rows_of(s);

	store_close(s);
	assert_int_equal(f.count, count);
	assert_int_equal(f.sum, sum);
}

/* The process ends without a word: in a child, at a point of its choice. */
static void in_a_child_that_dies(void (*call)(const char *dir), const char *dir)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		call(dir);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- what is kept ------------------------------------------------------ */

static void rows_and_past_come_back_after_a_stop(void **state)
{
	struct store *s = begin(*state);

	put(s, "a", 10, 0, false);
	put(s, "b", 1, 0, true);
	put(s, "b", 5, 0, false); /* replaces */
	put(s, "c", 100, 0, true);
	store_remove(s, VIEW("c"));
	store_mark(s, 0, 77);
	store_stop(s, true);
	store_close(s);
	s = open_store(*state, 0);
	assert_true(store_past(s)->is_clean);
	assert_int_equal(store_past(s)->live, 77);
	store_close(s);
	assert_rows(*state, 2, 15);
}

static void a_process_that_runs_is_not_clean_until_it_stops(void **state)
{
	struct store *s = begin(*state);

	put(s, "a", 1, 0, false);
	store_stop(s, true);
	store_close(s);
	s = begin(*state);
	store_close(s);
	s = open_store(*state, 0);
	assert_false(store_past(s)->is_clean);
	store_close(s);
}

static void nothing_is_taken_after_the_stop(void **state)
{
	struct store *s = begin(*state);

	store_stop(s, true);
	put(s, "late", 1, 0, true);
	store_close(s);
	assert_rows(*state, 0, 0);
}

static void the_position_is_the_least_of_all_workers(void **state)
{
	struct store *s = open_store(*state, 0);

	store_begin(s, 3, 5);
	put(s, "a", ROW_LIVE, 0, false);
	store_mark(s, 0, 30);
	store_mark(s, 2, 20);
	store_flush(s);
	store_close(s);
	s = open_store(*state, 0);
	assert_int_equal(store_past(s)->live, 5);
	store_begin(s, 2, 5);
	store_mark(s, 0, 30);
	store_mark(s, 1, 20);
	store_flush(s);
	store_close(s);
	s = open_store(*state, 0);
	assert_int_equal(store_past(s)->live, 20);
	store_close(s);
}

static void long_keys_are_kept_apart(void **state)
{
	struct store *s = begin(*state);
	char a[2000];
	char b[2000];

	memset(a, 'x', sizeof(a));
	memset(b, 'x', sizeof(b));
	a[1998] = 'a';
	a[1999] = b[1999] = '\0';
	put(s, a, 1, 0, true);
	put(s, b, 2, 0, true);
	store_stop(s, true);
	store_close(s);
	assert_rows(*state, 2, 3);
}

/* --- a kill ------------------------------------------------------------- */

/* Not begun: the thread that commits does not run, so only the recent files can have it. */
static void put_without_commit(const char *dir)
{
	struct store *s = open_store(dir, 0);

	put(s, "old", 1, 0, true);
	put(s, "old", 2, 0, true);
	put(s, "urgent", 10, 0, true);
	put(s, "removed", 100, 0, true);
	put(s, "lazy", 1000, 0, false);
	store_remove(s, VIEW("removed"));
}

static void what_is_urgent_survives_a_kill_before_the_commit(void **state)
{
	in_a_child_that_dies(put_without_commit, *state);
	assert_rows(*state, 2, 12);
	assert_rows(*state, 2, 12); /* and is committed now */
}

static void what_is_committed_is_not_put_back_by_an_older_entry(void **state)
{
	struct store *s = begin(*state);
	struct store_recent r;
	struct buf row = {0};

	put(s, "a", 1, 0, true);
	store_flush(s);
	put(s, "a", 7, 0, false);
	store_stop(s, true);
	store_close(s);
	/* An entry that the commit covers and that could not be cut off any more. */
	row_encode(&(struct row){.key = VIEW("a"), .position = 1}, &row);
	assert_int_equal(recent_open(&r, *state), 0);
	recent_add(&r, 1, VIEW("a"), buf_view(&row));
	recent_close(&r);
	buf_fini(&row);
	assert_rows(*state, 1, 7);
}

static void an_entry_cut_short_ends_the_reading(void **state)
{
	struct buf row = {0};
	struct buf files[2] = {{0}, {0}};
	struct view rest[2];
	struct store_recent r;
	struct recent_entry e;

	row_encode(&(struct row){.key = VIEW("a"), .position = 1}, &row);
	assert_int_equal(recent_open(&r, *state), 0);
	recent_add(&r, 2, VIEW("a"), buf_view(&row));
	recent_turn(&r);
	recent_add(&r, 1, VIEW("b"), (struct view){NULL, 0});
	recent_add(&r, 3, VIEW("c"), buf_view(&row));
	assert_int_equal(ftruncate(r.fds[1], (off_t)r.bytes[1] - 1), 0);
	recent_read(&r, files);
	rest[0] = buf_view(&files[0]);
	rest[1] = buf_view(&files[1]);
	assert_true(recent_next(rest, &e));
	assert_int_equal(e.number, 1);
	assert_null(e.row.p);
	assert_true(recent_next(rest, &e));
	assert_int_equal(e.number, 2);
	assert_true(view_equal(e.key, VIEW("a")) && view_equal(e.row, buf_view(&row)));
	assert_false(recent_next(rest, &e));
	recent_close(&r);
	buf_fini(&files[0]);
	buf_fini(&files[1]);
	buf_fini(&row);
}

static void a_turn_keeps_what_came_meanwhile(void **state)
{
	struct store_recent r;
	struct buf files[2] = {{0}, {0}};
	struct view rest[2];
	struct recent_entry e;

	assert_int_equal(recent_open(&r, *state), 0);
	recent_add(&r, 1, VIEW("committed"), (struct view){NULL, 0});
	recent_turn(&r);
	recent_add(&r, 2, VIEW("meanwhile"), (struct view){NULL, 0});
	recent_done(&r);
	recent_read(&r, files);
	rest[0] = buf_view(&files[0]);
	rest[1] = buf_view(&files[1]);
	assert_true(recent_next(rest, &e));
	assert_int_equal(e.number, 2);
	assert_false(recent_next(rest, &e));
	recent_close(&r);
	buf_fini(&files[0]);
	buf_fini(&files[1]);
}

/* --- versions and damage ------------------------------------------------ */

static void fill(const char *dir, unsigned rows)
{
	struct store *s = begin(dir);
	char key[16];

	for (unsigned i = 0; i < rows; i++) {
		snprintf(key, sizeof(key), "row-%u", i);
		put(s, key, 1, 100, false);
	}
	store_stop(s, true);
	store_close(s);
}

/* A row of version `version`, otherwise whole. */
static struct view of_version(struct buf *b, uint32_t version)
{
	uint64_t checksum;

	row_encode(&(struct row){.key = VIEW("newer"), .position = 1}, b);
	memcpy(b->data + 8, &version, sizeof(version));
	checksum = XXH3_64bits(b->data + 8, buf_length(b) - 8);
	memcpy(b->data, &checksum, sizeof(checksum));
	return buf_view(b);
}

static void a_store_of_a_newer_version_is_refused_and_left_alone(void **state)
{
	struct store_config config = {.kind = &kind, .dir = *state};
	struct store *s = begin(*state);
	struct buf b = {0};
	char *why = NULL;

	put(s, "a", 1, 0, false);
	store_put(s, VIEW("newer"), of_version(&b, ROW_VERSION + 1), false);
	buf_fini(&b);
	store_stop(s, true);
	store_close(s);
	for (int i = 0; i < 4; i++) { /* refusing is not dying */
		assert_int_equal(store_open(&s, &config, &why), ERR_VERSION);
		assert_non_null(strstr(why, "newer version"));
		free(why);
	}
}

static void a_damaged_row_is_dropped_and_the_others_stay(void **state)
{
	struct store *s = begin(*state);
	struct buf b = {0};

	put(s, "a", 1, 0, false);
	row_encode(&(struct row){.key = VIEW("bad"), .position = 50}, &b);
	b.data[20] ^= 1;
	store_put(s, VIEW("bad"), buf_view(&b), false);
	buf_fini(&b);
	store_stop(s, true);
	store_close(s);
	assert_rows(*state, 1, 1);
}

static void overwrite(const char *dir, off_t from, off_t to, char byte)
{
	char *path = in(dir, "data.mdb");
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	for (; from < to; from++)
		assert_int_equal(pwrite(fd, &byte, 1, from), 1);
	close(fd);
	free(path);
}

static bool is_set_aside(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool found = false;

	while ((e = readdir(d)) != NULL)
		found = found || strncmp(e->d_name, "data.mdb.damaged-", 17) == 0;
	closedir(d);
	return found;
}

static void a_file_that_is_no_store_is_set_aside(void **state)
{
	fill(*state, 10);
	overwrite(*state, 0, 8192, 'x');
	assert_rows(*state, 0, 0);
	assert_true(is_set_aside(*state));
	fill(*state, 3);
	assert_rows(*state, 3, 3);
}

static void a_file_cut_short_is_set_aside(void **state)
{
	char *path = in(*state, "data.mdb");

	fill(*state, 2000);
	assert_int_equal(truncate(path, 3 * 4096), 0);
	free(path);
	assert_rows(*state, 0, 0);
	assert_true(is_set_aside(*state));
}

static void open_and_die(const char *dir)
{
	open_store(dir, 0);
}

static void a_file_at_which_two_starts_died_is_set_aside(void **state)
{
	fill(*state, 10);
	in_a_child_that_dies(open_and_die, *state);
	assert_rows(*state, 10, 10); /* one may have been killed */
	in_a_child_that_dies(open_and_die, *state);
	in_a_child_that_dies(open_and_die, *state);
	assert_rows(*state, 0, 0);
	assert_true(is_set_aside(*state));
}

static void a_start_that_goes_well_is_not_held_against_it(void **state)
{
	for (int i = 0; i < 5; i++)
		fill(*state, 1);
	assert_false(is_set_aside(*state));
}

/* --- full --------------------------------------------------------------- */

static void a_store_that_is_full_keeps_what_it_had_and_tries_again(void **state)
{
	struct store *s = open_store(*state, 256 << 10);
	struct store_figures f;

	store_begin(s, 1, 0);
	put(s, "a", 1, 0, false);
	store_flush(s);
	put(s, "large", 10, 1 << 20, false);
	store_flush(s);
	store_figures(s, &f);
	assert_true(f.failed >= 1);
	put(s, "large", 20, 0, false); /* the newer one fits */
	store_stop(s, true);
	store_close(s);
	assert_rows(*state, 2, 21);
}

static void a_store_grows(void **state)
{
	struct store *s = begin(*state);
	struct store_figures f;

	for (int i = 0; i < 5; i++) {
		char key[2] = {(char)('a' + i), '\0'};

		put(s, key, 1, 30u << 20, false);
		store_flush(s);
	}
	store_figures(s, &f);
	assert_int_equal(f.failed, 0);
	assert_int_equal(f.rows, 5);
	store_close(s);
	assert_rows(*state, 5, 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_and_past_come_back_after_a_stop),
		TEST(a_process_that_runs_is_not_clean_until_it_stops),
		TEST(nothing_is_taken_after_the_stop),
		TEST(the_position_is_the_least_of_all_workers),
		TEST(long_keys_are_kept_apart),
		TEST(what_is_urgent_survives_a_kill_before_the_commit),
		TEST(what_is_committed_is_not_put_back_by_an_older_entry),
		TEST(an_entry_cut_short_ends_the_reading),
		TEST(a_turn_keeps_what_came_meanwhile),
		TEST(a_store_of_a_newer_version_is_refused_and_left_alone),
		TEST(a_damaged_row_is_dropped_and_the_others_stay),
		TEST(a_file_that_is_no_store_is_set_aside),
		TEST(a_file_cut_short_is_set_aside),
		TEST(a_file_at_which_two_starts_died_is_set_aside),
		TEST(a_start_that_goes_well_is_not_held_against_it),
		TEST(a_store_that_is_full_keeps_what_it_had_and_tries_again),
		TEST(a_store_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
