/* Many readers beside appends, removal and prefetching; what is warm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/fixture.h"

#define PAYLOAD 500
#define RECORDS 6000
#define READERS 4

static struct journal *open_in(char *dir, uint64_t size_bytes, uint32_t segment_bytes)
{
	struct journal_config config = fixture_config(dir);
	struct journal *j = NULL;
	char *why = NULL;

	config.size_bytes = size_bytes;
	config.segment_bytes = segment_bytes;
	if (journal_open(&j, &config, &why) != 0)
		fail_msg("open: %s", why);
	return j;
}

/* --- readers beside a writer -------------------------------------------- */

struct reader {
	pthread_t thread;
	struct journal *j;
	_Atomic bool *stop;
	_Atomic uint64_t read; /* records compared */
	_Atomic uint64_t skipped;
	_Atomic bool wrong;
};

/* One turn: as far as one segment goes; gives where to go on. */
static uint64_t read_turn(struct reader *r, uint64_t seq)
{
	uint64_t tail = journal_tail(r->j);
	const struct journal_segment *s = journal_find(r->j, seq);
	uint64_t end;

	if (s == NULL) {
		uint64_t head = journal_head(r->j);

		if (head <= seq)
			return seq;
		r->skipped += head - seq;
		return head;
	}
	end = s->end < tail ? s->end : tail;
	for (; seq < end; seq++) {
		const struct journal_entry *e = &s->entries[seq - s->base];
		struct fixture_message f;

		fixture_message(&f, seq, PAYLOAD);
		if (!fixture_packet_is(e, s->packets + e->offset, &f.m))
			r->wrong = true;
		r->read++;
	}
	return seq;
}

static void *read_all(void *argument)
{
	struct reader *r = argument;
	struct journal_reader epoch;
	uint64_t seq = 0;

	journal_reader_open(r->j, &epoch);
	while (!*r->stop || seq < journal_tail(r->j)) {
		journal_reader_enter(&epoch);
		seq = read_turn(r, seq);
		journal_seq_at(r->j, journal_now(r->j) - 2);
		journal_is_warm(r->j, seq);
		journal_reader_leave(&epoch);
	}
	journal_reader_close(&epoch);
	return NULL;
}

static void readers_see_whole_records_while_segments_come_and_go(void **state)
{
	char *dir = fixture_folder();
	struct journal *j = open_in(dir, 400 << 10, 64 << 10);
	struct reader readers[READERS] = {0};
	_Atomic bool stop = false;
	struct journal_figures figures;

	(void)state;
	for (size_t i = 0; i < READERS; i++) {
		readers[i].j = j;
		readers[i].stop = &stop;
		pthread_create(&readers[i].thread, NULL, read_all, &readers[i]);
	}
	for (uint64_t n = 0; n < RECORDS; n += 6) {
		assert_int_equal(fixture_append_all(j, n, 6, 6, PAYLOAD), 0);
		journal_figures(j, &figures);
	}
	stop = true;
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_false(readers[i].wrong);
		assert_int_equal(readers[i].read + readers[i].skipped, RECORDS);
		assert_true(readers[i].read > 0);
	}
	assert_true(journal_head(j) > RECORDS / 2);
	journal_close(j);
	fixture_remove(dir);
}

/* --- warm and cold ------------------------------------------------------ */

struct question {
	struct journal_prefetch p;
	_Atomic bool answered;
};

static void on_warm(struct journal_prefetch *p)
{
	container_of(p, struct question, p)->answered = true;
}

static uint64_t ask(struct journal *j, uint64_t from)
{
	struct question q = {.p = {.from = from, .on_warm = on_warm}};

	journal_prefetch(j, &q.p);
	while (!q.answered)
		usleep(100);
	assert_false(journal_prefetch_cancel(j, &q.p));
	return q.p.warm_to;
}

/* One message of about 32 KiB. */
static void append_large(struct journal *j, uint64_t n)
{
	static char payload[32 << 10];
	struct journal_message m = {.topic = VIEW("t"), .payload = {payload, sizeof(payload)}};
	const struct journal_message *list = &m;

	for (uint64_t i = 0; i < n; i++) {
		int err = ERR_HELD;

		while (err == ERR_HELD) {
			journal_lock(j);
			err = journal_reserve(j, fixture_cost(&m), 1);
			if (err == 0)
				err = journal_append(j, &list, 1);
			journal_unlock(j);
			if (err == ERR_HELD)
				keeper_pass(j);
		}
		assert_int_equal(err, 0);
	}
}

static void the_last_64_mib_are_warm_and_so_is_what_was_prefetched(void **state)
{
	char *dir = fixture_folder();
	struct journal *j = open_in(dir, UINT64_C(1) << 30, 8 << 20);
	uint64_t to;

	(void)state;
	append_large(j, 3000); /* some 94 MiB */
	assert_false(journal_is_warm(j, 0));
	assert_false(journal_is_warm(j, 3000 - 66 * 32));
	assert_true(journal_is_warm(j, 3000 - 62 * 32));
	assert_true(journal_is_warm(j, 2999));
	to = ask(j, 10);
	assert_true(to > 10 + 100 && to <= 10 + 130); /* 4 MiB */
	assert_true(journal_is_warm(j, 10));
	assert_true(journal_is_warm(j, to - 1));
	assert_false(journal_is_warm(j, to));
	assert_false(journal_is_warm(j, 9));
	assert_int_equal(journal_warm_to(j, 9), 9);
	assert_int_equal(journal_warm_to(j, 10), to);
	assert_int_equal(journal_warm_to(j, to - 1), to);
	assert_int_equal(ask(j, 3000), 3000); /* nothing there */
	journal_close(j);
	j = open_in(dir, UINT64_C(1) << 30, 8 << 20);
	assert_false(journal_is_warm(j, 2999)); /* a start knows nothing of the page cache */
	assert_true(ask(j, 2999) == 3000);
	assert_true(journal_is_warm(j, 2999));
	journal_close(j);
	fixture_remove(dir);
}

static void what_is_warm_is_not_fetched_again(void **state)
{
	char *dir = fixture_folder();
	struct journal *j = open_in(dir, UINT64_C(1) << 30, 8 << 20);
	uint64_t to;

	(void)state;
	append_large(j, 3000);
	to = ask(j, 10);
	/* One answer after another, more than are remembered: the first one is not forgotten. */
	for (uint64_t i = 0; i < 2 * PREFETCH_RANGES; i++)
		assert_int_equal(ask(j, 10 + i % 100), to);
	assert_int_equal(journal_warm_to(j, 10), to);
	assert_int_equal(ask(j, 2999), 3000); /* the newest: no promise but this one */
	assert_true(journal_warm_to(j, 2999) == UINT64_MAX);
	journal_close(j);
	fixture_remove(dir);
}

/* The first question's answer waits here until the second was withdrawn. */
static _Atomic int gate;

static void on_warm_wait(struct journal_prefetch *p)
{
	(void)p;
	gate = 1;
	while (gate != 2)
		usleep(100);
}

static void a_question_can_be_withdrawn_until_it_is_answered(void **state)
{
	char *dir = fixture_folder();
	struct journal *j = open_in(dir, UINT64_C(1) << 30, 64 << 10);
	struct journal_prefetch first = {.from = 0, .on_warm = on_warm_wait};
	struct question second = {.p = {.from = 0, .on_warm = on_warm}};

	(void)state;
	journal_prefetch(j, &first);
	while (gate != 1)
		usleep(100);
	journal_prefetch(j, &second.p);
	assert_true(journal_prefetch_cancel(j, &second.p));
	assert_false(journal_prefetch_cancel(j, &second.p));
	assert_false(journal_prefetch_cancel(j, &first));
	gate = 2;
	journal_close(j);
	assert_false(second.answered);
	fixture_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_see_whole_records_while_segments_come_and_go),
		cmocka_unit_test(the_last_64_mib_are_warm_and_so_is_what_was_prefetched),
		cmocka_unit_test(what_is_warm_is_not_fetched_again),
		cmocka_unit_test(a_question_can_be_withdrawn_until_it_is_answered),
	};

	log_configure(LOG_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
