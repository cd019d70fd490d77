/* The verdicts of tests/data/wnm.tsv in all three modes. Run from the root of the checkout. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wis2/cases_test.h"
#include "wis2/notification.h"

#ifndef CASES_FILE
#define CASES_FILE "tests/data/wnm.tsv"
#endif

enum { NAME, LENIENT, STANDARD, STRICT, RULE, CHANNEL, KIND, PAYLOAD, FIELDS };

/* In the mildest mode that refuses a message the rule named is the first finding. */
static int judge_case(char **fields, struct view payload, enum rule_mode mode, bool mildest)
{
	struct notification_options options = {
		.mode = mode,
		.metadata_topic = strcmp(fields[KIND], "metadata") == 0,
		.cache_topic = strcmp(fields[CHANNEL], "cache") == 0,
	};
	bool want_valid = strcmp(fields[LENIENT + mode], "valid") == 0;
	struct notification note;
	struct findings found;
	enum rule rule = notification_judge(payload, &options, &note, &found);
	bool wrong = (rule == RULE_NONE) != want_valid ||
		     (mildest && rule && strcmp(rule_id(rule), fields[RULE]) != 0);

	if (wrong)
		print_error("%s mode %u: got %s, want %s %s\n", fields[NAME], (unsigned)mode,
			rule ? rule_id(rule) : "valid", fields[LENIENT + mode], fields[RULE]);
	return wrong;
}

static void every_case_gets_its_verdict_and_rule_in_every_mode(void **state)
{
	FILE *file = fopen(CASES_FILE, "r");
	char *line = NULL, *fields[FIELDS];
	size_t size = 0;
	struct view payload;
	int wrong = 0, count = 0;

	(void)state;
	assert_non_null(file);
	while (case_next(file, &line, &size, fields, FIELDS, &payload)) {
		bool refused = false;

		for (unsigned mode = MODE_LENIENT; mode <= MODE_STRICT; mode++) {
			bool refuses = strcmp(fields[LENIENT + mode], "valid") != 0;

			wrong += judge_case(
				fields, payload, (enum rule_mode)mode, refuses && !refused);
			refused |= refuses;
		}
		count++;
	}
	free(line);
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(count > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_case_gets_its_verdict_and_rule_in_every_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
