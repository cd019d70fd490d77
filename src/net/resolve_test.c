#include "net/resolve.h"

#include <stdio.h>

#include "net/harness.h"

struct answer {
	struct resolve_query *query;
	int calls;
	int count;
	struct address first;
	char why[128];
};

struct rig {
	struct loop *loop;
	struct resolver *resolver;
	struct answer answers[40];
	int want;
};

static void on_answer(void *context, const struct address *addresses, int count, const char *why)
{
	struct answer *a = context;

	a->calls++;
	a->count = count;
	if (count)
		a->first = addresses[0];
	else
		snprintf(a->why, sizeof(a->why), "%s", why);
}

static void ask(struct rig *r, int i, const char *host)
{
	r->answers[i].query =
		resolve_start(r->resolver, r->loop, host, 1883, on_answer, &r->answers[i]);
	assert_int_equal(r->answers[i].calls, 0); /* never inside the call */
}

static bool all_answered(void *context)
{
	struct rig *r = context;
	int n = 0;

	for (int i = 0; i < 40; i++)
		n += r->answers[i].calls;
	return n >= r->want;
}

static void literal_addresses_are_answered_later(void **state)
{
	struct rig *r = *state;

	r->want = 2;
	ask(r, 0, "127.0.0.1");
	ask(r, 1, "::1");
	drive_until(r->loop, all_answered, r);
	assert_int_equal(r->answers[0].count, 1);
	assert_int_equal(r->answers[0].first.any.sa_family, AF_INET);
	assert_int_equal(address_port(&r->answers[0].first), 1883);
	assert_int_equal(r->answers[1].first.any.sa_family, AF_INET6);
}

static void names_are_looked_up_and_faults_say_why(void **state)
{
	struct rig *r = *state;
	struct address here = loopback(1883);

	r->want = 2;
	ask(r, 0, "LocalHost");
	ask(r, 1, "not..a.name");
	drive_until(r->loop, all_answered, r);
	assert_int_equal(r->answers[0].count, 2);
	assert_true(address_same_host(&r->answers[0].first, &here));
	assert_int_equal(r->answers[1].count, 0);
	assert_true(r->answers[1].why[0] != '\0');
}

static void a_cancelled_question_is_never_answered(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 40; i++)
		ask(r, i, i % 4 ? "not..a.name" : "127.0.0.1");
	for (int i = 0; i < 40; i++)
		if (i != 39)
			resolve_cancel(r->answers[i].query);
	r->want = 1;
	drive_until(r->loop, all_answered, r);
	drive_turns(r->loop, 50);
	for (int i = 0; i < 39; i++)
		assert_int_equal(r->answers[i].calls, 0);
}

static void a_resolver_may_go_with_questions_open(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 40; i++)
		ask(r, i, i % 4 ? "not..a.name" : "127.0.0.1");
}

static int set_up(void **state)
{
	static struct rig r; /* the answers outlive the test that leaves questions open */

	r = (struct rig){.loop = loop_new(), .resolver = resolver_new()};
	*state = &r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	resolver_free(r->resolver);
	loop_free(r->loop);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(literal_addresses_are_answered_later),
		TEST(names_are_looked_up_and_faults_say_why),
		TEST(a_cancelled_question_is_never_answered),
		TEST(a_resolver_may_go_with_questions_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
