/* One node's calls about groups of shared subscriptions, with a Redis that answers as each test wants and a
 * broker that is one group. What is said shard by shard: crew_test.c; the script: tests/e2e. */
#include "cluster/groups.h"

#include "cluster/fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#include "cluster/mail.h"
#include "cluster/members.h"
#include "commit/fixture.h"

#define GROUP "owner\0\0crew/a"
#define ME "here/0000000000000001"
#define OTHER "there/0000000000000002"
#define CALL "EVALSHA isobar:group:owner~~crew/a here 0000000000000001 "

/* Who lives, as the tests say. */
struct members {
	struct node list[2];
	struct nodes nodes;
};

const struct nodes *members_nodes(const struct members *m)
{
	return &m->nodes;
}

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct members members;
	struct mail *mail;
	struct groups *groups;
	/* Redis: who has the shards; "": nobody */
	const char *owner;
	bool other_is_there;
	bool other_rests;
	/* the broker */
	struct sharing_group group; /* number 0: there is none */
	struct sharing_group over;  /* told once when it has a number */
	struct sharing_parts parts;
	uint32_t sets;
	_Atomic bool has_stopped;
	char dir[FIXTURE_DIR_BYTES];
};

/* --- the world --------------------------------------------------------------- */

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;
	uint32_t shards = r->owner[0] ? SHARDS : 0;
	char field[8], value[64];

	if (played_is(c, "XADD")) {
		played_say(v, "$3\r\n1-0\r\n");
		return;
	}
	if (played_word(c, 6).n == 0) { /* there is no session any more */
		played_array(v, 0);
		return;
	}
	played_array(v, 2 * ((r->other_is_there ? 2 : 1) + shards));
	played_bulk(v, VIEW("here"));
	played_bulk(v, VIEW("0000000000000001 seated"));
	if (r->other_is_there) {
		played_bulk(v, VIEW("there"));
		played_bulk(v, r->other_rests ? VIEW("0000000000000002 held")
					      : VIEW("0000000000000002 seated"));
	}
	for (uint32_t k = 0; k < shards; k++) {
		snprintf(field, sizeof(field), "#%u", k);
		snprintf(value, sizeof(value), "%s 0000000000000005", r->owner);
		played_bulk(v, view_of(field));
		played_bulk(v, view_of(value));
	}
}

static void each(
	void *context, void (*on_group)(void *asker, const struct sharing_group *g), void *asker)
{
	struct rig *r = context;
	struct sharing_group over = r->over;

	r->over.number = 0;
	if (over.number)
		on_group(asker, &over);
	if (r->group.number)
		on_group(asker, &r->group);
}

static void set(void *context, struct view key, const struct sharing_parts *parts)
{
	struct rig *r = context;

	(void)key;
	r->parts = *parts;
	r->sets++;
}

static struct node node_of(const char *name, uint64_t start)
{
	return (struct node){.name = (char *)(uintptr_t)name, .start = start, .alive = true};
}

static void set_places(struct sharing_group *g, uint64_t acked, uint64_t dealt)
{
	for (uint32_t k = 0; k < SHARDS; k++) {
		g->acked.place[k] = acked;
		g->dealt.place[k] = dealt;
	}
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct sharing_host host = {each, set, r};

	r->redis.serve = serve;
	r->redis.context = r;
	played_open(&r->redis, NULL);
	r->settings = (struct cluster_settings){.node = "here"};
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->redis.loop,
		.redis = r->redis.redis,
		.commit = fixture_open_commit(r->dir, 1000),
		.start = 1,
		.shards = SHARDS};
	r->members.list[0] = node_of("here", 1);
	r->members.list[1] = node_of("there", 2);
	r->members.nodes = (struct nodes){.list = r->members.list, .count = 2};
	r->mail = mail_new(&r->core);
	r->groups = groups_new(&r->core, &r->members, r->mail, GROUPS_SHARED);
	groups_set_host(r->groups, &host);
	r->owner = "";
	r->group = (struct sharing_group){
		.key = {GROUP, sizeof(GROUP) - 1}, .number = 1, .is_seated = true};
	set_places(&r->group, 16, 16);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	groups_free(r->groups);
	mail_free(r->mail);
	played_close(&r->redis);
	fixture_close_commit(r->dir, r->core.commit);
	free(r);
	return 0;
}

static bool has_set(void *context)
{
	return ((struct rig *)context)->sets > 0;
}

/* All shards are this node's, which it knows. */
static void own_all(struct rig *r)
{
	r->owner = ME;
	groups_begin(r->groups);
	drive_until(r->redis.loop, has_set, r);
}

static void end_group(struct rig *r, uint64_t acked)
{
	r->over = r->group;
	r->over.is_over = true;
	r->over.is_seated = false;
	set_places(&r->over, acked, acked);
	r->group.number = 0;
}

/* --- coming -------------------------------------------------------------------- */

static void the_first_call_names_where_the_group_began_and_claims_nothing(void **state)
{
	struct rig *r = *state;

	groups_begin(r->groups);
	played_await(&r->redis, CALL, 1);
	assert_true(
		played_was_asked(&r->redis, CALL "seated 604800000 0   0000000000000010 1   0"));
	assert_false(played_was_asked(&r->redis, " " ME " "));
}

static void what_nobody_has_is_claimed_after_that(void **state)
{
	struct rig *r = *state;

	groups_begin(r->groups);
	played_await(&r->redis, " " ME " 0000000000000010", SHARDS);
	assert_int_equal(played_count(&r->redis, " 15   0000000000000010"), 1);
}

static void what_redis_says_is_ours_is_dealt_from_its_place(void **state)
{
	struct rig *r = *state;

	own_all(r);
	assert_int_equal(r->parts.state[3], SHARE_OWNED);
	assert_int_equal(r->parts.place.place[3], 5);
}

static void a_group_that_came_again_names_its_own_beginning(void **state)
{
	struct rig *r = *state;

	own_all(r);
	r->group.number = 2;
	set_places(&r->group, 32, 32);
	played_await(&r->redis, " 15   0000000000000020", 1);
}

/* --- resting --------------------------------------------------------------------- */

static void who_rests_with_what_is_wanted_here_is_told_so_once_a_second(void **state)
{
	struct rig *r = *state;

	r->owner = OTHER;
	r->other_is_there = r->other_rests = true;
	groups_begin(r->groups);
	played_await(&r->redis, "XADD isobar:mail:there ", 1);
	played_expect(&r->redis, " kind wanted key owner~~crew/a number 0 from here ", 1);
	buf_clear(&r->redis.asked);
	played_await(&r->redis, "XADD", 1);
	assert_true(played_count(&r->redis, CALL) > 1); /* oftener, as shards are to change hands */
}

static void who_does_not_rest_is_told_nothing(void **state)
{
	struct rig *r = *state;

	r->owner = OTHER;
	r->other_is_there = true;
	groups_begin(r->groups);
	played_await(&r->redis, CALL, 3);
	played_expect(&r->redis, "XADD", 0);
}

/* --- going ---------------------------------------------------------------------- */

static void the_last_session_that_ends_leaves_the_last_places(void **state)
{
	struct rig *r = *state;

	own_all(r);
	buf_clear(&r->redis.asked);
	end_group(r, 48);
	played_await(&r->redis, CALL " 5000", 1);
	assert_int_equal(played_count(&r->redis, " " ME " " ME " 0000000000000030"), SHARDS);
}

static void a_group_that_comes_again_at_once_waits_for_the_end_of_the_last_one(void **state)
{
	struct rig *r = *state;

	own_all(r);
	buf_clear(&r->redis.asked);
	end_group(r, 48);
	r->group.number = 2;
	set_places(&r->group, 64, 64);
	played_await(&r->redis, " 15   0000000000000040", 1);
	assert_int_equal(played_count(&r->redis, CALL " 5000"), 1);
	assert_int_equal(played_count(&r->redis, " " ME " " ME " 0000000000000030"), SHARDS);
}

static void *finish(void *context)
{
	struct rig *r = context;

	groups_finish(r->groups, 10000);
	atomic_store(&r->has_stopped, true);
	loop_wake(r->redis.loop);
	return NULL;
}

static bool has_stopped(void *context)
{
	return atomic_load(&((struct rig *)context)->has_stopped);
}

static void stop(struct rig *r)
{
	pthread_t thread;

	buf_clear(&r->redis.asked);
	assert_int_equal(pthread_create(&thread, NULL, finish, r), 0);
	drive_until(r->redis.loop, has_stopped, r);
	pthread_join(thread, NULL);
}

static void a_stop_writes_the_last_places(void **state)
{
	struct rig *r = *state;

	own_all(r);
	set_places(&r->group, 48, 64);
	r->group.is_seated = false;
	stop(r);
	assert_int_equal(played_count(&r->redis, " " ME " " ME " 0000000000000030"), SHARDS);
}

static void a_stop_gives_what_another_is_to_have_and_tells_the_host_nothing(void **state)
{
	struct rig *r = *state;
	uint32_t sets;

	own_all(r);
	r->other_is_there = true;
	r->members.list[0].draining = true;
	r->group.is_seated = false;
	set_places(&r->group, 5, 5);
	played_await(&r->redis, CALL "held", 1);
	sets = r->sets;
	set_places(&r->group, 48, 48);
	stop(r);
	assert_int_equal(played_count(&r->redis, " " ME " " OTHER " 0000000000000030"), SHARDS);
	assert_int_equal(r->sets, sets);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_first_call_names_where_the_group_began_and_claims_nothing),
		T(what_nobody_has_is_claimed_after_that),
		T(what_redis_says_is_ours_is_dealt_from_its_place),
		T(a_group_that_came_again_names_its_own_beginning),
		T(who_rests_with_what_is_wanted_here_is_told_so_once_a_second),
		T(who_does_not_rest_is_told_nothing),
		T(the_last_session_that_ends_leaves_the_last_places),
		T(a_group_that_comes_again_at_once_waits_for_the_end_of_the_last_one),
		T(a_stop_writes_the_last_places),
		T(a_stop_gives_what_another_is_to_have_and_tells_the_host_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
