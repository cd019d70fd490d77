/* What a start makes of a killed writer and of damaged files. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "journal/fixture.h"

#define PAYLOAD 700

static struct journal *must_open(const struct journal_config *config)
{
	struct journal *j = NULL;
	char *why = NULL;

	if (journal_open(&j, config, &why) != 0)
		fail_msg("open: %s", why);
	return j;
}

/* --- kill -9 ---------------------------------------------------------- */

/* The writer: batches of growing and shrinking size, for ever; after each append tells the tail. */
_Noreturn static void write_for_ever(const struct journal_config *config, int report)
{
	struct journal *j;
	char *why = NULL;
	uint64_t n;

	if (journal_open(&j, config, &why) != 0)
		_exit(1);
	for (n = journal_tail(j);;) {
		uint32_t batch = (uint32_t)(n % 13) + 1;

		if (fixture_append_all(j, n, batch, batch, PAYLOAD) != 0)
			_exit(2);
		n += batch;
		if (write(report, &n, sizeof(n)) != sizeof(n))
			_exit(3);
	}
}

/* Starts a writer, kills it once it has reported `reports` times, gives the last tail reported. */
static uint64_t run_and_kill(const struct journal_config *config, int reports)
{
	uint64_t tail = 0;
	int pipes[2];
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		close(pipes[0]);
		write_for_ever(config, pipes[1]);
	}
	close(pipes[1]);
	for (int i = 0; i < reports; i++)
		assert_int_equal(read(pipes[0], &tail, sizeof(tail)), sizeof(tail));
	kill(child, SIGKILL);
	while (read(pipes[0], &tail, sizeof(tail)) == sizeof(tail))
		continue;
	close(pipes[0]);
	waitpid(child, NULL, 0);
	return tail;
}

static void kill_many_times(enum journal_sync sync)
{
	char *dir = fixture_folder();
	struct journal_config config = fixture_config(dir);

	config.sync = sync;
	for (int round = 0; round < 30; round++) {
		uint64_t told = run_and_kill(&config, 1 + round * round % 97);
		struct journal *j = must_open(&config);
		uint64_t tail = journal_tail(j);

		if (tail < told)
			fail_msg("round %d: told %llu, found %llu", round, (unsigned long long)told,
				(unsigned long long)tail);
		assert_int_equal(fixture_check(j, 0, tail, PAYLOAD), tail);
		journal_close(j);
	}
	fixture_remove(dir);
}

static void a_killed_writer_loses_nothing_it_reported(void **state)
{
	(void)state;
	kill_many_times(JOURNAL_SYNC_NEVER);
}

static void a_killed_writer_that_syncs_loses_nothing_it_reported(void **state)
{
	(void)state;
	kill_many_times(JOURNAL_SYNC_ALWAYS);
}

/* --- damage ----------------------------------------------------------- */

enum { RECORDS = 60 }; /* in the last segment */

/* A journal as a crash leaves it: some sealed segments and an open one with RECORDS records. */
struct crashed {
	char *dir;  /* as it was left */
	char *work; /* where damaged copies are opened */
	struct journal_config config;
	uint32_t number; /* of the open segment */
	uint64_t base;
	uint64_t tail;
	uint32_t offsets[RECORDS + 1];
};

static int make_crashed(void **state)
{
	struct crashed *c = mem_new(sizeof(*c));
	char *live = fixture_folder();
	struct journal_config config = fixture_config(live);
	struct journal *j;

	log_configure(LOG_ERROR, false);
	c->dir = fixture_folder();
	c->work = fixture_folder();
	j = must_open(&config);
	assert_int_equal(fixture_append_all(j, 0, 200, 11, PAYLOAD), 0);
	keeper_pass(j);
	c->base = journal_tail(j);
	journal_lock(j);
	roll(j);
	journal_unlock(j);
	keeper_pass(j);
	assert_int_equal(fixture_append_all(j, c->base, RECORDS, 7, PAYLOAD), 0);
	c->tail = journal_tail(j);
	c->number = j->current->number;
	for (size_t i = 0; i < RECORDS; i++)
		c->offsets[i] = journal_find(j, c->base)->entries[i].offset;
	c->offsets[RECORDS] = (uint32_t)j->current->packets_bytes;
	fixture_copy(live, c->dir);
	journal_close(j);
	fixture_remove(live);
	c->config = fixture_config(c->work);
	*state = c;
	return 0;
}

static int remove_crashed(void **state)
{
	struct crashed *c = *state;

	fixture_remove(c->dir);
	fixture_remove(c->work);
	free(c);
	return 0;
}

static int open_last(const struct crashed *c, const char *kind)
{
	char name[SEGMENT_NAME_BYTES];
	char *path;
	int fd;

	segment_name(name, c->number, kind);
	path = mem_printf("%s/%s", c->work, name);
	fd = open(path, O_RDWR);
	free(path);
	assert_true(fd >= 0);
	return fd;
}

static void flip(const struct crashed *c, const char *kind, uint64_t at, uint8_t bit)
{
	int fd = open_last(c, kind);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

static void cut_file(const struct crashed *c, const char *kind, uint64_t at)
{
	int fd = open_last(c, kind);

	assert_int_equal(ftruncate(fd, (off_t)at), 0);
	close(fd);
}

/* Opens the damaged copy: everything before `sound` is there, nothing is wrong, appending goes on
 * and survives another start. */
static void expect_sound(const struct crashed *c, uint64_t sound, const char *what, uint64_t at)
{
	struct journal *j = must_open(&c->config);
	uint64_t tail = journal_tail(j);

	if (tail != sound)
		fail_msg("%s at %llu: tail %llu, want %llu", what, (unsigned long long)at,
			(unsigned long long)tail, (unsigned long long)sound);
	assert_int_equal(fixture_check(j, 0, tail, PAYLOAD), tail);
	assert_int_equal(fixture_append_all(j, tail, 5, 2, PAYLOAD), 0);
	journal_close(j);
	j = must_open(&c->config);
	assert_int_equal(journal_tail(j), tail + 5);
	assert_int_equal(fixture_check(j, 0, tail + 5, PAYLOAD), tail + 5);
	journal_close(j);
}

static void fresh_copy(const struct crashed *c)
{
	fixture_clear(c->work);
	fixture_copy(c->dir, c->work);
}

/* The record that the byte at this place of the packets belongs to. */
static uint64_t record_at(const struct crashed *c, uint64_t at)
{
	uint64_t i = 0;

	while (i < RECORDS && c->offsets[i + 1] <= at)
		i++;
	return c->base + i;
}

static void an_undamaged_copy_has_everything(void **state)
{
	struct crashed *c = *state;

	fresh_copy(c);
	expect_sound(c, c->tail, "nothing", 0);
}

static void a_flipped_bit_in_the_packets_cuts_there(void **state)
{
	struct crashed *c = *state;
	uint64_t end = c->offsets[RECORDS];

	for (uint64_t at = 0; at < end; at += 211) {
		fresh_copy(c);
		flip(c, "packets", at, at % 8);
		expect_sound(c, record_at(c, at), "flip in packets", at);
	}
	fresh_copy(c);
	flip(c, "packets", end, 3); /* nobody's byte */
	expect_sound(c, c->tail, "flip behind packets", end);
}

static void a_flipped_bit_in_an_entry_cuts_there(void **state)
{
	struct crashed *c = *state;

	/* Each of the 64 bytes of an entry once, over different records. */
	for (uint64_t byte = 0; byte < 64; byte++) {
		uint64_t i = byte * 7 % RECORDS;

		fresh_copy(c);
		flip(c, "index", SEGMENT_HEAD_BYTES + i * 64 + byte, byte % 8);
		expect_sound(c, c->base + i, "flip in entry", i * 64 + byte);
	}
}

static void a_flipped_bit_in_the_head_loses_that_segment_only(void **state)
{
	struct crashed *c = *state;

	for (uint64_t byte = 0; byte < sizeof(struct segment_head); byte += 3) {
		fresh_copy(c);
		flip(c, "index", byte, byte % 8);
		expect_sound(c, c->base, "flip in head", byte);
	}
	fresh_copy(c);
	flip(c, "index", SEGMENT_SEAL_AT + 4, 1); /* no valid mark either way */
	expect_sound(c, c->tail, "flip in seal", SEGMENT_SEAL_AT);
}

static void truncated_packets_cut_there(void **state)
{
	struct crashed *c = *state;

	for (uint64_t at = 0; at < c->offsets[RECORDS]; at += 977) {
		fresh_copy(c);
		cut_file(c, "packets", at);
		expect_sound(c, record_at(c, at), "truncated packets", at);
	}
}

static void a_truncated_index_cuts_there(void **state)
{
	struct crashed *c = *state;

	for (uint64_t at = 0; at < SEGMENT_HEAD_BYTES + RECORDS * 64; at += at < 4000 ? 512 : 37) {
		uint64_t whole = at < SEGMENT_HEAD_BYTES ? 0 : (at - SEGMENT_HEAD_BYTES) / 64;

		fresh_copy(c);
		cut_file(c, "index", at);
		expect_sound(c, c->base + whole, "truncated index", at);
	}
}

static void stale_records_behind_a_cut_never_come_back(void **state)
{
	struct crashed *c = *state;
	struct journal *j;

	/* The record at the cut is written again with the same length; those behind it are intact. */
	fresh_copy(c);
	flip(c, "packets", c->offsets[10], 0);
	j = must_open(&c->config);
	assert_int_equal(journal_tail(j), c->base + 10);
	assert_int_equal(fixture_append(j, c->base + 10, 1, PAYLOAD), 0);
	keeper_sync(j);
	/* A crash: the files as they are, opened elsewhere. */
	fixture_clear(c->dir);
	fixture_copy(c->work, c->dir);
	journal_close(j);
	fresh_copy(c);
	expect_sound(c, c->base + 11, "stale", 10);
}

static void damage_in_a_closed_segment_drops_what_follows_it(void **state)
{
	struct crashed *c = *state;
	struct journal *j;

	/* Two unsealed segments: the crash came before the keeper could seal the first. */
	fresh_copy(c);
	j = must_open(&c->config);
	assert_int_equal(fixture_append(j, c->tail, 10, PAYLOAD), 0);
	c->number = j->current->number;
	keeper_pass(j);
	pthread_mutex_lock(&j->pass);
	journal_lock(j);
	assert_int_equal(roll(j), 0);
	journal_unlock(j);
	assert_int_equal(fixture_append(j, c->tail + 10, 10, PAYLOAD), 0);
	fixture_clear(c->dir);
	fixture_copy(c->work, c->dir);
	pthread_mutex_unlock(&j->pass);
	journal_close(j);

	fresh_copy(c);
	flip(c, "packets", 0, 0);
	expect_sound(c, c->tail, "flip in the last but one", 0);
	assert_int_equal(fixture_count(c->work, ".dropped"), 2);
	fresh_copy(c);
	expect_sound(c, c->tail + 20, "nothing", 0);
}

/* --- the clock -------------------------------------------------------- */

static _Atomic uint64_t wall;
static _Atomic uint64_t mono;

static uint64_t test_wall(void)
{
	return wall;
}

static uint64_t test_mono(void)
{
	return mono;
}

static void a_wall_clock_set_back_makes_time_stand_not_go_back(void **state)
{
	char *dir = fixture_folder();
	struct journal_config config = fixture_config(dir);
	struct journal_system sys = *system_real();
	struct journal *j;

	(void)state;
	sys.wall_ms = test_wall;
	sys.mono_ms = test_mono;
	config.system = &sys;
	wall = 1000000;
	mono = 77;
	j = must_open(&config);
	assert_int_equal(journal_now(j), 1000000);
	mono += 500;
	wall = 5; /* no effect while running */
	assert_int_equal(journal_now(j), 1000500);
	assert_int_equal(fixture_append(j, 0, 1, 10), 0);
	journal_close(j);
	mono = 3;
	j = must_open(&config);
	assert_int_equal(journal_now(j), 1000500);
	journal_close(j);
	wall = 2000000;
	j = must_open(&config);
	assert_int_equal(journal_now(j), 2000000);
	journal_close(j);
	fixture_remove(dir);
}

int main(void)
{
#define DAMAGE(name) cmocka_unit_test_setup_teardown(name, make_crashed, remove_crashed)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_writer_loses_nothing_it_reported),
		cmocka_unit_test(a_killed_writer_that_syncs_loses_nothing_it_reported),
		DAMAGE(an_undamaged_copy_has_everything),
		DAMAGE(a_flipped_bit_in_the_packets_cuts_there),
		DAMAGE(a_flipped_bit_in_an_entry_cuts_there),
		DAMAGE(a_flipped_bit_in_the_head_loses_that_segment_only),
		DAMAGE(truncated_packets_cut_there),
		DAMAGE(a_truncated_index_cuts_there),
		DAMAGE(stale_records_behind_a_cut_never_come_back),
		DAMAGE(damage_in_a_closed_segment_drops_what_follows_it),
		cmocka_unit_test(a_wall_clock_set_back_makes_time_stand_not_go_back),
	};

	log_configure(LOG_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
