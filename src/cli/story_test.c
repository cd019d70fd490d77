/* What a story says it sent is what it sent. */
#include "cli/story.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/mem.h"

#define MESSAGES 5000

static struct story *begin(uint64_t seed, bool foreign)
{
	struct story *s = mem_new(sizeof(*s));

	story_init(s, seed);
	s->duplicates = 0.2;
	s->invalid = 0.1;
	s->foreign = foreign;
	assert_true(story_add_centre(s, VIEW("io-wis2dev-11-test")));
	assert_true(story_add_centre(s, VIEW("io-wis2dev-12-test")));
	return s;
}

static void end(struct story *s, struct story_message *m)
{
	buf_fini(&m->topic);
	buf_fini(&m->payload);
	story_fini(s);
	free(s);
}

static uint64_t reported(const struct story *s, const char *name)
{
	struct buf out = {0};
	json_t *report;
	uint64_t value;

	buf_text(&out, "{");
	story_report(s, &out);
	buf_text(&out, "}");
	report = json_loadb((const char *)buf_bytes(&out), buf_length(&out), 0, NULL);
	assert_non_null(report);
	value = (uint64_t)json_integer_value(json_object_get(report, name));
	json_decref(report);
	buf_fini(&out);
	return value;
}

/* Every payload is put into a map: what is there already is a repeat. */
static void repeats_are_the_same_bytes_and_are_counted(void **state)
{
	struct story *s = begin(1, true);
	struct story_message m = {.centre = 0};
	struct map seen = {0};
	uint64_t repeats = 0;
	size_t at = 0;
	void *kept;

	(void)state;
	for (int i = 0; i < MESSAGES; i++) {
		char *text;

		story_next(s, 1774094864123u, &m);
		text = mem_text_of(buf_view(&m.payload));
		repeats += map_get(&seen, view_of(text)) != NULL;
		free(map_put(&seen, view_of(text), text));
	}
	assert_int_equal(reported(s, "sent"), MESSAGES);
	assert_int_equal(reported(s, "duplicates"), repeats);
	assert_in_range(repeats, MESSAGES * 15 / 100, MESSAGES * 25 / 100);
	assert_int_equal(reported(s, "valid") + reported(s, "duplicates") + reported(s, "invalid"),
		MESSAGES);
	assert_int_equal(seen.count, reported(s, "valid") + reported(s, "invalid"));
	while ((kept = map_next(&seen, &at)) != NULL)
		free(kept);
	map_fini(&seen);
	end(s, &m);
}

static void every_broken_kind_takes_its_turn(void **state)
{
	(void)state;
	for (int foreign = 0; foreign < 2; foreign++) {
		struct story *s = begin(2, foreign);
		struct story_message m = {.centre = 0};

		for (int i = 0; i < MESSAGES; i++)
			story_next(s, 1774094864123u, &m);
		for (enum broken b = BROKEN_NOT + 1; b < BROKEN_COUNT; b++)
			assert_int_equal(s->broken[b] > 0, b != BROKEN_FOREIGN || foreign);
		end(s, &m);
	}
}

static void a_seed_tells_the_same_story(void **state)
{
	struct story *a = begin(3, true), *b = begin(3, true);
	struct story_message x = {.centre = 0}, y = {.centre = 0};

	(void)state;
	for (int i = 0; i < 100; i++) {
		story_next(a, 5, &x);
		story_next(b, 5, &y);
		assert_true(view_equal(buf_view(&x.payload), buf_view(&y.payload)));
		assert_true(view_equal(buf_view(&x.topic), buf_view(&y.topic)));
	}
	end(a, &x);
	end(b, &y);
}

static void centres_have_the_form_of_centre_ids(void **state)
{
	static const struct {
		const char *name;
		bool want;
	} rows[] = {{"de-dwd", true}, {"io-wis2dev-11-test", true}, {"d-dwd", false}, {"de", false},
		{"de-", false}, {"de--dwd", false}, {"de-DWD", false}, {"de-d/d", false},
		{"", false},
		{"de-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}};
	struct story *s = begin(4, false);
	struct story_message m = {.centre = 0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (story_add_centre(s, view_of(rows[i].name)) != rows[i].want)
			fail_msg("%s", rows[i].name);
	}
	end(s, &m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(repeats_are_the_same_bytes_and_are_counted),
		cmocka_unit_test(every_broken_kind_takes_its_turn),
		cmocka_unit_test(a_seed_tells_the_same_story),
		cmocka_unit_test(centres_have_the_form_of_centre_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
