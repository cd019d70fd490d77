/* What the broker asks about its sessions, and what another node's letters lead to, with a played Redis.
 * Takes, rows and wills by themselves are in takes_test.c, rows_test.c and wills_test.c. */
#include "cluster/sessions.h"

#include "cluster/fixture.h"

#include <pthread.h>

#include "cluster/census.h"
#include "cluster/mail.h"
#include "cluster/members.h"
#include "cluster/rows.h"
#include "cluster/takes.h"
#include "cluster/wills.h"

#define ME "here/0000000000000001"
#define CALL(key) "EVALSHA isobar:session:" key " "
#define HAD_BY_OTHER "*4\r\n:8\r\n$22\r\nthere/0000000000000002\r\n$0\r\n\r\n$0\r\n\r\n"
#define NOBODY "*4\r\n:1\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n"

/* "there" lives. */
struct members {
	struct nodes nodes;
};

const struct nodes *members_nodes(const struct members *m)
{
	return &m->nodes;
}

bool members_has_run(const struct members *m, struct view run)
{
	(void)m;
	return view_starts_with(run, VIEW("there/"));
}

bool members_may_have_run(const struct members *m, struct view run)
{
	return members_has_run(m, run);
}

bool members_is_cut_off(const struct members *m)
{
	(void)m;
	return false;
}

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct members members;
	struct mail *mail;
	struct sessions *sessions;
	struct roaming roaming;
	struct roaming_take take;
	struct receipt receipt;
	const char *letters; /* in this node's stream, once */
	const char *says;    /* answer to scripts of rows */
	const char *takes;   /* answer to those of takes */
	bool is_held;        /* those of takes get no answer */
	bool is_bound;       /* and those of rows */
	struct buf told;
};

static struct rig *the_rig; /* receipts and takes know no other way */

/* --- Redis ----------------------------------------------------------------------- */

static bool is_take(const struct resp *c)
{
	struct view word = played_word(c, 6);

	return view_equal(word, VIEW("take")) || view_equal(word, VIEW("claim")) ||
	       view_equal(word, VIEW("undo"));
}

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (played_is(c, "XREAD") && r->letters) {
		played_say(v, r->letters);
		r->letters = NULL;
	} else if (played_is(c, "XREAD")) {
		v->is_blocked = true;
	} else if (played_is(c, "HMGET")) {
		played_say(v, "*3\r\n$3\r\nrow\r\n$1\r\nw\r\n$-1\r\n");
	} else if (!played_is(c, "EVALSHA")) {
		played_say(v, "+OK\r\n");
	} else if (is_take(c) ? r->is_held : r->is_bound) {
		v->is_blocked = true;
	} else {
		played_say(v, is_take(c) ? r->takes : r->says);
	}
}

/* --- the broker -------------------------------------------------------------------- */

static void on_taken_away(void *context, struct view key, uint32_t owner, bool is_clean)
{
	buf_printf(&((struct rig *)context)->told, "away %.*s %u%s\n", VIEW_ARG(key), owner,
		is_clean ? " clean" : "");
}

static void on_late(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "late %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_lost(void *context, struct view key, uint32_t owner)
{
	buf_printf(&((struct rig *)context)->told, "lost %.*s %u\n", VIEW_ARG(key), owner);
}

static void on_taken(struct roaming_take *t)
{
	buf_printf(&the_rig->told, "taken %u\n", t->owner);
}

static void on_confirmed(struct receipt *receipt)
{
	(void)receipt;
	buf_text(&the_rig->told, "confirmed\n");
}

/* --- the rig ------------------------------------------------------------------------ */

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	the_rig = r;
	r->redis.serve = serve;
	r->redis.context = r;
	r->says = ":1\r\n";
	r->takes = NOBODY;
	played_open(&r->redis, NULL);
	r->settings.node = "here";
	r->core = (struct cluster_core){.settings = &r->settings,
		.loop = r->redis.loop,
		.redis = r->redis.redis,
		.start = 1,
		.shards = SHARDS};
	r->core.census = census_new(&r->core);
	r->mail = mail_new(&r->core);
	r->sessions = sessions_new(&r->core, &r->members, r->mail);
	sessions_set_host(r->sessions, &(struct roaming_host){.on_taken_away = on_taken_away,
					       .on_late = on_late,
					       .on_lost = on_lost,
					       .context = r});
	r->roaming = sessions_roaming(r->sessions);
	r->take = (struct roaming_take){.address = 7, .on_taken = on_taken};
	buf_text(&r->take.key, "k");
	r->receipt.on_done = on_confirmed;
	buf_text(&r->receipt.key, "k");
	*state = r;
	return 0;
}

static void end(struct rig *r)
{
	played_end_client(&r->redis);
	sessions_free(r->sessions);
	mail_free(r->mail);
	r->sessions = NULL;
	r->mail = NULL;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	end(r);
	census_free(r->core.census);
	played_close(&r->redis);
	roaming_take_fini(&r->take);
	buf_fini(&r->receipt.key);
	buf_fini(&r->told);
	free(r);
	return 0;
}

static void begin(struct rig *r)
{
	sessions_begin(r->sessions);
	mail_begin(r->mail);
	played_await(&r->redis, "XREAD", 1);
	played_settle(&r->redis, 1);
	buf_clear(&r->redis.asked);
}

struct hope {
	struct rig *rig;
	const char *text;
};

static bool is_fulfilled(void *hope)
{
	const struct hope *h = hope;
	struct buf *told = &h->rig->told;

	return buf_length(told) >= strlen(h->text) &&
	       memmem(buf_bytes(told), buf_length(told), h->text, strlen(h->text)) != NULL;
}

/* This and nothing else is told since the last call. */
static void await_told(struct rig *r, const char *text)
{
	struct hope hope = {r, text};

	drive_until(r->core.loop, is_fulfilled, &hope);
	buf_append(&r->told, "", 1);
	assert_string_equal((const char *)buf_bytes(&r->told), text);
	buf_clear(&r->told);
}

#define LETTER(kind, key, number, clean)                                          \
	"*1\r\n*2\r\n$16\r\nisobar:mail:here\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*10\r\n" \
	"$4\r\nkind\r\n$5\r\n" kind "\r\n$3\r\nkey\r\n$1\r\n" key                 \
	"\r\n$6\r\nnumber\r\n$1\r\n" number                                       \
	"\r\n$4\r\nfrom\r\n$5\r\nthere\r\n$5\r\nclean\r\n$1\r\n" clean "\r\n"
#define GIVEN(key, number)                                                                      \
	"XADD isobar:mail:there MAXLEN ~ 4096 * kind given key " key " number " number " from " \
	"here"

/* Puts this letter into the stream. */
static void deliver(struct rig *r, const char *letter)
{
	played_unblock(&r->redis, letter);
}

/* --- what the broker asks ---------------------------------------------------------------- */

static void ask_claim(struct roaming *m)
{
	m->claim(m->context, VIEW("k"), ROAMING_LASTS | ROAMING_CLEAN, 9, 0);
}

static void ask_put(struct roaming *m)
{
	m->put(m->context, VIEW("k"), 7, VIEW("row"), 5);
}

static void ask_give(struct roaming *m)
{
	m->give(m->context, VIEW("k"), 7, VIEW("row"));
}

static void ask_bare(struct roaming *m)
{
	m->bare(m->context, VIEW("k"), 7);
}

static void ask_drop(struct roaming *m)
{
	m->drop(m->context, VIEW("k"), 7);
}

static void ask_touch(struct roaming *m)
{
	m->touch(m->context, VIEW("k"));
}

static void ask_mark(struct roaming *m)
{
	m->mark(m->context, VIEW("m"));
}

static void ask_will(struct roaming *m)
{
	struct roaming_will will = {.delay_ms = 0x4444444444444444, .bytes = VIEW("w")};

	memset(&will.id, 'A', sizeof(will.id));
	m->will(m->context, VIEW("k"), &will);
}

static void ask_will_done(struct roaming *m)
{
	struct uuid id;

	memset(&id, 'A', sizeof(id));
	m->will_done(m->context, VIEW(""), VIEW("k"), &id);
}

static void ask_will_done_of_other(struct roaming *m)
{
	struct uuid id;

	memset(&id, 'A', sizeof(id));
	m->will_done(m->context, VIEW("gone/0000000000000003"), VIEW("k"), &id);
}

static void what_the_broker_asks_is_asked_of_redis(void **state)
{
	static const struct {
		void (*ask)(struct roaming *m);
		const char *want;
	} rows[] = {
		{ask_claim, CALL("k") ME " 1 claim 0 86400000 1 0000000000000009 0 1\n"},
		{ask_put, CALL("k") "7 " ME " row 5 put\n"},
		{ask_give, CALL("k") "7 " ME " row 0 give\n"},
		{ask_bare, CALL("k") "7 " ME "  86400000 bare\n"},
		{ask_drop, CALL("k") "7 " ME "  0 drop\n"},
		{ask_touch, CALL("k") ME " 86400000\n"},
		{ask_mark, "SET isobar:mark:" ME " m PX 604800000\n"},
		{ask_will, "HSET isobar:wills:" ME " k AAAAAAAAAAAAAAAADDDDDDDDw\n"},
		{ask_will_done, "EVALSHA isobar:wills:" ME " k AAAAAAAAAAAAAAAA\n"},
		{ask_will_done_of_other,
			"EVALSHA isobar:wills:gone/0000000000000003 k AAAAAAAAAAAAAAAA\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		begin(r);
		rows[i].ask(&r->roaming);
		played_await(&r->redis, rows[i].want, 1);
		if (played_count(&r->redis, "EVALSHA ") + played_count(&r->redis, "SET ") != 1)
			fail_msg("row %zu", i);
		tear_down(&fresh);
	}
}

static void what_is_asked_before_redis_is_reached_is_kept_until_it_is(void **state)
{
	struct rig *r = *state;

	ask_put(&r->roaming);
	ask_claim(&r->roaming);
	ask_will(&r->roaming);
	drive_turns(r->core.loop, 20);
	played_expect(&r->redis, "k", 0);
	begin(r);
	await_told(r, "late k 1\n");
}

static void a_take_is_answered(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->roaming.take(r->roaming.context, &r->take);
	await_told(r, "taken 1\n");
	played_expect(&r->redis, CALL("k") ME " 1 take 0 86400000 0 0000000000000007 0 0\n", 1);
}

static void *put_and_confirm(void *rig)
{
	struct rig *r = rig;

	ask_put(&r->roaming);
	r->roaming.confirm(r->roaming.context, &r->receipt);
	return NULL;
}

static void orders_of_other_threads_are_obeyed_in_their_order(void **state)
{
	struct rig *r = *state;
	pthread_t thread;

	begin(r);
	assert_int_equal(pthread_create(&thread, NULL, put_and_confirm, r), 0);
	await_told(r, "confirmed\n");
	pthread_join(thread, NULL);
	played_expect(&r->redis, " put\n", 1); /* before it was told */
}

static void a_session_of_which_redis_says_that_another_has_it_is_lost(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->says = ":0\r\n";
	ask_put(&r->roaming);
	await_told(r, "lost k 7\n");
}

/* {how it is said that what is claimed is no more this node's; what Redis is asked about it then} */
static void who_claims_no_more_has_no_number(void **state)
{
	static const struct {
		bool is_over;
		const char *want;
	} rows[] = {{true, CALL("k") "1 " ME "  0 drop\n"}, {false, NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *fresh;
		struct rig *r;

		set_up(&fresh);
		r = fresh;
		begin(r);
		r->is_held = true;
		ask_claim(&r->roaming);
		played_await(&r->redis, CALL("k") ME " 1 claim", 1);
		if (rows[i].is_over)
			r->roaming.drop(r->roaming.context, VIEW("k"), 0);
		else
			r->roaming.give(r->roaming.context, VIEW("k"), 0, VIEW("row"));
		r->is_held = false;
		drive_turns(r->core.loop, 2);
		played_unblock(&r->redis, NOBODY);
		if (rows[i].want)
			played_await(&r->redis, rows[i].want, 1);
		drive_turns(r->core.loop, 20);
		played_expect(&r->redis, CALL("k"), rows[i].want ? 2 : 1);
		assert_int_equal(buf_length(&r->told), 0);
		tear_down(&fresh);
	}
}

/* --- letters --------------------------------------------------------------------------- */

static void what_another_node_has_taken_is_given_and_then_it_is_told(void **state)
{
	struct rig *r = *state;

	begin(r);
	deliver(r, LETTER("taken", "k", "8", "1"));
	await_told(r, "away k 8 clean\n");
	r->is_bound = true;
	ask_give(&r->roaming);
	played_await(&r->redis, " give\n", 1);
	drive_turns(r->core.loop, 20);
	played_expect(&r->redis, "XADD", 0);
	r->is_bound = false;
	played_unblock(&r->redis, ":1\r\n");
	played_await(&r->redis, GIVEN("k", "8"), 1);
	ask_give(&r->roaming); /* nobody waits for it any more */
	played_await(&r->redis, " give\n", 2);
	drive_turns(r->core.loop, 20);
	played_expect(&r->redis, "XADD", 1);
}

static void who_has_nothing_to_give_says_so_at_once(void **state)
{
	struct rig *r = *state;

	begin(r);
	deliver(r, LETTER("taken", "k", "8", "0"));
	await_told(r, "away k 8\n");
	r->roaming.give(r->roaming.context, VIEW("k"), 6, VIEW("")); /* of another take */
	r->roaming.give(r->roaming.context, VIEW("j"), 7, VIEW(""));
	r->roaming.give(r->roaming.context, VIEW("k"), 7, VIEW(""));
	played_await(&r->redis, GIVEN("k", "8"), 1);
	drive_turns(r->core.loop, 20);
	played_expect(&r->redis, "XADD", 1);
	played_expect(&r->redis, "EVALSHA", 0);
}

/* {what the letter asks for is being given: is what Redis refuses told as a loss besides?} */
static void a_row_that_is_refused_while_its_session_is_given_away_is_no_loss(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->says = ":0\r\n";
	deliver(r, LETTER("taken", "k", "8", "0"));
	await_told(r, "away k 8\n");
	r->roaming.put(r->roaming.context, VIEW("k"), 7, VIEW("row"), 5);
	r->roaming.put(r->roaming.context, VIEW("j"), 7, VIEW("row"), 5);
	r->roaming.put(r->roaming.context, VIEW("i"), 8, VIEW("row"), 5);
	played_await(&r->redis, " put\n", 3);
	played_settle(&r->redis, 1);
	buf_append(&r->told, "", 1);
	assert_null(strstr((const char *)buf_bytes(&r->told), "lost k"));
	assert_non_null(strstr((const char *)buf_bytes(&r->told), "lost j 7\n"));
	assert_non_null(strstr((const char *)buf_bytes(&r->told), "lost i 8\n"));
}

static void without_a_broker_letters_and_losses_are_passed_over(void **state)
{
	struct rig *r = *state;

	sessions_set_host(r->sessions, &(struct roaming_host){.context = r});
	begin(r);
	r->says = ":0\r\n";
	deliver(r, LETTER("taken", "k", "8", "0"));
	played_await(&r->redis, "STREAMS isobar:mail:here 5-1\n", 1);
	ask_put(&r->roaming);
	played_await(&r->redis, " put\n", 1);
	played_settle(&r->redis, 1);
	r->roaming.give(r->roaming.context, VIEW("k"), 7, VIEW(""));
	drive_turns(r->core.loop, 20);
	played_expect(&r->redis, "XADD", 0);
}

static void a_take_is_answered_when_the_last_row_is_given(void **state)
{
	struct rig *r = *state;

	begin(r);
	r->takes = HAD_BY_OTHER;
	r->roaming.take(r->roaming.context, &r->take);
	played_await(
		&r->redis, "XADD isobar:mail:there MAXLEN ~ 4096 * kind taken key k number 8", 1);
	deliver(r, LETTER("given", "k", "8", "0"));
	await_told(r, "taken 8\n");
	played_expect(&r->redis, "HMGET", 1);
	played_expect(&r->redis, "HGET", 0); /* as for one that does not answer */
}

/* --- the end -------------------------------------------------------------------------------- */

static void at_the_end_nothing_is_told_and_what_was_not_obeyed_is_dropped(void **state)
{
	struct rig *r = *state;

	begin(r);
	deliver(r, LETTER("taken", "k", "8", "0"));
	await_told(r, "away k 8\n");
	put_and_confirm(r);
	ask_will_done_of_other(&r->roaming);
	end(r);
	assert_int_equal(buf_length(&r->told), 0);
}

static void each_script_is_named(void **state)
{
	const char *scripts[SESSIONS_SCRIPTS] = {0}, *rows[ROWS_SCRIPTS];

	(void)state;
	sessions_scripts(scripts);
	rows_scripts(rows);
	assert_ptr_equal(scripts[0], takes_script());
	assert_ptr_equal(scripts[1], wills_script());
	assert_ptr_equal(scripts[2], rows[0]);
	assert_ptr_equal(scripts[3], rows[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_broker_asks_is_asked_of_redis),
		TEST(what_is_asked_before_redis_is_reached_is_kept_until_it_is),
		TEST(a_take_is_answered),
		TEST(orders_of_other_threads_are_obeyed_in_their_order),
		TEST(a_session_of_which_redis_says_that_another_has_it_is_lost),
		cmocka_unit_test(who_claims_no_more_has_no_number),
		TEST(what_another_node_has_taken_is_given_and_then_it_is_told),
		TEST(who_has_nothing_to_give_says_so_at_once),
		TEST(a_row_that_is_refused_while_its_session_is_given_away_is_no_loss),
		TEST(without_a_broker_letters_and_losses_are_passed_over),
		TEST(a_take_is_answered_when_the_last_row_is_given),
		TEST(at_the_end_nothing_is_told_and_what_was_not_obeyed_is_dropped),
		TEST(each_script_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
