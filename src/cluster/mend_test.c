/* What is put back, against a Redis that takes all claims and says of some that it has them. That a real
 * one which lost its last seconds is whole again is in tests/e2e/test_cluster_follow.py. */
#include "cluster/mend.h"

#include "cluster/fixture.h"

#include "cluster/census.h"
#include "cluster/record.h"
#include "cluster/stream.h"
#include "cluster/writer.h"
#include "commit/fixture.h"
#include "commit/follow.h"

#define SHARD 3u
#define KEEP_MS 3600000u
#define CLOCK_MS 1700000000000ull /* Redis', when it is asked */
#define NODES                                                       \
	"a 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-16383\n" \
	"b 127.0.0.1:3@4 slave a 0 0 1 connected\n"

struct rig {
	char dir[FIXTURE_DIR_BYTES];
	struct cluster_settings settings;
	struct cluster_core core;
	struct writer *writer;
	struct mend *mend;
	struct played redis;
	struct buf
		claimed; /* ids, "1 2 "; behind one that is to be retained what is said of that */
	uint32_t knows;  /* this id */
	bool is_silent;
};

/* --- Redis ----------------------------------------------------------------------- */

static void claim_one(struct played_visit *v, struct rig *r, const struct resp *key,
	const struct resp *terms, const struct resp *record)
{
	struct view rest = terms->text;
	char answer[64];
	struct record m;
	uint32_t id;

	view_cut(&rest, ' ');
	memcpy(&id, key->text.p + key->text.n - 16, sizeof(id));
	assert_int_equal(record_decode(record->text, &m), 0);
	assert_memory_equal(m.id.b, &id, sizeof(id));
	buf_printf(&r->claimed, "%u", id);
	if (rest.n)
		buf_printf(&r->claimed, "(%.*s)", VIEW_ARG(rest));
	buf_text(&r->claimed, " ");
	snprintf(answer, sizeof(answer), "%c%llu", id == r->knows ? '-' : '+',
		(unsigned long long)(1000 * (uint64_t)CLAIM_TOKENS + CLAIM_TOKENS - 1));
	played_bulk(v, view_of(answer));
}

static void serve_claims(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;
	uint32_t keys = (uint32_t)strtoul(c->items[2].text.p, NULL, 10);
	uint32_t n = (c->count - 3 - keys - 3) / 2;

	played_array(v, n);
	for (uint32_t i = 0; i < n; i++)
		claim_one(v, r, &c->items[4 + i], &c->items[3 + keys + 3 + 2 * i],
			&c->items[3 + keys + 3 + 2 * i + 1]);
}

static bool on_command(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "EVALSHA") && r->is_silent)
		v->is_blocked = true;
	else if (played_is(c, "EVALSHA"))
		serve_claims(v, c);
	else if (played_is(c, "CLUSTER") && view_equal(c->items[1].text, VIEW("NODES")))
		played_bulk(v, view_of(NODES));
	else
		return false;
	return true;
}

static void serve(struct played_visit *v, const struct resp *c)
{
	(void)v;
	fail_msg("not expected: %.*s", VIEW_ARG(c->items[0].text));
}

/* --- the rig --------------------------------------------------------------------- */

static int set_up_with(void **state, enum cluster_failure on_failure)
{
	struct rig *r = mem_new(sizeof(*r));
	char *why = NULL;

	r->redis =
		(struct played){.first = on_command, .serve = serve, .context = r, .replicas = 1};
	played_open(&r->redis, &(struct redis_config){.answer_ms = HARNESS_LIMIT_MS});
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->redis.loop,
		.redis = r->redis.redis,
		.commit = fixture_open_commit(r->dir, 1000),
		.name = (char *)(uintptr_t) "node/1",
		.shards = SHARDS};
	r->settings = (struct cluster_settings){.dir = r->dir,
		.acknowledge = 1,
		.on_failure = on_failure,
		.spool_bytes = 64u << 20,
		.window_ms = KEEP_MS,
		.stream_keep_ms = KEEP_MS,
		.sync = JOURNAL_SYNC_NEVER};
	r->core.census = census_new(&r->core);
	assert_int_equal(writer_new(&r->writer, &r->core, &why), 0);
	r->mend = mend_new(&r->core, r->writer);
	census_begin(r->core.census);
	writer_start(r->writer);
	writer_begin(r->writer);
	*state = r;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, CLUSTER_HOLD);
}

static int set_up_spool(void **state)
{
	return set_up_with(state, CLUSTER_SPOOL);
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	mend_free(r->mend);
	writer_free(r->writer);
	census_free(r->core.census);
	played_close(&r->redis);
	fixture_close_commit(r->dir, r->core.commit);
	buf_fini(&r->claimed);
	free(r);
	return 0;
}

static uint64_t at(uint64_t ms_before)
{
	return place_pack((struct log_place){CLOCK_MS - ms_before, 1});
}

/* Into the journal, as the shared log had it so long before. */
static void have(struct rig *r, uint32_t id, uint32_t shard, uint64_t ms_before, uint8_t flags)
{
	struct commit_record record = {.message = {.topic = VIEW("free/t"),
					       .payload = VIEW("payload"),
					       .properties = VIEW("\x03\x00\x01t"),
					       .log_id = at(ms_before),
					       .shard = (uint8_t)shard,
					       .flags = flags,
					       .qos = 1}};
	struct commit_line line = {.records = &record, .n = 1};

	memcpy(record.message.id.b, &id, sizeof(id));
	assert_int_equal(commit_follow(r->core.commit, &line, 1), 0);
}

static bool is_over(void *context)
{
	const struct rig *r = context;

	return !mend_is_busy(r->mend, SHARD);
}

static void expect(struct rig *r, uint64_t found, uint64_t upto, const char *want)
{
	mend_shard(r->mend, SHARD, found, upto, CLOCK_MS);
	drive_until(r->redis.loop, is_over, r);
	buf_append(&r->claimed, "", 1);
	assert_string_equal(buf_bytes(&r->claimed), want);
	buf_clear(&r->claimed);
}

/* --- tests -------------------------------------------------------------------------- */

static void what_stands_behind_the_place_in_its_shard_is_claimed_once_more(void **state)
{
	struct rig *r = *state;

	have(r, 1, SHARD, 5000, JOURNAL_CLAIMED);
	have(r, 2, SHARD, 4000, JOURNAL_CLAIMED);
	have(r, 3, SHARD + 1, 3000, JOURNAL_CLAIMED);
	have(r, 4, SHARD, 3000, JOURNAL_CLAIMED);
	have(r, 5, SHARD, 2000, JOURNAL_CLAIMED | JOURNAL_HIDDEN);
	have(r, 6, SHARD, 1000, JOURNAL_CLAIMED);
	have(r, 7, SHARD, 500, JOURNAL_CLAIMED); /* came since it was asked */
	r->knows = 4;                            /* another node was first */
	expect(r, at(5000), at(1000), "2 4 6 ");
	assert_int_equal(count_read(&writer_figures(r->writer)->put_back), 2);
	assert_int_equal(writer_mended(r->writer, SHARD), 2);
}

static void of_one_that_was_retained_the_script_is_told_where_it_stood(void **state)
{
	struct rig *r = *state;

	have(r, 1, SHARD, 4000, JOURNAL_RETAIN);
	expect(r, at(5000), at(0), "1(0@1699999996000-1 free/t) ");
}

static void nothing_is_put_back_that_the_stream_would_not_keep(void **state)
{
	struct rig *r = *state;

	have(r, 1, SHARD, KEEP_MS + 1000, JOURNAL_CLAIMED);
	have(r, 2, SHARD, KEEP_MS - 1000, JOURNAL_CLAIMED);
	expect(r, at(2 * KEEP_MS), at(0), "2 ");
}

static void where_nothing_is_left_only_what_is_young_is_put_back(void **state)
{
	struct rig *r = *state;

	have(r, 1, SHARD, 301000, 0);
	have(r, 2, SHARD, 299000, 0);
	expect(r, 0, at(0), "2 ");
}

static void many_go_in_several_calls(void **state)
{
	struct rig *r = *state;
	struct buf want = {0};

	for (uint32_t id = 1; id <= 300; id++) {
		have(r, id, SHARD, 5000 - id, JOURNAL_CLAIMED);
		buf_printf(&want, "%u ", id);
	}
	buf_append(&want, "", 1);
	expect(r, at(5000), at(0), (const char *)buf_bytes(&want));
	buf_fini(&want);
}

static bool holds(void *context)
{
	const struct rig *r = context;

	return count_read(&writer_figures(r->writer)->state) == CLUSTER_HOLDING;
}

static void while_redis_is_out_of_reach_it_waits(void **state)
{
	struct rig *r = *state;

	for (uint32_t id = 1; id <= 100; id++)
		have(r, id, SHARD, 5000 - id, JOURNAL_CLAIMED);
	r->is_silent = true;
	mend_shard(r->mend, SHARD, at(5000), at(0), CLOCK_MS);
	drive_until(r->redis.loop, holds, r);
	assert_true(mend_is_busy(r->mend, SHARD));
	r->is_silent = false;
	played_cut(&r->redis);
	drive_until(r->redis.loop, is_over, r);
	assert_int_equal(writer_mended(r->writer, SHARD), 100);
}

static bool spools(void *context)
{
	const struct rig *r = context;

	return count_read(&writer_figures(r->writer)->state) == CLUSTER_SPOOLING;
}

static bool has_all(void *context)
{
	const struct rig *r = context;

	return !mend_is_busy(r->mend, SHARD) &&
	       memmem(buf_bytes(&r->claimed), buf_length(&r->claimed), " 100 ", 5) != NULL;
}

static void what_is_put_back_does_not_go_to_the_spool(void **state)
{
	struct rig *r = *state;

	for (uint32_t id = 1; id <= 100; id++)
		have(r, id, SHARD, 5000 - id, JOURNAL_CLAIMED);
	r->is_silent = true;
	mend_shard(r->mend, SHARD, at(5000), at(0), CLOCK_MS);
	drive_until(r->redis.loop, spools, r);
	assert_int_equal(count_read(&writer_figures(r->writer)->spooled), 0);
	r->is_silent = false;
	played_cut(&r->redis);
	drive_until(r->redis.loop, has_all, r);
	assert_non_null(memmem(buf_bytes(&r->claimed), buf_length(&r->claimed), "1 2 3 ", 6));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_stands_behind_the_place_in_its_shard_is_claimed_once_more),
		TEST(of_one_that_was_retained_the_script_is_told_where_it_stood),
		TEST(nothing_is_put_back_that_the_stream_would_not_keep),
		TEST(where_nothing_is_left_only_what_is_young_is_put_back),
		TEST(many_go_in_several_calls),
		TEST(while_redis_is_out_of_reach_it_waits),
		cmocka_unit_test_setup_teardown(
			what_is_put_back_does_not_go_to_the_spool, set_up_spool, tear_down),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
