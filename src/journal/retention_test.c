/* What goes when, on a clock turned by hand; what is left of it; who reads it meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/fixture.h"

#define PAYLOAD 900
#define DAY (24 * FIXTURE_HOUR)

static _Atomic uint64_t now;

static uint64_t test_clock(void)
{
	return now;
}

struct place {
	char *dir;
	struct journal_config config;
	struct journal_system system;
	struct journal *j;
};

static void open_place(struct place *p)
{
	char *why = NULL;

	if (journal_open(&p->j, &p->config, &why) != 0)
		fail_msg("open: %s", why);
}

static int setup(void **state)
{
	struct place *p = mem_new(sizeof(*p));

	log_configure(LOG_ERROR, false);
	now = 100 * DAY;
	p->dir = fixture_folder();
	p->config = fixture_config(p->dir);
	p->system = *system_real();
	p->system.mono_ms = p->system.wall_ms = test_clock;
	p->config.system = &p->system;
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

/* Six records an hour, the keeper awake. */
static void live_for(struct place *p, uint64_t hours)
{
	for (uint64_t h = 0; h < hours; h++) {
		assert_int_equal(fixture_append_all(p->j, journal_tail(p->j), 6, 2, PAYLOAD), 0);
		now += FIXTURE_HOUR;
		keeper_pass(p->j);
	}
}

static void packets_go_by_age_and_not_sooner(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	open_place(p);
	live_for(p, 23);
	assert_int_equal(journal_head(p->j), 0);
	live_for(p, 40);
	journal_figures(p->j, &f);
	assert_true(f.oldest_ms >= DAY - 2 * FIXTURE_HOUR && f.oldest_ms <= DAY + 3 * FIXTURE_HOUR);
	assert_int_equal(f.newest_ms, FIXTURE_HOUR);
	assert_null(journal_find(p->j, journal_head(p->j) - 1));
	assert_int_equal(fixture_check(p->j, journal_head(p->j), 63 * 6, PAYLOAD), 63 * 6);
}

static void packets_go_by_size(void **state)
{
	struct place *p = *state;
	struct journal_figures f;

	p->config.size_bytes = 512 << 10;
	open_place(p);
	assert_int_equal(fixture_append_all(p->j, 0, 3000, 10, PAYLOAD), 0);
	keeper_pass(p->j);
	journal_figures(p->j, &f);
	assert_true(f.bytes <= 512 << 10);
	assert_true(f.bytes > 300 << 10);
	assert_true(journal_head(p->j) > 1500);
	assert_int_equal(fixture_check(p->j, journal_head(p->j), 3000, PAYLOAD), 3000);
}

struct counts {
	uint64_t of[7];
	uint64_t others;
};

static void on_topic(void *context, struct view topic, uint64_t count)
{
	struct counts *c = context;

	for (unsigned i = 0; i < 7; i++) {
		char name[64];

		snprintf(name, sizeof(name), "cache/a/wis2/xx-centre-%u/data", i);
		if (view_equal(topic, view_of(name))) {
			c->of[i] += count;
			return;
		}
	}
	c->others += count;
}

static void expect_counts(struct place *p, uint64_t from, uint64_t to)
{
	struct counts c = {{0}, 0};
	bool exact = false;

	journal_removed(p->j, from, on_topic, &c, &exact);
	assert_true(exact);
	assert_int_equal(c.others, 0);
	for (uint64_t i = 0; i < 7; i++) {
		uint64_t want = 0;

		for (uint64_t n = from; n < to; n++)
			want += n % 7 == i;
		assert_int_equal(c.of[i], want);
	}
}

/* As if antiloop.window had passed. */
static void remove_index_of_first(struct place *p)
{
	char *path = mem_printf("%s/0000000000.index", p->config.dir);

	assert_int_equal(unlink(path), 0);
	free(path);
}

static void what_was_removed_is_counted_by_topic(void **state)
{
	struct place *p = *state;
	struct counts c = {{0}, 0};
	uint64_t head;
	bool exact = true;

	p->config.size_bytes = 512 << 10;
	open_place(p);
	assert_int_equal(fixture_append_all(p->j, 0, 3000, 10, PAYLOAD), 0);
	keeper_pass(p->j);
	head = journal_head(p->j);
	expect_counts(p, 0, head);
	expect_counts(p, head, head);
	expect_counts(p, 5, head); /* inside a segment: its index is there */
	expect_counts(p, head - 1, head);
	remove_index_of_first(p);
	journal_removed(p->j, 5, on_topic, &c, &exact);
	assert_false(exact);
	journal_close(p->j);
	open_place(p);
	assert_true(journal_head(p->j) >= head);
	expect_counts(p, 0, journal_head(p->j));
}

static void count_ids(void *context, uint64_t seq, const struct journal_entry *e)
{
	(void)seq;
	if (now - e->time_ms > DAY)
		fail_msg("an id too old was told");
	(*(uint64_t *)context)++;
}

static void the_index_outlives_its_packets_for_the_antiloop(void **state)
{
	struct place *p = *state;
	uint64_t told = 0;
	uint64_t removed;

	p->config.size_bytes = 512 << 10;
	p->config.on_index = count_ids;
	p->config.context = &told;
	open_place(p);
	assert_int_equal(fixture_append_all(p->j, 0, 3000, 10, PAYLOAD), 0);
	keeper_pass(p->j);
	journal_close(p->j);
	open_place(p);
	assert_int_equal(told, 3000);
	removed = fixture_count(p->dir, ".index") - fixture_count(p->dir, ".packets");
	assert_true(removed > 10);
	/* A day later the index goes as well, the summaries stay. */
	now += DAY + 1;
	live_for(p, 3);
	assert_true(fixture_count(p->dir, ".index") - fixture_count(p->dir, ".packets") < 3);
	assert_true(fixture_count(p->dir, ".topics") >= removed);
	expect_counts(p, 0, 3000);
	now += SUMMARY_KEEP_MS;
	live_for(p, 3);
	assert_true(fixture_count(p->dir, ".topics") < 5);
	told = 0;
	journal_close(p->j);
	open_place(p);
	assert_int_equal(told, 18);
	assert_int_equal(journal_tail(p->j), 3036);
}

static void sequence_numbers_survive_the_removal_of_everything(void **state)
{
	struct place *p = *state;

	open_place(p);
	live_for(p, 5);
	now += 100 * DAY;
	for (int i = 0; i < 3; i++) {
		keeper_pass(p->j);
		journal_close(p->j);
		open_place(p);
		assert_int_equal(journal_tail(p->j), 30);
	}
	keeper_pass(p->j);
	assert_int_equal(journal_head(p->j), 30);
	live_for(p, 1);
	assert_int_equal(fixture_check(p->j, 30, 36, PAYLOAD), 36);
}

static void a_reader_in_its_turn_keeps_a_removed_segment_mapped(void **state)
{
	struct place *p = *state;
	const struct journal_segment *s;
	struct journal_reader r;
	struct fixture_message f;

	open_place(p);
	live_for(p, 10);
	journal_reader_open(p->j, &r);
	journal_reader_enter(&r);
	s = journal_find(p->j, 0);
	now += 2 * DAY;
	keeper_pass(p->j);
	keeper_pass(p->j);
	assert_true(journal_head(p->j) > 0);
	assert_null(journal_find(p->j, 0));
	fixture_message(&f, 0, PAYLOAD);
	assert_true(fixture_packet_is(&s->entries[0], s->packets, &f.m));
	assert_false(list_is_empty(&p->j->retired));
	journal_reader_leave(&r);
	keeper_pass(p->j);
	assert_true(list_is_empty(&p->j->retired));
	journal_reader_close(&r);
}

static void a_time_is_found_by_halving(void **state)
{
	struct place *p = *state;
	uint64_t start = now;

	open_place(p);
	live_for(p, 20);
	for (uint64_t h = 0; h < 20; h++) {
		assert_int_equal(journal_seq_at(p->j, start + h * FIXTURE_HOUR), h * 6);
		assert_int_equal(journal_seq_at(p->j, start + h * FIXTURE_HOUR + 1), h * 6 + 6);
	}
	assert_int_equal(journal_seq_at(p->j, 0), 0);
	assert_int_equal(journal_seq_at(p->j, UINT64_MAX), 120);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(packets_go_by_age_and_not_sooner),
		TEST(packets_go_by_size),
		TEST(what_was_removed_is_counted_by_topic),
		TEST(the_index_outlives_its_packets_for_the_antiloop),
		TEST(sequence_numbers_survive_the_removal_of_everything),
		TEST(a_reader_in_its_turn_keeps_a_removed_segment_mapped),
		TEST(a_time_is_found_by_halving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
