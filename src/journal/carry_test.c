/* Journals copied by journal_carry(), closed and while they are appended to, and opened again. */
#include "journal/carry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/fixture.h"

#define PAYLOAD 700
#define MANY 400

struct copying {
	const char *to;
	struct journal *appended; /* to while files are copied; NULL: not */
	uint64_t next;
	uint32_t files;
	uint32_t fails_at; /* gives ERR_HELD at this file; 0: never */
};

static int copy_file(void *context, const char *name, int fd, uint64_t bytes)
{
	struct copying *c = context;
	char *path = mem_printf("%s/%s", c->to, name);
	int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint8_t piece[4096];

	if (++c->files == c->fails_at) {
		close(out);
		free(path);
		return ERR_HELD;
	}
	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = pread(fd, piece,
			bytes - at < sizeof(piece) ? bytes - at : sizeof(piece), (off_t)at);

		assert_true(n > 0);
		assert_int_equal(write(out, piece, (size_t)n), n);
		at += (uint64_t)n;
		if (c->appended)
			assert_int_equal(
				fixture_append_all(c->appended, c->next++, 1, 1, PAYLOAD), 0);
	}
	close(out);
	free(path);
	return 0;
}

static uint64_t test_now; /* of journals opened with it */

static uint64_t test_clock(void)
{
	return test_now;
}

static struct journal *must_open(const char *dir)
{
	static struct journal_system system;
	struct journal_config config = fixture_config(dir);
	struct journal *j = NULL;
	char *why = NULL;

	if (test_now) {
		system = *system_real();
		system.mono_ms = system.wall_ms = test_clock;
		config.system = &system;
	}

	if (journal_open(&j, &config, &why) != 0)
		fail_msg("open: %s", why);
	return j;
}

static struct carry_figures carry(const char *dir, struct copying *c, uint64_t since_ms)
{
	struct carry_rules rules = {since_ms, copy_file, c};
	struct carry_figures figures;

	assert_int_equal(journal_carry(dir, &rules, &figures), 0);
	return figures;
}

static void expect(const char *dir, uint64_t head, uint64_t tail)
{
	struct journal *j = must_open(dir);

	assert_int_equal(journal_tail(j), tail);
	assert_int_equal(journal_head(j), head);
	assert_int_equal(fixture_check(j, head, tail, PAYLOAD), tail);
	journal_close(j);
}

static void a_closed_journal_comes_over_whole(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct journal *j = must_open(dir);
	struct copying c = {.to = to};
	struct carry_figures f;

	(void)state;
	assert_int_equal(fixture_append_all(j, 0, MANY, 5, PAYLOAD), 0);
	journal_close(j);
	f = carry(dir, &c, 0);
	assert_int_equal(f.tail, MANY);
	assert_int_equal(f.head, 0);
	assert_int_equal(f.identities, MANY);
	assert_true(f.segments > 1);
	expect(to, 0, MANY);
	fixture_remove(dir);
	fixture_remove(to);
}

static void what_is_appended_meanwhile_does_not_tear_the_copy(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct journal *j = must_open(dir);
	struct copying c = {.to = to, .appended = j, .next = MANY};
	struct carry_figures f;

	(void)state;
	assert_int_equal(fixture_append_all(j, 0, MANY, 5, PAYLOAD), 0);
	f = carry(dir, &c, 0);
	assert_true(f.tail >= MANY); /* all that there was at the call */
	assert_true(c.next > f.tail);
	expect(to, 0, f.tail);
	journal_close(j);
	fixture_remove(dir);
	fixture_remove(to);
}

static void identities_go_along_without_their_packets(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct journal *j = must_open(dir);
	struct copying c = {.to = to};
	struct carry_figures f;

	(void)state;
	assert_int_equal(fixture_append_all(j, 0, MANY, 5, PAYLOAD), 0);
	journal_close(j);
	f = carry(dir, &c, UINT64_MAX);
	assert_int_equal(f.identities, MANY);
	assert_int_equal(f.head, MANY);
	assert_int_equal(fixture_count(to, ".packets"), 0);
	expect(to, MANY, MANY);
	fixture_remove(dir);
	fixture_remove(to);
}

static void packets_are_left_out_by_the_age_of_their_newest(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct copying c = {.to = to};
	struct carry_figures f;
	struct journal *j;

	(void)state;
	test_now = 1000000;
	j = must_open(dir);
	assert_int_equal(fixture_append_all(j, 0, 10, 5, PAYLOAD), 0);
	journal_close(j); /* each start begins a new segment */
	test_now = 2000000;
	j = must_open(dir);
	assert_int_equal(fixture_append_all(j, 10, 10, 5, PAYLOAD), 0);
	journal_close(j);
	f = carry(dir, &c, 1000000);
	assert_int_equal(f.head, 0);
	fixture_clear(to);
	f = carry(dir, &c, 1000001);
	assert_int_equal(f.head, 10);
	assert_int_equal(f.identities, 20);
	expect(to, 10, 20);
	test_now = 0;
	fixture_remove(dir);
	fixture_remove(to);
}

static void an_empty_journal_keeps_its_place(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct journal *j = must_open(dir);
	struct copying c = {.to = to};

	(void)state;
	assert_int_equal(carry(dir, &c, 0).tail, 0);
	expect(to, 0, 0);
	assert_int_equal(fixture_append_all(j, 0, 7, 7, PAYLOAD), 0);
	journal_close(j);
	fixture_clear(to);
	j = must_open(dir); /* its open segment has no record yet */
	assert_int_equal(carry(dir, &c, 0).tail, 7);
	journal_close(j);
	expect(to, 0, 7);
	fixture_remove(dir);
	fixture_remove(to);
}

static void what_the_caller_answers_ends_it(void **state)
{
	char *dir = fixture_folder(), *to = fixture_folder();
	struct journal *j = must_open(dir);
	struct copying c = {.to = to, .fails_at = 2};
	struct carry_rules rules = {0, copy_file, &c};
	struct carry_figures figures;

	(void)state;
	assert_int_equal(fixture_append_all(j, 0, 7, 7, PAYLOAD), 0);
	assert_int_equal(journal_carry(dir, &rules, &figures), ERR_HELD);
	assert_int_equal(c.files, 2);
	assert_int_equal(journal_carry("/nonexistent", &rules, &figures), ERR_SYSTEM);
	journal_close(j);
	fixture_remove(dir);
	fixture_remove(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_closed_journal_comes_over_whole),
		cmocka_unit_test(what_is_appended_meanwhile_does_not_tear_the_copy),
		cmocka_unit_test(identities_go_along_without_their_packets),
		cmocka_unit_test(packets_are_left_out_by_the_age_of_their_newest),
		cmocka_unit_test(an_empty_journal_keeps_its_place),
		cmocka_unit_test(what_the_caller_answers_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
