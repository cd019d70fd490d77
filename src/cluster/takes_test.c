/* Takes and claims with a played Redis: what is asked in which order, who is told what. What the script
 * does is in tests/e2e/test_cluster_scripts.py, what real nodes do in test_cluster_sessions.py. */
#include "cluster/takes.h"

#include "cluster/fixture.h"

#include "cluster/census.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/will_value.h"
#include "cluster/wills.h"

#define OTHER "there/00000000000000aa" /* lives */
#define DEAD "there/0000000000000099"  /* an earlier run */
#define NEW "other/00000000000000cc"
#define CALL "EVALSHA isobar:session:k here/1 "
#define NOBODY "*4\r\n:1\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"
#define HAD_BY(run) "*4\r\n:8\r\n$" run "\r\n$3\r\nExx\r\n$1\r\nw\r\n"
#define LEN_OTHER "22\r\n" OTHER
#define LEN_DEAD "22\r\n" DEAD
#define LEN_NEW "22\r\n" NEW
#define NONE "$-1\r\n"

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct members *members;
	struct mail *mail;
	struct wills *wills;
	struct takes *takes;
	struct roaming_host host;
	struct roaming_take take;
	const char *answer;          /* to the script; NULL: none, the visit is blocked */
	const char *answer_unscoped; /* to the second call, if it differs */
	const char *row;             /* to HMGET */
	const char *mark;            /* to GET */
	bool has_will;
	uint32_t beats;
	struct buf told;
};

/* --- Redis ------------------------------------------------------------------ */

static void say_nodes(struct played_visit *v, struct rig *r)
{
	char field[64];

	snprintf(field, sizeof(field), "00000000000000aa %u up sources,subscribers 0.1.0 -",
		++r->beats);
	played_array(v, 2);
	played_array(v, 2);
	played_bulk(v, VIEW("there"));
	played_bulk(v, view_of(field));
	played_integer(v, 0);
}

static void say_will(struct played_visit *v, const struct rig *r)
{
	struct roaming_will will = {.bytes = VIEW("will")};
	struct buf value = {0};

	if (!r->has_will) {
		played_say(v, NONE);
		return;
	}
	will_value_put(&value, &will);
	played_bulk(v, buf_view(&value));
	buf_fini(&value);
}

static void say_script(struct played_visit *v, struct rig *r, const struct resp *c)
{
	const char *answer = r->answer;

	if (view_equal(played_word(c, 6), VIEW("undo")))
		answer = "*0\r\n";
	else if (r->answer_unscoped && view_equal(played_word(c, 11), VIEW("0")))
		answer = r->answer_unscoped;
	if (answer)
		played_say(v, answer);
	else
		v->is_blocked = true;
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (view_starts_with(played_word(c, 3), VIEW("{isobar}:nodes")))
		say_nodes(v, r);
	else if (played_is(c, "EVALSHA"))
		say_script(v, r, c);
	else if (played_is(c, "HMGET"))
		played_say(v, r->row);
	else if (played_is(c, "HGET"))
		say_will(v, r);
	else if (played_is(c, "GET"))
		played_say(v, r->mark);
	else
		played_say(v, "$3\r\n1-0\r\n");
}

/* --- the broker --------------------------------------------------------------- */

static struct rig *rig_of(struct roaming_take *t)
{
	return container_of(t, struct rig, take);
}

static void on_taken(struct roaming_take *t)
{
	buf_printf(&rig_of(t)->told,
		"taken known=%d refused=%d owner=%u before=%u row=%.*s mark=%.*s\n", t->is_known,
		t->is_refused, t->owner, t->before, VIEW_ARG(buf_view(&t->row)),
		VIEW_ARG(buf_view(&t->mark)));
}

static void on_late(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "late %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_lost(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "lost %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_ended(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "ended %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_will(
	void *context, struct view run, struct view key, const struct roaming_will *will)
{
	buf_printf(&((struct rig *)context)->told, "will %.*s %.*s %.*s\n", VIEW_ARG(run),
		VIEW_ARG(key), VIEW_ARG(will->bytes));
}

/* --- the rig ---------------------------------------------------------------------- */

static bool lives(void *rig)
{
	return members_has_run(((struct rig *)rig)->members, VIEW(OTHER));
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->redis.serve = serve;
	r->redis.context = r;
	played_open(&r->redis, NULL);
	r->settings.node = "here";
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->redis.loop,
		.redis = r->redis.redis,
		.shards = SHARDS};
	r->core.census = census_new(&r->core);
	r->members = members_new(&(struct members_config){.loop = r->core.loop,
		.redis = r->core.redis,
		.node = "here",
		.start = 1,
		.version = "0.1.0"});
	r->mail = mail_new(&r->core);
	r->host = (struct roaming_host){NULL, on_late, on_lost, on_will, r};
	r->wills = wills_new(&r->core, r->members, "here/1", &r->host);
	r->takes = takes_new(&(struct takes_config){.core = &r->core,
		.members = r->members,
		.mail = r->mail,
		.wills = r->wills,
		.run = "here/1",
		.host = &r->host,
		.on_ended = on_ended,
		.context = r});
	r->row = "*3\r\n$3\r\nEyy\r\n$1\r\nw\r\n" NONE;
	r->mark = NONE;
	r->answer = NOBODY;
	r->take = (struct roaming_take){.flags = ROAMING_LASTS, .address = 7, .on_taken = on_taken};
	buf_text(&r->take.key, "k");
	members_begin(r->members);
	drive_until(r->core.loop, lives, r);
	*state = r;
	return 0;
}

static void free_takes(struct rig *r)
{
	if (r->redis.redis)
		played_end_client(&r->redis);
	takes_free(r->takes);
	r->takes = NULL;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	free_takes(r);
	wills_free(r->wills);
	mail_free(r->mail);
	members_free(r->members);
	census_free(r->core.census);
	played_close(&r->redis);
	roaming_take_fini(&r->take);
	buf_fini(&r->told);
	free(r);
	return 0;
}

static bool was_told(struct rig *r, const char *text)
{
	size_t n = buf_length(&r->told);

	return n && memmem(buf_bytes(&r->told), n, text, strlen(text)) != NULL;
}

struct hope {
	struct rig *rig;
	const char *text;
};

static bool is_fulfilled(void *hope)
{
	const struct hope *h = hope;

	return was_told(h->rig, h->text);
}

static void await_told(struct rig *r, const char *text)
{
	struct hope hope = {r, text};

	drive_until(r->core.loop, is_fulfilled, &hope);
}

static void begin_take(struct rig *r)
{
	takes_begin(r->takes);
	takes_take(r->takes, &r->take);
}

static void claim(struct rig *r, unsigned flags, uint64_t address)
{
	takes_claim(r->takes, VIEW("k"), flags, address, 0);
}

/* --- takes ---------------------------------------------------------------------------- */

static void what_nobody_had_is_taken_with_one_call(void **state)
{
	struct rig *r = *state;

	r->answer = "*4\r\n:4\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"; /* the number has grown */
	begin_take(r);
	await_told(r, "taken known=1 refused=0 owner=4 before=0 row= mark=\n");
	assert_true(played_was_asked(&r->redis, CALL "1 take 0 86400000 1 0000000000000007 0 0\n"));
	assert_false(played_was_asked(&r->redis, "isobar:mark"));
	assert_false(played_was_asked(&r->redis, "isobar:wills"));
	assert_false(played_was_asked(&r->redis, "XADD"));
}

static void a_clean_start_of_a_scoped_client_says_so(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_OTHER);
	r->take.flags = ROAMING_CLEAN;
	r->take.is_scoped = true;
	begin_take(r);
	played_await(&r->redis, " kind taken key k number 8 from here clean 1\n", 1);
	assert_true(played_was_asked(&r->redis, "take 0 86400000 0 0000000000000007 1 1\n"));
}

static void before_redis_is_reached_nothing_is_known(void **state)
{
	struct rig *r = *state;

	takes_take(r->takes, &r->take);
	assert_true(was_told(r, "taken known=0"));
	assert_false(played_was_asked(&r->redis, CALL));
}

static void a_node_that_lives_is_told_and_its_last_row_read(void **state)
{
	struct rig *r = *state;
	uint64_t open;

	r->answer = HAD_BY(LEN_OTHER);
	begin_take(r);
	played_await(&r->redis,
		"XADD isobar:mail:there MAXLEN ~ 4096 * kind taken key k number 8 from here clean "
		"0\n",
		1);
	open = played_open_requests(&r->redis);
	takes_given(r->takes, VIEW("k"), 7); /* of another take */
	takes_given(r->takes, VIEW("j"), 8);
	assert_int_equal(played_open_requests(&r->redis), open); /* no row is read */
	takes_given(r->takes, VIEW("k"), 8);
	await_told(r, "taken known=1 refused=0 owner=8 before=7 row=Eyy mark=\n");
	assert_int_equal(played_count(&r->redis, "HMGET isobar:session:k row by new\n"), 1);
	assert_false(played_was_asked(&r->redis, "HGET isobar:wills"));
}

/* It has begun since the nodes were read. */
static void a_node_that_is_not_known_yet_is_told_as_well(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_NEW);
	begin_take(r);
	played_await(&r->redis, "XADD isobar:mail:other ", 1);
	takes_given(r->takes, VIEW("k"), 8);
	await_told(r, "taken known=1 refused=0 owner=8 before=7 row=Eyy mark=\n");
	assert_false(played_was_asked(&r->redis, "HGET isobar:wills"));
}

static void a_row_of_before_a_clean_start_does_not_count(void **state)
{
	struct rig *r = *state;

	r->answer = "*4\r\n:8\r\n$" LEN_OTHER "\r\n$0\r\n\r\n$0\r\n\r\n";
	r->row = "*3\r\n$3\r\nEyy\r\n$1\r\nw\r\n$1\r\n7\r\n";
	begin_take(r);
	played_await(&r->redis, "XADD", 1);
	takes_given(r->takes, VIEW("k"), 8);
	await_told(r, "taken known=1 refused=0 owner=8 before=7 row= mark=\n");
}

static void of_one_that_does_not_answer_will_and_row_are_read(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_OTHER);
	r->has_will = true;
	begin_take(r);
	await_told(r, "will " OTHER " k will\n"
		      "taken known=1 refused=0 owner=8 before=7 row=Eyy");
}

static void of_a_dead_one_the_will_is_said_before_the_answer(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_DEAD);
	r->has_will = true;
	begin_take(r);
	await_told(r, "will " DEAD " k will\n"
		      "taken known=1 refused=0 owner=8 before=7 row=Exx");
	assert_false(played_was_asked(&r->redis, "XADD"));
	assert_false(played_was_asked(&r->redis, "HMGET"));
}

static void a_live_row_comes_with_the_mark_of_its_writer(void **state)
{
	struct rig *r = *state;

	r->answer = "*4\r\n:8\r\n$6\r\nhere/1\r\n$2\r\nLx\r\n$1\r\nw\r\n";
	r->mark = "$2\r\nat\r\n";
	begin_take(r);
	await_told(r, "taken known=1 refused=0 owner=8 before=7 row=Lx mark=at\n");
	assert_true(played_was_asked(&r->redis, "GET isobar:mark:w\n"));
}

static void a_take_counts_when_replicas_have_it(void **state)
{
	struct rig *r = *state;

	r->settings.acknowledge = 1;
	r->answer = HAD_BY(LEN_OTHER);
	begin_take(r);
	played_await(&r->redis, CALL "1 take", 3);
	assert_false(was_told(r, "taken"));
	assert_true(r->redis.waits > 0);
	r->redis.replicas = 1;
	await_told(r, "taken known=1 refused=0 owner=8");
	assert_int_equal(played_count(&r->redis, "XADD"), 1); /* one letter */
}

static void what_another_address_has_is_refused(void **state)
{
	struct rig *r = *state;

	r->take.is_scoped = true;
	r->answer = "*4\r\n:0\r\n$" LEN_DEAD "\r\n$3\r\nExx\r\n$0\r\n\r\n";
	r->answer_unscoped = NOBODY;
	begin_take(r);
	await_told(r, "taken known=1 refused=1");
	assert_int_equal(played_count(&r->redis, CALL), 1);
}

static void what_a_node_that_lives_has_without_a_row_is_refused(void **state)
{
	struct rig *r = *state;

	r->take.is_scoped = true;
	r->answer = "*4\r\n:0\r\n$" LEN_OTHER "\r\n$0\r\n\r\n$0\r\n\r\n";
	r->answer_unscoped = NOBODY;
	begin_take(r);
	await_told(r, "taken known=1 refused=1");
	assert_false(played_was_asked(&r->redis, "XADD"));
}

static void what_a_dead_node_left_without_a_row_keeps_nobody_away(void **state)
{
	struct rig *r = *state;

	r->take.is_scoped = true;
	r->answer = "*4\r\n:0\r\n$" LEN_DEAD "\r\n$0\r\n\r\n$0\r\n\r\n";
	r->answer_unscoped = NOBODY;
	begin_take(r);
	await_told(r, "taken known=1 refused=0 owner=1");
}

/* The claim of its client is not to meet the take, or it would be undone with it. */
static void a_take_that_nobody_waits_for_is_undone_before_its_client_is_claimed(void **state)
{
	struct rig *r = *state;

	r->answer = NULL;
	begin_take(r);
	await_told(r, "taken known=0");
	claim(r, ROAMING_LASTS, 7);
	drive_turns(r->core.loop, 20);
	assert_false(played_was_asked(&r->redis, " claim "));
	r->answer = NOBODY;
	played_unblock(&r->redis, HAD_BY(LEN_OTHER));
	await_told(r, "late k 1\n");
	assert_int_equal(played_count(&r->redis, CALL "1 undo"), 1);
	assert_false(played_was_asked(&r->redis, "XADD"));
}

static void at_the_end_nobody_is_answered(void **state)
{
	struct rig *r = *state;

	r->answer = NULL;
	begin_take(r);
	claim(r, 0, 7);
	played_await(&r->redis, CALL "1 take", 1);
	free_takes(r);
	assert_int_equal(buf_length(&r->told), 0);
}

static void at_the_end_who_waits_for_a_letter_is_not_answered(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_OTHER);
	begin_take(r);
	played_await(&r->redis, "XADD", 1);
	free_takes(r);
	assert_int_equal(buf_length(&r->told), 0);
}

/* --- claims ------------------------------------------------------------------------------- */

static void a_claim_waits_for_redis_and_says_whence_its_client_came(void **state)
{
	struct rig *r = *state;

	claim(r, ROAMING_LASTS | ROAMING_CLEAN, 9);
	claim(r, ROAMING_LASTS, 7); /* its client came again */
	assert_false(played_was_asked(&r->redis, CALL));
	takes_begin(r->takes);
	await_told(r, "late k 1\n");
	assert_true(
		played_was_asked(&r->redis, CALL "1 claim 0 86400000 1 0000000000000007 0 1\n"));
	assert_int_equal(played_count(&r->redis, CALL), 1);
}

static void a_claim_tells_who_lives_and_says_the_will_of_who_does_not(void **state)
{
	struct rig *r = *state;

	r->answer = HAD_BY(LEN_OTHER);
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	await_told(r, "late k 8\n");
	played_await(&r->redis, "kind taken key k number 8", 1);
	assert_false(played_was_asked(&r->redis, "HGET isobar:wills"));
	r->answer = HAD_BY(LEN_DEAD);
	r->has_will = true;
	claim(r, ROAMING_LASTS, 7);
	await_told(r, "will " DEAD " k will\n");
}

static void a_claim_yields_to_a_later_connect_if_that_stays(void **state)
{
	struct rig *r = *state;

	r->answer = "*4\r\n:0\r\n$" LEN_OTHER "\r\n$0\r\n\r\n$0\r\n\r\n";
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	await_told(r, "lost k 0\n");
	assert_true(played_count(&r->redis, CALL "1 claim") > 2);
	assert_false(was_told(r, "late"));
}

static void a_claim_that_yields_for_a_moment_is_done_after_that(void **state)
{
	struct rig *r = *state;

	r->answer = "*4\r\n:0\r\n$" LEN_OTHER "\r\n$0\r\n\r\n$0\r\n\r\n";
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	played_await(&r->redis, CALL, 2);
	r->answer = NOBODY;
	await_told(r, "late k 1\n");
	assert_false(was_told(r, "lost"));
}

static void a_session_that_ends_before_its_claim_is_sent_is_not_claimed(void **state)
{
	struct rig *r = *state;

	claim(r, ROAMING_LASTS, 7);
	takes_unclaim(r->takes, VIEW("k"), true);
	takes_begin(r->takes);
	drive_turns(r->core.loop, 20);
	assert_false(played_was_asked(&r->redis, CALL));
	claim(r, ROAMING_LASTS, 7); /* another session */
	await_told(r, "late k 1\n");
}

static void what_ends_or_goes_while_its_claim_is_under_way(void **state)
{
	struct rig *r = *state;

	r->answer = NULL;
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	played_await(&r->redis, CALL, 1);
	takes_unclaim(r->takes, VIEW("k"), true);
	played_unblock(&r->redis, NOBODY);
	await_told(r, "ended k 1\n");
	claim(r, ROAMING_LASTS, 7);
	played_await(&r->redis, CALL "2 claim", 1);
	takes_unclaim(r->takes, VIEW("k"), false);
	played_unblock(&r->redis, NOBODY);
	r->answer = NOBODY;
	buf_clear(&r->take.key);
	buf_text(&r->take.key, "next");
	takes_take(r->takes, &r->take);
	await_told(r, "taken known=1");
	assert_false(was_told(r, "late"));
	assert_false(was_told(r, "lost"));
}

static void who_has_ended_yields_no_longer(void **state)
{
	struct rig *r = *state;

	r->answer = NULL;
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	played_await(&r->redis, CALL "1 claim", 1);
	takes_unclaim(r->takes, VIEW("k"), true);
	r->answer = "*4\r\n:0\r\n$" LEN_OTHER "\r\n$0\r\n\r\n$0\r\n\r\n";
	played_unblock(&r->redis, r->answer);
	drive_turns(r->core.loop, 20);
	r->answer = NOBODY;
	claim(r, ROAMING_LASTS, 7); /* another session */
	await_told(r, "late k 1\n");
	assert_int_equal(played_count(&r->redis, CALL "1 claim"), 1);
	assert_false(was_told(r, "lost"));
}

static void a_client_that_comes_again_meanwhile_is_claimed_again(void **state)
{
	struct rig *r = *state;

	r->answer = NULL;
	takes_begin(r->takes);
	claim(r, ROAMING_LASTS, 7);
	played_await(&r->redis, CALL "1 claim", 1);
	claim(r, ROAMING_LASTS, 8);
	r->answer = HAD_BY(LEN_DEAD);
	played_unblock(&r->redis, NOBODY);
	await_told(r, "late k 8\n");
	assert_false(was_told(r, "late k 1\n"));
	assert_true(played_was_asked(&r->redis, CALL "2 claim"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_nobody_had_is_taken_with_one_call),
		TEST(a_clean_start_of_a_scoped_client_says_so),
		TEST(before_redis_is_reached_nothing_is_known),
		TEST(a_node_that_lives_is_told_and_its_last_row_read),
		TEST(a_node_that_is_not_known_yet_is_told_as_well),
		TEST(a_row_of_before_a_clean_start_does_not_count),
		TEST(of_one_that_does_not_answer_will_and_row_are_read),
		TEST(of_a_dead_one_the_will_is_said_before_the_answer),
		TEST(a_live_row_comes_with_the_mark_of_its_writer),
		TEST(a_take_counts_when_replicas_have_it),
		TEST(what_another_address_has_is_refused),
		TEST(what_a_node_that_lives_has_without_a_row_is_refused),
		TEST(what_a_dead_node_left_without_a_row_keeps_nobody_away),
		TEST(a_take_that_nobody_waits_for_is_undone_before_its_client_is_claimed),
		TEST(at_the_end_nobody_is_answered),
		TEST(at_the_end_who_waits_for_a_letter_is_not_answered),
		TEST(a_claim_waits_for_redis_and_says_whence_its_client_came),
		TEST(a_claim_tells_who_lives_and_says_the_will_of_who_does_not),
		TEST(a_claim_yields_to_a_later_connect_if_that_stays),
		TEST(a_claim_that_yields_for_a_moment_is_done_after_that),
		TEST(a_session_that_ends_before_its_claim_is_sent_is_not_claimed),
		TEST(what_ends_or_goes_while_its_claim_is_under_way),
		TEST(who_has_ended_yields_no_longer),
		TEST(a_client_that_comes_again_meanwhile_is_claimed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
