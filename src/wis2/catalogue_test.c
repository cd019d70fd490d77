/* Which record belongs to a message (metadata.md, sections 2 and 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "wis2/catalogue.h"

#define SYNOP "data/core/weather/surface-based-observations/synop"
#define TEMP "data/core/weather/surface-based-observations/temp"
#define ROW(name, id, centre, tail, any, fallback, want)    \
	{                                                   \
		name, id, centre, tail, any, fallback, want \
	}

static const struct {
	const char *id;
	const char *tail;
} records[] = {
	{"urn:wmo:md:de-dwd:synop", SYNOP},
	{"urn:wmo:md:fr-meteofrance:synop", SYNOP},
	{"urn:wmo:md:ca-eccc-msc:all", "data/core/weather/#"},
	{"urn:wmo:md:ca-eccc-msc:sea", "data/+/ocean/buoys"},
	{"urn:wmo:md:jp-jma:any", "#"},
};

static const struct row {
	const char *name;
	const char *id;
	const char *centre;
	const char *tail;
	bool any_owner;
	bool fallback;
	enum catalogue_answer want;
} rows[] = {
	ROW("no metadata_id", "", "de-dwd", SYNOP, false, true, CATALOGUE_YES),
	ROW("no metadata_id, no fallback", "", "de-dwd", SYNOP, false, false, CATALOGUE_YES),
	ROW("its own record", "urn:wmo:md:de-dwd:synop", "de-dwd", SYNOP, false, false,
		CATALOGUE_YES),
	ROW("another topic of the centre", "urn:wmo:md:de-dwd:synop", "de-dwd", TEMP, false, true,
		CATALOGUE_NO),
	ROW("no metadata_id, another topic", "", "de-dwd", TEMP, false, true, CATALOGUE_NO),
	ROW("a deeper topic", "", "de-dwd", SYNOP "/deep", false, true, CATALOGUE_NO),
	ROW("a shallower topic", "", "de-dwd", "data/core/weather/surface-based-observations",
		false, true, CATALOGUE_NO),
	ROW("another centre's record", "urn:wmo:md:fr-meteofrance:synop", "de-dwd", SYNOP, false,
		true, CATALOGUE_FOREIGN),
	ROW("another centre's record, any owner", "urn:wmo:md:fr-meteofrance:synop", "de-dwd",
		SYNOP, true, false, CATALOGUE_YES),
	ROW("an unknown record of another centre", "urn:wmo:md:fr-meteofrance:x", "de-dwd", SYNOP,
		false, true, CATALOGUE_FOREIGN),
	ROW("an unknown metadata_id", "urn:wmo:md:de-dwd:new", "de-dwd", SYNOP, false, true,
		CATALOGUE_BY_CENTRE),
	ROW("an unknown metadata_id, no fallback", "urn:wmo:md:de-dwd:new", "de-dwd", SYNOP, false,
		false, CATALOGUE_NO),
	ROW("a metadata_id of another form", "synop", "de-dwd", SYNOP, false, true,
		CATALOGUE_BY_CENTRE),
	ROW("a centre-id for a metadata_id", "de-dwd", "de-dwd", SYNOP, true, false, CATALOGUE_NO),
	ROW("a centre without records", "", "uk-metoffice", SYNOP, false, true, CATALOGUE_NO),
	ROW("a filter with #", "urn:wmo:md:ca-eccc-msc:all", "ca-eccc-msc", SYNOP, false, false,
		CATALOGUE_YES),
	ROW("a filter with #, by centre", "", "ca-eccc-msc", SYNOP, false, true, CATALOGUE_YES),
	ROW("outside a filter with #", "", "ca-eccc-msc", "data/core/ocean/x", false, true,
		CATALOGUE_NO),
	ROW("a filter with +", "", "ca-eccc-msc", "data/recommended/ocean/buoys", false, true,
		CATALOGUE_YES),
	ROW("a filter with + of another record", "urn:wmo:md:ca-eccc-msc:all", "ca-eccc-msc",
		"data/core/ocean/buoys", false, false, CATALOGUE_NO),
	ROW("everything of a centre", "", "jp-jma", TEMP, false, true, CATALOGUE_YES),
};

static struct catalogue *filled(void)
{
	struct catalogue *c = catalogue_new();

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		assert_true(catalogue_add(c, view_of(records[i].id), view_of(records[i].tail)));
	return c;
}

static struct catalogue_question question_of(const struct row *r)
{
	return (struct catalogue_question){
		view_of(r->id), view_of(r->centre), view_of(r->tail), r->any_owner, r->fallback};
}

static void a_message_is_matched_by_record_and_by_centre(void **state)
{
	struct catalogue *c = filled();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct catalogue_question q = question_of(&rows[i]);
		enum catalogue_answer got = catalogue_ask(c, &q);

		if (got != rows[i].want)
			fail_msg("%s: got %d, want %d", rows[i].name, (int)got, (int)rows[i].want);
	}
	catalogue_free(c);
}

static void a_pair_is_counted_once_and_a_record_of_another_form_not_at_all(void **state)
{
	struct catalogue *c = filled();
	size_t pairs = catalogue_size(c).pairs;

	(void)state;
	assert_int_equal(pairs, 5);
	assert_true(catalogue_add(c, view_of(records[0].id), view_of(records[0].tail)));
	assert_false(catalogue_add(c, view_of("urn:x-wmo:md:de-dwd:a"), view_of(SYNOP)));
	assert_false(catalogue_add(c, view_of("urn:wmo:md:de-dwd"), view_of(SYNOP)));
	assert_false(catalogue_add(c, view_of("urn:wmo:md:de-dwd:a"), view_of("data/#/x")));
	assert_false(catalogue_add(c, view_of("urn:wmo:md:de-dwd:a"), view_of("")));
	assert_int_equal(catalogue_size(c).pairs, pairs);
	catalogue_free(c);
}

static void filters_of_one_centre_are_bounded(void **state)
{
	struct catalogue *c = catalogue_new();
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < 2 * CATALOGUE_PATTERNS_OF_ONE; i++) {
		char tail[64];

		snprintf(tail, sizeof(tail), "data/core/weather/%u/#", i);
		taken += catalogue_add(c, view_of("urn:wmo:md:de-dwd:a"), view_of(tail));
	}
	assert_int_equal(taken, CATALOGUE_PATTERNS_OF_ONE);
	catalogue_free(c);
}

static void an_empty_shelf_lets_everything_pass(void **state)
{
	struct catalogue_question q = question_of(&rows[4]);
	struct catalogue *c = filled();
	struct shelf s;

	(void)state;
	shelf_init(&s);
	assert_int_equal(shelf_ask(&s, &q), CATALOGUE_YES);
	assert_false(s.missed);
	assert_null(shelf_put(&s, c));
	assert_int_equal(shelf_ask(&s, &q), CATALOGUE_NO);
	assert_true(s.missed);
	assert_ptr_equal(shelf_put(&s, NULL), c);
	assert_int_equal(shelf_ask(&s, &q), CATALOGUE_YES);
	catalogue_free(c);
	shelf_fini(&s);
}

static void a_deletion_is_noticed_with_its_record(void **state)
{
	struct view id = view_of("urn:wmo:md:de-dwd:synop");
	struct shelf s;

	(void)state;
	shelf_init(&s);
	shelf_notice(&s, (struct view){NULL, 0});
	assert_true(s.noticed);
	assert_int_equal(s.gone[0], 0);
	for (unsigned i = 0; i <= SHELF_GONE; i++)
		shelf_notice(&s, id);
	assert_int_equal(s.gone[0], shelf_hash(&s, id));
	assert_int_equal(s.gone[SHELF_GONE - 1], shelf_hash(&s, id));
	shelf_fini(&s);
}

#define MANY 100000u
#define ASKED 1000000u

/* Prints what a look-up costs; held to nothing but the answers, as machines differ. */
static void a_look_up_among_100000_records_is_cheap(void **state)
{
	struct catalogue *c = catalogue_new();
	uint64_t hits = 0, begun;
	static char ids[1024][64], tails[1024][96];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		char *id = ids[i % 1024], *tail = tails[i % 1024];

		snprintf(id, sizeof(ids[0]), "urn:wmo:md:de-dwd:record-%u", i);
		snprintf(tail, sizeof(tails[0]), "data/core/weather/surface-based-observations/x%u",
			i);
		assert_true(catalogue_add(c, view_of(id), view_of(tail)));
	}
	assert_int_equal(catalogue_size(c).pairs, MANY);
	assert_true(catalogue_size(c).bytes <= 128 * MANY);
	begun = clock_mono_ns();
	for (unsigned i = 0; i < ASKED; i++) {
		unsigned at = i * 7919u % 1024u;
		struct catalogue_question q = {.metadata_id = view_of(ids[at]),
			.centre = VIEW("de-dwd"),
			.tail = view_of(tails[at])};

		hits += catalogue_ask(c, &q) == CATALOGUE_YES;
	}
	printf("look-up: %.0f ns; %.0f bytes a record\n", (double)(clock_mono_ns() - begun) / ASKED,
		(double)catalogue_size(c).bytes / MANY);
	assert_int_equal(hits, ASKED);
	catalogue_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_matched_by_record_and_by_centre),
		cmocka_unit_test(a_pair_is_counted_once_and_a_record_of_another_form_not_at_all),
		cmocka_unit_test(filters_of_one_centre_are_bounded),
		cmocka_unit_test(an_empty_shelf_lets_everything_pass),
		cmocka_unit_test(a_deletion_is_noticed_with_its_record),
		cmocka_unit_test(a_look_up_among_100000_records_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
