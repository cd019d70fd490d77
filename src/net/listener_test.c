#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "net/harness.h"

#define MOST 300

struct rig {
	struct loop *loop;
	struct listener *listener;
	int fds[MOST];
	int count;
	int want;
	struct address last;
	bool close_inside;
};

static void on_accept(void *context, const struct arrival *a)
{
	struct rig *r = context;
	int on = 0;
	socklen_t size = sizeof(on);

	assert_true(fcntl(a->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(a->fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
	assert_int_equal(on, 1);
	r->fds[r->count++] = a->fd;
	r->last = *a->peer;
	if (r->close_inside) {
		listener_close(r->listener);
		r->listener = NULL;
	}
}

static bool enough(void *context)
{
	struct rig *r = context;

	return r->count >= r->want;
}

static int connect_to(struct address at)
{
	int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &at.any, address_length(&at)), 0);
	return fd;
}

static struct address begin(struct rig *r, const char *host)
{
	struct address at;

	r->loop = loop_new();
	assert_true(address_parse(view_of(host), 0, &at));
	assert_int_equal(listener_open(&r->listener, r->loop, &at, true, on_accept, r), 0);
	at = listener_address(r->listener);
	assert_true(address_port(&at) != 0);
	return at;
}

static void end(struct rig *r)
{
	for (int i = 0; i < r->count; i++)
		close(r->fds[i]);
	listener_close(r->listener);
	loop_free(r->loop);
}

static void a_crowd_that_came_at_once_is_accepted_over_some_turns(void **state)
{
	struct rig r = {.want = 200};
	struct address at = begin(&r, "127.0.0.1");
	int fds[200];

	(void)state;
	for (int i = 0; i < 200; i++)
		fds[i] = connect_to(at);
	drive_until(r.loop, drive_counted_down, &(int){0});
	assert_in_range(r.count, 1, 128); /* others have their turn */
	drive_until(r.loop, enough, &r);
	assert_int_equal(r.count, 200);
	for (int i = 0; i < 200; i++)
		close(fds[i]);
	end(&r);
}

static void a_listener_may_be_closed_by_whom_it_calls(void **state)
{
	struct rig r = {.want = 1, .close_inside = true};
	struct address at = begin(&r, "127.0.0.1");
	int a = connect_to(at), b = connect_to(at);

	(void)state;
	drive_until(r.loop, enough, &r);
	drive_turns(r.loop, 3);
	assert_int_equal(r.count, 1);
	close(a);
	close(b);
	end(&r);
}

static void two_share_an_address_only_when_asked_to(void **state)
{
	struct rig r = {0};
	struct address at = begin(&r, "127.0.0.1");
	struct listener *second = NULL;

	(void)state;
	assert_int_equal(listener_open(&second, r.loop, &at, false, on_accept, &r), ERR_SYSTEM);
	assert_int_equal(errno, EADDRINUSE);
	assert_null(second);
	assert_int_equal(listener_open(&second, r.loop, &at, true, on_accept, &r), 0);
	listener_close(second);
	end(&r);
}

static void an_address_that_is_not_ours_is_an_error(void **state)
{
	struct rig r = {0};
	struct address at = begin(&r, "127.0.0.1");
	struct listener *second = NULL;

	(void)state;
	assert_true(address_parse(VIEW("192.0.2.1"), 0, &at));
	assert_int_equal(listener_open(&second, r.loop, &at, false, on_accept, &r), ERR_SYSTEM);
	assert_int_equal(errno, EADDRNOTAVAIL);
	end(&r);
}

static void a_listener_for_both_families_shows_ipv4_peers_as_such(void **state)
{
	struct rig r = {.want = 1};
	struct address at, v6;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	(void)state;
	if (fd < 0) /* no IPv6 here at all: nothing to show */
		return;
	close(fd);
	v6 = begin(&r, "::");
	at = loopback(address_port(&v6));
	fd = connect_to(at);
	drive_until(r.loop, enough, &r);
	assert_int_equal(r.last.any.sa_family, AF_INET);
	assert_true(address_same_host(&r.last, &at));
	close(fd);
	end(&r);
}

static void running_out_of_descriptors_is_survived(void **state)
{
	struct rig r = {.want = 1};
	struct address at = begin(&r, "127.0.0.1");
	struct rlimit before, none;
	int fd = connect_to(at);
	uint64_t began;

	(void)state;
	log_configure(LOG_ERROR + 1, false);
	getrlimit(RLIMIT_NOFILE, &before);
	none = before;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	drive_turns(r.loop, 3);
	assert_int_equal(r.count, 0);
	setrlimit(RLIMIT_NOFILE, &before);
	began = clock_mono_ms();
	drive_until(r.loop, enough, &r); /* no new edge comes: the pause ends by itself */
	assert_true(clock_mono_ms() - began < 5000);
	log_configure(LOG_INFO, false);
	close(fd);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crowd_that_came_at_once_is_accepted_over_some_turns),
		cmocka_unit_test(a_listener_may_be_closed_by_whom_it_calls),
		cmocka_unit_test(two_share_an_address_only_when_asked_to),
		cmocka_unit_test(an_address_that_is_not_ours_is_an_error),
		cmocka_unit_test(a_listener_for_both_families_shows_ipv4_peers_as_such),
		cmocka_unit_test(running_out_of_descriptors_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
