/* The follower against a server of streams that does as each test wants: replicas that are late,
 * connections that end, replies that are too large, a journal that takes nothing. What a real
 * cluster does is in tests/e2e/test_cluster_follow.py. */
#include "cluster/follower.h"

#include "cluster/fixture.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/error.h"
#include "cluster/census.h"
#include "cluster/record.h"
#include "commit/retaining.h"
#include "journal/system.h"

#define SHARDS_HERE 2u
#define ENTRIES_MOST 300u
#define RUN_ID "run_id:0123456789012345678901234567890123456789\r\n"
#define EMPTY_PAGE "*2\r\n$1\r\n0\r\n*0\r\n"

/* --- the server: streams of two shards ------------------------------------------- */

struct stream {
	struct buf entries[ENTRIES_MOST]; /* records; the places are 1-0, 2-0 ... of 2020 */
	uint32_t count;
	struct played_visit *waiting; /* in XREAD BLOCK, behind this place */
	uint64_t after;
};

struct rig {
	struct played redis;
	char dir[64];
	struct cluster_settings settings;
	struct cluster_core core;
	struct follower *follower;
	struct stream streams[SHARDS_HERE];
	uint32_t asks_largest; /* a read that asks for more loses its connection */
	uint32_t asked_least;
	uint32_t waits;
	uint32_t enough_after; /* so many WAITs find no replica */
	uint32_t cut_after;    /* the connection ends at that WAIT; 0: never */
	uint32_t pages;        /* of what is retained, asked for */
	bool has_pages;        /* an empty one; else the answer is of no use */
	bool is_slow;          /* nothing comes for shard 0 ... */
	bool has_slowed;       /* which was asked */
	uint64_t want;
};

static uint64_t place_of(uint32_t i)
{
	return 1600000000000ull + 60000 + i;
}

static void say_entries(struct played_visit *v, uint32_t shard, uint64_t after, uint32_t most)
{
	const struct stream *s = &((struct rig *)v->played->context)->streams[shard];
	char key[16];
	uint32_t n = 0, from = 0;

	while (from < s->count && place_of(from) <= after)
		from++;
	n = s->count - from < most ? s->count - from : most;
	snprintf(key, sizeof(key), "{%u}:log", shard);
	played_array(v, 1);
	played_array(v, 2);
	played_bulk(v, view_of(key));
	played_array(v, n);
	for (uint32_t i = from; i < from + n; i++) {
		char place[LOG_PLACE_BYTES];

		log_place_format((struct log_place){place_of(i), 0}, place);
		played_array(v, 2);
		played_bulk(v, view_of(place));
		played_array(v, 2);
		played_bulk(v, VIEW("m"));
		played_bulk(v, buf_view(&s->entries[i]));
	}
}

static void serve_read(struct played_visit *v, struct rig *r, const struct resp *c)
{
	uint32_t most = (uint32_t)strtoul(played_word(c, 2).p, NULL, 10);
	uint32_t shard = (uint32_t)strtoul(played_word(c, c->count - 2).p + 1, NULL, 10);
	struct stream *s = &r->streams[shard];
	struct log_place after;

	assert_true(log_place_parse(played_word(c, c->count - 1), &after));
	r->asked_least = most < r->asked_least ? most : r->asked_least;
	if (most > r->asks_largest) {
		conn_close(&v->conn, 0, NULL);
	} else if (s->count && place_of(s->count - 1) > after.ms) {
		say_entries(v, shard, after.ms, most);
	} else if (view_equal(played_word(c, 3), VIEW("BLOCK"))) {
		s->waiting = v;
		s->after = after.ms;
	} else {
		played_say(v, "*-1\r\n");
	}
}

/* WAIT is the only one that the player would have answered. */
static bool serve_wait(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (!played_is(c, "WAIT"))
		return false;
	r->waits++;
	if (r->waits == r->cut_after)
		conn_close(&v->conn, 0, NULL);
	else
		played_integer(v, r->waits > r->enough_after);
	return true;
}

static void serve_state(struct played_visit *v, const struct rig *r, const struct resp *c)
{
	uint32_t shard = (uint32_t)strtoul(played_word(c, 2).p + 1, NULL, 10);
	uint32_t added = r->streams[shard].count;
	char place[LOG_PLACE_BYTES];

	log_place_format((struct log_place){added ? place_of(added - 1) : 0, 0}, place);
	played_array(v, 4);
	played_bulk(v, VIEW("last-generated-id"));
	played_bulk(v, view_of(place));
	played_bulk(v, VIEW("entries-added"));
	played_integer(v, added);
}

static void serve_page(struct played_visit *v, struct rig *r, const struct resp *c)
{
	if (r->is_slow && played_word(c, 1).p[1] == '0') {
		v->is_blocked = r->has_slowed = true;
		return;
	}
	r->pages++;
	played_say(v, r->has_pages ? EMPTY_PAGE : "*0\r\n");
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "INFO"))
		played_bulk(v, VIEW(RUN_ID));
	else if (played_is(c, "XINFO"))
		serve_state(v, r, c);
	else if (played_is(c, "XREAD"))
		serve_read(v, r, c);
	else
		serve_page(v, r, c);
}

/* A message into a shard's stream, which wakes who waits there. */
static void add(struct rig *r, uint32_t shard, uint32_t id, uint32_t previous)
{
	struct stream *s = &r->streams[shard];
	struct record record = {.topic = VIEW("a/b"), .has_previous = previous != 0};
	struct played_visit *v = s->waiting;

	memcpy(record.id.b, &id, sizeof(id));
	memcpy(record.previous.b, &previous, sizeof(previous));
	assert_int_equal(record_encode(&s->entries[s->count++], &record), 0);
	s->waiting = NULL;
	if (v == NULL || v->is_closed)
		return;
	say_entries(v, shard, s->after, 1);
	conn_flush(&v->conn);
}

/* --- the rig ------------------------------------------------------------------------- */

static atomic_int writes_fail;
static struct journal_system failing;

static ssize_t fail_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (atomic_load(&writes_fail)) {
		errno = ENOSPC;
		return -1;
	}
	return system_real()->pwrite(fd, p, n, at);
}

static void open_commit(struct rig *r)
{
	struct commit_config config = {
		.journal = {.dir = r->dir,
			.keep_ms = 3600000,
			.size_bytes = 64u << 20,
			.index_keep_ms = 3600000,
			.least_ms = 3600000,
			.sync = JOURNAL_SYNC_NEVER,
			.system = &failing},
		.window_ms = 3600000,
		.ids = 1000,
	};
	char *why = NULL;

	failing = *system_real();
	failing.pwrite = fail_pwrite;
	atomic_store(&writes_fail, 0);
	assert_int_equal(commit_open(&r->core.commit, &config, &why), 0);
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	snprintf(r->dir, sizeof(r->dir),
		"/tmp/isobar-follower-"
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(r->dir));
	open_commit(r);
	r->asks_largest = r->asked_least = UINT32_MAX;
	r->redis.first = serve_wait;
	r->redis.serve = serve;
	r->redis.context = r;
	played_open(&r->redis, NULL);
	r->settings = (struct cluster_settings){.dir = r->dir, .acknowledge = 1};
	r->core.settings = &r->settings;
	r->core.loop = r->redis.loop;
	r->core.name = (char *)(uintptr_t) "node/1";
	r->core.shards = SHARDS_HERE;
	r->core.redis = r->redis.redis;
	r->core.census = census_new(&r->core);
	r->follower = follower_new(&r->core);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;
	char command[128];
	int status;

	played_end_client(&r->redis);
	follower_free(r->follower);
	census_free(r->core.census);
	played_close(&r->redis);
	commit_close(r->core.commit);
	for (uint32_t i = 0; i < SHARDS_HERE; i++)
		for (uint32_t k = 0; k < r->streams[i].count; k++)
			buf_fini(&r->streams[i].entries[k]);
	snprintf(command, sizeof(command), "rm -r %s", r->dir);
	status = system(command);
	free(r);
	return status;
}

static uint64_t written(const struct rig *r)
{
	return journal_tail(commit_journal(r->core.commit));
}

static bool has_wanted(void *context)
{
	const struct rig *r = context;

	return written(r) >= r->want;
}

static void run_until(struct rig *r, uint64_t records)
{
	r->want = records;
	drive_until(r->core.loop, has_wanted, r);
	assert_int_equal(written(r), records);
}

/* The journal's ids, in order, "1 2 3 ". */
static void expect_journal(struct rig *r, const char *want)
{
	struct journal *j = commit_journal(r->core.commit);
	struct journal_reader reader = {0};
	struct buf got = {0};

	journal_reader_open(j, &reader);
	journal_reader_enter(&reader);
	for (uint64_t seq = 0; seq < journal_tail(j); seq++) {
		const struct journal_segment *s = journal_find(j, seq);
		uint32_t id;

		memcpy(&id, s->entries[seq - s->base].id.b, sizeof(id));
		buf_printf(&got, "%u ", id);
	}
	journal_reader_leave(&reader);
	journal_reader_close(&reader);
	buf_append(&got, "", 1);
	assert_string_equal(buf_bytes(&got), want);
	buf_fini(&got);
}

/* --- tests ---------------------------------------------------------------------------- */

static void what_is_there_and_what_comes_is_written(void **state)
{
	struct rig *r = *state;

	for (uint32_t id = 1; id <= 200; id++)
		add(r, 0, id, 0);
	follower_begin(r->follower);
	run_until(r, 200);
	add(r, 1, 201, 0);
	run_until(r, 201);
	add(r, 1, 202, 0);
	run_until(r, 202);
	assert_int_equal(count_read(&follower_figures(r->follower)->appended), 202);
	assert_int_equal(count_read(&follower_figures(r->follower)->known), 0);
}

static bool has_tried(void *context)
{
	const struct rig *r = context;

	return r->waits >= r->enough_after;
}

static void nothing_is_written_before_replicas_have_it(void **state)
{
	struct rig *r = *state;

	r->enough_after = 5;
	add(r, 0, 1, 0);
	follower_begin(r->follower);
	drive_until(r->core.loop, has_tried, r);
	assert_int_equal(written(r), 0);
	assert_int_equal(count_read(&follower_tail(r->follower, 0)->state), FOLLOW_UNSAFE);
	run_until(r, 1);
	assert_true(count_read(&follower_tail(r->follower, 0)->unsafe) >= 3);
}

static void what_a_lost_connection_left_unconfirmed_is_read_again(void **state)
{
	struct rig *r = *state;

	r->cut_after = 1;
	add(r, 0, 1, 0);
	add(r, 0, 2, 0);
	follower_begin(r->follower);
	run_until(r, 2);
	expect_journal(r, "1 2 ");
	assert_true(r->waits >= 2);
}

static void where_a_reply_would_be_too_large_it_asks_for_less(void **state)
{
	struct rig *r = *state;

	r->asks_largest = 9;
	for (uint32_t id = 1; id <= 30; id++)
		add(r, 0, id, 0);
	follower_begin(r->follower);
	run_until(r, 30);
	assert_int_equal(r->asked_least, 8);
}

static void a_record_waits_for_the_one_before_it_in_another_shard(void **state)
{
	struct rig *r = *state;

	follower_begin(r->follower);
	add(r, 0, 2, 1);
	add(r, 0, 3, 0);
	add(r, 1, 1, 0);
	run_until(r, 3);
	expect_journal(r, "1 2 3 ");
	assert_int_equal(count_read(&follower_figures(r->follower)->unordered), 0);
}

static void what_never_comes_is_not_waited_for_longer_than_its_time(void **state)
{
	struct rig *r = *state;
	uint64_t before;

	follower_begin(r->follower);
	add(r, 1, 9, 0);
	run_until(r, 1);
	before = loop_now_ms(r->core.loop);
	add(r, 0, 2, 1);
	run_until(r, 2);
	assert_true(loop_now_ms(r->core.loop) - before >= FOLLOWER_PATIENCE_MS);
	assert_int_equal(count_read(&follower_figures(r->follower)->unordered), 1);
}

static void drop_nothing(
	void *context, uint32_t shard, uint64_t from, uint32_t round, struct buf *cursor)
{
	(void)context, (void)shard, (void)round, (void)cursor;
	assert_true(from == UINT64_MAX);
}

static bool has_asked_pages(void *context)
{
	const struct rig *r = context;

	return r->pages >= r->want;
}

static bool has_compared(void *context)
{
	const struct rig *r = context;

	return follower_degraded(r->follower) == NULL;
}

static void it_is_degraded_until_what_is_retained_has_been_compared(void **state)
{
	static const struct retaining_host host = {.drop = drop_nothing};
	struct rig *r = *state;

	r->core.retaining = &host;
	add(r, 0, 1, 0);
	follower_begin(r->follower);
	r->want = 3;
	drive_until(r->core.loop, has_asked_pages, r);
	assert_non_null(follower_degraded(r->follower));
	assert_int_equal(written(r), 0);
	r->has_pages = true;
	drive_until(r->core.loop, has_compared, r);
	run_until(r, 1);
}

static bool has_waited(void *context)
{
	const struct rig *r = context;

	return r->has_slowed && loop_now_ms(r->core.loop) >= r->want;
}

static void a_record_waits_for_a_shard_that_compares_what_is_retained(void **state)
{
	static const struct retaining_host host = {.drop = drop_nothing};
	struct rig *r = *state;

	r->core.retaining = &host;
	r->has_pages = r->is_slow = true;
	add(r, 1, 2, 1);
	add(r, 0, 1, 0);
	follower_begin(r->follower);
	r->want = loop_now_ms(r->core.loop) + 3 * FOLLOWER_PATIENCE_MS;
	drive_until(r->core.loop, has_waited, r);
	assert_int_equal(written(r), 0);
	r->is_slow = false;
	played_unblock(&r->redis, EMPTY_PAGE);
	run_until(r, 2);
	expect_journal(r, "1 2 ");
	assert_int_equal(count_read(&follower_figures(r->follower)->unordered), 0);
}

static bool is_held(void *context)
{
	const struct rig *r = context;

	return count_read(&follower_tail(r->follower, 0)->state) == FOLLOW_HELD;
}

static void while_the_journal_takes_nothing_all_waits_and_nothing_is_lost(void **state)
{
	struct rig *r = *state;

	follower_begin(r->follower);
	add(r, 0, 1, 0);
	run_until(r, 1);
	atomic_store(&writes_fail, 1);
	add(r, 0, 2, 0);
	add(r, 1, 3, 2);
	drive_until(r->core.loop, is_held, r);
	assert_non_null(follower_degraded(r->follower));
	assert_int_equal(written(r), 1);
	add(r, 0, 4, 3);
	atomic_store(&writes_fail, 0);
	run_until(r, 4);
	expect_journal(r, "1 2 3 4 ");
	assert_null(follower_degraded(r->follower));
	assert_int_equal(count_read(&follower_figures(r->follower)->held), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_there_and_what_comes_is_written),
		TEST(nothing_is_written_before_replicas_have_it),
		TEST(what_a_lost_connection_left_unconfirmed_is_read_again),
		TEST(where_a_reply_would_be_too_large_it_asks_for_less),
		TEST(a_record_waits_for_the_one_before_it_in_another_shard),
		TEST(what_never_comes_is_not_waited_for_longer_than_its_time),
		TEST(it_is_degraded_until_what_is_retained_has_been_compared),
		TEST(a_record_waits_for_a_shard_that_compares_what_is_retained),
		TEST(while_the_journal_takes_nothing_all_waits_and_nothing_is_lost),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
