#include "net/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "net/harness.h"

/* --- timers ------------------------------------------------------------ */

#define TIMERS 500

struct alarm {
	struct timer timer;
	struct loop *loop;
	uint64_t *latest; /* due time of the one before */
	int *rung;
	bool wrong;
};

static void on_alarm(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);

	a->wrong = t->place != 0 || t->due_ms > loop_now_ms(a->loop) || t->due_ms < *a->latest;
	*a->latest = t->due_ms;
	++*a->rung;
}

static bool all_rung(void *context)
{
	return *(int *)context >= TIMERS / 2;
}

static void timers_run_in_order_of_due_time_and_stopped_ones_never(void **state)
{
	struct alarm *alarms = calloc(TIMERS, sizeof(*alarms));
	struct loop *l = *state;
	uint64_t latest = 0;
	int rung = 0;

	srand(7);
	for (int i = 0; i < TIMERS; i++) {
		alarms[i] = (struct alarm){{.on_time = on_alarm}, l, &latest, &rung, false};
		timer_start(l, &alarms[i].timer, (uint64_t)(rand() % 1000));
	}
	for (int i = 0; i < TIMERS; i++) /* earlier and later than before */
		timer_start(l, &alarms[i].timer, (uint64_t)(rand() % 40));
	for (int i = 0; i < TIMERS; i += 2)
		timer_stop(l, &alarms[i].timer);
	timer_stop(l, &alarms[0].timer);
	drive_until(l, all_rung, &rung);
	assert_int_equal(rung, TIMERS / 2);
	for (int i = 0; i < TIMERS; i++) {
		assert_false(alarms[i].wrong);
		assert_int_equal(alarms[i].timer.place, 0);
	}
	free(alarms);
}

static void on_again(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);

	++*a->rung;
	timer_start(a->loop, t, 0);
}

static bool rung_thrice(void *context)
{
	return *(int *)context >= 3;
}

static void a_timer_that_restarts_itself_at_once_does_not_hold_the_turn(void **state)
{
	struct loop *l = *state;
	int rung = 0;
	struct alarm a = {.timer.on_time = on_again, .loop = l, .rung = &rung};

	timer_start(l, &a.timer, 0);
	drive_until(l, rung_thrice, &rung);
	assert_int_equal(rung, 3); /* the end of a turn came after each */
	timer_stop(l, &a.timer);
	drive_turns(l, 2);
	assert_int_equal(rung, 3);
}

/* --- deferred tasks and hooks ------------------------------------------ */

struct step {
	struct deferred deferred;
	struct turn_hook hook;
	struct loop *loop;
	char *trace;
	char letter;
	bool again;
};

static void note(char *trace, char letter)
{
	size_t n = strlen(trace);

	trace[n] = letter;
	trace[n + 1] = '\0';
}

static void on_step(struct deferred *d)
{
	struct step *s = container_of(d, struct step, deferred);

	note(s->trace, s->letter);
	if (s->again)
		loop_defer(s->loop, d);
	s->again = false;
}

static bool on_step_turn(struct turn_hook *h)
{
	struct step *s = container_of(h, struct step, hook);

	note(s->trace, s->letter);
	if (s->again)
		loop_remove_hook(s->loop, h);
	return false;
}

static void deferred_tasks_run_once_each_in_order_before_the_hooks(void **state)
{
	struct loop *l = *state;
	char trace[64] = "";
	struct step a = {{.run = on_step}, {0}, l, trace, 'a', true};
	struct step b = {{.run = on_step}, {0}, l, trace, 'b', false};
	struct step c = {{.run = on_step}, {0}, l, trace, 'c', false};
	struct step h = {{0}, {.on_turn = on_step_turn}, l, trace, 'h', false};

	list_init(&a.deferred.link);
	list_init(&b.deferred.link);
	list_init(&c.deferred.link);
	loop_defer(l, &a.deferred);
	loop_defer(l, &b.deferred);
	loop_defer(l, &a.deferred);
	loop_defer(l, &c.deferred);
	list_remove(&c.deferred.link); /* taken back */
	loop_add_hook(l, &h.hook);
	drive_until(l, drive_counted_down, &(int){1});
	loop_remove_hook(l, &h.hook);
	assert_string_equal(trace, "abhah");
}

static void a_hook_may_remove_itself_and_the_next_is_still_called(void **state)
{
	struct loop *l = *state;
	char trace[64] = "";
	struct step one = {{0}, {.on_turn = on_step_turn}, l, trace, '1', true};
	struct step two = {{0}, {.on_turn = on_step_turn}, l, trace, '2', false};

	loop_add_hook(l, &one.hook);
	loop_add_hook(l, &two.hook);
	drive_turns(l, 1);
	loop_remove_hook(l, &two.hook);
	assert_string_equal(trace, "122");
}

static void costly_steps_are_given_out_a_few_per_turn(void **state)
{
	struct loop *l = *state;

	drive_turns(l, 1);
	for (int i = 0; i < LOOP_COSTLY_A_TURN; i++)
		assert_true(loop_may_spend(l));
	assert_false(loop_may_spend(l));
	drive_turns(l, 1);
	assert_true(loop_may_spend(l));
}

/* --- descriptors ------------------------------------------------------- */

struct end {
	struct io io;
	struct loop *loop;
	struct end *other;
	int calls;
	unsigned what;
};

static void on_end(struct io *io, unsigned what)
{
	struct end *e = container_of(io, struct end, io);

	e->calls++;
	e->what |= what;
	if (e->other)
		loop_remove(e->loop, &e->other->io);
}

static void a_fetched_event_of_a_removed_descriptor_is_not_delivered(void **state)
{
	struct loop *l = *state;
	struct end a = {.io.on_ready = on_end, .loop = l}, b = a;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	a.io.fd = fds[0];
	b.io.fd = fds[1];
	a.other = &b;
	b.other = &a;
	assert_int_equal(loop_add(l, &a.io), 0); /* both are writable in the same turn */
	assert_int_equal(loop_add(l, &b.io), 0);
	drive_turns(l, 3);
	assert_int_equal(a.calls + b.calls, 1);
	loop_remove(l, a.calls ? &a.io : &b.io);
	close(fds[0]);
	close(fds[1]);
}

static void a_peer_that_ends_is_reported_as_hangup(void **state)
{
	struct loop *l = *state;
	struct end a = {.io.on_ready = on_end, .loop = l};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	a.io.fd = fds[0];
	assert_int_equal(loop_add(l, &a.io), 0);
	drive_turns(l, 2);
	assert_int_equal(a.what, IO_WRITE);
	shutdown(fds[1], SHUT_WR);
	drive_turns(l, 2);
	assert_int_equal(a.what, IO_WRITE | IO_READ | IO_HANGUP);
	loop_remove(l, &a.io);
	close(fds[0]);
	close(fds[1]);
}

/* --- other threads ----------------------------------------------------- */

#define POSTERS 4
#define POSTS 20000

struct posting {
	struct task task;
	struct posters *all;
	int thread;
	int number;
};

struct posters {
	struct loop *loop;
	int next[POSTERS]; /* number expected of each thread; the loop's */
	int run;
	bool wrong;
};

struct poster {
	struct posters *all;
	int thread;
	struct posting *postings;
};

static void on_posting(struct task *t)
{
	struct posting *p = container_of(t, struct posting, task);

	if (p->number != p->all->next[p->thread]++)
		p->all->wrong = true;
	p->all->run++;
}

static void *post_all(void *context)
{
	struct poster *p = context;

	for (int i = 0; i < POSTS; i++) {
		p->postings[i] = (struct posting){{.run = on_posting}, p->all, p->thread, i};
		loop_post(p->all->loop, &p->postings[i].task);
	}
	return NULL;
}

static bool all_posted_run(void *context)
{
	return ((struct posters *)context)->run == POSTERS * POSTS;
}

static void tasks_of_several_threads_all_run_each_threads_in_order(void **state)
{
	struct posters all = {.loop = *state};
	struct poster posters[POSTERS];
	pthread_t ids[POSTERS];

	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){&all, i, calloc(POSTS, sizeof(struct posting))};
		pthread_create(&ids[i], NULL, post_all, &posters[i]);
	}
	drive_until(all.loop, all_posted_run, &all);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(ids[i], NULL);
		free(posters[i].postings);
	}
	assert_false(all.wrong);
}

/* One thread hands a number over and waits until the loop has seen it: each step needs a wake-up
 * of a loop that is asleep, or just about to be. One lost ends in the time limit. */
#define PINGS 20000

struct ping {
	struct turn_hook hook;
	struct loop *loop;
	atomic_int sent;
	atomic_int seen;
};

static bool on_ping_turn(struct turn_hook *h)
{
	struct ping *p = container_of(h, struct ping, hook);

	atomic_store(&p->seen, atomic_load(&p->sent));
	return false;
}

static void *send_pings(void *context)
{
	struct ping *p = context;

	for (int i = 1; i <= PINGS; i++) {
		atomic_store_explicit(&p->sent, i, memory_order_relaxed);
		loop_wake(p->loop);
		while (atomic_load(&p->seen) != i)
			;
	}
	return NULL;
}

static bool all_pings_seen(void *context)
{
	return atomic_load(&((struct ping *)context)->seen) == PINGS;
}

static void no_wake_up_is_lost(void **state)
{
	struct ping p = {.hook.on_turn = on_ping_turn, .loop = *state};
	pthread_t id;

	loop_add_hook(p.loop, &p.hook);
	pthread_create(&id, NULL, send_pings, &p);
	drive_until(p.loop, all_pings_seen, &p);
	pthread_join(id, NULL);
	loop_remove_hook(p.loop, &p.hook);
}

/* The other way a worker learns of work: nobody wakes it, but it asks before it sleeps. */
struct asked {
	struct turn_hook hook;
	int turns;
};

static bool on_asked_turn(struct turn_hook *h)
{
	container_of(h, struct asked, hook)->turns++;
	return false;
}

static bool asked_has_work(struct turn_hook *h)
{
	return container_of(h, struct asked, hook)->turns < 1000;
}

static bool asked_enough(void *context)
{
	return ((struct asked *)context)->turns >= 1000;
}

static void a_loop_does_not_sleep_while_a_hook_has_work(void **state)
{
	struct asked a = {{.on_turn = on_asked_turn, .has_work = asked_has_work}, 0};
	uint64_t before = clock_mono_ms();

	loop_add_hook(*state, &a.hook);
	drive_until(*state, asked_enough, &a);
	loop_remove_hook(*state, &a.hook);
	assert_true(clock_mono_ms() - before < HARNESS_LIMIT_MS / 2);
}

static void a_stop_before_the_run_ends_it_at_once(void **state)
{
	struct loop *l = *state;

	loop_stop(l);
	loop_run(l);
}

static void the_cost_of_an_empty_turn_is_shown(void **state)
{
	const int turns = 200000;
	uint64_t before = clock_mono_ns();

	drive_turns(*state, turns);
	printf("empty turn: %.0f ns\n", (double)(clock_mono_ns() - before) / turns);
}

static int set_up(void **state)
{
	*state = loop_new();
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	loop_free(*state);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timers_run_in_order_of_due_time_and_stopped_ones_never),
		TEST(a_timer_that_restarts_itself_at_once_does_not_hold_the_turn),
		TEST(deferred_tasks_run_once_each_in_order_before_the_hooks),
		TEST(a_hook_may_remove_itself_and_the_next_is_still_called),
		TEST(costly_steps_are_given_out_a_few_per_turn),
		TEST(a_fetched_event_of_a_removed_descriptor_is_not_delivered),
		TEST(a_peer_that_ends_is_reported_as_hangup),
		TEST(tasks_of_several_threads_all_run_each_threads_in_order),
		TEST(no_wake_up_is_lost),
		TEST(a_loop_does_not_sleep_while_a_hook_has_work),
		TEST(a_stop_before_the_run_ends_it_at_once),
		TEST(the_cost_of_an_empty_turn_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
