/* The verdicts of tests/data/topics.tsv, by default and with leaf = only. Run from the root of the
 * checkout. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "wis2/cases_test.h"
#include "wis2/topic.h"

enum { VERDICT, LEAF_ONLY, RULE, KIND, TOPIC, FIELDS };

static int judge_case(char **fields, struct view topic, bool leaf_only)
{
	static const char *const kinds[] = {"-", "data", "metadata", "monitor"};
	struct topic_options options = {.leaf_only = leaf_only, .test_centres = true};
	const char *want = fields[leaf_only ? LEAF_ONLY : VERDICT];
	struct topic_parts parts;
	struct findings found;
	enum rule rule = topic_judge(hierarchy_built_in(), topic, &options, &parts, &found);
	bool wrong = (rule == RULE_NONE) != (strcmp(want, "valid") == 0) ||
		     (rule && strcmp(rule_id(rule), fields[RULE]) != 0) ||
		     (fields[KIND][0] != '-' && strcmp(kinds[parts.kind], fields[KIND]) != 0);

	if (wrong)
		print_error("%.*s: got %s, kind %s, want %s %s, kind %s\n", VIEW_ARG(topic),
			rule ? rule_id(rule) : "valid", kinds[parts.kind], want, fields[RULE],
			fields[KIND]);
	return wrong;
}

static void every_case_gets_its_verdict_rule_and_kind(void **state)
{
	FILE *file = fopen("tests/data/topics.tsv", "r");
	char *line = NULL, *fields[FIELDS];
	size_t size = 0;
	struct view topic;
	int wrong = 0, count = 0;

	(void)state;
	assert_non_null(file);
	while (case_next(file, &line, &size, fields, FIELDS, &topic)) {
		wrong += judge_case(fields, topic, false) + judge_case(fields, topic, true);
		count++;
	}
	free(line);
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(count > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_case_gets_its_verdict_rule_and_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
