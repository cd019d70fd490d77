/* The file that says how far a node has followed: written in turn, torn, of another kind. */
#include "cluster/bookmark.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

struct fixture {
	char dir[64];
	int fd;
	struct bookmark m;
	struct bookmark got;
};

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.fd = -1, .m = {.seq = 77, .count = 2}};
	snprintf(f.dir, sizeof(f.dir),
		"/tmp/isobar-bookmark-"
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(f.dir));
	f.m.rows[0] = (struct bookmark_row){.place = 5, .ordinal = 3};
	f.m.rows[1] = (struct bookmark_row){.place = 9, .ordinal = BOOKMARK_UNCOUNTED};
	memset(f.m.rows[1].run_id, 'r', RUN_ID_BYTES);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->fd >= 0)
		close(f->fd);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	return system(command);
}

static bool reopen(struct fixture *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->got = (struct bookmark){0};
	return bookmark_open(f->dir, &f->fd, &f->got);
}

static void what_was_written_last_is_found(void **state)
{
	struct fixture *f = *state;

	assert_false(reopen(f));
	assert_true(f->fd >= 0);
	for (uint64_t seq = 1; seq <= 5; seq++) {
		f->m.seq = seq;
		assert_int_equal(bookmark_write(f->fd, &f->m), 0);
		assert_true(reopen(f));
		assert_int_equal(f->got.seq, seq);
		assert_memory_equal(&f->got, &f->m, sizeof(f->m));
	}
}

static void one_that_was_not_written_whole_leaves_the_one_before(void **state)
{
	struct fixture *f = *state;

	assert_false(reopen(f));
	assert_int_equal(bookmark_write(f->fd, &f->m), 0);
	f->m.seq = 78;
	assert_int_equal(bookmark_write(f->fd, &f->m), 0);
	assert_int_equal(
		pwrite(f->fd, "x", 1, (off_t)(f->m.generation % 2 * BOOKMARK_SLOT) + 90), 1);
	assert_true(reopen(f));
	assert_int_equal(f->got.seq, 77);
}

static void what_does_not_hold_is_none(void **state)
{
	struct fixture *f = *state;
	struct buf b = {0};

	bookmark_encode(&b, &f->m);
	for (size_t n = 0; n < buf_length(&b); n++) {
		struct view cut = {(const char *)buf_bytes(&b), n};

		assert_int_equal(bookmark_decode(cut, &f->got), ERR_MALFORMED);
	}
	for (size_t i = 0; i < buf_length(&b); i++) {
		b.data[i] ^= 1;
		assert_int_equal(bookmark_decode(buf_view(&b), &f->got), ERR_MALFORMED);
		b.data[i] ^= 1;
	}
	assert_int_equal(bookmark_decode(buf_view(&b), &f->got), 0);
	buf_fini(&b);
}

static void a_folder_that_cannot_be_made_gives_no_descriptor(void **state)
{
	struct fixture *f = *state;

	assert_false(bookmark_open("/proc/no/such", &f->fd, &f->got));
	assert_int_equal(f->fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_written_last_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			one_that_was_not_written_whole_leaves_the_one_before, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_hold_is_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_folder_that_cannot_be_made_gives_no_descriptor, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
