/* Wills on their way to Redis, and those that dead runs have left, with a played Redis that keeps a few of
 * these. What unwill.lua does and real nodes do is in tests/e2e/test_cluster_wills.py. */
#include "cluster/wills.h"

#include "cluster/fixture.h"

#include "cluster/holders.h"
#include "cluster/members.h"
#include "cluster/will_value.h"
#include "net/harness_clock.h"

#define ME "here/0000000000000001"
#define OTHER "there/0000000000000002"
#define DEAD "gone/0000000000000003"
#define DEAD_TOO "lost/0000000000000004"
#define MINE "isobar:wills:" ME " "
#define ROWS_MOST 300u
#define RUNS_MOST 4u
#define LOOK_MS 1000u
#define AGAIN_MS 200u
#define PASS_MOST_MS 30000u
#define BUSY_MOST 256u
#define GIVEN_MOST 256u

/* Who lives, as the tests say. */
struct members {
	struct node list[3];
	struct nodes nodes;
	bool is_cut_off;
};

const struct nodes *members_nodes(const struct members *m)
{
	return &m->nodes;
}

bool members_has_run(const struct members *m, struct view run)
{
	return nodes_by_run(&m->nodes, run) != NULL;
}

bool members_is_cut_off(const struct members *m)
{
	return m->is_cut_off;
}

/* A will in Redis. */
struct row {
	const char *run;
	char key[8];
	uint8_t id;
	uint64_t delay_ms;
	bool is_there;
	bool is_unreadable;
};

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct members members;
	struct wills *wills;
	struct roaming_host host;
	/* Redis */
	const char *runs[RUNS_MOST];
	struct row rows[ROWS_MOST];
	uint32_t row_count;
	uint32_t page;    /* of rows; it gives the next one's place as a cursor */
	const char *list; /* answer to SMEMBERS; NULL: the runs */
	const char *scan; /* answer to HSCAN; NULL: the rows */
	uint32_t refused; /* so many writes get an error */
	bool is_held;     /* writes get no answer */
	/* the broker */
	struct buf told;
	uint32_t told_count;
};

/* --- Redis ------------------------------------------------------------------- */

static void say_runs(struct played_visit *v, const struct rig *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < RUNS_MOST; i++)
		n += r->runs[i] != NULL;
	played_array(v, n);
	for (uint32_t i = 0; i < RUNS_MOST; i++) {
		if (r->runs[i])
			played_bulk(v, view_of(r->runs[i]));
	}
}

static bool is_of(const struct row *row, struct view key)
{
	return row->is_there && view_equal(view_skip(key, strlen(WILLS_KEY)), view_of(row->run));
}

static void say_value(struct played_visit *v, const struct row *row)
{
	struct roaming_will will = {.delay_ms = row->delay_ms, .bytes = VIEW("bytes")};
	struct buf value = {0};

	memset(&will.id, row->id, sizeof(will.id));
	will_value_put(&value, &will);
	if (row->is_unreadable)
		buf_cut(&value, 3);
	played_bulk(v, buf_view(&value));
	buf_fini(&value);
}

static void say_rows(struct played_visit *v, const struct rig *r, const struct resp *c)
{
	uint32_t at = (uint32_t)strtoul(played_word(c, 2).p, NULL, 10), n = 0, end;
	char cursor[16];

	for (end = at; end < r->row_count && n < r->page; end++)
		n += is_of(&r->rows[end], played_word(c, 1));
	snprintf(cursor, sizeof(cursor), "%u", end < r->row_count ? end : 0);
	played_array(v, 2);
	played_bulk(v, view_of(cursor));
	played_array(v, 2 * n);
	for (uint32_t i = at; i < end; i++) {
		if (!is_of(&r->rows[i], played_word(c, 1)))
			continue;
		played_bulk(v, view_of(r->rows[i].key));
		say_value(v, &r->rows[i]);
	}
}

static void take_away(struct rig *r, struct view key, struct view session)
{
	for (uint32_t i = 0; i < r->row_count; i++) {
		if (is_of(&r->rows[i], key) && view_equal(session, view_of(r->rows[i].key)))
			r->rows[i].is_there = false;
	}
}

static void serve_write(struct played_visit *v, struct rig *r, const struct resp *c)
{
	uint32_t key = played_is(c, "EVALSHA") ? 3 : 1;

	if (r->refused) {
		r->refused--;
		played_say(v, "-OOM command not allowed\r\n");
		return;
	}
	if (r->is_held) {
		v->is_blocked = true;
		return;
	}
	if (!played_is(c, "HSET"))
		take_away(r, played_word(c, key), played_word(c, key + 1));
	played_say(v, ":1\r\n");
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "SMEMBERS") && r->list)
		played_say(v, r->list);
	else if (played_is(c, "SMEMBERS"))
		say_runs(v, r);
	else if (played_is(c, "HSCAN") && r->scan)
		played_say(v, r->scan);
	else if (played_is(c, "HSCAN"))
		say_rows(v, r, c);
	else if (played_is(c, "SADD") || played_is(c, "SREM"))
		played_say(v, ":1\r\n");
	else
		serve_write(v, r, c);
}

/* --- the rig -------------------------------------------------------------------- */

static void on_will(
	void *context, struct view run, struct view key, const struct roaming_will *will)
{
	struct rig *r = context;

	buf_printf(
		&r->told, "%.*s %.*s %.*s\n", VIEW_ARG(run), VIEW_ARG(key), VIEW_ARG(will->bytes));
	r->told_count++;
}

static struct node node_of(const char *name, uint64_t start, bool alive)
{
	return (struct node){.name = (char *)(uintptr_t)name, .start = start, .alive = alive};
}

/* In the order of their names. */
static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->redis.serve = serve;
	r->redis.context = r;
	r->page = 2;
	played_open(&r->redis, &(struct redis_config){.requests_most = BUSY_MOST + 20});
	r->settings.node = "here";
	r->core = (struct cluster_core){
		.settings = &r->settings, .loop = r->redis.loop, .redis = r->redis.redis};
	r->members.list[0] = node_of("gone", 3, false);
	r->members.list[1] = node_of("here", 1, true);
	r->members.list[2] = node_of("there", 2, false);
	r->members.nodes = (struct nodes){.list = r->members.list, .count = 3};
	r->host = (struct roaming_host){.on_will = on_will, .context = r};
	r->wills = wills_new(&r->core, &r->members, ME, &r->host);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	wills_free(r->wills);
	played_close(&r->redis);
	buf_fini(&r->told);
	free(r);
	return 0;
}

static struct uuid id_of(uint8_t letter)
{
	struct uuid id;

	memset(&id, letter, sizeof(id));
	return id;
}

/* Delay "DDDDDDDD" as text. */
#define DELAY 0x4444444444444444ull
#define VALUE(letter, bytes)                                                                       \
	letter letter letter letter letter letter letter letter letter letter letter letter letter \
		letter letter letter "DDDDDDDD" bytes
#define ID(letter)                                                                                 \
	letter letter letter letter letter letter letter letter letter letter letter letter letter \
		letter letter letter

static void put(struct rig *r, const char *key, uint8_t letter)
{
	wills_put(r->wills, view_of(key),
		&(struct roaming_will){id_of(letter), DELAY, letter ? VIEW("w") : VIEW("")});
}

static void done(struct rig *r, const char *run, const char *key, uint8_t letter)
{
	struct uuid id = id_of(letter);

	wills_done(r->wills, view_of(run), view_of(key), &id);
}

/* This run left this one, under `letter` as its identifier. */
static void leave_will(
	struct rig *r, const char *run, const char *key, uint8_t letter, uint64_t delay_ms)
{
	struct row *row = &r->rows[r->row_count++];

	assert_true(r->row_count <= ROWS_MOST);
	*row = (struct row){.run = run, .id = letter, .delay_ms = delay_ms, .is_there = true};
	snprintf(row->key, sizeof(row->key), "%s", key);
}

/* The nodes have been read just now. */
static void read_nodes(struct rig *r)
{
	r->members.nodes.taken_ms = loop_now_ms(r->core.loop) + 1;
}

/* So much later, when all is done that was due then. */
static void pass(struct rig *r, uint64_t ms, uint32_t open)
{
	harness_jump(r->core.loop, ms);
	played_settle(&r->redis, open);
}

/* The next round over the dead runs; the nodes have been read since the one before. */
static void look(struct rig *r)
{
	read_nodes(r);
	pass(r, LOOK_MS, 0);
}

/* Rounds until a run that is seen first in the first of them is looked through. */
static void begin(struct rig *r)
{
	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	look(r);
}

static void expect_told(struct rig *r, const char *want)
{
	expect_text(&r->told, want);
}

static void expect_asked(struct rig *r, const char *text, uint32_t n)
{
	played_expect(&r->redis, text, n);
}

/* --- changes ------------------------------------------------------------------------ */

static void a_will_is_written_by_its_session_and_one_that_is_gone_taken_out(void **state)
{
	struct rig *r = *state;

	wills_begin(r->wills);
	put(r, "k", 'A');
	put(r, "j", 0);
	done(r, "", "i", 'B');
	done(r, DEAD, "h", 'C');
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET " MINE "k " VALUE("A", "w") "\n", 1);
	expect_asked(r, "HDEL " MINE "j\n", 1);
	expect_asked(r, "EVALSHA " MINE "i " ID("B") "\n", 1);
	expect_asked(r, "EVALSHA isobar:wills:" DEAD " h " ID("C") "\n", 1);
}

static void nothing_is_written_before_redis_is_reached_and_then_the_latest(void **state)
{
	struct rig *r = *state;

	put(r, "k", 'A');
	put(r, "k", 'B');
	drive_turns(r->core.loop, 20);
	expect_asked(r, "HSET", 0);
	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET", 1);
	expect_asked(r, "k " VALUE("B", "w") "\n", 1);
}

static void what_comes_while_one_is_under_way_is_written_behind_it(void **state)
{
	struct rig *r = *state;

	r->is_held = true;
	wills_begin(r->wills);
	put(r, "k", 'A');
	played_await(&r->redis, "HSET", 1);
	put(r, "k", 'B');
	put(r, "k", 'C');
	drive_turns(r->core.loop, 20);
	expect_asked(r, "HSET", 1);
	assert_int_equal(played_open_requests(&r->redis), 1);
	r->is_held = false;
	played_unblock(&r->redis, ":1\r\n");
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET", 2);
	expect_asked(r, "k " VALUE("C", "w") "\n", 1);
}

static void what_redis_refuses_is_written_again_after_a_moment(void **state)
{
	struct rig *r = *state;

	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	r->refused = 1;
	put(r, "k", 'A');
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET", 1);
	pass(r, AGAIN_MS, 0);
	expect_asked(r, VALUE("A", "w"), 2);
	pass(r, AGAIN_MS, 0);
	expect_asked(r, "HSET", 2);
}

static void what_redis_does_not_answer_in_time_is_written_again(void **state)
{
	struct rig *r = *state;

	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	r->is_held = true;
	put(r, "k", 'A');
	played_await(&r->redis, "HSET", 1);
	r->is_held = false;
	harness_jump(r->core.loop, 5000);
	played_await(&r->redis, VALUE("A", "w"), 2);
}

static void in_place_of_what_was_refused_the_latest_is_written(void **state)
{
	struct rig *r = *state;

	r->is_held = true;
	wills_begin(r->wills);
	put(r, "k", 'A');
	played_await(&r->redis, "HSET", 1);
	put(r, "k", 0);
	r->is_held = false;
	played_unblock(&r->redis, "-OOM command not allowed\r\n");
	played_settle(&r->redis, 0);
	pass(r, AGAIN_MS, 0);
	expect_asked(r, "HSET", 1);
	expect_asked(r, "HDEL " MINE "k\n", 1);
}

static void a_bounded_number_of_changes_is_under_way(void **state)
{
	struct rig *r = *state;
	char key[8];

	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	r->is_held = true;
	for (uint32_t i = 0; i < 300; i++) {
		snprintf(key, sizeof(key), "%u", i);
		put(r, key, 'A');
	}
	drive_turns(r->core.loop, 20);
	assert_int_equal(played_open_requests(&r->redis), BUSY_MOST);
	r->is_held = false;
	played_unblock(&r->redis, ":1\r\n");
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET", 300);
}

static void what_the_client_does_not_take_is_handed_over_later(void **state)
{
	struct rig *r = *state;

	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	played_fill(&r->redis);
	put(r, "k", 'A');
	put(r, "j", 'B');
	played_settle(&r->redis, 0);
	expect_asked(r, "HSET", 0);
	pass(r, AGAIN_MS, 0);
	expect_asked(r, "HSET", 2);
}

/* {is being written, or waits to be; then this one is done with: what Redis is asked} */
static void what_is_done_with_before_redis_has_it(void **state)
{
	static const struct {
		uint8_t written; /* 0: the client has none any more */
		bool is_under_way;
		uint8_t done;
		const char *want;
	} rows[] = {
		{'A', false, 'A', "HDEL " MINE "k\n"},
		{'B', false, 'A', "HSET " MINE "k " VALUE("B", "w") "\n"},
		{'A', true, 'A',
			"HSET " MINE "k " VALUE("A", "w") "\nEVALSHA " MINE "k " ID("A") "\n"},
		{'B', true, 'A', "HSET " MINE "k " VALUE("B", "w") "\n"},
		{0, false, 'A', "HDEL " MINE "k\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		r->is_held = true;
		if (rows[i].is_under_way) {
			wills_begin(r->wills);
			played_settle(&r->redis, 0);
		}
		buf_clear(&r->redis.asked);
		put(r, "k", rows[i].written);
		if (rows[i].is_under_way)
			played_await(&r->redis, "HSET", 1);
		done(r, "", "k", rows[i].done);
		r->is_held = false;
		if (rows[i].is_under_way)
			played_unblock(&r->redis, ":1\r\n");
		else
			wills_begin(r->wills);
		played_settle(&r->redis, 0);
		expect_asked(r, rows[i].want, 1);
		expect_asked(
			r, "k", rows[i].is_under_way && rows[i].written == rows[i].done ? 2 : 1);
		tear_down(&fresh);
	}
}

/* --- what dead runs left ---------------------------------------------------------------- */

static void wills_of_a_dead_run_are_given_once_and_their_run_taken_out_when_all_are_done(
	void **state)
{
	struct rig *r = *state;

	r->runs[0] = ME;
	r->runs[1] = DEAD;
	leave_will(r, DEAD, "a", 'A', 0);
	leave_will(r, DEAD, "b", 'B', 0);
	leave_will(r, DEAD, "c", 'C', 0);
	begin(r);
	expect_told(r, DEAD " a bytes\n" DEAD " b bytes\n" DEAD " c bytes\n");
	expect_asked(r, "SADD {isobar}:wills " ME "\n", 2); /* said again */
	expect_asked(r, "HSCAN isobar:wills:" DEAD " 0 COUNT 64\n", 1);
	expect_asked(r, "HSCAN isobar:wills:" DEAD " 2 COUNT 64\n", 1);
	expect_asked(r, "HSCAN", 2);
	look(r); /* they are being published */
	expect_asked(r, "HSCAN", 4);
	expect_told(r, "");
	done(r, DEAD, "a", 'A');
	done(r, DEAD, "b", 'B');
	done(r, DEAD, "c", 'C');
	played_settle(&r->redis, 0);
	expect_asked(r, "EVALSHA isobar:wills:" DEAD, 3);
	look(r);
	expect_asked(r, "HSCAN", 4);
	pass(r, PASS_MOST_MS, 0);
	expect_told(r, "");
	expect_asked(r, "SREM {isobar}:wills " DEAD "\n", 1);
}

/* {who lives or what Redis says: is a run looked through?} */
static void whose_wills_are_looked_for(void **state)
{
	static const struct {
		const char *run, *list;
		uint64_t start; /* of the one who has that name */
		bool is_alive;  /* he is */
		bool is_cut_off;
		bool is_unread; /* the nodes have not been read since it was seen first */
		bool want;
	} rows[] = {
		{.run = DEAD, .start = 3, .want = true},
		{.run = DEAD, .start = 3, .is_alive = true},
		{.run = DEAD, .start = 4, .is_alive = true, .want = true}, /* another run */
		{.run = DEAD, .start = 3, .is_unread = true},
		{.run = DEAD, .start = 3, .is_cut_off = true},
		{.run = ME, .start = 3},
		{.run = DEAD, .start = 3, .list = "-ERR\r\n"},
		{.run = DEAD, .start = 3, .list = "*1\r\n:7\r\n"},
		{.run = "a2345678901234567890123456789012345678901234567890123456789012345678901234"
			"5"
			"67890/0000000000000001",
			.start = 3},
		{.run = "a234567890123456789012345678901234567890123456789012345678901234/"
			"0000000000000001",
			.start = 3,
			.want = true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		r->runs[0] = rows[i].run;
		r->list = rows[i].list;
		r->members.list[0] = node_of("gone", rows[i].start, rows[i].is_alive);
		/* Who takes care of a run is not what this is about. */
		r->members.list[0].draining = true;
		if (strcmp(rows[i].run, ME) == 0)
			r->members.list[1].start = 99;
		r->members.is_cut_off = rows[i].is_cut_off;
		wills_begin(r->wills);
		played_settle(&r->redis, 0);
		if (!rows[i].is_unread)
			read_nodes(r);
		pass(r, LOOK_MS, 0);
		if (played_count(&r->redis, "HSCAN") != rows[i].want)
			fail_msg("row %zu", i);
		tear_down(&fresh);
	}
}

static void of_the_living_one_takes_care_of_a_run(void **state)
{
	struct rig *r = *state;
	char name[16];
	uint32_t mine = 0;

	r->members.list[2].alive = true;
	for (uint32_t i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "n%u/0", i);
		r->runs[0] = name;
		if (i == 0)
			begin(r);
		else
			look(r), look(r);
		if (strcmp(holder_first(&r->members.nodes, name)->name, "here") == 0)
			mine++;
		assert_int_equal(played_was_asked(&r->redis, name),
			strcmp(holder_first(&r->members.nodes, name)->name, "here") == 0);
	}
	assert_true(mine > 0 && mine < 8);
}

static void a_delay_begins_when_the_run_is_first_seen_to_be_dead(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	leave_will(r, DEAD, "a", 'A', 40000);
	leave_will(r, DEAD, "b", 'B', 5000);
	leave_will(r, DEAD, "c", 'C', 90000);
	begin(r);
	expect_told(r, "");
	expect_asked(r, "HSCAN", 2);
	look(r); /* nothing is due before 5000 */
	expect_asked(r, "HSCAN", 2);
	pass(r, 3000, 0);
	expect_told(r, DEAD " b bytes\n");
	expect_asked(r, "SREM", 0);
	done(r, DEAD, "b", 'B');
	for (int i = 0; i < 3; i++)
		look(r);
	pass(r, 29000, 0); /* at 37 000, of the pass at 8000 */
	expect_told(r, "");
	pass(r, 4000, 0);
	expect_told(r, DEAD " a bytes\n");
	pass(r, 20000, 0);
	expect_told(r, "");
	pass(r, 30000, 0);
	expect_told(r, DEAD " c bytes\n");
}

static void a_run_that_another_has_taken_out_is_forgotten_and_its_delay_begins_anew(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	leave_will(r, DEAD, "a", 'A', 5000);
	begin(r);
	r->runs[0] = NULL;
	pass(r, 4000, 0);
	r->runs[0] = DEAD;
	look(r);
	look(r);
	expect_told(r, "");
	pass(r, 5000, 0);
	expect_told(r, DEAD " a bytes\n");
}

static void what_is_no_will_is_taken_out(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	leave_will(r, DEAD, "a", 'A', 0);
	leave_will(r, DEAD, "b", 'B', 0);
	r->rows[0].is_unreadable = true;
	begin(r);
	expect_told(r, DEAD " b bytes\n");
	expect_asked(r, "HDEL isobar:wills:" DEAD " a\n", 1);
}

static void no_more_are_given_than_the_broker_can_take_and_the_rest_when_it_has_published(
	void **state)
{
	struct rig *r = *state;
	char key[8];

	r->runs[0] = DEAD;
	r->page = ROWS_MOST;
	for (uint32_t i = 0; i < ROWS_MOST; i++) {
		snprintf(key, sizeof(key), "%u", i);
		leave_will(r, DEAD, key, 'A', 0);
	}
	begin(r);
	assert_int_equal(r->told_count, GIVEN_MOST);
	look(r);
	assert_int_equal(r->told_count, GIVEN_MOST);
	for (uint32_t i = 0; i < GIVEN_MOST; i++)
		done(r, DEAD, r->rows[i].key, 'A');
	played_settle(&r->redis, 0);
	look(r);
	assert_int_equal(r->told_count, ROWS_MOST);
	buf_clear(&r->told);
}

/* {answer to a look at what a run left}: it is looked through again, and not taken for empty. */
static void an_answer_that_is_none_leaves_all_as_it_is(void **state)
{
	static const char *const rows[] = {"-LOADED\r\n", "*0\r\n", "*2\r\n$1\r\n0\r\n:1\r\n",
		"*2\r\n:0\r\n*0\r\n", "*2\r\n$1\r\n5\r\n*2\r\n$1\r\na\r\n"};
	struct rig *r = *state;

	r->runs[0] = DEAD;
	leave_will(r, DEAD, "a", 'A', 0);
	r->scan = rows[0];
	begin(r);
	for (size_t i = 1; i < 4; i++) {
		r->scan = rows[i];
		look(r);
	}
	expect_asked(r, "HSCAN", 4);
	expect_asked(r, "SREM", 0);
	expect_told(r, "");
	r->scan = NULL;
	look(r);
	expect_told(r, DEAD " a bytes\n");
}

static void a_page_that_breaks_off_is_begun_anew(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	r->scan = "*2\r\n$1\r\n7\r\n*0\r\n";
	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	read_nodes(r);
	harness_jump(r->core.loop, LOOK_MS);
	played_await(&r->redis, " 7 COUNT 64\n", 1);
	r->scan = "-ERR\r\n";
	played_settle(&r->redis, 0);
	r->scan = NULL;
	buf_clear(&r->redis.asked);
	look(r);
	expect_asked(r, " 0 COUNT 64\n", 1);
	expect_asked(r, "SREM", 1);
}

static void runs_are_looked_through_in_turns(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	r->runs[1] = DEAD_TOO;
	r->scan = "-ERR\r\n"; /* each is due again at once */
	begin(r);
	expect_asked(r, "HSCAN isobar:wills:" DEAD " ", 1);
	expect_asked(r, "HSCAN", 1);
	look(r);
	expect_asked(r, "HSCAN isobar:wills:" DEAD_TOO " ", 1);
	look(r);
	expect_asked(r, "HSCAN isobar:wills:" DEAD " ", 2);
	expect_asked(r, "HSCAN", 3);
}

static void what_the_client_does_not_take_is_asked_with_the_next_look(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	wills_begin(r->wills);
	played_settle(&r->redis, 0);
	buf_clear(&r->redis.asked);
	read_nodes(r);
	played_fill(&r->redis);
	harness_jump(r->core.loop, LOOK_MS);
	drive_turns(r->core.loop, 2);
	expect_asked(r, "SADD", 0);
	played_settle(&r->redis, 0);
	look(r);
	expect_asked(r, "SADD", 1);
	expect_asked(r, "HSCAN", 1);
}

/* --- clients that are back ------------------------------------------------------------------ */

/* {what Redis has of a client that is back here: given, or what Redis is asked} */
static void the_will_of_a_client_that_is_back(void **state)
{
	static const struct {
		const char *run;
		uint64_t delay_ms;
		bool is_clean, is_unreadable;
		const char *told, *asked;
	} rows[] = {
		{DEAD, 0, false, false, DEAD " k bytes\n", NULL},
		{DEAD, 5, true, false, DEAD " k bytes\n", NULL},
		{DEAD, 5, false, false, "", "EVALSHA isobar:wills:" DEAD " k " ID("A") "\n"},
		{DEAD, 0, false, true, "", "HDEL isobar:wills:" DEAD " k\n"},
		{"a23456789012345678901234567890123456789012345678901234567890123456789012345"
		 "67890/0000000000000001",
			0, false, false, "", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct roaming_will will = {id_of('A'), rows[i].delay_ms, VIEW("bytes")};
		struct buf value = {0};
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		wills_begin(r->wills);
		played_settle(&r->redis, 0);
		buf_clear(&r->redis.asked);
		will_value_put(&value, &will);
		if (rows[i].is_unreadable)
			buf_cut(&value, 3);
		for (int twice = 0; twice < 2; twice++)
			wills_return(r->wills, view_of(rows[i].run), VIEW("k"), buf_view(&value),
				rows[i].is_clean);
		buf_fini(&value);
		played_settle(&r->redis, 0);
		expect_told(r, rows[i].told);
		expect_asked(r, "\n", rows[i].asked != NULL);
		if (rows[i].asked)
			expect_asked(r, rows[i].asked, 1);
		tear_down(&fresh);
	}
}

static void at_the_end_nothing_is_told(void **state)
{
	struct rig *r = *state;

	r->runs[0] = DEAD;
	leave_will(r, DEAD, "a", 'A', 0);
	r->is_held = true;
	begin(r);
	expect_told(r, DEAD " a bytes\n");
	done(r, DEAD, "a", 'A');
	put(r, "k", 'B');
	put(r, "k", 'C');
	harness_jump(r->core.loop, PASS_MOST_MS);
	played_end_client(&r->redis);
	wills_free(r->wills);
	r->wills = NULL;
	expect_told(r, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_will_is_written_by_its_session_and_one_that_is_gone_taken_out),
		TEST(nothing_is_written_before_redis_is_reached_and_then_the_latest),
		TEST(what_comes_while_one_is_under_way_is_written_behind_it),
		TEST(what_redis_refuses_is_written_again_after_a_moment),
		TEST(what_redis_does_not_answer_in_time_is_written_again),
		TEST(in_place_of_what_was_refused_the_latest_is_written),
		TEST(a_bounded_number_of_changes_is_under_way),
		TEST(what_the_client_does_not_take_is_handed_over_later),
		cmocka_unit_test(what_is_done_with_before_redis_has_it),
		TEST(wills_of_a_dead_run_are_given_once_and_their_run_taken_out_when_all_are_done),
		cmocka_unit_test(whose_wills_are_looked_for),
		TEST(of_the_living_one_takes_care_of_a_run),
		TEST(a_delay_begins_when_the_run_is_first_seen_to_be_dead),
		TEST(a_run_that_another_has_taken_out_is_forgotten_and_its_delay_begins_anew),
		TEST(what_is_no_will_is_taken_out),
		TEST(no_more_are_given_than_the_broker_can_take_and_the_rest_when_it_has_published),
		TEST(an_answer_that_is_none_leaves_all_as_it_is),
		TEST(a_page_that_breaks_off_is_begun_anew),
		TEST(runs_are_looked_through_in_turns),
		TEST(what_the_client_does_not_take_is_asked_with_the_next_look),
		cmocka_unit_test(the_will_of_a_client_that_is_back),
		TEST(at_the_end_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
