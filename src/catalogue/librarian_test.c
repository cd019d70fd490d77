/* Rounds with catalogues of the test's own, under a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "catalogue/internal.h"

#define HOUR (3600ull * 1000)
#define DAY (24 * HOUR)
#define START (1767225600000ull) /* wall clock, 2026 */
#define TAIL "data/core/weather/x"
#define A "https://a.example/items"
#define B "https://b.example/items"

/* What a catalogue answers, by its address; the fetch function has no other context. */
struct answer {
	const char *url;
	enum fetch_outcome outcome;
	const char *ids[4]; /* urn:wmo:md:de-dwd:ID, each on TAIL */
	uint64_t more;      /* further records, without topics */
	unsigned asked;
	char etag_sent[BOOK_TAG_BYTES];
};

struct stage {
	char dir[64];
	struct shelf shelf;
	struct librarian *k;
	uint64_t now; /* of both clocks, from 0 */
	struct answer answers[2];
	unsigned settled;
};

/* cmocka runs one test at a time; the fetch function is given no place for it. */
static struct stage *on_stage;

static enum fetch_outcome fetch(
	struct fetcher *f, const struct fetch_request *request, struct fetch_result *result)
{
	struct answer *a =
		strcmp(request->url, A) == 0 ? &on_stage->answers[0] : &on_stage->answers[1];

	(void)f;
	*result = (struct fetch_result){.pages = 1};
	snprintf(a->etag_sent, sizeof(a->etag_sent), "%s", request->known->etag);
	a->asked++;
	for (unsigned i = 0; i < 4 && a->ids[i]; i++) {
		char *id = mem_printf("urn:wmo:md:de-dwd:%s", a->ids[i]);

		request->on_pair(request->context, view_of(id), VIEW(TAIL));
		result->figures.records++;
		free(id);
	}
	result->figures.records += a->more;
	snprintf(result->etag, sizeof(result->etag), "\"tag\"");
	if (a->outcome == FETCH_FAILED)
		snprintf(result->why, sizeof(result->why), "as the test wants it");
	return a->outcome;
}

static void settle(void *context)
{
	((struct stage *)context)->settled++;
}

static void open_stage(struct stage *s, uint32_t url_count, uint64_t grace_ms)
{
	static char *urls[] = {A, B};
	char name[80];

	shelf_init(&s->shelf);
	s->k = librarian_new(&(struct librarian_settings){.dir = s->dir,
		.shelf = &s->shelf,
		.limits = &fetch_limits_default,
		.rules = {urls, url_count, 15 * 60000, grace_ms},
		.settle = settle,
		.context = s});
	s->k->fetch = fetch;
	s->k->schedule.due_ms = 0;
	snprintf(name, sizeof(name), "%s/records", s->dir);
	assert_string_equal(s->k->file, name);
}

static void close_stage(struct stage *s)
{
	librarian_free(s->k);
	shelf_fini(&s->shelf);
}

static void begin(struct stage *s, uint32_t url_count, uint64_t grace_ms)
{
	*s = (struct stage){.dir = "/tmp/isobar-librarian-XXXXXX"};
	assert_non_null(mkdtemp(s->dir));
	on_stage = s;
	s->answers[0] = (struct answer){.url = A, .ids = {"a"}};
	s->answers[1] = (struct answer){.url = B, .ids = {"b"}};
	open_stage(s, url_count, grace_ms);
}

static void end(struct stage *s)
{
	char *file = mem_printf("%s/records", s->dir), *bad = mem_printf("%s.bad", file);

	close_stage(s);
	unlink(file);
	unlink(bad);
	assert_int_equal(rmdir(s->dir), 0);
	free(file);
	free(bad);
}

/* The clocks go on and it is looked what is due. */
static void pass(struct stage *s, uint64_t ms)
{
	s->now += ms;
	librarian_turn(s->k, s->now, START + s->now);
}

/* A round now, whatever the schedule says. */
static void pass_round(struct stage *s, uint64_t ms)
{
	s->k->schedule.due_ms = 0;
	pass(s, ms);
}

static enum catalogue_answer ask(struct stage *s, const char *id)
{
	char *whole = mem_printf("urn:wmo:md:de-dwd:%s", id);
	struct catalogue_question q = {
		.metadata_id = view_of(whole), .centre = VIEW("de-dwd"), .tail = VIEW(TAIL)};
	enum catalogue_answer answer = shelf_ask(&s->shelf, &q);

	free(whole);
	return answer;
}

/* --- tests ------------------------------------------------------------ */

static void lists_of_several_catalogues_are_merged(void **state)
{
	struct librarian_figures f;
	struct stage s;

	(void)state;
	begin(&s, 2, DAY);
	assert_int_equal(s.k->state, LIBRARIAN_NONE);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_YES);
	pass(&s, 0);
	assert_int_equal(s.k->state, LIBRARIAN_CURRENT);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	assert_int_equal(ask(&s, "b"), CATALOGUE_YES);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_NO);
	librarian_figures(s.k, &f);
	assert_int_equal(f.state, LIBRARIAN_CURRENT);
	assert_int_equal(f.list_count, 2);
	assert_int_equal(f.lists[1].records, 1);
	assert_string_equal(f.lists[1].url, B);
	end(&s);
}

static void nothing_is_freed_before_the_workers_have_settled(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	pass(&s, 0);
	assert_int_equal(s.settled, 0); /* there was nothing on the shelf */
	pass_round(&s, HOUR);
	assert_int_equal(s.settled, 1);
	end(&s);
}

static void a_failing_catalogue_does_not_take_the_others_down(void **state)
{
	struct librarian_figures f;
	struct stage s;

	(void)state;
	begin(&s, 2, DAY);
	s.answers[0].outcome = FETCH_FAILED; /* after giving a record */
	pass(&s, 0);
	assert_int_equal(s.k->state, LIBRARIAN_CURRENT);
	assert_int_equal(ask(&s, "a"), CATALOGUE_NO);
	assert_int_equal(ask(&s, "b"), CATALOGUE_YES);
	librarian_figures(s.k, &f);
	assert_int_equal(f.lists[0].failures, 1);
	assert_int_equal(f.lists[0].fetches, 1);
	assert_string_equal(f.lists[0].last_error, "as the test wants it");
	assert_int_equal(f.lists[1].failures, 0);
	end(&s);
}

static void the_last_good_list_serves_for_48_hours_and_then_everything_passes(void **state)
{
	struct librarian_figures f;
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	pass(&s, 0);
	s.answers[0].outcome = FETCH_FAILED;
	pass_round(&s, HOUR);
	assert_int_equal(s.k->state, LIBRARIAN_OLD);
	pass(&s, 47 * HOUR);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_NO);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	librarian_figures(s.k, &f);
	assert_int_equal(f.age_ms, 48 * HOUR);
	pass(&s, 1);
	assert_int_equal(s.k->state, LIBRARIAN_EXPIRED);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_YES);
	librarian_figures(s.k, &f);
	assert_int_equal(f.pairs, 0);
	s.answers[0].outcome = FETCH_LIST;
	pass_round(&s, HOUR);
	assert_int_equal(s.k->state, LIBRARIAN_CURRENT);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_NO);
	end(&s);
}

static void a_record_that_disappears_counts_for_its_grace(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	s.answers[0].ids[1] = "gone";
	pass(&s, 0);
	s.answers[0].ids[1] = NULL;
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_YES);
	pass_round(&s, DAY - HOUR - 1);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_YES);
	pass_round(&s, 1);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_NO);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	end(&s);
}

static void without_grace_it_goes_at_once_and_the_others_stay(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, 0);
	s.answers[0].ids[1] = "gone";
	pass(&s, 0);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_YES);
	s.answers[0].ids[1] = NULL;
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_NO);
	s.answers[0].outcome = FETCH_FAILED;
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	end(&s);
}

static void a_record_whose_deletion_was_notified_has_no_grace(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	s.answers[0].ids[1] = "gone";
	pass(&s, 0);
	shelf_notice(&s.shelf, view_of("urn:wmo:md:de-dwd:gone"));
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_YES); /* it is still listed */
	s.answers[0].ids[1] = NULL;
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "gone"), CATALOGUE_NO);
	end(&s);
}

static void an_unchanged_list_counts_as_seen(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, HOUR);
	pass(&s, 0);
	assert_string_equal(s.answers[0].etag_sent, "");
	s.answers[0] = (struct answer){.url = A, .outcome = FETCH_UNCHANGED};
	for (int i = 0; i < 60; i++)
		pass_round(&s, HOUR);
	assert_string_equal(s.answers[0].etag_sent, "\"tag\"");
	assert_int_equal(s.k->state, LIBRARIAN_CURRENT);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	end(&s);
}

static void an_empty_list_is_no_list(void **state)
{
	struct librarian_figures f;
	struct stage s;

	(void)state;
	begin(&s, 1, 0);
	pass(&s, 0);
	s.answers[0].ids[0] = NULL;
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	librarian_figures(s.k, &f);
	assert_string_equal(f.lists[0].last_error, "no record in it names a topic");
	assert_int_equal(f.state, LIBRARIAN_OLD);
	end(&s);
}

static void a_list_that_lost_half_its_records_is_taken_over_after_a_day(void **state)
{
	struct librarian_figures f;
	struct stage s;

	(void)state;
	begin(&s, 1, 0);
	s.answers[0].more = 200;
	pass(&s, 0);
	s.answers[0].more = 50;
	s.answers[0].ids[0] = "new";
	pass_round(&s, HOUR);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	assert_int_equal(ask(&s, "new"), CATALOGUE_NO);
	librarian_figures(s.k, &f);
	assert_string_equal(f.lists[0].last_error, "only 51 records where there were 201");
	pass_round(&s, 23 * HOUR);
	assert_int_equal(ask(&s, "new"), CATALOGUE_YES);
	end(&s);
}

static void the_list_survives_a_restart(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 2, DAY);
	pass(&s, 0);
	close_stage(&s);
	s.answers[0].outcome = s.answers[1].outcome = FETCH_FAILED;
	open_stage(&s, 2, DAY);
	librarian_judge(s.k, START + HOUR);
	assert_int_equal(s.k->state, LIBRARIAN_OLD);
	assert_int_equal(ask(&s, "b"), CATALOGUE_YES);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_NO);
	pass(&s, HOUR);
	assert_string_equal(s.answers[0].etag_sent, "\"tag\"");
	end(&s);
}

static void a_damaged_file_is_set_aside(void **state)
{
	struct stage s;
	char *bad;
	FILE *file;

	(void)state;
	begin(&s, 1, DAY);
	pass(&s, 0);
	file = fopen(s.k->file, "r+");
	assert_non_null(file);
	fputs("isobaR", file);
	fclose(file);
	close_stage(&s);
	open_stage(&s, 1, DAY);
	assert_int_equal(s.k->state, LIBRARIAN_NONE);
	bad = mem_printf("%s/records.bad", s.dir);
	assert_int_equal(access(bad, F_OK), 0);
	free(bad);
	end(&s);
}

static void a_notification_causes_a_round(void **state)
{
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	pass(&s, 0);
	shelf_notice(&s.shelf, (struct view){NULL, 0});
	pass(&s, 60000);
	assert_int_equal(s.answers[0].asked, 1);
	pass(&s, 60000);
	assert_int_equal(s.answers[0].asked, 2);
	pass(&s, 60000);
	assert_int_equal(s.answers[0].asked, 2);
	end(&s);
}

static void other_catalogues_are_asked_at_once_and_old_ones_count_for_their_grace(void **state)
{
	static char *other[] = {B};
	struct librarian_rules rules = {other, 1, 15 * 60000, DAY};
	struct stage s;

	(void)state;
	begin(&s, 1, DAY);
	pass(&s, 0);
	librarian_take_rules(s.k, &rules, s.now);
	pass(&s, 1000);
	assert_int_equal(s.answers[1].asked, 1);
	assert_int_equal(ask(&s, "a"), CATALOGUE_YES);
	assert_int_equal(ask(&s, "b"), CATALOGUE_YES);
	pass_round(&s, DAY);
	assert_int_equal(ask(&s, "a"), CATALOGUE_NO);
	rules.url_count = 0;
	librarian_take_rules(s.k, &rules, s.now);
	pass(&s, 1000);
	assert_int_equal(s.k->state, LIBRARIAN_OFF);
	assert_int_equal(ask(&s, "nobody"), CATALOGUE_YES);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_several_catalogues_are_merged),
		cmocka_unit_test(nothing_is_freed_before_the_workers_have_settled),
		cmocka_unit_test(a_failing_catalogue_does_not_take_the_others_down),
		cmocka_unit_test(the_last_good_list_serves_for_48_hours_and_then_everything_passes),
		cmocka_unit_test(a_record_that_disappears_counts_for_its_grace),
		cmocka_unit_test(without_grace_it_goes_at_once_and_the_others_stay),
		cmocka_unit_test(a_record_whose_deletion_was_notified_has_no_grace),
		cmocka_unit_test(an_unchanged_list_counts_as_seen),
		cmocka_unit_test(an_empty_list_is_no_list),
		cmocka_unit_test(a_list_that_lost_half_its_records_is_taken_over_after_a_day),
		cmocka_unit_test(the_list_survives_a_restart),
		cmocka_unit_test(a_damaged_file_is_set_aside),
		cmocka_unit_test(a_notification_causes_a_round),
		cmocka_unit_test(
			other_catalogues_are_asked_at_once_and_old_ones_count_for_their_grace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
