/* What other threads see of the nodes. */
#include "cluster/roll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEXT(text) (char *)(uintptr_t)(text)

static void fill(struct nodes *n, struct node *list)
{
	list[0] = (struct node){.name = TEXT("a"),
		.field = TEXT(""),
		.version = TEXT(""),
		.advertise = TEXT("mqtt://a"),
		.roles = NODE_SUBSCRIBERS,
		.alive = true,
		.figures = {[NODE_CLIENTS] = 1}};
	list[1] = list[0];
	list[1].name = TEXT("b");
	list[1].advertise = TEXT("mqtt://b");
	list[2] = list[1];
	list[2].name = TEXT("c");
	list[2].advertise = TEXT("");
	*n = (struct nodes){.list = list, .count = 3, .taken_ms = 77};
}

static void of_itself_a_node_shows_what_is_so_now(void **state)
{
	struct node list[3];
	struct nodes nodes;
	struct nodes_sum sum;
	struct roll r;

	(void)state;
	fill(&nodes, list);
	roll_init(&r, "a");
	assert_int_equal(roll_sum(&r, &sum), 0);
	roll_set(&r, &nodes);
	assert_int_equal(roll_sum(&r, &sum), 77);
	assert_int_equal(sum.figures[NODE_CLIENTS], 3);
	roll_set_own(&r, (uint64_t[NODE_FIGURES]){[NODE_CLIENTS] = 10});
	roll_sum(&r, &sum);
	assert_int_equal(sum.figures[NODE_CLIENTS], 12);
	roll_set(&r, &nodes); /* as it was a second ago */
	roll_sum(&r, &sum);
	assert_int_equal(sum.figures[NODE_CLIENTS], 12);
	roll_fini(&r);
}

static void elsewhere_is_what_another_living_node_advertises(void **state)
{
	struct node list[3];
	struct nodes nodes;
	struct roll r;
	char *nowhere_known;

	(void)state;
	fill(&nodes, list);
	roll_init(&r, "a");
	assert_null(roll_elsewhere(&r));
	roll_set(&r, &nodes);
	for (unsigned i = 0; i < 3; i++) {
		char *found = roll_elsewhere(&r);

		assert_string_equal(found, "mqtt://b");
		free(found);
	}
	list[1].alive = false;
	roll_set(&r, &nodes);
	nowhere_known = roll_elsewhere(&r); /* c is there, wherever its clients find it */
	assert_string_equal(nowhere_known, "");
	free(nowhere_known);
	list[2].roles = NODE_SOURCES;
	roll_set(&r, &nodes);
	assert_null(roll_elsewhere(&r));
	roll_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_itself_a_node_shows_what_is_so_now),
		cmocka_unit_test(elsewhere_is_what_another_living_node_advertises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
