/* Letters between nodes, with a Redis that keeps one stream. */
#include "cluster/mail.h"

#include "cluster/fixture.h"

#define LETTERS_MOST 8u

struct rig {
	struct played redis;
	struct cluster_settings settings;
	struct cluster_core core;
	struct mail *mail;
	const char *streams[LETTERS_MOST]; /* what each XREAD brings; NULL: nothing, it waits */
	uint32_t reads;
	struct buf told;
};

static void serve(struct played_visit *v, const struct resp *c)
{
	struct rig *r = v->played->context;

	if (!played_is(c, "XREAD"))
		played_say(v, "$3\r\n1-0\r\n");
	else if (r->reads < LETTERS_MOST && r->streams[r->reads])
		played_say(v, r->streams[r->reads++]);
}

static void on_letter(void *context, const struct letter *letter)
{
	struct rig *r = context;

	buf_printf(&r->told, "%.*s %.*s %llu %.*s%s\n", VIEW_ARG(letter->kind),
		VIEW_ARG(letter->key), (unsigned long long)letter->number, VIEW_ARG(letter->from),
		letter->is_clean ? " clean" : "");
}

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));

	r->redis.serve = serve;
	r->redis.context = r;
	played_open(&r->redis, NULL);
	r->settings.node = "here";
	r->core.settings = &r->settings;
	r->core.loop = r->redis.loop;
	r->core.redis = r->redis.redis;
	r->mail = mail_new(&r->core);
	mail_listen(r->mail, "taken", on_letter, r);
	mail_listen(r->mail, "given", on_letter, r);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	played_end_client(&r->redis);
	mail_free(r->mail);
	played_close(&r->redis);
	buf_fini(&r->told);
	free(r);
	return 0;
}

#define LETTER(place, kind, number, clean)                           \
	"*2\r\n$3\r\n" place "\r\n*10\r\n$4\r\nkind\r\n$5\r\n" kind  \
	"\r\n$3\r\nkey\r\n$2\r\nk1\r\n$6\r\nnumber\r\n$1\r\n" number \
	"\r\n$4\r\nfrom\r\n$5\r\nthere\r\n$5\r\nclean\r\n$1\r\n" clean "\r\n"
#define STREAM(n, letters) "*1\r\n*2\r\n$16\r\nisobar:mail:here\r\n*" n "\r\n" letters

static void a_letter_goes_to_the_stream_of_its_node_and_says_from_whom(void **state)
{
	struct rig *r = *state;

	mail_send(r->mail, VIEW("there"),
		&(struct letter){VIEW("taken"), VIEW("a"), 7, VIEW(""), true});
	played_await(&r->redis,
		"XADD isobar:mail:there MAXLEN ~ 4096 * kind taken key a number 7 from here clean "
		"1\n",
		1);
}

static void letters_of_kinds_that_are_listened_to_are_told_once_each_in_order(void **state)
{
	struct rig *r = *state;

	r->streams[0] =
		STREAM("2", LETTER("5-1", "taken", "7", "1") LETTER("5-2", "given", "8", "0"));
	r->streams[1] =
		STREAM("2", LETTER("5-9", "other", "0", "0") LETTER("6-0", "taken", "9", "0"));
	mail_begin(r->mail);
	played_await(&r->redis, "STREAMS isobar:mail:here 6-0\n", 1);
	assert_int_equal(played_count(&r->redis, "STREAMS isobar:mail:here 0-0\n"), 1);
	assert_int_equal(played_count(&r->redis, "STREAMS isobar:mail:here 5-2\n"), 1);
	buf_append(&r->told, "", 1);
	assert_string_equal((const char *)buf_bytes(&r->told),
		"taken k1 7 there clean\ngiven k1 8 there\ntaken k1 9 there\n");
}

static void what_is_no_letter_is_passed_over(void **state)
{
	struct rig *r = *state;

	r->streams[0] = STREAM("3",
		LETTER("5-1", "taken", "x", "0") "*2\r\n$3\r\n5-2\r\n*2\r\n$1\r\na\r\n"
						 "$1\r\nb\r\n" LETTER("5-3", "given", "8", "0"));
	mail_begin(r->mail);
	played_await(&r->redis, "STREAMS isobar:mail:here 5-3\n", 1);
	buf_append(&r->told, "", 1);
	assert_string_equal((const char *)buf_bytes(&r->told), "given k1 8 there\n");
}

static void a_lost_connection_is_read_on_where_it_was(void **state)
{
	struct rig *r = *state;

	r->streams[0] = STREAM("1", LETTER("5-1", "taken", "7", "1"));
	mail_begin(r->mail);
	played_await(&r->redis, "STREAMS isobar:mail:here 5-1\n", 1);
	played_cut(&r->redis);
	played_await(&r->redis, "STREAMS isobar:mail:here 5-1\n", 2);
}

static void a_reply_that_is_an_error_is_asked_again(void **state)
{
	struct rig *r = *state;

	r->streams[0] = "-ERR something\r\n";
	mail_begin(r->mail);
	played_await(&r->redis, "STREAMS isobar:mail:here 0-0\n", 2);
	assert_int_equal(buf_length(&r->told), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_letter_goes_to_the_stream_of_its_node_and_says_from_whom),
		T(letters_of_kinds_that_are_listened_to_are_told_once_each_in_order),
		T(what_is_no_letter_is_passed_over),
		T(a_lost_connection_is_read_on_where_it_was),
		T(a_reply_that_is_an_error_is_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
