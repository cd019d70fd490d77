/* What is kept on disk: in its order, once, over restarts and crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "cluster/spool.h"

#define SMALL_SEGMENT (1u << 20)

struct fixture {
	char dir[64];
	struct spool_settings settings;
	struct spool *spool;
	struct intake *intake;
	struct cluster_core core;
};

static void open_spool(struct fixture *f)
{
	char *why = NULL;

	if (spool_open(&f->spool, &f->settings, &why) < 0)
		fail_msg("%s", why);
}

static void reopen(struct fixture *f)
{
	spool_close(f->spool);
	open_spool(f);
}

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){.core = {.name = "node/1", .shards = 16}};
	snprintf(f->dir, sizeof(f->dir),
		"/tmp/isobar-spool-"
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(f->dir));
	f->settings = (struct spool_settings){.dir = f->dir,
		.sync = JOURNAL_SYNC_NEVER,
		.bytes_most = 64u << 20,
		.ids = 10000,
		.segment_bytes = SMALL_SEGMENT};
	f->intake = intake_new(&f->core, NULL);
	open_spool(f);
}

static void fixture_fini(struct fixture *f)
{
	char command[128];

	spool_close(f->spool);
	intake_free(f->intake);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
}

/* Entries numbered from first on, of so many bytes each. */
static int put(struct fixture *f, uint32_t first, uint32_t n, size_t bytes)
{
	struct parcel *p = intake_parcel(n);
	struct entry **entries = malloc(n * sizeof(struct entry *));
	uint64_t upto = 0;
	int err;

	for (uint32_t i = 0; i < n; i++) {
		struct entry *e = entries[i] = &p->entries[i];
		uint32_t number = first + i;

		memcpy(e->id.b, &number, sizeof(number));
		e->token = number * 3;
		e->shard = (uint16_t)(number % 16);
		e->claim = number % 2;
		e->at = (uint32_t)buf_length(&p->records);
		e->bytes = (uint32_t)bytes;
		memset(buf_reserve(&p->records, bytes), (int)(number & 0xff), bytes);
		buf_grown(&p->records, bytes);
	}
	err = spool_put(f->spool, entries, n, &upto);
	if (err == 0)
		assert_true(upto <= spool_safe(f->spool));
	for (uint32_t i = 0; i < n; i++)
		intake_drop(f->intake, entries[i]);
	free(entries);
	return err;
}

/* Reads on and checks what comes; gives the number behind the last. */
static uint32_t take(struct fixture *f, uint32_t next, size_t bytes)
{
	struct parcel *p = spool_read(f->spool);

	if (p == NULL)
		return next;
	assert_null(p->port);
	for (uint32_t i = 0, n = p->count; i < n; i++, next++) {
		struct entry *e = &p->entries[i];
		struct view record = entry_record(e);

		assert_memory_equal(e->id.b, &next, sizeof(next));
		assert_int_equal(e->token, next * 3);
		assert_int_equal(e->shard, next % 16);
		assert_int_equal(e->claim, next % 2);
		assert_int_equal(record.n, bytes);
		for (size_t k = 0; k < record.n; k++)
			assert_int_equal((uint8_t)record.p[k], next & 0xff);
		intake_drop(f->intake, e);
	}
	return next;
}

static void what_goes_in_comes_out_in_its_order(void **state)
{
	uint32_t next = 0;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(put(&f, 0, 700, 100), 0);
	assert_int_equal(put(&f, 700, 700, 100), 0);
	assert_int_equal(spool_count(f.spool), 1400);
	while (next < 1400) {
		uint32_t before = next;

		next = take(&f, next, 100);
		assert_true(next > before);
		assert_int_equal(spool_count(f.spool), 1400 - before); /* not before it is done */
		spool_done(f.spool);
	}
	assert_null(spool_read(f.spool));
	assert_int_equal(spool_count(f.spool), 0);
	assert_int_equal(spool_bytes(f.spool), 0);
	fixture_fini(&f);
}

static void an_id_is_kept_once_also_after_a_restart(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(put(&f, 0, 10, 100), 0);
	assert_int_equal(put(&f, 5, 10, 100), 0);
	assert_int_equal(spool_count(f.spool), 15);
	reopen(&f);
	assert_int_equal(put(&f, 0, 15, 100), 0);
	assert_int_equal(spool_count(f.spool), 15);
	assert_int_equal(take(&f, 0, 100), 15);
	fixture_fini(&f);
}

static void after_a_restart_it_goes_on_behind_what_is_done(void **state)
{
	uint64_t bytes;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(put(&f, 0, 1500, 100), 0);
	assert_int_equal(take(&f, 0, 100), 1024);
	spool_done(f.spool);
	bytes = spool_bytes(f.spool);
	reopen(&f);
	assert_int_equal(spool_count(f.spool), 1500 - 1024);
	assert_in_range(spool_bytes(f.spool), bytes - 16 * 1500, bytes);
	assert_int_equal(take(&f, 1024, 100), 1500);
	fixture_fini(&f);
}

static void what_was_read_and_not_done_comes_again_after_a_crash(void **state)
{
	struct fixture f;
	pid_t child;
	int status;

	(void)state;
	fixture_init(&f);
	spool_close(f.spool);
	child = fork();
	if (child == 0) {
		open_spool(&f);
		_exit(put(&f, 0, 20, 100) == 0 && take(&f, 0, 100) == 20 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_true(spool_exists(f.dir));
	open_spool(&f);
	assert_int_equal(spool_count(f.spool), 20);
	assert_int_equal(take(&f, 0, 100), 20);
	fixture_fini(&f);
}

static void a_full_one_takes_nothing_until_something_is_done(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	spool_close(f.spool);
	f.settings.bytes_most = 5000;
	open_spool(&f);
	assert_int_equal(put(&f, 0, 50, 100), 0);
	assert_int_equal(put(&f, 50, 1, 100), ERR_HELD);
	assert_int_equal(spool_count(f.spool), 50);
	assert_int_equal(take(&f, 0, 100), 50);
	spool_done(f.spool);
	assert_int_equal(put(&f, 50, 1, 100), 0); /* its id was not taken for known */
	assert_int_equal(take(&f, 50, 100), 51);
	fixture_fini(&f);
}

static void files_of_what_is_done_go(void **state)
{
	uint32_t next = 0;
	struct fixture f;
	char command[160];

	(void)state;
	fixture_init(&f);
	for (uint32_t i = 0; i < 60; i++) {
		while (put(&f, i * 10, 10, 10000) == ERR_HELD)
			usleep(1000); /* the next segment is being made */
	}
	while (next < 600) {
		next = take(&f, next, 10000);
		spool_done(f.spool);
	}
	/* Of six segments the newest two may stay; the keeper looks once a second. */
	snprintf(command, sizeof(command), "[ $(ls %s/spool/*.packets | wc -l) -le 3 ]", f.dir);
	for (int i = 0; i < 600 && system(command) != 0; i++)
		usleep(100000);
	assert_int_equal(system(command), 0);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out_in_its_order),
		cmocka_unit_test(an_id_is_kept_once_also_after_a_restart),
		cmocka_unit_test(after_a_restart_it_goes_on_behind_what_is_done),
		cmocka_unit_test(what_was_read_and_not_done_comes_again_after_a_crash),
		cmocka_unit_test(a_full_one_takes_nothing_until_something_is_done),
		cmocka_unit_test(files_of_what_is_done_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
