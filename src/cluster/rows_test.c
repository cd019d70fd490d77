/* Rows and marks on their way to a played Redis: what is written in which order, who is told what. What the
 * scripts do is in tests/e2e/test_cluster_scripts.py. */
#include "cluster/rows.h"

#include "cluster/fixture.h"

#include "cluster/census.h"
#include "cluster/receipts.h"
#include "commit/roaming.h"
#include "net/harness_clock.h"

#define ME "here/0000000000000001"
#define ROW(key, owner, row, rest) \
	"EVALSHA isobar:session:" key " " owner " " ME " " row " " rest "\n"
#define MARK(text) "SET isobar:mark:" ME " " text " PX 604800000\n"
#define TOUCH(key) "EVALSHA isobar:session:" key " " ME " 86400000\n"
#define AGAIN_MS 200u
#define TOUCHES_MOST 256u
#define RECEIPTS 4u

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct rows *rows;
	bool is_held;      /* scripts get no answer */
	const char *holds; /* those of this session; NULL: of all */
	const char *says;  /* answer to scripts */
	struct rig_receipt {
		struct receipt receipt;
		struct rig *rig;
	} receipts[RECEIPTS];
	struct buf told;
};

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (r->is_held && (r->holds == NULL || view_equal(played_word(c, 3), view_of(r->holds))))
		v->is_blocked = true;
	else
		played_say(v, played_is(c, "SET") ? "+OK\r\n" : r->says);
}

static void on_given(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "given %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_refused(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "refused %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_confirmed(struct receipt *receipt)
{
	struct rig *r = container_of(receipt, struct rig_receipt, receipt)->rig;

	buf_printf(&r->told, "confirmed %.*s\n", VIEW_ARG(buf_view(&receipt->key)));
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->redis.serve = serve;
	r->redis.context = r;
	r->says = ":1\r\n";
	played_open(&r->redis, &(struct redis_config){.requests_most = TOUCHES_MOST + 40});
	r->settings.node = "here";
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->redis.loop,
		.redis = r->redis.redis,
		.shards = SHARDS};
	r->core.census = census_new(&r->core);
	r->rows = rows_new(&r->core, ME, on_given, on_refused, r);
	for (uint32_t i = 0; i < RECEIPTS; i++) {
		r->receipts[i].rig = r;
		r->receipts[i].receipt.on_done = on_confirmed;
	}
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	rows_free(r->rows);
	census_free(r->core.census);
	played_close(&r->redis);
	for (uint32_t i = 0; i < RECEIPTS; i++)
		buf_fini(&r->receipts[i].receipt.key);
	buf_fini(&r->told);
	free(r);
	return 0;
}

static void write_as(
	struct rig *r, enum row_kind kind, const char *key, uint32_t owner, const char *row)
{
	struct row_order *o = mem_new(sizeof(*o));

	*o = (struct row_order){.kind = kind, .owner = owner, .ttl_ms = 5};
	buf_text(&o->key, key);
	buf_text(&o->row, row);
	rows_put(r->rows, o);
}

static void put(struct rig *r, const char *key, const char *row)
{
	write_as(r, ROW_PUT, key, 7, row);
}

/* The i-th receipt, for this session. */
static void confirm(struct rig *r, uint32_t i, const char *key)
{
	buf_clear(&r->receipts[i].receipt.key);
	buf_text(&r->receipts[i].receipt.key, key);
	rows_confirm(r->rows, &r->receipts[i].receipt);
}

static void begin(struct rig *r)
{
	rows_begin(r->rows);
	played_settle(&r->redis, 0);
}

/* So much later, when all is done that was due then. */
static void pass(struct rig *r, uint64_t ms, uint32_t open)
{
	harness_jump(r->core.loop, ms);
	played_settle(&r->redis, open);
}

/* What is put from now on gets no answer before release(). */
static void hold(struct rig *r)
{
	begin(r);
	r->is_held = true;
}

static void release(struct rig *r, const char *answer)
{
	r->is_held = false;
	played_unblock(&r->redis, answer);
	played_settle(&r->redis, 0);
}

static void expect_told(struct rig *r, const char *want)
{
	expect_text(&r->told, want);
}

static void expect(struct rig *r, const char *text, uint32_t n)
{
	played_expect(&r->redis, text, n);
}

/* Exactly this, in this order. */
static void expect_asked(struct rig *r, const char *want)
{
	expect_text(&r->redis.asked, want);
}

/* --- rows ----------------------------------------------------------------------- */

/* {what becomes of a session: how Redis hears of it; who is told when it takes that, or not} */
static void a_row_is_written_with_owner_run_time_and_what_it_is(void **state)
{
	static const struct {
		enum row_kind kind;
		const char *asked, *taken, *refused;
	} rows[] = {
		{ROW_PUT, ROW("k", "7", "x", "5 put"), "", "refused k 7\n"},
		{ROW_GIVE, ROW("k", "7", "x", "5 give"), "given k 7\n", "given k 7\n"},
		{ROW_BARE, ROW("k", "7", "x", "5 bare"), "", ""},
		{ROW_DROP, ROW("k", "7", "x", "5 drop"), "", ""},
	};
	struct rig *r = *state;

	begin(r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int taken = 0; taken < 2; taken++) {
			r->says = taken ? ":1\r\n" : ":0\r\n";
			write_as(r, rows[i].kind, "k", 7, "x");
			played_settle(&r->redis, 0);
			expect_asked(r, rows[i].asked);
			expect_told(r, taken ? rows[i].taken : rows[i].refused);
		}
	}
}

static void nothing_is_written_before_redis_is_reached_and_then_in_its_order(void **state)
{
	struct rig *r = *state;

	put(r, "a", "1");
	put(r, "a", "2");
	rows_mark(r->rows, VIEW("m"));
	rows_touch(r->rows, VIEW("a"));
	pass(r, 2 * AGAIN_MS, 0);
	expect_asked(r, "");
	begin(r);
	pass(r, AGAIN_MS, 0);
	expect_asked(r, ROW("a", "7", "1", "5 put") ROW("a", "7", "2", "5 put") MARK("m"));
}

static void of_one_session_one_row_is_under_way_and_the_latest_comes_behind_it(void **state)
{
	struct rig *r = *state;

	hold(r);
	put(r, "k", "1");
	played_await(&r->redis, "session:k", 1);
	put(r, "k", "2");
	put(r, "k", "3");
	drive_turns(r->core.loop, 20);
	assert_int_equal(played_open_requests(&r->redis), 1);
	played_unblock(&r->redis, ":1\r\n");
	played_await(&r->redis, "session:k", 2);
	put(r, "k", "4");
	drive_turns(r->core.loop, 20);
	assert_int_equal(played_open_requests(&r->redis), 1);
	release(r, ":1\r\n");
	expect_asked(r, ROW("k", "7", "1", "5 put") ROW("k", "7", "3", "5 put")
				ROW("k", "7", "4", "5 put"));
	put(r, "k", "5");
	played_settle(&r->redis, 0);
	expect_asked(r, ROW("k", "7", "5", "5 put"));
}

/* {a row that fails, how: what is written next, when another came meanwhile} */
static void what_is_not_answered_well_is_written_again_or_the_later_one(void **state)
{
	static const struct {
		enum row_kind kind;
		const char *answer;
		const char *later; /* row that came meanwhile; NULL: none */
		const char *again;
	} rows[] = {
		{ROW_PUT, "-OOM\r\n", NULL, ROW("k", "7", "x", "5 put")},
		{ROW_PUT, "$1\r\n1\r\n", NULL, ROW("k", "7", "x", "5 put")},
		{ROW_PUT, "-OOM\r\n", "y", ROW("k", "7", "y", "5 put")},
		{ROW_BARE, "-OOM\r\n", "y", ROW("k", "7", "y", "5 put")},
		/* Another node waits for it. */
		{ROW_GIVE, "-OOM\r\n", "y",
			ROW("k", "7", "x", "5 give") ROW("k", "7", "y", "5 put")},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		hold(r);
		write_as(r, rows[i].kind, "k", 7, "x");
		played_await(&r->redis, "session:k", 1);
		if (rows[i].later)
			put(r, "k", rows[i].later);
		release(r, rows[i].answer);
		assert_int_equal(played_count(&r->redis, "session:k"), 1);
		buf_clear(&r->redis.asked);
		pass(r, AGAIN_MS, 0);
		expect_asked(r, rows[i].again);
		pass(r, AGAIN_MS, 0);
		expect_asked(r, "");
		tear_down(&fresh);
	}
}

static void what_is_not_answered_in_time_is_written_again(void **state)
{
	struct rig *r = *state;

	hold(r);
	put(r, "k", "1");
	played_await(&r->redis, "session:k", 1);
	r->is_held = false;
	harness_jump(r->core.loop, 5000);
	played_await(&r->redis, "session:k", 2);
}

static void what_waits_is_written_again_with_what_waits_longest(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->says = "-OOM\r\n";
	put(r, "a", "1");
	played_settle(&r->redis, 0);
	pass(r, AGAIN_MS - 50, 0);
	put(r, "b", "1");
	played_settle(&r->redis, 0);
	expect(r, "session:", 2);
	pass(r, 50, 0);
	expect(r, "session:a", 2);
	expect(r, "session:b", 2);
}

static void what_is_under_way_again_is_not_written_with_what_waits(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->says = "-OOM\r\n";
	put(r, "a", "1");
	played_settle(&r->redis, 0);
	r->is_held = true;
	r->holds = "isobar:session:a";
	pass(r, AGAIN_MS, 1);
	put(r, "b", "1");
	played_settle(&r->redis, 1);
	pass(r, AGAIN_MS, 1);
	expect(r, "session:a", 2);
	expect(r, "session:b", 2);
	r->says = ":1\r\n";
	release(r, ":1\r\n");
	expect(r, "session:a", 2);
}

static void what_the_client_does_not_take_is_handed_over_later(void **state)
{
	struct rig *r = *state;

	begin(r);
	played_fill(&r->redis);
	put(r, "a", "1");
	put(r, "b", "1");
	rows_touch(r->rows, VIEW("c")); /* and this is left to the next time */
	played_settle(&r->redis, 0);
	expect_asked(r, "");
	pass(r, AGAIN_MS, 0);
	expect(r, "session:a", 1);
	expect(r, "session:b", 1);
	expect(r, "session:c", 0);
}

/* --- marks ------------------------------------------------------------------------ */

static void a_mark_is_written_when_the_rows_before_it_are(void **state)
{
	struct rig *r = *state;

	hold(r);
	r->holds = "isobar:session:a";
	put(r, "a", "1");
	played_await(&r->redis, "session:a", 1);
	rows_mark(r->rows, VIEW("m1"));
	rows_mark(r->rows, VIEW("m2")); /* takes its place */
	put(r, "b", "1");
	played_settle(&r->redis, 1);
	expect(r, "isobar:mark", 0);
	release(r, ":1\r\n");
	expect_asked(r, ROW("a", "7", "1", "5 put") ROW("b", "7", "1", "5 put") MARK("m2"));
}

static void a_row_after_it_holds_back_no_mark(void **state)
{
	struct rig *r = *state;

	hold(r);
	r->holds = "isobar:session:a";
	rows_mark(r->rows, VIEW("m1"));
	put(r, "a", "1");
	played_settle(&r->redis, 1);
	expect(r, MARK("m1"), 1);
	put(r, "a", "2"); /* number 2 */
	put(r, "b", "1");
	rows_mark(r->rows, VIEW("m2"));
	put(r, "c", "1");
	r->holds = "isobar:session:c";
	played_unblock(&r->redis, ":1\r\n");
	played_settle(&r->redis, 1);
	expect(r, MARK("m2"), 1);
	release(r, ":1\r\n");
}

/* What takes the place of a row that failed has its number; what follows one that was written its own. */
static void the_place_of_a_later_row_in_the_order_of_marks(void **state)
{
	static const struct {
		const char *answer; /* to the first row of "a" */
		uint32_t marks;     /* written while its second has no answer */
	} rows[] = {{":1\r\n", 1}, {"-OOM\r\n", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		hold(r);
		r->holds = "isobar:session:a";
		put(r, "a", "1");
		played_await(&r->redis, "session:a", 1);
		rows_mark(r->rows, VIEW("m"));
		put(r, "b", "1");
		put(r, "a", "2");
		played_settle(&r->redis, 1);
		played_unblock(&r->redis, rows[i].answer);
		drive_turns(r->core.loop, 2);
		played_settle(&r->redis, rows[i].marks);
		pass(r, AGAIN_MS, 1);
		put(r, "c", "1");
		played_settle(&r->redis, 1);
		expect(r, ROW("a", "7", "2", "5 put"), 1);
		expect(r, "isobar:mark", rows[i].marks);
		release(r, ":1\r\n");
		expect(r, MARK("m"), 1);
		tear_down(&fresh);
	}
}

static void a_later_row_takes_its_place_among_those_of_other_sessions(void **state)
{
	struct rig *r = *state;

	hold(r);
	r->holds = "isobar:session:a";
	put(r, "a", "1");
	put(r, "a", "2");
	rows_mark(r->rows, VIEW("m"));
	r->says = "-OOM\r\n";
	put(r, "b", "1");
	played_settle(&r->redis, 1);
	played_unblock(&r->redis, ":1\r\n");
	played_await(&r->redis, "session:a", 2);
	expect(r, "isobar:mark", 0);
	release(r, ":1\r\n");
	expect(r, MARK("m"), 1);
	expect(r, "session:b", 1);
}

static void a_mark_that_came_before_redis_was_reached_is_written_then(void **state)
{
	struct rig *r = *state;

	rows_mark(r->rows, VIEW("m"));
	begin(r);
	expect_asked(r, MARK("m"));
}

static void a_mark_goes_again_when_its_connection_is_lost(void **state)
{
	struct rig *r = *state;

	hold(r);
	rows_mark(r->rows, VIEW("m"));
	played_await(&r->redis, MARK("m"), 1);
	r->is_held = false;
	played_cut(&r->redis);
	played_await(&r->redis, MARK("m"), 2);
}

static void one_mark_is_under_way_and_the_latest_comes_behind_it(void **state)
{
	struct rig *r = *state;

	begin(r);
	rows_mark(r->rows, VIEW("m1"));
	rows_mark(r->rows, VIEW("m2"));
	rows_mark(r->rows, VIEW("m3"));
	played_settle(&r->redis, 0);
	expect_asked(r, MARK("m1") MARK("m3"));
}

static void a_mark_that_the_client_does_not_take_leaves_it_to_the_next(void **state)
{
	struct rig *r = *state;

	begin(r);
	played_fill(&r->redis);
	rows_mark(r->rows, VIEW("m1"));
	played_settle(&r->redis, 0);
	rows_mark(r->rows, VIEW("m2"));
	played_settle(&r->redis, 0);
	expect_asked(r, MARK("m2"));
}

/* --- receipts ----------------------------------------------------------------------- */

static void a_receipt_is_told_when_all_rows_before_it_are_written(void **state)
{
	struct rig *r = *state;

	begin(r);
	confirm(r, 0, "k");
	expect_told(r, "confirmed k\n");
	r->is_held = true;
	put(r, "k", "1");
	confirm(r, 0, "k");
	confirm(r, 3, "j");
	expect_told(r, "confirmed j\n");
	put(r, "k", "2");
	confirm(r, 1, "k");
	put(r, "k", "3"); /* says what the second said */
	confirm(r, 2, "k");
	played_await(&r->redis, "session:k", 1);
	expect_told(r, "");
	played_unblock(&r->redis, ":1\r\n");
	played_await(&r->redis, "session:k", 2);
	expect_told(r, "confirmed k\n");
	release(r, ":1\r\n");
	expect_told(r, "confirmed k\nconfirmed k\n");
}

static void a_receipt_of_a_row_that_failed_waits_for_the_later_one(void **state)
{
	struct rig *r = *state;

	hold(r);
	put(r, "k", "1");
	confirm(r, 0, "k");
	put(r, "k", "2");
	confirm(r, 1, "k");
	buf_text(&r->receipts[0].receipt.key, "1");
	buf_text(&r->receipts[1].receipt.key, "2");
	played_await(&r->redis, "session:k", 1);
	release(r, "-OOM\r\n");
	expect_told(r, "");
	pass(r, AGAIN_MS, 0);
	expect_told(r, "confirmed k1\nconfirmed k2\n"); /* in the order of their coming */
}

/* {needed, had at first: asked with WAIT, how often written when a receipt waits} */
static void a_row_counts_when_replicas_have_it(void **state)
{
	struct rig *r = *state;

	r->settings.acknowledge = 1;
	begin(r);
	put(r, "k", "1");
	confirm(r, 0, "k");
	played_await(&r->redis, "session:k", 1);
	played_settle(&r->redis, 0);
	expect_told(r, "");
	assert_true(r->redis.waits > 0);
	r->redis.replicas = 1;
	pass(r, AGAIN_MS, 0);
	expect(r, "session:k", 2);
	expect_told(r, "confirmed k\n");
	pass(r, AGAIN_MS, 0);
	expect(r, "session:k", 2);
}

static void replicas_are_not_waited_for_by_who_asks_for_no_receipt_or_has_lost_the_session(
	void **state)
{
	struct rig *r = *state;

	r->settings.acknowledge = 1;
	begin(r);
	put(r, "k", "1");
	played_settle(&r->redis, 0);
	pass(r, AGAIN_MS, 0);
	expect(r, "session:k", 1);
	r->says = ":0\r\n";
	put(r, "k", "2");
	confirm(r, 0, "k");
	played_settle(&r->redis, 0);
	expect_told(r, "confirmed k\nrefused k 7\n");
	r->redis.waits = 0;
	write_as(r, ROW_GIVE, "k", 7, "3");
	write_as(r, ROW_BARE, "j", 7, "");
	write_as(r, ROW_DROP, "i", 7, "");
	played_settle(&r->redis, 0);
	assert_int_equal(r->redis.waits, 0);
	expect_told(r, "given k 7\n");
}

static void a_client_waits_a_second_and_then_nobody_until_a_row_is_written(void **state)
{
	struct rig *r = *state;

	hold(r);
	put(r, "k", "1");
	confirm(r, 0, "k");
	played_await(&r->redis, "session:k", 1);
	harness_jump(r->core.loop, RECEIPTS_WAIT_MS);
	expect_told(r, "confirmed k\n");
	confirm(r, 1, "k");
	expect_told(r, "confirmed k\n");
	release(r, ":1\r\n");
	expect_told(r, "");
	r->is_held = true;
	put(r, "k", "2");
	confirm(r, 2, "k");
	played_await(&r->redis, "session:k", 2);
	expect_told(r, "");
	release(r, ":1\r\n");
	expect_told(r, "confirmed k\n");
}

/* {what is written after nobody was waited for: is one waited for again?} */
static void what_is_not_safe_resumes_nothing(void **state)
{
	static const struct {
		enum row_kind kind;
		uint32_t replicas;
		const char *says;
		bool want;
	} rows[] = {
		{ROW_PUT, 1, ":1\r\n", true},
		{ROW_PUT, 1, ":0\r\n", true},
		{ROW_PUT, 0, ":1\r\n", false},
		{ROW_BARE, 1, ":1\r\n", false},
		{ROW_DROP, 1, ":1\r\n", false},
		{ROW_GIVE, 1, ":1\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;
		size_t before;

		set_up(&fresh);
		r = fresh;
		r->settings.acknowledge = 1;
		hold(r);
		put(r, "k", "1");
		confirm(r, 0, "k");
		played_await(&r->redis, "session:k", 1);
		harness_jump(r->core.loop, RECEIPTS_WAIT_MS);
		drive_turns(r->core.loop, 2);
		release(r, ":1\r\n");
		r->redis.replicas = rows[i].replicas;
		r->says = rows[i].says;
		write_as(r, rows[i].kind, "j", 7, "");
		played_settle(&r->redis, 0);
		r->is_held = true;
		put(r, "k", "2");
		before = buf_length(&r->told);
		confirm(r, 1, "k");
		if ((buf_length(&r->told) == before) != rows[i].want)
			fail_msg("row %zu", i);
		played_await(&r->redis, "session:k", 2);
		release(r, ":1\r\n");
		tear_down(&fresh);
	}
}

/* --- touches -------------------------------------------------------------------------- */

static void a_touch_says_who_has_the_session_and_how_long_it_may_stay(void **state)
{
	struct rig *r = *state;

	begin(r);
	rows_touch(r->rows, VIEW("k"));
	played_settle(&r->redis, 0);
	expect_asked(r, TOUCH("k"));
}

static void a_bounded_number_of_touches_is_under_way(void **state)
{
	struct rig *r = *state;

	hold(r);
	for (uint32_t i = 0; i < TOUCHES_MOST + 10; i++)
		rows_touch(r->rows, VIEW("k"));
	assert_int_equal(played_open_requests(&r->redis), TOUCHES_MOST);
	played_await(&r->redis, TOUCH("k"), 1);
	release(r, ":1\r\n");
	rows_touch(r->rows, VIEW("k"));
	played_settle(&r->redis, 0);
	expect(r, TOUCH("k"), TOUCHES_MOST + 1);
}

static void a_key_is_its_front_and_the_rest(void **state)
{
	struct buf key = {0};

	(void)state;
	buf_text(&key, "of another");
	assert_int_equal(rows_key(&key, "a:", VIEW("b")), slot_of(VIEW("a:b")));
	assert_true(view_equal(buf_view(&key), VIEW("a:b")));
	buf_fini(&key);
}

/* --- the end ---------------------------------------------------------------------------- */

static void at_the_end_nothing_is_told(void **state)
{
	struct rig *r = *state;

	hold(r);
	put(r, "k", "1");
	put(r, "k", "2");
	confirm(r, 0, "k");
	write_as(r, ROW_GIVE, "j", 7, "");
	rows_touch(r->rows, VIEW("k"));
	rows_mark(r->rows, VIEW("m"));
	played_await(&r->redis, "session:k", 1);
	rows_mark(r->rows, VIEW("m"));
	played_end_client(&r->redis);
	rows_free(r->rows);
	r->rows = NULL;
	harness_jump(r->core.loop, RECEIPTS_WAIT_MS);
	expect_told(r, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_row_is_written_with_owner_run_time_and_what_it_is),
		TEST(nothing_is_written_before_redis_is_reached_and_then_in_its_order),
		TEST(of_one_session_one_row_is_under_way_and_the_latest_comes_behind_it),
		cmocka_unit_test(what_is_not_answered_well_is_written_again_or_the_later_one),
		TEST(what_is_not_answered_in_time_is_written_again),
		TEST(what_waits_is_written_again_with_what_waits_longest),
		TEST(what_is_under_way_again_is_not_written_with_what_waits),
		TEST(what_the_client_does_not_take_is_handed_over_later),
		TEST(a_mark_is_written_when_the_rows_before_it_are),
		TEST(a_row_after_it_holds_back_no_mark),
		cmocka_unit_test(the_place_of_a_later_row_in_the_order_of_marks),
		TEST(a_later_row_takes_its_place_among_those_of_other_sessions),
		TEST(a_mark_that_came_before_redis_was_reached_is_written_then),
		TEST(a_mark_goes_again_when_its_connection_is_lost),
		TEST(one_mark_is_under_way_and_the_latest_comes_behind_it),
		TEST(a_mark_that_the_client_does_not_take_leaves_it_to_the_next),
		TEST(a_receipt_is_told_when_all_rows_before_it_are_written),
		TEST(a_receipt_of_a_row_that_failed_waits_for_the_later_one),
		TEST(a_row_counts_when_replicas_have_it),
		TEST(replicas_are_not_waited_for_by_who_asks_for_no_receipt_or_has_lost_the_session),
		TEST(a_client_waits_a_second_and_then_nobody_until_a_row_is_written),
		cmocka_unit_test(what_is_not_safe_resumes_nothing),
		TEST(a_touch_says_who_has_the_session_and_how_long_it_may_stay),
		TEST(a_bounded_number_of_touches_is_under_way),
		TEST(a_key_is_its_front_and_the_rest),
		TEST(at_the_end_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
