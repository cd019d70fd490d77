/* Appending, finding, opening again, clock, figures, what was removed. */
#include "journal/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <xxhash.h>

#include <cmocka.h>

#include "journal/fixture.h"

struct place {
	char *dir;
	struct journal_config config;
	struct journal *j;
};

static void reopen(struct place *p)
{
	char *why = NULL;

	journal_close(p->j);
	p->j = NULL;
	assert_int_equal(journal_open(&p->j, &p->config, &why), 0);
}

static int setup(void **state)
{
	struct place *p = mem_new(sizeof(*p));

	log_configure(LOG_ERROR, false);
	p->dir = fixture_folder();
	p->config = fixture_config(p->dir);
	reopen(p);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	journal_close(p->j);
	fixture_remove(p->dir);
	free(p);
	return 0;
}

static void a_new_journal_is_empty(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	assert_int_equal(journal_tail(p->j), 0);
	assert_int_equal(journal_head(p->j), 0);
	assert_null(journal_find(p->j, 0));
	assert_int_equal(journal_seq_at(p->j, 0), 0);
	journal_figures(p->j, &f);
	assert_true(f.newest_ms == UINT64_MAX && !f.held && !f.failed && f.appended == 0);
}

static void what_is_appended_is_read_back_over_many_segments(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	assert_int_equal(fixture_append_all(p->j, 0, 500, 7, 2000), 0);
	assert_int_equal(journal_tail(p->j), 500);
	assert_int_equal(journal_safe(p->j), 500);
	assert_int_equal(fixture_check(p->j, 0, 500, 2000), 500);
	assert_null(journal_find(p->j, 500));
	journal_figures(p->j, &f);
	assert_int_equal(f.appended, 500);
	assert_true(f.segments > 5);
}

static void a_closed_journal_opens_with_all_it_had(void **state)
{
	struct place *p = *state;

	for (uint64_t n = 0; n < 300; n += 60) {
		assert_int_equal(fixture_append_all(p->j, n, 60, 5, 2000), 0);
		reopen(p);
		assert_int_equal(journal_tail(p->j), n + 60);
		assert_int_equal(fixture_check(p->j, 0, n + 60, 2000), n + 60);
	}
}

static void starts_without_records_leave_no_segments_behind(void **state)
{
	struct place *p = *state;

	assert_int_equal(fixture_append_all(p->j, 0, 3, 3, 100), 0);
	for (int i = 0; i < 5; i++)
		reopen(p);
	assert_int_equal(journal_tail(p->j), 3);
	assert_true(fixture_count(p->dir, ".index") <= 3); /* sealed, open, made ahead */
}

static void a_second_process_is_refused(void **state)
{
	struct place *p = *state;
	struct journal *other = NULL;
	char *why = NULL;

	assert_int_equal(journal_open(&other, &p->config, &why), ERR_IN_USE);
	assert_null(other);
	assert_non_null(why);
	free(why);
}

static void a_newer_format_is_refused(void **state)
{
	struct place *p = *state;
	struct segment_head head;
	struct journal *j = p->j;
	char name[SEGMENT_NAME_BYTES];
	char *why = NULL;
	char *path;
	int fd;

	segment_name(name, j->current->number, "index");
	path = mem_printf("%s/%s", p->dir, name);
	assert_int_equal(fixture_append(j, 0, 1, 10), 0);
	journal_close(j);
	p->j = NULL;
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &head, sizeof(head), 0), sizeof(head));
	head.format = JOURNAL_FORMAT + 1;
	head.checksum = XXH3_64bits(&head, offsetof(struct segment_head, checksum));
	assert_int_equal(pwrite(fd, &head, sizeof(head), 0), sizeof(head));
	close(fd);
	assert_int_equal(journal_open(&p->j, &p->config, &why), ERR_CORRUPT);
	assert_non_null(strstr(why, "newer"));
	free(why);
	free(path);
}

static void topic_numbers_count_first_occurrences_in_each_segment(void **state)
{
	struct place *p = *state;
	uint64_t tail;

	assert_int_equal(fixture_append_all(p->j, 0, 200, 9, 2000), 0);
	tail = journal_tail(p->j);
	for (uint64_t seq = 0; seq < tail;) {
		const struct journal_segment *s = journal_find(p->j, seq);
		uint64_t end = s->end < tail ? s->end : tail;

		for (uint64_t i = 0; seq < end; seq++, i++)
			assert_int_equal(s->entries[i].topic, i % 7);
	}
}

static void bad_messages_are_refused_and_nothing_is_appended(void **state)
{
	struct place *p = *state;
	struct journal_message bad[] = {
		{.topic = {"", 0}},
		{.topic = {NULL, 65536}},
		{.topic = {"t", 1}, .payload = {NULL, JOURNAL_PACKET_LARGEST}},
	};
	static const int want[] = {ERR_TOPIC, ERR_TOPIC, ERR_TOO_LARGE};

	for (size_t i = 0; i < 3; i++) {
		const struct journal_message *m = &bad[i];

		journal_lock(p->j);
		assert_int_equal(journal_append(p->j, &m, 1), want[i]);
		journal_unlock(p->j);
	}
	assert_int_equal(journal_tail(p->j), 0);
	journal_lock(p->j);
	assert_int_equal(journal_reserve(p->j, journal_batch_bytes(p->j) + 1, 1), ERR_TOO_LARGE);
	assert_int_equal(journal_reserve(p->j, 1, journal_batch_records(p->j) + 1), ERR_TOO_LARGE);
	journal_unlock(p->j);
}

static void a_batch_as_large_as_a_segment_fits(void **state)
{
	struct place *p = *state;
	char *payload = mem_new(65536 - 17);
	struct journal_message m = {.topic = VIEW("t"), .payload = {payload, 65536 - 17}};
	const struct journal_message *list = &m;

	assert_int_equal(fixture_append_all(p->j, 0, 1, 1, 10), 0);
	keeper_pass(p->j);
	journal_lock(p->j);
	assert_int_equal(journal_reserve(p->j, fixture_cost(&m), 1), 0);
	assert_int_equal(journal_append(p->j, &list, 1), 0);
	journal_unlock(p->j);
	assert_int_equal(journal_find(p->j, 1)->base, 1);
	free(payload);
}

static void many_small_records_fill_the_index_first(void **state)
{
	struct place *p = *state;

	assert_int_equal(fixture_append_all(p->j, 0, 1000, 50, 0), 0);
	assert_int_equal(fixture_check(p->j, 0, 1000, 0), 1000);
	assert_true(journal_find(p->j, 999)->base >= 700);
}

static void the_largest_record_is_taken(void **state)
{
	struct place *p = *state;
	char *payload = mem_new(JOURNAL_PACKET_LARGEST);
	struct journal_message m = {
		.topic = VIEW("t"), .payload = {payload, JOURNAL_PACKET_LARGEST - 8}};
	const struct journal_message *list[] = {&m, &m};

	p->config.segment_bytes = 10 << 20;
	reopen(p);
	journal_lock(p->j);
	assert_int_equal(journal_reserve(p->j, 2 * fixture_cost(&m), 2), 0);
	assert_int_equal(journal_append(p->j, list, 2), 0);
	journal_unlock(p->j);
	assert_int_equal(journal_find(p->j, 1)->entries[1].packet_bytes, JOURNAL_PACKET_LARGEST);
	free(payload);
}

/* --- ids at start ----------------------------------------------------- */

struct told {
	uint64_t n;
	bool in_order;
};

static void on_index(void *context, uint64_t seq, const struct journal_entry *e)
{
	struct told *t = context;
	uint64_t n;

	memcpy(&n, e->id.b, sizeof(n));
	t->in_order = t->in_order && n == t->n && seq == n &&
		      (e->flags & 0x3f) == (n % 2 ? JOURNAL_CLAIMED : JOURNAL_UTF8);
	t->n++;
}

static void a_start_tells_every_id_in_order(void **state)
{
	struct place *p = *state;
	struct told told = {0, true};

	assert_int_equal(fixture_append_all(p->j, 0, 300, 7, 1000), 0);
	p->config.on_index = on_index;
	p->config.context = &told;
	reopen(p);
	assert_int_equal(told.n, 300);
	assert_true(told.in_order);
}

/* --- SIGBUS ----------------------------------------------------------- */

/* Runs in a child: truncates the open segment under its own map and reads it. */
static void read_what_is_not_there(struct place *p)
{
	struct journal *j;
	char *why = NULL;
	volatile uint8_t byte;

	journal_guard_sigbus();
	if (journal_open(&j, &p->config, &why) != 0 || fixture_append(j, 40, 3, 1000) != 0 ||
		ftruncate(j->current->packets_fd, 0) != 0)
		_exit(1);
	byte = *journal_find(j, 40)->packets;
	(void)byte;
	_exit(2);
}

static void an_unreadable_page_names_its_segment_and_the_next_start_leaves_it_out(void **state)
{
	struct place *p = *state;
	char said[512] = "";
	int pipes[2];
	int status;
	pid_t child;

	assert_int_equal(fixture_append_all(p->j, 0, 40, 4, 1000), 0);
	journal_close(p->j);
	p->j = NULL;
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (child == 0) {
		dup2(pipes[1], STDERR_FILENO);
		read_what_is_not_there(p);
	}
	close(pipes[1]);
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), JOURNAL_EXIT_UNREADABLE);
	assert_true(read(pipes[0], said, sizeof(said) - 1) > 0);
	close(pipes[0]);
	assert_non_null(strstr(said, ".packets"));
	assert_int_equal(fixture_count(p->dir, ".bad"), 1);
	reopen(p);
	assert_int_equal(fixture_count(p->dir, ".bad"), 0);
	assert_int_equal(journal_tail(p->j), 43); /* numbers are not given twice */
	assert_int_equal(journal_head(p->j), 43);
	assert_int_equal(fixture_append(p->j, 43, 2, 1000), 0);
	assert_int_equal(fixture_check(p->j, 43, 45, 1000), 45);
	reopen(p);
	assert_int_equal(journal_head(p->j), 43);
	assert_int_equal(fixture_check(p->j, 43, 45, 1000), 45);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_journal_is_empty),
		TEST(what_is_appended_is_read_back_over_many_segments),
		TEST(a_closed_journal_opens_with_all_it_had),
		TEST(starts_without_records_leave_no_segments_behind),
		TEST(a_second_process_is_refused),
		TEST(a_newer_format_is_refused),
		TEST(topic_numbers_count_first_occurrences_in_each_segment),
		TEST(bad_messages_are_refused_and_nothing_is_appended),
		TEST(a_batch_as_large_as_a_segment_fits),
		TEST(many_small_records_fill_the_index_first),
		TEST(the_largest_record_is_taken),
		TEST(a_start_tells_every_id_in_order),
		TEST(an_unreadable_page_names_its_segment_and_the_next_start_leaves_it_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
