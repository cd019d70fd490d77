/* What a node tells of itself, from counters and times alone. */
#include "cluster/vitals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void rates_are_over_the_last_five_beats(void **state)
{
	static const struct {
		uint64_t at;
		uint64_t received;
		uint64_t want; /* in thousandths a second */
	} rows[] = {
		{1000, 100, NODE_UNTOLD},
		{2000, 110, 10000},
		{3000, 110, 5000},
		{4000, 110, 3333},
		{5000, 110, 2500},
		{6000, 110, 2000},
		{7000, 110, 0}, /* the first look is forgotten */
		{8500, 110, 0},
		{9500, 5, 0}, /* began anew */
		{10500, 5, 0},
		{11500, 5, 0},
		{12500, 5, 0},
		{13500, 5, 0},
		{14500, 15, 2000},
	};
	struct vitals v = {0};
	struct cluster_figures cluster = {0};
	uint64_t figures[NODE_FIGURES];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cluster_vitals own = {.received = rows[i].received};

		vitals_take(&v, &cluster, &own, CLUSTER_HOLD, rows[i].at, figures);
		if (figures[NODE_RECEIVED] != rows[i].want)
			fail_msg("row %zu: %llu", i, (unsigned long long)figures[NODE_RECEIVED]);
	}
}

static void the_mode_is_the_worst_that_is_so(void **state)
{
	static const struct {
		enum cluster_state state;
		enum cluster_failure failure;
		const char *degraded;
		bool failed;
		bool held;
		enum node_mode want;
	} rows[] = {
		{CLUSTER_OPEN, CLUSTER_HOLD, NULL, false, false, MODE_OK},
		{CLUSTER_OPEN, CLUSTER_HOLD, "x", false, false, MODE_DEGRADED},
		{CLUSTER_OPEN, CLUSTER_HOLD, NULL, false, true, MODE_DEGRADED},
		{CLUSTER_DRAINING, CLUSTER_SPOOL, "x", false, false, MODE_COMMITTING},
		{CLUSTER_HOLDING, CLUSTER_LOCAL, "x", false, false, MODE_HOLDING},
		{CLUSTER_SPOOLING, CLUSTER_SPOOL, "x", false, false, MODE_SPOOLING},
		{CLUSTER_SPOOLING, CLUSTER_LOCAL, "x", false, false, MODE_LOCAL},
		{CLUSTER_SPOOLING, CLUSTER_LOCAL, "x", true, true, MODE_FAILED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cluster_figures cluster = {
			.state = rows[i].state, .degraded = rows[i].degraded};
		struct cluster_vitals own = {
			.journal_failed = rows[i].failed, .journal_held = rows[i].held};
		struct vitals v = {0};
		uint64_t figures[NODE_FIGURES];

		vitals_take(&v, &cluster, &own, rows[i].failure, 1000, figures);
		if (figures[NODE_MODE] != rows[i].want)
			fail_msg("row %zu: %s", i, node_mode_text(figures[NODE_MODE]));
	}
}

static void every_figure_is_written(void **state)
{
	struct cluster_figures cluster = {.redis_state = 2,
		.lag_entries = 3,
		.lag_ms = 4,
		.spool_messages = 5,
		.shards = {[FOLLOW_LIVE] = 10, [FOLLOW_BEHIND] = 4, [FOLLOW_HELD] = 2}};
	struct cluster_vitals own = {.uptime_ms = 7999,
		.sessions = 30,
		.offline = 8,
		.behind = 2,
		.received = 1,
		.published = 2,
		.delivered = 3,
		.sources_held = 9,
		.sources_connected = 6};
	static const uint64_t want[NODE_FIGURES] = {[NODE_REDIS] = 2,
		[NODE_UPTIME] = 7,
		[NODE_CLIENTS] = 22,
		[NODE_OFFLINE] = 8,
		[NODE_SESSIONS] = 30,
		[NODE_BEHIND] = 2,
		[NODE_RECEIVED] = 1000,
		[NODE_PUBLISHED] = 2000,
		[NODE_DELIVERED] = 3000,
		[NODE_HELD] = 9,
		[NODE_CONNECTED] = 6,
		[NODE_LAG] = 3,
		[NODE_LAG_TIME] = 4,
		[NODE_SHARDS] = 6,
		[NODE_SPOOL] = 5};
	struct vitals v = {0};
	uint64_t figures[NODE_FIGURES];

	(void)state;
	vitals_take(&v, &cluster, &(struct cluster_vitals){0}, CLUSTER_HOLD, 1000, figures);
	vitals_take(&v, &cluster, &own, CLUSTER_HOLD, 2000, figures);
	for (unsigned i = 0; i < NODE_FIGURES; i++)
		assert_int_equal(figures[i], want[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_over_the_last_five_beats),
		cmocka_unit_test(the_mode_is_the_worst_that_is_so),
		cmocka_unit_test(every_figure_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
