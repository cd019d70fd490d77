/* A shard's tail that compares what is retained with a played Redis: what it asks, in which order, what
 * the broker hears. What a real cluster does is in tests/e2e/test_cluster_retained.py. */
#include "cluster/fixture.h"

#include "base/error.h"
#include "cluster/census.h"
#include "cluster/record.h"
#include "cluster/tail.h"
#include "commit/retaining.h"

#define BASE_MS 1600000000000ull
#define NOW_MS (BASE_MS + 100000) /* Redis' clock */
#define PAGES 3u

/* What HSCAN finds behind each cursor: "0", "1" ...; a field's value is its place and a record. */
struct page {
	struct buf fields;
	uint32_t count;
};

struct rig {
	struct played played;
	struct cluster_settings settings;
	struct cluster_core core;
	struct retaining_host host;
	struct tail tail;
	struct page pages[PAGES];
	uint32_t page_count;
	const char *refusal; /* instead of a page */
	uint32_t cut_at;     /* the connection ends instead of that page, counted from 1 */
	uint32_t pages_asked;
	uint32_t held; /* the broker takes nothing so often */
	bool has_no_room;
	uint64_t added; /* entries that the stream ever had */
	struct buf heard;
};

/* --- the broker ------------------------------------------------------------- */

static uint32_t shard_of_round(uint32_t round)
{
	return round % SHARDS_MOST;
}

static bool has(void *context, struct view topic, uint64_t place, uint32_t round)
{
	struct rig *r = context;

	assert_int_equal(shard_of_round(round), r->tail.shard);
	buf_printf(
		&r->heard, "has %.*s %llu\n", VIEW_ARG(topic), (unsigned long long)place_ms(place));
	return view_starts_with(topic, VIEW("known"));
}

/* What is left in tens of seconds: some of the last ten may be over. */
static uint32_t about(uint32_t seconds)
{
	return (seconds + 9) / 10 * 10;
}

static int take(void *context, const struct journal_message *m, uint32_t round)
{
	struct rig *r = context;

	assert_int_equal(shard_of_round(round), r->tail.shard);
	if (r->held) {
		r->held--;
		return ERR_HELD;
	}
	if (r->has_no_room)
		return ERR_QUOTA;
	assert_int_equal(m->shard, r->tail.shard);
	buf_printf(&r->heard, "take %.*s %llu %u %.*s\n", VIEW_ARG(m->topic),
		(unsigned long long)place_ms(m->log_id), about(m->expiry_s), VIEW_ARG(m->payload));
	return 0;
}

/* In two pieces. */
static void drop(void *context, uint32_t shard, uint64_t from, uint32_t round, struct buf *cursor)
{
	struct rig *r = context;
	bool is_first = buf_length(cursor) == 0;

	assert_int_equal(shard_of_round(round), shard);
	buf_clear(cursor);
	if (is_first) {
		buf_text(cursor, "half");
		return;
	}
	if (from == UINT64_MAX)
		buf_text(&r->heard, "drop nothing\n");
	else
		buf_printf(&r->heard, "drop %llu\n", (unsigned long long)place_ms(from));
}

/* --- Redis --------------------------------------------------------------------- */

static void serve_page(struct rig *r, struct played_visit *v, uint32_t number)
{
	const struct page *p = &r->pages[number];
	char next[16];

	snprintf(next, sizeof(next), "%u", number + 1 < r->page_count ? number + 1 : 0);
	played_array(v, 2);
	played_bulk(v, view_of(next));
	played_array(v, 2 * p->count);
	conn_push(&v->conn, buf_bytes(&p->fields), buf_length(&p->fields));
}

static void serve_state(const struct rig *r, struct played_visit *v)
{
	char place[LOG_PLACE_BYTES];

	log_place_format((struct log_place){r->added ? BASE_MS + r->added : 0, 0}, place);
	played_array(v, 4);
	played_bulk(v, VIEW("last-generated-id"));
	played_bulk(v, view_of(place));
	played_bulk(v, VIEW("entries-added"));
	played_integer(v, (int64_t)r->added);
}

static void serve_greeting(struct played_visit *v)
{
	char text[128];

	snprintf(text, sizeof(text), "run_id:%040d\r\nserver_time_usec:%llu999\r\n", 1,
		(unsigned long long)NOW_MS);
	played_bulk(v, view_of(text));
}

static void serve_scan(struct rig *r, struct played_visit *v, const struct resp *c)
{
	if (++r->pages_asked == r->cut_at)
		conn_close(&v->conn, 0, NULL);
	else if (r->refusal)
		played_say(v, r->refusal);
	else
		serve_page(r, v, (uint32_t)(c->items[2].text.p[0] - '0'));
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "INFO"))
		serve_greeting(v);
	else if (played_is(c, "XINFO"))
		serve_state(r, v);
	else if (played_is(c, "HSCAN"))
		serve_scan(r, v, c);
	else
		played_say(v, "*-1\r\n");
}

/* --- the rig --------------------------------------------------------------------- */

static void on_batch(struct tail *t)
{
	(void)t;
	fail();
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->played.serve = serve;
	r->played.context = r;
	r->played.replicas = 1;
	played_open(&r->played, NULL);
	r->settings.acknowledge = 1;
	r->host = (struct retaining_host){has, take, drop, r};
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->played.loop,
		.redis = r->played.redis,
		.name = (char *)(uintptr_t) "node/1",
		.shards = 1,
		.retaining = &r->host};
	r->core.census = census_new(&r->core);
	r->page_count = 1;
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->played);
	if (r->tail.core)
		tail_fini(&r->tail);
	census_free(r->core.census);
	played_close(&r->played);
	for (uint32_t i = 0; i < PAGES; i++)
		buf_fini(&r->pages[i].fields);
	buf_fini(&r->heard);
	free(r);
	return 0;
}

static void begin(struct rig *r, struct mark from)
{
	char unknown[RUN_ID_BYTES] = {0};

	tail_init(&r->tail, &r->core, 0, from, unknown);
	r->tail.on_batch = on_batch;
	r->tail.context = r;
	tail_begin(&r->tail);
}

static void put_bulk(struct buf *b, struct view text)
{
	buf_printf(b, "$%zu\r\n", text.n);
	buf_append(b, text.p, text.n);
	buf_text(b, "\r\n");
}

static void add_field(struct rig *r, uint32_t page, const char *topic, struct view value)
{
	put_bulk(&r->pages[page].fields, view_of(topic));
	put_bulk(&r->pages[page].fields, value);
	r->pages[page].count++;
}

/* At so many ms of 2020. */
static void add(struct rig *r, uint32_t page, const char *topic, uint32_t ms, uint32_t expiry_s)
{
	struct record record = {.topic = view_of(topic),
		.payload = view_of(topic),
		.flags = JOURNAL_RETAIN,
		.expiry_s = expiry_s};
	struct buf value = {0};

	buf_printf(&value, "%llu-0 ", BASE_MS + ms);
	assert_int_equal(record_encode(&value, &record), 0);
	add_field(r, page, topic, buf_view(&value));
	buf_fini(&value);
}

static void add_mark(struct rig *r, uint32_t page, uint32_t ms)
{
	struct buf value = {0};

	buf_printf(&value, "%llu-0", BASE_MS + ms);
	add_field(r, page, "", buf_view(&value));
	buf_fini(&value);
}

/* The round is over: it reads. Then the broker has heard this, and nothing else. */
static void expect(struct rig *r, const char *want)
{
	played_await(&r->played, "XREAD", 1);
	buf_append(&r->heard, "", 1);
	assert_string_equal(buf_bytes(&r->heard), want);
	buf_clear(&r->heard);
}

/* --- tests ----------------------------------------------------------------------- */

static void all_pages_are_compared_before_the_stream_is_read(void **state)
{
	struct rig *r = *state;

	r->page_count = 3;
	add(r, 0, "a", 5, 0);
	add(r, 0, "known/b", 6, 0);
	add_mark(r, 1, 3);
	add(r, 2, "c", 7, 0);
	begin(r, (struct mark){0});
	expect(r, "has a 5\ntake a 5 0 a\nhas known/b 6\nhas c 7\ntake c 7 0 c\ndrop 3\n");
	assert_int_equal(played_count(&r->played, "HSCAN {0}:retained 0 COUNT 64\n"), 1);
	assert_int_equal(played_count(&r->played, "HSCAN {0}:retained 2 COUNT 64\n"), 1);
	assert_true(r->played.waits >= 3);
}

static void without_a_mark_nothing_is_dropped(void **state)
{
	struct rig *r = *state;

	add(r, 0, "a", 5, 0);
	begin(r, (struct mark){0});
	expect(r, "has a 5\ntake a 5 0 a\ndrop nothing\n");
}

static void what_has_expired_is_not_taken_and_the_rest_has_what_is_left(void **state)
{
	struct rig *r = *state;

	add(r, 0, "over", 90000, 10);
	add(r, 0, "half", 90000, 100);
	add(r, 0, "late", 95000, 3600);
	add(r, 0, "ahead", 200000, 5); /* a master whose clock is early */
	begin(r, (struct mark){0});
	played_await(&r->played, "XREAD", 1);
	assert_null(memmem(buf_bytes(&r->heard), buf_length(&r->heard), "over", 4));
	expect(r, "has half 90000\ntake half 90000 90 half\nhas late 95000\n"
		  "take late 95000 3600 late\nhas ahead 200000\ntake ahead 200000 10 ahead\n"
		  "drop nothing\n");
}

static void what_cannot_be_read_is_left_as_it_is(void **state)
{
	struct rig *r = *state;

	add_field(r, 0, "newer", VIEW("1600000000005-0 \x02 of a later version"));
	add_field(r, 0, "short", VIEW("1600000000005-0 \x01"));
	add_field(r, 0, "placeless", VIEW("here \x01"));
	add_field(r, 0, "none", VIEW(""));
	add_field(r, 0, "", VIEW("no mark"));
	add(r, 0, "good", 5, 0);
	begin(r, (struct mark){0});
	expect(r, "has newer 0\nhas short 0\nhas placeless 0\nhas none 0\nhas  0\n"
		  "has good 5\ntake good 5 0 good\ndrop nothing\n");
}

static void a_record_of_another_topic_or_without_the_flag_is_no_retained_one(void **state)
{
	static const struct record rows[] = {
		{.topic = VIEW("other"), .payload = VIEW("x"), .flags = JOURNAL_RETAIN},
		{.topic = VIEW("t"), .payload = VIEW("x")},
		{.topic = VIEW("t"), .flags = JOURNAL_RETAIN},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf value = {0};

		buf_printf(&value, "%llu-0 ", BASE_MS + 5);
		assert_int_equal(record_encode(&value, &rows[i]), 0);
		add_field(r, 0, "t", buf_view(&value));
		buf_fini(&value);
	}
	begin(r, (struct mark){0});
	expect(r, "has t 0\nhas t 0\nhas t 0\ndrop nothing\n");
}

static void nothing_is_taken_before_replicas_have_it(void **state)
{
	struct rig *r = *state;

	add(r, 0, "a", 5, 0);
	r->played.replicas = 0;
	begin(r, (struct mark){0});
	played_await(&r->played, "HSCAN", 3);
	assert_int_equal(buf_length(&r->heard), 0);
	assert_false(r->tail.is_compared);
	r->played.replicas = 1;
	expect(r, "has a 5\ntake a 5 0 a\ndrop nothing\n");
	assert_true(r->tail.is_compared);
}

static void a_round_that_lost_its_connection_begins_anew_and_asks_for_less(void **state)
{
	struct rig *r = *state;

	r->page_count = 2;
	add(r, 0, "a", 5, 0);
	add(r, 1, "b", 6, 0);
	r->cut_at = 2;
	begin(r, (struct mark){0});
	expect(r, "has a 5\ntake a 5 0 a\n"
		  "has a 5\ntake a 5 0 a\nhas b 6\ntake b 6 0 b\ndrop nothing\n");
	assert_int_equal(played_count(&r->played, "HSCAN {0}:retained 0 COUNT 64\n"), 1);
	assert_int_equal(played_count(&r->played, "HSCAN {0}:retained 0 COUNT 32\n"), 1);
	assert_int_equal(played_count(&r->played, "HSCAN {0}:retained 1 COUNT 64\n"), 2);
}

static void while_the_journal_takes_nothing_it_waits_and_goes_on_where_it_was(void **state)
{
	struct rig *r = *state;

	add(r, 0, "a", 5, 0);
	add(r, 0, "b", 6, 0);
	r->held = 2;
	begin(r, (struct mark){0});
	expect(r, "has a 5\nhas a 5\nhas a 5\ntake a 5 0 a\nhas b 6\ntake b 6 0 b\ndrop nothing\n");
	assert_int_equal(r->pages_asked, 1);
}

static void what_there_is_no_room_for_is_left_out(void **state)
{
	struct rig *r = *state;

	add(r, 0, "a", 5, 0);
	r->has_no_room = true;
	begin(r, (struct mark){0});
	expect(r, "has a 5\ndrop nothing\n");
}

static void a_refusal_ends_the_round_and_the_shard_is_followed(void **state)
{
	struct rig *r = *state;

	r->refusal = "-WRONGTYPE not a hash\r\n";
	begin(r, (struct mark){0});
	expect(r, "");
}

static void what_is_no_answer_is_asked_again(void **state)
{
	struct rig *r = *state;

	r->refusal = "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n";
	begin(r, (struct mark){0});
	played_await(&r->played, "HSCAN", 2);
	r->refusal = NULL;
	expect(r, "drop nothing\n");
}

static void a_gap_asks_for_another_round(void **state)
{
	struct rig *r = *state;

	r->added = 9;
	add_mark(r, 0, 1);
	begin(r, (struct mark){place_pack((struct log_place){BASE_MS + 4, 0}), 4, true});
	expect(r, "drop 1\n");
	played_await(&r->played, "HSCAN", 2);
	buf_clear(&r->played.asked);
	expect(r, "drop 1\n");
	assert_int_equal(count_read(&r->tail.figures.missed), 5);
	assert_int_equal(r->pages_asked, 2);
}

static void it_is_compared_again_when_asked_for(void **state)
{
	struct rig *r = *state;

	begin(r, (struct mark){0});
	expect(r, "drop nothing\n");
	tail_compare(&r->tail);
	played_await(&r->played, "HSCAN", 2);
	buf_clear(&r->played.asked);
	expect(r, "drop nothing\n");
}

static void without_a_broker_nothing_is_compared(void **state)
{
	struct rig *r = *state;

	r->core.retaining = NULL;
	begin(r, (struct mark){0});
	expect(r, "");
	assert_int_equal(r->pages_asked, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(all_pages_are_compared_before_the_stream_is_read),
		TEST(without_a_mark_nothing_is_dropped),
		TEST(what_has_expired_is_not_taken_and_the_rest_has_what_is_left),
		TEST(what_cannot_be_read_is_left_as_it_is),
		TEST(a_record_of_another_topic_or_without_the_flag_is_no_retained_one),
		TEST(nothing_is_taken_before_replicas_have_it),
		TEST(a_round_that_lost_its_connection_begins_anew_and_asks_for_less),
		TEST(while_the_journal_takes_nothing_it_waits_and_goes_on_where_it_was),
		TEST(what_there_is_no_room_for_is_left_out),
		TEST(a_refusal_ends_the_round_and_the_shard_is_followed),
		TEST(what_is_no_answer_is_asked_again),
		TEST(a_gap_asks_for_another_round),
		TEST(it_is_compared_again_when_asked_for),
		TEST(without_a_broker_nothing_is_compared),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
