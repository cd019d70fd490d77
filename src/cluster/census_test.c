/* Who has to have a message, by the word of two masters that say what each test wants. */
#include "cluster/census.h"

#include "cluster/fixture.h"

#define SHARDS_HERE 16u
#define ACKNOWLEDGE 2u

#define REPLICA "r 127.0.0.1:3@4 slave a 0 0 1 connected\n"
#define FAILED "s 127.0.0.1:5@6 slave,fail a 0 0 1 disconnected\n"
#define SUSPECTED "s 127.0.0.1:5@6 slave,fail? a 0 0 1 disconnected\n"

struct master {
	struct played played;
	const char *nodes; /* what it says */
	bool is_silent;
	uint32_t asked;
};

struct rig {
	struct loop *loop; /* the first master's */
	struct cluster_settings settings;
	struct cluster_core core;
	struct master masters[2]; /* the first has the lower half of the slots */
	uint32_t want;
};

static bool on_command(struct played_visit *v, const struct resp *c)
{
	struct master *m = v->played->context;

	if (!played_is(c, "CLUSTER") || !view_equal(c->items[1].text, VIEW("NODES")))
		return false;
	m->asked++;
	v->is_blocked = m->is_silent;
	if (!m->is_silent)
		played_bulk(v, view_of(m->nodes));
	return true;
}

static struct rig *rig_new(const char *lower, const char *upper)
{
	struct rig *r = mem_new(sizeof(*r));
	struct played *first = &r->masters[0].played, *second = &r->masters[1].played;

	r->masters[0].nodes = lower;
	r->masters[1].nodes = upper;
	*first = (struct played){.first = on_command, .context = &r->masters[0]};
	*second = (struct played){.first = on_command, .context = &r->masters[1]};
	first->lower = second->lower = first;
	first->upper = second->upper = second;
	played_open(first, &(struct redis_config){.answer_ms = HARNESS_LIMIT_MS});
	r->loop = first->loop;
	played_listen(second, r->loop);
	r->settings.acknowledge = ACKNOWLEDGE;
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->loop,
		.redis = first->redis,
		.shards = SHARDS_HERE};
	r->core.census = census_new(&r->core);
	return r;
}

static void rig_free(struct rig *r)
{
	played_end_client(&r->masters[0].played);
	census_free(r->core.census);
	played_hang_up(&r->masters[1].played);
	played_close(&r->masters[0].played);
	free(r);
}

static bool is_answered(void *context)
{
	const struct rig *r = context;

	return count_read(&redis_figures(r->core.redis)->answered) >= r->want;
}

static bool has_map(void *context)
{
	const struct rig *r = context;

	return count_read(&redis_figures(r->core.redis)->state) == REDIS_WHOLE;
}

/* So many questions are a round. */
static void run_round(struct rig *r, uint32_t questions)
{
	drive_until(r->loop, has_map, r);
	census_begin(r->core.census);
	r->want = 2 * questions; /* each with INFO memory behind it */
	drive_until(r->loop, is_answered, r);
	assert_int_equal(r->masters[0].asked + r->masters[1].asked, questions);
}

/* The first shard that lies in this half. */
static uint32_t shard_in(bool upper)
{
	uint32_t i = 0;

	while ((claim_slot(i) >= SLOTS / 2) != upper)
		i++;
	return i;
}

#define LOWER "a 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-8191\n"
#define UPPER "a 127.0.0.1:1@2 myself,master - 0 0 1 connected 8192-16383\n"
#define LOWER_BY_ANOTHER "a 127.0.0.1:1@2 master - 0 0 1 connected 0-8191\n"
#define OTHERS "a 127.0.0.1:1@2 myself,master - 0 0 1 connected 1 [8191->-b]\n"
#define LOWER_FAILED "a 127.0.0.1:1@2 myself,master,fail - 0 0 1 connected 0-8191\n"

static void fewer_count_by_the_masters_own_word_that_the_missing_failed(void **state)
{
	static const struct {
		const char *said;
		uint8_t needed;
	} rows[] = {
		{LOWER REPLICA REPLICA, 2},
		{LOWER REPLICA FAILED, 1},
		{LOWER FAILED, 0},
		{LOWER, 0},
		{LOWER REPLICA SUSPECTED, 2},
		{LOWER SUSPECTED, 2},
		{LOWER_BY_ANOTHER FAILED, 2},
		{LOWER_FAILED FAILED, 2},
		{OTHERS FAILED, 2},
		{"no such answer", 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(rows[i].said, UPPER REPLICA REPLICA);
		uint32_t lower = shard_in(false);

		assert_int_equal(census_needed(r->core.census, lower), ACKNOWLEDGE);
		run_round(r, 2);
		assert_int_equal(census_needed(r->core.census, lower), rows[i].needed);
		assert_int_equal(
			census_needed_at(r->core.census, claim_slot(lower)), rows[i].needed);
		assert_int_equal(census_needed(r->core.census, shard_in(true)), ACKNOWLEDGE);
		rig_free(r);
	}
}

static void each_master_is_asked_once_a_round_for_all_its_shards(void **state)
{
	struct rig *r = rig_new(LOWER FAILED, UPPER FAILED);

	(void)state;
	assert_int_equal(census_silent(r->core.census), SHARDS_HERE);
	run_round(r, 2);
	assert_int_equal(census_short(r->core.census), SHARDS_HERE);
	assert_int_equal(census_silent(r->core.census), 0);
	assert_int_equal(r->masters[0].asked, 1);
	assert_int_equal(r->masters[1].asked, 1);
	rig_free(r);
}

static bool is_stale(void *context)
{
	const struct rig *r = context;

	return census_silent(r->core.census) > 0;
}

static void a_word_that_is_old_counts_for_nothing(void **state)
{
	struct rig *r = rig_new(LOWER FAILED, UPPER FAILED);
	uint32_t lower = shard_in(false);
	uint64_t began;

	(void)state;
	run_round(r, 2);
	began = loop_now_ms(r->loop);
	r->masters[0].is_silent = true;
	drive_until(r->loop, is_stale, r);
	assert_in_range(loop_now_ms(r->loop) - began, CENSUS_OLD_MS - CENSUS_EVERY_MS, INT32_MAX);
	assert_int_equal(census_needed(r->core.census, lower), ACKNOWLEDGE);
	/* The others are asked all the same. */
	assert_int_equal(census_needed(r->core.census, shard_in(true)), 0);
	rig_free(r);
}

static void a_master_that_drops_what_it_has_is_told(void **state)
{
	static const struct {
		const char *memory;
		bool evicts;
	} rows[] = {
		{"# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:noeviction\r\n", false},
		{"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", false},
		{"# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:allkeys-lru\r\n", true},
		{"# Memory\r\nmaxmemory:100\r\nmaxmemory_policy:volatile-ttl\r\n", true},
		{"# Memory\r\n", false},
	};
	uint32_t upper = 0;

	(void)state;
	for (uint32_t i = 0; i < SHARDS_HERE; i++)
		upper += claim_slot(i) >= SLOTS / 2;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig *r = rig_new(LOWER REPLICA, UPPER REPLICA);

		r->masters[1].played.memory = rows[i].memory;
		run_round(r, 2);
		assert_int_equal(census_evicting(r->core.census), rows[i].evicts ? upper : 0);
		rig_free(r);
	}
}

struct race {
	struct rig *rig;
	struct timer timer;
	uint64_t submitted;
	bool is_over;
};

static void on_late(struct timer *t)
{
	container_of(t, struct race, timer)->is_over = true;
}

static bool is_asked_or_late(void *context)
{
	const struct race *race = context;

	return race->is_over ||
	       count_read(&redis_figures(race->rig->core.redis)->submitted) > race->submitted;
}

static void who_is_in_a_hurry_does_not_wait_for_the_next_round(void **state)
{
	struct rig *r = rig_new(LOWER REPLICA, UPPER REPLICA);
	struct race race = {.rig = r, .timer.on_time = on_late};

	(void)state;
	run_round(r, 2);
	race.submitted = count_read(&redis_figures(r->core.redis)->submitted);
	census_hurry(r->core.census);
	timer_start(r->loop, &race.timer, CENSUS_EVERY_MS / 2);
	drive_until(r->loop, is_asked_or_late, &race);
	assert_false(race.is_over);
	timer_stop(r->loop, &race.timer);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fewer_count_by_the_masters_own_word_that_the_missing_failed),
		cmocka_unit_test(each_master_is_asked_once_a_round_for_all_its_shards),
		cmocka_unit_test(a_word_that_is_old_counts_for_nothing),
		cmocka_unit_test(a_master_that_drops_what_it_has_is_told),
		cmocka_unit_test(who_is_in_a_hurry_does_not_wait_for_the_next_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
