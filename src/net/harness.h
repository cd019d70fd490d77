/* net/harness.h - for *_test.c only: drives a loop until a condition holds */
#ifndef NET_HARNESS_H
#define NET_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "net/address.h"
#include "net/loop.h"

/* Far more than any test needs, so that only a hang is late. */
#define HARNESS_LIMIT_MS 60000

struct drive {
	struct turn_hook hook;
	struct timer limit;
	struct loop *loop;
	bool (*done)(void *context);
	void *context;
	bool late;
};

static inline bool drive_on_turn(struct turn_hook *h)
{
	struct drive *d = container_of(h, struct drive, hook);

	if (d->done(d->context))
		loop_stop(d->loop);
	return false;
}

static inline void drive_on_limit(struct timer *t)
{
	struct drive *d = container_of(t, struct drive, limit);

	d->late = true;
	loop_stop(d->loop);
}

/* Runs turns until done() holds at the end of one; the test fails when it never does. */
static inline void drive_until(struct loop *l, bool (*done)(void *context), void *context)
{
	struct drive d = {.loop = l, .done = done, .context = context};

	d.hook.on_turn = drive_on_turn;
	d.limit.on_time = drive_on_limit;
	timer_start(l, &d.limit, HARNESS_LIMIT_MS);
	loop_add_hook(l, &d.hook);
	loop_wake(l);
	loop_run(l);
	loop_remove_hook(l, &d.hook);
	timer_stop(l, &d.limit);
	assert_false(d.late);
}

static inline bool drive_counted_down(void *context)
{
	int *left = context;

	return (*left)-- <= 0;
}

/* As many turns as given, none of which sleeps long when there is nothing to do. */
static inline bool drive_keep_awake(struct turn_hook *h)
{
	(void)h;
	return true;
}

static inline void drive_turns(struct loop *l, int turns)
{
	struct turn_hook awake = {.on_turn = drive_keep_awake};

	loop_add_hook(l, &awake);
	drive_until(l, drive_counted_down, &turns);
	loop_remove_hook(l, &awake);
}

static inline struct address loopback(uint16_t port)
{
	struct address a;

	assert_true(address_parse(VIEW("127.0.0.1"), port, &a));
	return a;
}

/* A listening blocking socket on a free port of loopback. */
static inline int listen_on_loopback(struct address *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(*at);

	*at = loopback(0);
	assert_int_equal(bind(fd, &at->any, address_length(at)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, &at->any, &size), 0);
	return fd;
}

/* Two ends of a TCP connection; [0] is non-blocking, [1] blocks. */
static inline void tcp_pair(int fds[2])
{
	struct address at;
	int listening = listen_on_loopback(&at), on = 1;

	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[1], &at.any, address_length(&at)), 0);
	fds[0] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(fds[0] >= 0);
	setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	close(listening);
}

#endif
