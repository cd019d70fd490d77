/* What a question is answered, its bounds, and the thread beside appends and removal. */
#include "broker/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "journal/fixture.h"
#include "net/harness.h"

#define MOST 4096u /* records one question of these tests collects */

struct hall {
	char *dir;
	struct journal *j;
	struct journal_reader reader;
	struct account account;
	char *read[4];
	char *deny[2];
};

static struct journal *open_in(const char *dir)
{
	struct journal_config config = fixture_config(dir);
	struct journal *j = NULL;
	char *why = NULL;

	if (journal_open(&j, &config, &why) != 0)
		fail_msg("open: %s", why);
	return j;
}

static int open_hall(void **state)
{
	struct hall *h = mem_new(sizeof(*h));

	h->dir = fixture_folder();
	h->j = open_in(h->dir);
	journal_reader_open(h->j, &h->reader);
	account_default(&h->account);
	h->read[0] = mem_text("a/#");
	h->read[1] = mem_text("own/%c/#");
	h->deny[0] = mem_text("a/closed/#");
	h->account.read = h->read;
	h->account.read_count = 2;
	h->account.deny = h->deny;
	h->account.deny_count = 1;
	*state = h;
	return 0;
}

static int close_hall(void **state)
{
	struct hall *h = *state;

	journal_reader_close(&h->reader);
	journal_close(h->j);
	fixture_remove(h->dir);
	for (uint32_t i = 0; i < 2; i++)
		free(h->read[i]);
	free(h->deny[0]);
	free(h);
	return 0;
}

static void append(
	struct journal *j, const char *topic, const char *payload, uint8_t flags, uint32_t expiry_s)
{
	struct journal_message m = {.topic = view_of(topic),
		.payload = view_of(payload),
		.flags = flags,
		.expiry_s = expiry_s};
	const struct journal_message *list = &m;
	int err = ERR_HELD;

	while (err == ERR_HELD) {
		journal_lock(j);
		err = journal_reserve(j, fixture_cost(&m), 1);
		if (err == 0)
			err = journal_append(j, &list, 1);
		journal_unlock(j);
		if (err == ERR_HELD)
			keeper_pass(j);
	}
	assert_int_equal(err, 0);
}

/* A question that collects "topic=payload " of its records. */
struct asking {
	struct history_question q;
	struct buf got;
	uint32_t count;
	uint32_t most;
	bool is_answered;
};

static bool take(struct history_question *q, const struct history_record *r)
{
	struct asking *a = container_of(q, struct asking, q);

	if (a->count == a->most)
		return false;
	a->count++;
	buf_printf(&a->got, "%.*s=%.*s ", VIEW_ARG(r->topic), VIEW_ARG(r->payload));
	return true;
}

static void on_answer(struct history_question *q)
{
	container_of(q, struct asking, q)->is_answered = true;
}

static struct asking ask_for(const struct hall *h, const char *filter)
{
	return (struct asking){.most = MOST,
		.q = {.account = &h->account,
			.filter = view_of(filter),
			.from = HISTORY_START,
			.until_ms = UINT64_MAX,
			.take = take,
			.on_answer = on_answer}};
}

static void assert_got(struct asking *a, const char *want)
{
	buf_append(&a->got, "", 1);
	assert_string_equal((const char *)buf_bytes(&a->got), want);
	buf_fini(&a->got);
}

static void an_answer_is_what_the_filter_and_the_account_allow(void **state)
{
	static const struct {
		const char *filter;
		const char *want;
	} rows[] = {
		{"#", "a/1=one a/2=two a/1=three "}, {"a/#", "a/1=one a/2=two a/1=three "},
		{"a/1", "a/1=one a/1=three "}, {"a/+", "a/1=one a/2=two a/1=three "}, {"b/#", ""},
		{"a/closed/x", ""}, {"own/#", ""}, /* there is no client identifier to put in */
	};
	struct hall *h = *state;

	append(h->j, "a/1", "one", 0, 0);
	append(h->j, "a/2", "two", 0, 0);
	append(h->j, "b/1", "not readable", 0, 0);
	append(h->j, "a/closed/x", "denied", 0, 0);
	append(h->j, "own//x", "nobody's", 0, 0);
	append(h->j, "own/me/x", "another's", 0, 0);
	append(h->j, "$SYS/x", "the broker's", 0, 0);
	append(h->j, "a/2", "hidden", JOURNAL_HIDDEN, 0);
	append(h->j, "a/1", "three", 0, 1000);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct asking a = ask_for(h, rows[i].filter);

		history_scan(&h->reader, &a.q);
		assert_int_equal(a.q.end, HISTORY_DONE);
		assert_int_equal(a.q.next, 9);
		assert_got(&a, rows[i].want);
	}
}

static void a_question_ends_where_its_owner_has_enough_and_goes_on_from_there(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "a/#");

	for (int i = 0; i < 3; i++) {
		append(h->j, "b", "between", 0, 0);
		append(h->j, "a/1", i == 0 ? "0" : i == 1 ? "1" : "2", 0, 0);
	}
	a.most = 1;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_MORE);
	assert_int_equal(a.q.next, 3);
	a.q.from = a.q.next;
	a.most = 3;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_DONE);
	assert_int_equal(a.q.next, 6);
	a.q.from = a.q.next; /* the tail: nothing yet */
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_DONE);
	a.q.from = 7;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_NOT_OURS);
	assert_got(&a, "a/1=0 a/1=1 a/1=2 ");
}

/* Lets the journal's clock go on. */
static uint64_t wait_for_later(const struct journal *j)
{
	uint64_t now = journal_now(j);

	while (journal_now(j) <= now)
		;
	return now;
}

static void a_stretch_is_bounded_by_times_and_by_the_account(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "#");
	uint64_t between;

	append(h->j, "a/1", "early", 0, 0);
	wait_for_later(h->j);
	between = wait_for_later(h->j);
	append(h->j, "a/1", "late", 0, 0);
	wait_for_later(h->j);
	wait_for_later(h->j); /* more than the 1 ms that the account may go back, below */
	a.q.until_ms = between;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.next, 1);
	a.q.until_ms = UINT64_MAX;
	a.q.since_ms = between;
	history_scan(&h->reader, &a.q);
	a.q.from = 0; /* before since, which counts then */
	history_scan(&h->reader, &a.q);
	assert_got(&a, "a/1=early a/1=late a/1=late ");
	a.got = (struct buf){0};
	h->account.replay_ms = 1;
	a.q.from = HISTORY_START;
	a.q.since_ms = 0;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_DONE);
	a.q.from = 0;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_GONE);
	assert_int_equal(buf_length(&a.got), 0);
}

static void what_expires_is_left_out(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "#");
	uint64_t until;

	append(h->j, "a/1", "short", 0, 1);
	append(h->j, "a/1", "long", 0, 1000);
	until = journal_now(h->j) + 1001;
	while (journal_now(h->j) < until)
		usleep(10000);
	history_scan(&h->reader, &a.q);
	assert_got(&a, "a/1=long ");
}

static void many_topics_and_segments_are_told_apart(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "a/+/x");
	char topic[32];
	char *payload = mem_new(301);

	memset(payload, 'x', 300);
	/* Topic numbers begin anew with each segment, so the same number is now wanted, now not. */
	for (int i = 0; i < 1500; i++) {
		snprintf(topic, sizeof(topic), i % 3 ? "a/%d/x" : "a/%d/y", i * 7 % 700);
		append(h->j, topic, payload, 0, 0);
	}
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.count, 1000);
	assert_true(fixture_count(h->dir, ".packets") > 3);
	buf_fini(&a.got);
	free(payload);
}

static void so_many_entries_are_looked_at_and_no_more(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "nothing/here");

	for (int i = 0; i < 10; i++)
		append(h->j, "a/1", "x", 0, 0);
	a.q.entries_most = 4;
	for (uint64_t next = 4; next < 10; next += 4) {
		history_scan(&h->reader, &a.q);
		assert_int_equal(a.q.end, HISTORY_MORE);
		assert_int_equal(a.q.next, next);
		a.q.from = a.q.next;
	}
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_DONE);
	a.q.from = 6;
	history_scan(&h->reader, &a.q); /* the last of its share is the last there is */
	assert_int_equal(a.q.end, HISTORY_DONE);
}

/* Holds the first record until the question's time is over. */
static bool take_too_long(struct history_question *q, const struct history_record *r)
{
	uint64_t over = clock_mono_ms() + HISTORY_SCAN_MS;

	while (container_of(q, struct asking, q)->count == 0 && clock_mono_ms() < over)
		usleep(10000);
	return take(q, r);
}

static void a_question_ends_when_its_time_is_over(void **state)
{
	struct hall *h = *state;
	struct asking a = ask_for(h, "a/#");

	for (int i = 0; i < 1000; i++)
		append(h->j, "a/1", "x", 0, 0);
	a.q.take = take_too_long;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_MORE);
	assert_in_range(a.q.next, 1, 999);
	buf_fini(&a.got);
}

static void who_goes_on_from_what_was_removed_is_told(void **state)
{
	struct hall *h = *state;
	struct journal_config config = fixture_config(h->dir);
	struct asking a = ask_for(h, "a/#");
	char *payload = mem_new(1001);
	char *why = NULL;
	uint64_t head;

	memset(payload, 'x', 1000);
	journal_reader_close(&h->reader);
	journal_close(h->j);
	config.size_bytes = 256 << 10; /* of segments of 64 KiB */
	assert_int_equal(journal_open(&h->j, &config, &why), 0);
	journal_reader_open(h->j, &h->reader);
	while (journal_head(h->j) == 0)
		append(h->j, "a/1", payload, 0, 0);
	head = journal_head(h->j);
	a.q.from = head - 1;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_GONE);
	assert_int_equal(a.count, 0);
	a.q.from = HISTORY_START;
	history_scan(&h->reader, &a.q);
	assert_int_equal(a.q.end, HISTORY_DONE);
	assert_true(a.count > 0 && a.count <= journal_tail(h->j) - head);
	buf_fini(&a.got);
	free(payload);
}

/* --- the thread -------------------------------------------------------- */

static bool is_answered(void *context)
{
	return ((struct asking *)context)->is_answered;
}

struct appender {
	struct journal *j;
	pthread_t thread;
};

static void *append_many(void *argument)
{
	const struct appender *p = argument;

	for (int i = 0; i < 2000; i++)
		append(p->j, "a/1", "beside it", 0, 0);
	return NULL;
}

static void questions_are_answered_beside_appends(void **state)
{
	struct hall *h = *state;
	struct history *history = history_new(h->j);
	struct loop *l = loop_new();
	struct appender appender = {.j = h->j};
	uint32_t taken = 0;
	struct asking a = ask_for(h, "a/#");

	pthread_create(&appender.thread, NULL, append_many, &appender);
	while (taken < 2000) {
		a.most = 7;
		a.is_answered = false;
		assert_int_equal(history_ask(history, l, &a.q), 0);
		drive_until(l, is_answered, &a);
		assert_true(a.q.end == HISTORY_DONE || a.q.end == HISTORY_MORE);
		assert_true(a.q.end == HISTORY_DONE || a.count == 7);
		taken += a.count;
		a.count = 0;
		a.q.from = a.q.next;
		buf_clear(&a.got);
	}
	pthread_join(appender.thread, NULL);
	assert_int_equal(taken, 2000);
	buf_fini(&a.got);
	history_free(history);
	loop_free(l);
}

struct gate {
	pthread_mutex_t lock;
	struct asking first;
};

static bool take_slowly(struct history_question *q, const struct history_record *r)
{
	struct gate *g = container_of(container_of(q, struct asking, q), struct gate, first);

	pthread_mutex_lock(&g->lock);
	pthread_mutex_unlock(&g->lock);
	return take(q, r);
}

static void so_many_questions_wait_and_no_more(void **state)
{
	struct hall *h = *state;
	struct history *history = history_new(h->j);
	struct loop *l = loop_new();
	struct gate g = {.first = ask_for(h, "a/#")};
	struct asking more[HISTORY_WAITING_MOST + 1];
	uint32_t asked = 0;

	append(h->j, "a/1", "one", 0, 0);
	pthread_mutex_init(&g.lock, NULL);
	g.first.q.take = take_slowly;
	pthread_mutex_lock(&g.lock);
	assert_int_equal(history_ask(history, l, &g.first.q), 0);
	for (uint32_t i = 0; i <= HISTORY_WAITING_MOST; i++)
		more[i] = ask_for(h, "a/#");
	/* The first may still be among those that wait. */
	while (asked <= HISTORY_WAITING_MOST && history_ask(history, l, &more[asked].q) == 0)
		asked++;
	assert_in_range(asked, HISTORY_WAITING_MOST - 1, HISTORY_WAITING_MOST);
	pthread_mutex_unlock(&g.lock);
	drive_until(l, is_answered, &more[asked - 1]);
	assert_true(g.first.is_answered);
	assert_got(&g.first, "a/1=one ");
	for (uint32_t i = 0; i < asked; i++)
		assert_got(&more[i], "a/1=one ");
	pthread_mutex_destroy(&g.lock);
	history_free(history);
	loop_free(l);
}

#define in_hall(test) cmocka_unit_test_setup_teardown(test, open_hall, close_hall)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_hall(an_answer_is_what_the_filter_and_the_account_allow),
		in_hall(a_question_ends_where_its_owner_has_enough_and_goes_on_from_there),
		in_hall(a_stretch_is_bounded_by_times_and_by_the_account),
		in_hall(what_expires_is_left_out),
		in_hall(many_topics_and_segments_are_told_apart),
		in_hall(so_many_entries_are_looked_at_and_no_more),
		in_hall(a_question_ends_when_its_time_is_over),
		in_hall(who_goes_on_from_what_was_removed_is_told),
		in_hall(questions_are_answered_beside_appends),
		in_hall(so_many_questions_wait_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
