/* net/harness_clock.h - for *_test.c only: a monotonic clock that a test puts forward
 *
 * It jumps when the test says so: what is to happen in an hour happens in the loop's next turn. By itself
 * it goes slowly, so that nothing else becomes due because a busy machine has kept the test waiting.
 *
 * Included by one file of a program, whose clock_gettime() this becomes. What the C library waits for
 * by itself (pthread_cond_timedwait() and the like) knows nothing of it.
 */
#ifndef NET_HARNESS_CLOCK_H
#define NET_HARNESS_CLOCK_H

#include "net/harness.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

static _Atomic uint64_t harness_jumped_ms;

#define HARNESS_SLOWER 16

int clock_gettime(clockid_t id, struct timespec *t)
{
	uint64_t ns;

	if (syscall(SYS_clock_gettime, id, t) != 0)
		return -1;
	if (id != CLOCK_MONOTONIC)
		return 0;
	ns = ((uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec) / HARNESS_SLOWER +
	     atomic_load(&harness_jumped_ms) * 1000000;
	t->tv_sec = (time_t)(ns / 1000000000);
	t->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

struct harness_turn {
	struct turn_hook hook;
	struct loop *loop;
};

static inline bool harness_end_turn(struct turn_hook *h)
{
	loop_stop(container_of(h, struct harness_turn, hook)->loop);
	return false;
}

/* One turn, so much later. */
static inline void harness_jump(struct loop *l, uint64_t ms)
{
	struct harness_turn turn = {{.on_turn = harness_end_turn}, l};

	atomic_fetch_add(&harness_jumped_ms, ms);
	loop_add_hook(l, &turn.hook);
	loop_wake(l);
	loop_run(l);
	loop_remove_hook(l, &turn.hook);
}

#endif
