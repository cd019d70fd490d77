/* Made-up notifications are what they claim to be: valid, or broken by the rule that is named. */
#include "cli/generate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "commit/gate.h"
#include "wis2/topic.h"

#define WALL_MS 1774094864123u /* 2026-03-21T12:07:44.123Z */

static struct generate_request request(uint32_t dataset, enum broken broken, uint32_t size)
{
	return (struct generate_request){.centre = VIEW("io-wis2dev-11-test"),
		.dataset = dataset,
		.serial = 7,
		.wall_ms = WALL_MS,
		.size_bytes = size,
		.id = VIEW("0f8fad5b-d9cb-469f-a165-70867728950e"),
		.broken = broken};
}

static const char *judge(enum broken broken, uint32_t dataset, enum rule_mode mode)
{
	struct hierarchy *h = hierarchy_built_in();
	char *centres[] = {"io-wis2dev-11-test"};
	struct gate_policy policy = {
		.channels = GATE_ORIGIN, .centres = centres, .centre_count = 1};
	struct generate_request q = request(dataset, broken, 1200);
	struct random r = {dataset};
	struct buf topic = {0}, payload = {0};
	struct gate_verdict verdict;

	gate_settings_default(&policy.settings);
	policy.settings.message_mode = mode;
	gate_policy_compile(&policy);
	generate_topic(&q, &topic);
	generate_payload(&r, &q, &payload);
	gate_judge(h, &policy, buf_view(&topic), buf_view(&payload), &verdict);
	buf_fini(&topic);
	buf_fini(&payload);
	hierarchy_unref(h);
	return rule_id(verdict.rule);
}

static void every_dataset_is_valid_even_in_mode_strict(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < generate_dataset_count(); i++)
		assert_string_equal(judge(BROKEN_NOT, i, MODE_STRICT), "");
}

static void each_broken_kind_breaks_the_rule_it_names(void **state)
{
	(void)state;
	for (enum broken b = BROKEN_NOT + 1; b < BROKEN_COUNT; b++)
		assert_string_equal(judge(b, 0, MODE_STANDARD), broken_rule(b));
}

static void the_size_is_what_was_asked_for(void **state)
{
	static const uint32_t sizes[] = {1100, 1200, 1201, 2000, 5000, 8192};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct generate_request q = request((uint32_t)i, BROKEN_NOT, sizes[i]);
		struct random r = {i};
		struct buf payload = {0};

		generate_payload(&r, &q, &payload);
		if (buf_length(&payload) > sizes[i] || buf_length(&payload) + 8 < sizes[i])
			fail_msg("%u wanted, %zu got", sizes[i], buf_length(&payload));
		buf_fini(&payload);
	}
}

static void id_and_extra_have_fixed_places(void **state)
{
	struct generate_request q = request(0, BROKEN_NOT, 0);
	struct random r = {1};
	struct buf payload = {0};

	(void)state;
	q.extra = VIEW(",\"bench\":\"x\"");
	generate_payload(&r, &q, &payload);
	assert_true(view_starts_with(buf_view(&payload),
		VIEW("{\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"bench\":\"x\",\"conf")));
	buf_fini(&payload);
}

static void the_same_seed_gives_the_same_bytes_and_another_does_not(void **state)
{
	struct generate_request q = request(0, BROKEN_NOT, 1200);
	struct random r[3] = {{5}, {5}, {6}};
	struct buf payload[3] = {{0}, {0}, {0}};

	(void)state;
	for (int i = 0; i < 3; i++)
		generate_payload(&r[i], &q, &payload[i]);
	assert_true(view_equal(buf_view(&payload[0]), buf_view(&payload[1])));
	assert_false(view_equal(buf_view(&payload[0]), buf_view(&payload[2])));
	for (int i = 0; i < 3; i++)
		buf_fini(&payload[i]);
}

static void test_centres_are_those_of_the_official_tests(void **state)
{
	static const struct {
		uint32_t i;
		const char *name;
	} rows[] = {
		{0, "io-wis2dev-11-test"}, {9, "io-wis2dev-20-test"}, {10, "io-wis2dev-100-test"}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[GENERATE_CENTRE_BYTES];

		generate_centre(rows[i].i, name);
		assert_string_equal(name, rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_dataset_is_valid_even_in_mode_strict),
		cmocka_unit_test(each_broken_kind_breaks_the_rule_it_names),
		cmocka_unit_test(the_size_is_what_was_asked_for),
		cmocka_unit_test(id_and_extra_have_fixed_places),
		cmocka_unit_test(the_same_seed_gives_the_same_bytes_and_another_does_not),
		cmocka_unit_test(test_centres_are_those_of_the_official_tests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
