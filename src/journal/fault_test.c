/* When the disk says no: the n-th write, sync or reservation fails, for every n; the disk is full.
 * */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>

#include <cmocka.h>

#include "journal/fixture.h"

#define PAYLOAD 900

/* The faulty machine. The table's functions have no context, so this is static. */
static struct {
	_Atomic int writes, syncs, reserves, truncates; /* calls left until one fails; < 0: never */
	_Atomic int error;
	_Atomic bool stay; /* and all after it */
	_Atomic bool half; /* a failing write first writes half */
	_Atomic uint64_t mono;
	_Atomic int synced;   /* calls made */
	_Atomic int block_in; /* syncs until one waits; < 0: never */
	_Atomic bool blocked; /* it waits */
} faulty;

static bool fails(_Atomic int *left)
{
	int n = atomic_load(left);

	if (n < 0)
		return false;
	if (n > 0) {
		atomic_fetch_sub(left, 1);
		return false;
	}
	if (!faulty.stay)
		atomic_store(left, -1);
	errno = faulty.error;
	return true;
}

static ssize_t faulty_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (!fails(&faulty.writes))
		return pwrite(fd, p, n > 1000 ? n - 1 : n, at); /* short writes all the time */
	if (faulty.half && pwrite(fd, p, n / 2, at) < 0)
		return -1;
	errno = faulty.error;
	return -1;
}

static void wait_if_told(void)
{
	if (faulty.block_in < 0 || atomic_fetch_sub(&faulty.block_in, 1) > 0)
		return;
	faulty.blocked = true;
	while (faulty.blocked)
		usleep(100);
}

static int faulty_sync(int fd)
{
	wait_if_told();
	atomic_fetch_add(&faulty.synced, 1);
	return fails(&faulty.syncs) ? -1 : fdatasync(fd);
}

static int faulty_reserve(int fd, off_t bytes)
{
	return fails(&faulty.reserves) ? -1 : system_real()->reserve(fd, bytes);
}

static int faulty_truncate(int fd, off_t bytes)
{
	return fails(&faulty.truncates) ? -1 : ftruncate(fd, bytes);
}

static uint64_t faulty_mono(void)
{
	return faulty.mono;
}

static const struct journal_system faulty_system = {
	.pwrite = faulty_pwrite,
	.fdatasync = faulty_sync,
	.reserve = faulty_reserve,
	.truncate = faulty_truncate,
	.mono_ms = faulty_mono,
	.wall_ms = faulty_mono,
};

static void make_sound(void)
{
	faulty.writes = faulty.syncs = faulty.reserves = faulty.truncates = -1;
	faulty.stay = faulty.half = false;
	faulty.block_in = -1;
}

struct place {
	char *dir;
	struct journal_config config;
	struct journal *j;
	_Atomic int progress;
};

static void on_progress(void *context)
{
	struct place *p = context;

	atomic_fetch_add(&p->progress, 1);
}

static void open_place(struct place *p)
{
	char *why = NULL;

	if (journal_open(&p->j, &p->config, &why) != 0)
		fail_msg("open: %s", why);
	journal_on_progress(p->j, on_progress, p);
}

static int setup(void **state)
{
	struct place *p = mem_new(sizeof(*p));

	log_configure(LOG_ERROR + 1, false);
	make_sound();
	faulty.mono = 10 * FIXTURE_HOUR;
	p->dir = fixture_folder();
	p->config = fixture_config(p->dir);
	p->config.system = &faulty_system;
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	make_sound();
	journal_close(p->j);
	fixture_remove(p->dir);
	free(p);
	return 0;
}

/* Appends until n are there, turning the clock when held, through at most one fault; what failed
 * is tried again. False: it did not get there. */
static bool append_through_faults(struct place *p, uint64_t n)
{
	for (int tries = 0; journal_tail(p->j) < n && tries < 1000; tries++) {
		uint64_t tail = journal_tail(p->j);
		uint32_t batch = n - tail < 6 ? (uint32_t)(n - tail) : 6;
		int err = fixture_append(p->j, tail, batch, PAYLOAD);

		if (err && journal_tail(p->j) != tail)
			return false; /* failed and appended all the same */
		if (err)
			faulty.mono += 1001;
		keeper_pass(p->j);
	}
	return journal_tail(p->j) == n;
}

struct fault_row {
	const char *name;
	_Atomic int *call;
	int error;
	bool half;
};

static void sweep(struct place *p, const struct fault_row *row)
{
	int n;

	for (n = 0; n < 400; n++) {
		make_sound();
		faulty.error = row->error;
		faulty.half = row->half;
		fixture_clear(p->dir);
		atomic_store(row->call, n);
		open_place(p);
		if (!append_through_faults(p, 250))
			fail_msg("%s %d: not all appended", row->name, n);
		if (fixture_check(p->j, 0, 250, PAYLOAD) != 250)
			fail_msg("%s %d: wrong record", row->name, n);
		journal_close(p->j);
		p->j = NULL;
		if (atomic_load(row->call) >= 0)
			break; /* the fault was never reached: every call had its turn */
		open_place(p);
		if (journal_tail(p->j) != 250 || fixture_check(p->j, 0, 250, PAYLOAD) != 250)
			fail_msg("%s %d: lost after a restart", row->name, n);
		journal_close(p->j);
		p->j = NULL;
	}
	assert_true(n > 3 && n < 400);
}

static void a_fault_of_any_call_loses_nothing(void **state)
{
	const struct fault_row rows[] = {
		{"write EIO", &faulty.writes, EIO, false},
		{"write ENOSPC, half written", &faulty.writes, ENOSPC, true},
		{"sync EIO", &faulty.syncs, EIO, false},
		{"reserve ENOSPC", &faulty.reserves, ENOSPC, false},
		{"reserve EIO", &faulty.reserves, EIO, false},
		{"truncate EIO", &faulty.truncates, EIO, false},
	};
	struct place *p = *state;

	p->config.sync = JOURNAL_SYNC_INTERVAL;
	p->config.sync_ms = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		sweep(p, &rows[i]);
}

static void a_failed_write_appends_nothing_and_shows(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	open_place(p);
	assert_int_equal(fixture_append(p->j, 0, 3, PAYLOAD), 0);
	faulty.error = EIO;
	faulty.writes = 1; /* packets are written, entries are not */
	assert_int_equal(fixture_append(p->j, 5, 2, 400), ERR_SYSTEM);
	assert_int_equal(journal_tail(p->j), 3);
	journal_figures(p->j, &f);
	assert_true(f.failed);
	assert_int_equal(fixture_append(p->j, 3, 3, PAYLOAD), 0);
	assert_int_equal(fixture_check(p->j, 0, 6, PAYLOAD), 6);
	assert_int_equal(journal_find(p->j, 5)->entries[5].topic, 5);
}

/* The files as they are, opened elsewhere: what a crash now would leave. */
static uint64_t tail_after_a_crash(const struct place *p)
{
	char *copy = fixture_folder();
	struct journal_config config = fixture_config(copy);
	struct journal *j = NULL;
	char *why = NULL;
	uint64_t tail;

	fixture_copy(p->dir, copy);
	if (journal_open(&j, &config, &why) != 0)
		fail_msg("open: %s", why);
	tail = journal_tail(j);
	journal_close(j);
	fixture_remove(copy);
	return tail;
}

static void what_was_refused_does_not_come_back_with_a_crash(void **state)
{
	struct place *p = *state;

	open_place(p);
	assert_int_equal(fixture_append(p->j, 0, 3, 100), 0);
	faulty.error = EIO;
	faulty.half = true;
	faulty.writes = 1; /* packets are written, half of the entries too */
	assert_int_equal(fixture_append(p->j, 3, 6, 50), ERR_SYSTEM);
	assert_int_equal(tail_after_a_crash(p), 3);
}

/* --- sync always ------------------------------------------------------ */

static void safe_moves_only_when_the_disk_has_it(void **state)
{
	struct place *p = *state;
	struct journal_figures f;
	int before;

	p->config.sync = JOURNAL_SYNC_ALWAYS;
	open_place(p);
	keeper_pass(p->j);
	before = faulty.synced;
	p->progress = 0;
	pthread_mutex_lock(&p->j->pass);
	assert_int_equal(fixture_append(p->j, 0, 4, PAYLOAD), 0);
	assert_int_equal(journal_safe(p->j), 0);
	assert_int_equal(p->progress, 0);
	pthread_mutex_unlock(&p->j->pass);
	journal_want_sync(p->j);
	while (p->progress == 0)
		usleep(100);
	assert_int_equal(journal_safe(p->j), 4);
	assert_true(faulty.synced >= before + 2); /* packets and index */
	journal_figures(p->j, &f);
	assert_true(f.syncs >= 1 && f.sync_ns > 0);
}

static void *sync_once(void *argument)
{
	keeper_pass(argument);
	return NULL;
}

static void until_a_sync_waits(void)
{
	while (!faulty.blocked)
		usleep(100);
}

static void what_is_appended_during_a_sync_is_the_next_ones(void **state)
{
	struct place *p = *state;
	pthread_t threads[2];

	p->config.sync = JOURNAL_SYNC_ALWAYS;
	open_place(p);
	keeper_pass(p->j);
	pthread_mutex_lock(&p->j->pass);
	assert_int_equal(fixture_append(p->j, 0, 2, PAYLOAD), 0);
	faulty.block_in = 0;
	pthread_mutex_unlock(&p->j->pass);
	pthread_create(&threads[0], NULL, sync_once, p->j);
	until_a_sync_waits();
	assert_int_equal(fixture_append(p->j, 2, 3, PAYLOAD), 0);
	assert_int_equal(journal_safe(p->j), 0);
	assert_int_equal(p->progress, 0);
	/* This sync ends with the index; the next one waits before it has done anything. */
	faulty.block_in = 1;
	faulty.blocked = false;
	pthread_create(&threads[1], NULL, sync_once, p->j);
	until_a_sync_waits();
	assert_int_equal(journal_safe(p->j), 2);
	faulty.blocked = false;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	keeper_pass(p->j);
	assert_int_equal(journal_safe(p->j), 5);
}

static void a_failed_sync_is_never_forgotten(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	p->config.sync = JOURNAL_SYNC_ALWAYS;
	open_place(p);
	assert_int_equal(fixture_append(p->j, 0, 2, PAYLOAD), 0);
	keeper_pass(p->j);
	assert_int_equal(journal_safe(p->j), 2);
	pthread_mutex_lock(&p->j->pass);
	assert_int_equal(fixture_append(p->j, 2, 2, PAYLOAD), 0);
	faulty.error = EIO;
	faulty.syncs = 0;
	pthread_mutex_unlock(&p->j->pass);
	keeper_pass(p->j);
	keeper_pass(p->j); /* the disk is sound again; the lost pages are not */
	assert_int_equal(journal_safe(p->j), 2);
	journal_figures(p->j, &f);
	assert_true(f.failed);
	assert_int_equal(fixture_append(p->j, 4, 1, PAYLOAD), ERR_HELD);
}

static void an_interval_passes_between_syncs(void **state)
{
	struct place *p = *state;
	int before;

	p->config.sync = JOURNAL_SYNC_INTERVAL;
	p->config.sync_ms = 500;
	open_place(p);
	faulty.mono += 500;
	keeper_pass(p->j);
	before = faulty.synced;
	assert_int_equal(fixture_append(p->j, 0, 2, 100), 0);
	assert_int_equal(journal_safe(p->j), 2);
	faulty.mono += 499;
	keeper_pass(p->j);
	assert_int_equal(faulty.synced, before);
	faulty.mono += 1;
	keeper_pass(p->j);
	assert_int_equal(faulty.synced, before + 2);
}

/* --- full ------------------------------------------------------------- */

static void a_full_disk_holds_and_then_goes_on(void **state)
{
	struct place *p = *state;
	struct journal_figures f;
	uint64_t tail;

	open_place(p);
	keeper_pass(p->j);
	faulty.error = ENOSPC;
	faulty.stay = true;
	faulty.reserves = 0;
	while (fixture_append(p->j, journal_tail(p->j), 5, PAYLOAD) == 0)
		continue;
	tail = journal_tail(p->j);
	assert_true(tail > 60);
	faulty.mono += 700;
	p->progress = 0;
	keeper_pass(p->j);
	assert_int_equal(p->progress, 0);
	journal_figures(p->j, &f);
	assert_true(f.held && !f.failed && f.held_ms == 700);
	assert_int_equal(journal_head(p->j), 0); /* nothing is older than least_ms */
	make_sound();
	keeper_pass(p->j);
	assert_int_equal(p->progress, 1);
	journal_figures(p->j, &f);
	assert_true(!f.held && f.held_ms == 700);
	assert_true(append_through_faults(p, tail + 50));
	assert_int_equal(fixture_check(p->j, 0, tail + 50, PAYLOAD), tail + 50);
}

static void a_write_without_space_is_tried_again_after_a_pause(void **state)
{
	struct place *p = *state;

	open_place(p);
	keeper_pass(p->j);
	faulty.error = ENOSPC;
	faulty.writes = 0;
	assert_int_equal(fixture_append(p->j, 0, 3, PAYLOAD), ERR_HELD);
	p->progress = 0;
	faulty.mono += 900;
	keeper_pass(p->j);
	assert_int_equal(p->progress, 0);
	assert_int_equal(fixture_append(p->j, 0, 3, PAYLOAD), ERR_HELD);
	faulty.mono += 200;
	keeper_pass(p->j);
	assert_int_equal(p->progress, 1);
	assert_int_equal(fixture_append(p->j, 0, 3, PAYLOAD), 0);
}

static void a_full_disk_removes_what_is_older_than_the_least(void **state)
{
	struct place *p = *state;

	open_place(p);
	assert_true(append_through_faults(p, 400));
	faulty.mono += FIXTURE_HOUR + 1;
	pthread_mutex_lock(&p->j->pass);
	assert_true(fixture_append(p->j, 400, 1, PAYLOAD) == 0);
	faulty.error = ENOSPC;
	faulty.reserves = 0; /* one refusal */
	while (fixture_append(p->j, journal_tail(p->j), 5, PAYLOAD) == 0)
		continue;
	pthread_mutex_unlock(&p->j->pass);
	keeper_pass(p->j);
	keeper_pass(p->j);
	assert_true(journal_head(p->j) > 0 && journal_head(p->j) < 200);
	assert_true(append_through_faults(p, journal_tail(p->j) + 20));
}

/* The same with a real full file system. */
static void a_full_file_system_holds_and_then_goes_on(void **state)
{
	struct place *p = *state;
	char *ballast = mem_printf("%s/ballast", p->dir);
	uint64_t tail;
	int fd;

	if (mount("tmpfs", p->dir, "tmpfs", 0, "size=1m") != 0) {
		free(ballast);
		return; /* not root: the reservations that fail above must do */
	}
	fd = open(ballast, O_RDWR | O_CREAT, 0600);
	assert_int_equal(posix_fallocate(fd, 0, 512 << 10), 0);
	close(fd);
	open_place(p);
	while (fixture_append_all(p->j, journal_tail(p->j), 3, 3, PAYLOAD) == 0)
		continue;
	tail = journal_tail(p->j);
	assert_true(tail > 100);
	assert_int_equal(fixture_check(p->j, 0, tail, PAYLOAD), tail);
	unlink(ballast);
	free(ballast);
	p->progress = 0;
	keeper_pass(p->j);
	assert_true(p->progress > 0);
	assert_int_equal(fixture_append_all(p->j, tail, 100, 3, PAYLOAD), 0);
	assert_int_equal(fixture_check(p->j, 0, tail + 100, PAYLOAD), tail + 100);
	journal_close(p->j);
	p->j = NULL;
	assert_int_equal(umount2(p->dir, MNT_DETACH), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_fault_of_any_call_loses_nothing),
		TEST(a_failed_write_appends_nothing_and_shows),
		TEST(what_was_refused_does_not_come_back_with_a_crash),
		TEST(safe_moves_only_when_the_disk_has_it),
		TEST(what_is_appended_during_a_sync_is_the_next_ones),
		TEST(a_failed_sync_is_never_forgotten),
		TEST(an_interval_passes_between_syncs),
		TEST(a_full_disk_holds_and_then_goes_on),
		TEST(a_write_without_space_is_tried_again_after_a_pause),
		TEST(a_full_disk_removes_what_is_older_than_the_least),
		TEST(a_full_file_system_holds_and_then_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
