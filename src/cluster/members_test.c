/* A node among others, with a played Redis that does what beat.lua and lease.lua do. Which source is whose is in
 * holders_test.c, the scripts and real nodes in tests/e2e/test_cluster_members.py. */
#include "cluster/members.h"

#include "cluster/fixture.h"

#include <pthread.h>

#include "base/log.h"
#include "base/map.h"
#include "cluster/holders.h"
#include "net/harness_clock.h"

#define ME "here/0000000000000001"
#define OTHER "there/0000000000000002"
#define BEAT "EVALSHA {isobar}:nodes {isobar}:leases here 0000000000000001 "
#define SWAP "EVALSHA {isobar}:leases "
#define READ "HGETALL {isobar}:leases\n"
#define LEASES_MOST 4200u
#define SWAPS_A_CALL 4096u
#define LEAVING_BEAT_MS 200u
#define SETTLED_MS 2000u

struct lease {
	char name[24];
	char run[32]; /* "": nobody */
};

struct rig {
	struct played redis;
	struct members *members;
	struct members_config config;
	/* Redis */
	char own[256];     /* this node's field */
	bool is_other_run; /* another run writes it, every time */
	struct peer {
		bool is_there;
		bool is_silent; /* its field stays as it is */
		const char *state;
		const char *roles;
		uint64_t beat;
	} there; /* the other node */
	struct lease leases[LEASES_MOST];
	uint32_t lease_count;
	struct map by_name;
	uint64_t version;
	const char *answer; /* to beats, NULL: as the script does */
	const char *reads;  /* to HGETALL */
	const char *swaps;  /* to lease.lua */
	bool is_held;       /* nothing is answered */
	bool holds_swaps;   /* nor are these */
	/* the callers */
	struct buf told;
	uint32_t node_calls, changes, lefts;
	uint64_t figure; /* counts the calls */
	bool owes;
};

/* --- Redis ------------------------------------------------------------------------ */

static void write_own(struct rig *r, const struct resp *c)
{
	struct view start = played_word(c, 6), field = played_word(c, 7);
	bool is_own = view_starts_with(view_of(r->own), start);

	if (field.n && (r->own[0] == '\0' || is_own || view_equal(played_word(c, 8), VIEW("1"))))
		snprintf(r->own, sizeof(r->own), "%.*s", VIEW_ARG(field));
}

static void say_nodes(struct played_visit *v, struct rig *r, const struct resp *c)
{
	char field[128];

	write_own(r, c);
	if (r->is_other_run)
		snprintf(r->own, sizeof(r->own), "00000000000000ff %llu up sources 0.1.0 -",
			(unsigned long long)r->version + 10 + r->there.beat);
	if (view_equal(played_word(c, 9), VIEW("there")))
		r->there.is_there = false; /* it is to be forgotten */
	r->there.beat += !r->there.is_silent;
	snprintf(field, sizeof(field), "0000000000000002 %llu %s %s 0.1.0 -",
		(unsigned long long)r->there.beat, r->there.state, r->there.roles);
	played_array(v, 2);
	played_array(v, (r->own[0] ? 2u : 0u) + (r->there.is_there ? 2u : 0u));
	if (r->own[0]) {
		played_bulk(v, VIEW("here"));
		played_bulk(v, view_of(r->own));
	}
	if (r->there.is_there) {
		played_bulk(v, VIEW("there"));
		played_bulk(v, view_of(field));
	}
	played_integer(v, (int64_t)r->version);
}

static struct lease *find_lease(struct rig *r, struct view name)
{
	struct lease *l = map_get(&r->by_name, name);

	if (l)
		return l;
	assert_true(r->lease_count < LEASES_MOST);
	l = &r->leases[r->lease_count++];
	snprintf(l->name, sizeof(l->name), "%.*s", VIEW_ARG(name));
	map_put(&r->by_name, view_of(l->name), l);
	return l;
}

static void say_swaps(struct played_visit *v, struct rig *r, const struct resp *c)
{
	played_array(v, (c->count - 4) / 3);
	for (uint32_t i = 4; i + 2 < c->count; i += 3) {
		struct lease *l = find_lease(r, played_word(c, i));

		if (view_equal(view_of(l->run), played_word(c, i + 1))) {
			snprintf(l->run, sizeof(l->run), "%.*s", VIEW_ARG(played_word(c, i + 2)));
			r->version++;
		}
		played_bulk(v, view_of(l->run));
	}
}

static void say_leases(struct played_visit *v, const struct rig *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->lease_count; i++)
		n += r->leases[i].run[0] != '\0';
	played_array(v, 2 * n);
	for (uint32_t i = 0; i < r->lease_count; i++) {
		if (r->leases[i].run[0] == '\0')
			continue;
		played_bulk(v, view_of(r->leases[i].name));
		played_bulk(v, view_of(r->leases[i].run));
	}
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;
	bool is_beat = view_equal(played_word(c, 3), VIEW("{isobar}:nodes"));
	const char *answer = is_beat ? r->answer : played_is(c, "HGETALL") ? r->reads : r->swaps;

	if (r->is_held ||
		(r->holds_swaps && view_equal(played_word(c, 3), VIEW("{isobar}:leases"))))
		v->is_blocked = true;
	else if (answer)
		played_say(v, answer);
	else if (is_beat)
		say_nodes(v, r, c);
	else if (played_is(c, "HGETALL"))
		say_leases(v, r);
	else
		say_swaps(v, r, c);
}

/* --- the callers --------------------------------------------------------------------- */

static void on_holding(void *context, const char *source, uint32_t slot, bool is_voice)
{
	struct rig *r = context;

	buf_printf(&r->told, slot == HOLDER_NONE ? "%s none" : "%s %u", source, slot);
	buf_text(&r->told, is_voice ? " voice\n" : "\n");
}

static void on_nodes(void *context, const struct nodes *nodes, bool changed)
{
	struct rig *r = context;

	assert_true(nodes == members_nodes(r->members));
	r->node_calls++;
	r->changes += changed;
}

static void on_figures(void *context, uint64_t figures[NODE_FIGURES])
{
	struct rig *r = context;

	for (unsigned i = 0; i < NODE_FIGURES; i++)
		figures[i] = NODE_UNTOLD;
	figures[NODE_UPTIME] = ++r->figure;
}

static bool owes(void *context)
{
	return ((struct rig *)context)->owes;
}

static void on_left(void *context)
{
	((struct rig *)context)->lefts++;
}

/* --- the rig ---------------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->redis.serve = serve;
	r->redis.context = r;
	played_open(&r->redis, NULL);
	r->version = 1;
	r->there = (struct peer){.state = "up", .roles = "sources"};
	r->config = (struct members_config){.loop = r->redis.loop,
		.redis = r->redis.redis,
		.node = "here",
		.start = 1,
		.roles = NODE_SOURCES,
		.version = "0.1.0",
		.replicas = 2,
		.on_holding = on_holding,
		.owes = owes,
		.context = r};
	r->members = members_new(&r->config);
	*state = r;
	return 0;
}

/* With what is now in the configuration. */
static void renew(struct rig *r)
{
	members_free(r->members);
	r->members = members_new(&r->config);
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	members_free(r->members);
	played_close(&r->redis);
	map_fini(&r->by_name);
	buf_fini(&r->told);
	free(r);
	return 0;
}

static void begin(struct rig *r)
{
	members_begin(r->members);
	harness_jump(r->redis.loop, 1);
	played_settle(&r->redis, 0);
}

/* So many beats, and what follows from each. */
static void beat(struct rig *r, uint32_t n)
{
	while (n--) {
		harness_jump(r->redis.loop, NODE_BEAT_MS);
		played_settle(&r->redis, 0);
	}
}

/* These names, each a letter. */
static void set_sources(struct rig *r, const char *letters)
{
	const char *names[8];
	char texts[8][2];
	uint32_t n = 0;

	for (; letters[n]; n++) {
		texts[n][0] = letters[n];
		texts[n][1] = '\0';
		names[n] = texts[n];
	}
	members_set_sources(r->members, names, n);
	drive_turns(r->redis.loop, 2);
	played_settle(&r->redis, 0);
}

static void set_lease(struct rig *r, const char *name, const char *run)
{
	snprintf(find_lease(r, view_of(name))->run, sizeof(r->leases[0].run), "%s", run);
	r->version++;
}

static const char *lease(struct rig *r, const char *name)
{
	return find_lease(r, view_of(name))->run;
}

static void expect_told(struct rig *r, const char *want)
{
	expect_text(&r->told, want);
}

static void expect(struct rig *r, const char *text, uint32_t n)
{
	played_expect(&r->redis, text, n);
}

/* A source that is rather to be here (or there), alone. */
static char letter_for(const char *first, const char *second)
{
	for (char c = 'a'; c <= 'z'; c++) {
		struct view name = {&c, 1};

		if (holder_weight(name, first) > holder_weight(name, second))
			return c;
	}
	return '\0';
}

/* --- beats --------------------------------------------------------------------------------- */

static void the_first_beat_only_looks_and_each_second_one_says_that_the_node_lives(void **state)
{
	struct rig *r = *state;

	r->config.on_nodes = on_nodes;
	renew(r);
	begin(r);
	expect(r, BEAT " 0\n", 1);
	expect(r, BEAT "0000000000000001 2 up sources 0.1.0 - 0\n", 1);
	expect(r, BEAT, 2);
	assert_int_equal(r->node_calls, 2);
	assert_int_equal(r->changes, 1);
	beat(r, 3);
	expect(r, BEAT "0000000000000001 5 up sources 0.1.0 - 0\n", 1);
	expect(r, BEAT, 5);
	assert_int_equal(r->node_calls, 5);
	assert_int_equal(r->changes, 1);
	assert_true(members_has_run(r->members, VIEW(ME)));
	assert_false(members_has_run(r->members, VIEW(OTHER)));
	r->there.is_there = true;
	beat(r, 1);
	assert_int_equal(r->changes, 2);
	assert_true(members_has_run(r->members, VIEW(OTHER)));
}

static void a_beat_tells_figures_of_just_then_and_where_clients_find_the_node(void **state)
{
	struct rig *r = *state;

	r->config.on_figures = on_figures;
	r->config.advertise = "mqtt://here";
	r->config.roles = NODE_SOURCES | NODE_SUBSCRIBERS;
	renew(r);
	begin(r);
	beat(r, 2);
	expect(r, BEAT "0000000000000001 3 up sources,subscribers 0.1.0 mqtt://here up=2 0\n", 1);
	expect(r, BEAT "0000000000000001 4 up sources,subscribers 0.1.0 mqtt://here up=3 0\n", 1);
}

static void one_beat_is_under_way(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->is_held = true;
	harness_jump(r->redis.loop, NODE_BEAT_MS);
	harness_jump(r->redis.loop, NODE_BEAT_MS / 2);
	harness_jump(r->redis.loop, NODE_BEAT_MS / 2);
	assert_int_equal(played_open_requests(&r->redis), 1);
}

static void who_was_silent_for_an_hour_is_forgotten(void **state)
{
	struct rig *r = *state;

	r->there.is_there = r->there.is_silent = true;
	begin(r);
	for (uint32_t ms = 0; ms + 2900 < NODE_FORGET_MS; ms += 2900) {
		harness_jump(r->redis.loop, 2900);
		played_settle(&r->redis, 0);
		buf_clear(&r->redis.asked);
	}
	assert_non_null(nodes_find(members_nodes(r->members), VIEW("there")));
	beat(r, 4);
	expect(r, " there 0000000000000002 0 up sources 0.1.0 -\n", 1);
	assert_null(nodes_find(members_nodes(r->members), VIEW("there")));
	beat(r, 1);
	expect(r, " there ", 1);
}

static void it_is_cut_off_when_its_beats_are_not_answered_and_holds_what_it_held(void **state)
{
	struct rig *r = *state;

	assert_false(members_is_cut_off(r->members));
	begin(r);
	set_sources(r, "a");
	expect_told(r, "a 0 voice\n");
	r->answer = "-ERR\r\n";
	beat(r, 2);
	assert_false(members_is_cut_off(r->members));
	beat(r, 2);
	assert_true(members_is_cut_off(r->members));
	expect_told(r, "");
	r->answer = NULL;
	beat(r, 1);
	assert_false(members_is_cut_off(r->members));
	expect_told(r, "");
}

static void before_its_first_beat_is_answered_it_is_cut_off_and_decides_nothing(void **state)
{
	struct rig *r = *state;

	r->answer = "*2\r\n:1\r\n:1\r\n";
	begin(r);
	assert_true(members_is_cut_off(r->members));
	set_sources(r, "a");
	beat(r, 1);
	r->answer = "*2\r\n*0\r\n$1\r\n1\r\n";
	beat(r, 1);
	expect(r, SWAP, 0);
	expect(r, READ, 0);
	expect(r, " up ", 0);
	r->answer = NULL;
	beat(r, 2);
	expect_told(r, "a 0 voice\n");
}

/* --- the name --------------------------------------------------------------------------------- */

static void whose_name_another_run_has_holds_nothing_until_that_is_dead(void **state)
{
	struct rig *r = *state;
	uint64_t errors = log_written(LOG_ERROR);

	r->is_other_run = true;
	r->there.is_there = true; /* its beats are the other run's as well */
	begin(r);
	set_sources(r, "a");
	beat(r, 3);
	assert_int_equal(log_written(LOG_ERROR), errors); /* it may be that it has just crashed */
	beat(r, 4);
	assert_int_equal(log_written(LOG_ERROR), errors + 1);
	beat(r, 4);
	assert_int_equal(log_written(LOG_ERROR), errors + 1);
	beat(r, 8);
	assert_int_equal(log_written(LOG_ERROR), errors + 2);
	expect(r, SWAP, 0);
	expect(r, "0.1.0 - 1\n", 0);
	r->there.is_silent = true;
	beat(r, 3);
	r->is_other_run = false;
	beat(r, 2);
	expect(r, "0.1.0 - 1\n", 1); /* takes it */
	beat(r, 1);
	expect(r, "0.1.0 - 1\n", 1);
	assert_true(view_starts_with(view_of(r->own), VIEW("0000000000000001 ")));
	assert_true(buf_length(&r->told) > 0);
	assert_int_equal(log_written(LOG_ERROR), errors + 2);
}

static void who_loses_its_name_lets_go_of_all(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "a");
	expect_told(r, "a 0 voice\n");
	r->is_other_run = true;
	beat(r, 1);
	expect_told(r, "a none\n");
}

/* --- leases -------------------------------------------------------------------------------------- */

static void alone_it_holds_each_source_and_tells_it_once(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "ba");
	expect_told(r, "a 0 voice\nb 0 voice\n");
	expect(r, SWAP "a/0  " ME " b/0  " ME "\n", 1);
	beat(r, 3);
	expect(r, SWAP, 1);
	expect_told(r, "");
}

static void leases_are_read_when_they_have_changed(void **state)
{
	struct rig *r = *state;
	uint32_t n;

	r->there.is_there = true;
	begin(r);
	set_sources(r, "a");
	beat(r, 2);
	n = played_count(&r->redis, READ);
	beat(r, 3);
	expect(r, READ, n);
	buf_clear(&r->told);
	set_lease(r, strcmp(lease(r, "a/0"), ME) == 0 ? "a/0" : "a/1", OTHER);
	beat(r, 1);
	expect(r, READ, n + 1);
	assert_true(buf_length(&r->told) > 0);
}

static void what_is_no_list_of_leases_is_read_again(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->reads = "-ERR\r\n";
	set_sources(r, "a");
	expect(r, SWAP, 0);
	beat(r, 1);
	expect(r, SWAP, 0);
	r->reads = NULL;
	beat(r, 1);
	expect_told(r, "a 0 voice\n");
}

static void the_living_holder_of_the_lowest_slot_is_the_voice(void **state)
{
	struct rig *r = *state;

	r->there.is_there = true;
	set_lease(r, "a/0", OTHER);
	begin(r);
	set_sources(r, "a");
	expect_told(r, "a 1\n");
	assert_string_equal(lease(r, "a/1"), ME);
	r->there.is_silent = true;
	beat(r, 2);
	expect_told(r, "");
	beat(r, 2);
	expect_told(r, "a 1 voice\n");
}

/* {who has the lease of what is rather this node's: after how many beats is it taken?} */
static void when_a_lease_is_taken(void **state)
{
	static const struct {
		const char *run;
		uint32_t beats;
	} rows[] = {
		{"", 0},
		{"gone/0000000000000003", 0},
		{"there/0000000000000009", 0}, /* another run of it lives */
		{OTHER, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char name[] = {letter_for("here", "there"), '/', '0', '\0'},
		     source[] = {name[0], '\0'};
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		r->config.replicas = 1;
		renew(r);
		r->there.is_there = true;
		set_lease(r, name, rows[i].run);
		begin(r);
		set_sources(r, source);
		for (uint32_t beats = 0; beats < rows[i].beats; beats++) {
			assert_string_equal(lease(r, name), rows[i].run);
			beat(r, 1);
		}
		if (strcmp(lease(r, name), ME) != 0)
			fail_msg("row %zu", i);
		tear_down(&fresh);
	}
}

static void who_comes_and_goes_unsettles_what_may_be_taken(void **state)
{
	char name[] = {letter_for("here", "there"), '/', '0', '\0'}, source[] = {name[0], '\0'};
	struct rig *r = *state;

	r->config.replicas = 1;
	renew(r);
	begin(r);
	set_sources(r, source);
	beat(r, 3);
	r->there.is_there = true;
	set_lease(r, name, OTHER);
	beat(r, 2);
	assert_string_equal(lease(r, name), OTHER);
	beat(r, 2);
	assert_string_equal(lease(r, name), ME);
}

static void a_swap_that_another_was_quicker_with_is_seen_at_once(void **state)
{
	struct rig *r = *state;

	r->config.replicas = 1;
	renew(r);
	begin(r);
	r->swaps = "*1\r\n$22\r\n" OTHER "\r\n";
	set_sources(r, "a");
	expect(r, SWAP, 1);
	expect_told(r, "");
	r->there.is_there = true;
	r->swaps = NULL;
	set_lease(r, "a/0", OTHER);
	beat(r, 1);
	expect(r, SWAP, 1);
}

static void a_swap_that_is_refused_is_asked_for_again(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->swaps = "-ERR\r\n";
	set_sources(r, "a");
	expect(r, SWAP, 1);
	expect_told(r, "");
	r->swaps = NULL;
	beat(r, 1);
	expect_told(r, "a 0 voice\n");
}

static void after_a_swap_that_got_no_answer_leases_are_read_again(void **state)
{
	struct rig *r = *state;

	begin(r);
	buf_clear(&r->redis.asked);
	r->holds_swaps = true;
	members_set_sources(r->members, &(const char *){"a"}, 1);
	played_await(&r->redis, SWAP, 1);
	expect(r, READ, 1);
	harness_jump(r->redis.loop, 2000);
	r->holds_swaps = false;
	harness_jump(r->redis.loop, 5000); /* the connection is given up */
	played_await(&r->redis, READ, 2);
	beat(r, 1);
	expect_told(r, "a 0 voice\n");
}

static void nothing_is_asked_by_leases_that_are_known_to_have_changed(void **state)
{
	struct rig *r = *state;

	r->there.is_there = true;
	set_lease(r, "a/0", OTHER);
	set_lease(r, "a/1", "there/0000000000000002");
	begin(r);
	buf_clear(&r->redis.asked);
	set_sources(r, "a");
	expect(r, READ, 1);
	expect(r, SWAP, 0);
}

static void a_list_that_comes_while_a_swap_is_under_way_loses_nothing_that_is_held(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "ab");
	expect_told(r, "a 0 voice\nb 0 voice\n");
	set_lease(r, "b/0", "");
	r->holds_swaps = true;
	harness_jump(r->redis.loop, NODE_BEAT_MS);
	played_await(&r->redis, SWAP, 2);
	expect_told(r, "b none\n");
	members_set_sources(r->members, (const char *[]){"a", "c"}, 2);
	drive_turns(r->redis.loop, 2);
	r->holds_swaps = false;
	set_lease(r, "b/0", ME);
	played_unblock(&r->redis, "*1\r\n$21\r\n" ME "\r\n");
	played_settle(&r->redis, 0);
	expect_told(r, "c 0 voice\n");
	assert_string_equal(lease(r, "b/0"), "");
}

static void swaps_are_asked_for_once_a_beat_and_no_more_than_fit_in_a_call(void **state)
{
	static char names[LEASES_MOST][8];
	static const char *list[LEASES_MOST];
	struct rig *r = *state;

	for (uint32_t i = 0; i < LEASES_MOST; i++) {
		snprintf(names[i], sizeof(names[i]), "s%u", i);
		list[i] = names[i];
	}
	begin(r);
	members_set_sources(r->members, list, LEASES_MOST);
	drive_turns(r->redis.loop, 2);
	played_settle(&r->redis, 0);
	expect(r, "/0  " ME, SWAPS_A_CALL);
	expect(r, SWAP, 1);
	beat(r, 1);
	expect(r, "/0  " ME, LEASES_MOST);
	expect(r, SWAP, 2);
	buf_clear(&r->told);
}

/* --- the list of sources ------------------------------------------------------------------------- */

static void a_source_taken_out_is_released_and_those_that_stay_are_not_told_again(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "ab");
	set_lease(r, "c/0", OTHER);
	expect_told(r, "a 0 voice\nb 0 voice\n");
	set_sources(r, "bd");
	expect(r, SWAP "a/0 " ME "  d/0  " ME "\n", 1);
	expect_told(r, "d 0 voice\n");
	assert_string_equal(lease(r, "a/0"), "");
	assert_string_equal(lease(r, "c/0"), OTHER);
}

static void *set_twice(void *rig)
{
	static const char *const first[] = {"x", "y"}, *const second[] = {"b", "a"};
	struct rig *r = rig;

	members_set_sources(r->members, first, 2);
	members_set_sources(r->members, second, 2);
	return NULL;
}

static void of_lists_that_come_in_one_turn_the_last_counts(void **state)
{
	struct rig *r = *state;
	pthread_t thread;

	begin(r);
	assert_int_equal(pthread_create(&thread, NULL, set_twice, r), 0);
	pthread_join(thread, NULL);
	drive_turns(r->redis.loop, 2);
	played_settle(&r->redis, 0);
	expect_told(r, "a 0 voice\nb 0 voice\n");
	expect(r, "x/0", 0);
	set_sources(r, "c"); /* and another list later */
	buf_clear(&r->told);
	assert_string_equal(lease(r, "c/0"), ME);
	set_twice(r); /* not taken before the end */
}

/* --- leaving ---------------------------------------------------------------------------------------- */

static void leave(struct rig *r, uint64_t limit_ms)
{
	members_leave(r->members, limit_ms, on_left);
	played_settle(&r->redis, 0);
}

/* Beats of one who leaves. */
static void beat_leaving(struct rig *r, uint32_t n)
{
	while (n--) {
		harness_jump(r->redis.loop, LEAVING_BEAT_MS);
		played_settle(&r->redis, 0);
	}
}

static void who_leaves_alone_says_so_and_has_left(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "a");
	leave(r, 60000);
	expect(r, " draining sources ", 1);
	expect(r, " left sources ", 1);
	assert_int_equal(r->lefts, 1);
	expect_told(r, "a 0 voice\n"); /* it goes on until the end */
	beat(r, 2);
	beat_leaving(r, 2);
	expect(r, " left sources ", 1);
	expect(r, " draining sources ", 1);
	assert_int_equal(r->lefts, 1);
}

static void who_leaves_waits_until_others_have_its_sources_and_nothing_is_owed(void **state)
{
	struct rig *r = *state;

	r->there.is_there = true;
	begin(r);
	set_sources(r, "a");
	buf_clear(&r->told);
	leave(r, 60000);
	expect(r, BEAT "0000000000000001 4 draining sources", 1);
	beat_leaving(r, 3);
	expect(r, " draining sources", 4); /* oftener than others */
	assert_int_equal(r->lefts, 0);
	r->owes = true;
	set_lease(r, "a/0", OTHER);
	set_lease(r, "a/1", OTHER);
	beat_leaving(r, 2);
	expect_told(r, "a none\n");
	assert_int_equal(r->lefts, 0);
	r->owes = false;
	beat_leaving(r, 2);
	assert_int_equal(r->lefts, 1);
	expect(r, " left sources ", 1);
}

/* {what another node is: is it waited for?} */
static void whom_nobody_can_take_over_is_waited_for_by_nobody(void **state)
{
	static const struct {
		const char *state, *roles;
		bool want;
	} rows[] = {{"up", "sources", true}, {"draining", "sources", false},
		{"up", "subscribers", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		r->there = (struct peer){
			.is_there = true, .state = rows[i].state, .roles = rows[i].roles};
		begin(r);
		set_sources(r, "a");
		leave(r, 60000);
		beat_leaving(r, 2);
		if (r->lefts == rows[i].want)
			fail_msg("row %zu", i);
		tear_down(&fresh);
	}
}

static void who_leaves_waits_no_longer_than_its_limit(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->owes = true;
	leave(r, 1000);
	beat_leaving(r, 4);
	assert_int_equal(r->lefts, 0);
	beat_leaving(r, 2);
	assert_int_equal(r->lefts, 1);
	expect(r, " left sources ", 1);
}

static void who_gets_no_answer_leaves_at_its_limit_without_last_words(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "a");
	expect_told(r, "a 0 voice\n");
	r->is_held = true;
	members_leave(r->members, 1000, on_left);
	for (int i = 0; i < 4; i++)
		harness_jump(r->redis.loop, LEAVING_BEAT_MS);
	assert_int_equal(r->lefts, 0);
	harness_jump(r->redis.loop, LEAVING_BEAT_MS);
	assert_int_equal(r->lefts, 1);
	r->is_other_run = true; /* which the answer says, too late */
	r->is_held = false;
	set_lease(r, "a/0", OTHER);
	played_cut(&r->redis);
	played_settle(&r->redis, 0);
	beat_leaving(r, 2);
	assert_int_equal(r->lefts, 1);
	expect_told(r, "");
	expect(r, " left ", 0);
}

static void who_leaves_while_a_swap_is_under_way_does_not_disturb_it(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->holds_swaps = true;
	members_set_sources(r->members, &(const char *){"a"}, 1);
	played_await(&r->redis, SWAP, 1);
	played_settle(&r->redis, 1);
	members_leave(r->members, 0, on_left);
	assert_int_equal(r->lefts, 1);
	r->holds_swaps = false;
	played_unblock(&r->redis, "*1\r\n$21\r\n" ME "\r\n");
	played_settle(&r->redis, 0);
	expect_told(r, "");
	expect(r, " left ", 0);
}

static void who_never_had_its_name_owes_nothing(void **state)
{
	struct rig *r = *state;

	r->is_other_run = true;
	r->there.is_there = true;
	begin(r);
	r->owes = true;
	leave(r, 60000);
	beat_leaving(r, 1);
	assert_int_equal(r->lefts, 1);
}

static void last_words_that_the_client_does_not_take_are_not_waited_for(void **state)
{
	struct rig *r = *state;

	begin(r);
	members_leave(r->members, 0, on_left);
	played_settle(&r->redis, 0);
	assert_int_equal(r->lefts, 1);
}

static void at_the_end_nothing_is_told(void **state)
{
	struct rig *r = *state;

	begin(r);
	set_sources(r, "a");
	buf_clear(&r->told);
	r->is_held = true;
	set_lease(r, "a/0", OTHER);
	harness_jump(r->redis.loop, NODE_BEAT_MS);
	played_end_client(&r->redis);
	expect_told(r, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_first_beat_only_looks_and_each_second_one_says_that_the_node_lives),
		TEST(a_beat_tells_figures_of_just_then_and_where_clients_find_the_node),
		TEST(one_beat_is_under_way),
		TEST(who_was_silent_for_an_hour_is_forgotten),
		TEST(it_is_cut_off_when_its_beats_are_not_answered_and_holds_what_it_held),
		TEST(before_its_first_beat_is_answered_it_is_cut_off_and_decides_nothing),
		TEST(whose_name_another_run_has_holds_nothing_until_that_is_dead),
		TEST(who_loses_its_name_lets_go_of_all),
		TEST(alone_it_holds_each_source_and_tells_it_once),
		TEST(leases_are_read_when_they_have_changed),
		TEST(what_is_no_list_of_leases_is_read_again),
		TEST(the_living_holder_of_the_lowest_slot_is_the_voice),
		cmocka_unit_test(when_a_lease_is_taken),
		TEST(who_comes_and_goes_unsettles_what_may_be_taken),
		TEST(a_swap_that_another_was_quicker_with_is_seen_at_once),
		TEST(a_swap_that_is_refused_is_asked_for_again),
		TEST(after_a_swap_that_got_no_answer_leases_are_read_again),
		TEST(nothing_is_asked_by_leases_that_are_known_to_have_changed),
		TEST(a_list_that_comes_while_a_swap_is_under_way_loses_nothing_that_is_held),
		TEST(swaps_are_asked_for_once_a_beat_and_no_more_than_fit_in_a_call),
		TEST(a_source_taken_out_is_released_and_those_that_stay_are_not_told_again),
		TEST(of_lists_that_come_in_one_turn_the_last_counts),
		TEST(who_leaves_alone_says_so_and_has_left),
		TEST(who_leaves_waits_until_others_have_its_sources_and_nothing_is_owed),
		cmocka_unit_test(whom_nobody_can_take_over_is_waited_for_by_nobody),
		TEST(who_leaves_waits_no_longer_than_its_limit),
		TEST(who_gets_no_answer_leaves_at_its_limit_without_last_words),
		TEST(who_leaves_while_a_swap_is_under_way_does_not_disturb_it),
		TEST(who_never_had_its_name_owes_nothing),
		TEST(last_words_that_the_client_does_not_take_are_not_waited_for),
		TEST(at_the_end_nothing_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
