/* net/listener.c
 *
 * Edge-triggered, so accepting goes on until the queue is empty; a long queue is
 * worked off over several turns. When descriptors run out accepting rests for a
 * while instead of spinning; the queue in the kernel holds who waits.
 */
#include "net/listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"

#define ACCEPTS_A_TURN 64
#define BACKLOG 4096
#define PAUSE_MS 100
#define LOG_EVERY_MS 10000

struct listener {
	struct io io;
	struct loop *loop;
	listener_on_accept *on_accept;
	void *context;
	struct timer pause;
	struct deferred later;
	struct log_limit limit;
	struct address address;
	bool accepting; /* in on_accept(): who closes us now only marks it */
	bool closed;
};

static void free_listener(struct listener *l)
{
	list_remove(&l->later.link);
	free(l);
}

static void rest(struct listener *l, int error)
{
	uint64_t skipped;

	if (log_allowed(&l->limit, loop_now_ms(l->loop), LOG_EVERY_MS, &skipped)) {
		char at[ADDRESS_TEXT_BYTES];

		address_format(&l->address, at);
		log_error("net", "accepting_paused", "at=%s why=\"%s\" more=%llu", at,
			strerror(error), (unsigned long long)skipped);
	}
	timer_start(l->loop, &l->pause, PAUSE_MS);
}

/* accept(2): what went wrong with one connection is no reason to stop. */
static bool out_of_something(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static bool is_over(int error)
{
	return error == EAGAIN || error == EINVAL || error == EBADF || error == ENOTSOCK;
}

/* False: none is left for now. */
static bool accept_one(struct listener *l)
{
	struct address peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(l->io.fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (out_of_something(errno))
			rest(l, errno);
		return !out_of_something(errno) && !is_over(errno);
	}
	address_unmap(&peer);
	l->on_accept(l->context, &(struct arrival){.fd = fd, .peer = &peer});
	return !l->closed;
}

static void accept_some(struct listener *l)
{
	int n = 0;

	if (l->pause.place)
		return;
	l->accepting = true;
	while (n < ACCEPTS_A_TURN && accept_one(l))
		n++;
	l->accepting = false;
	if (l->closed)
		free_listener(l);
	else if (n == ACCEPTS_A_TURN)
		loop_defer(l->loop, &l->later);
}

static void on_ready(struct io *io, unsigned what)
{
	(void)what;
	accept_some(container_of(io, struct listener, io));
}

static void on_pause_over(struct timer *t)
{
	accept_some(container_of(t, struct listener, pause));
}

static void on_later(struct deferred *d)
{
	accept_some(container_of(d, struct listener, later));
}

static void set_on(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value));
}

static int open_socket(const struct address *at, bool reuse_port, bool only_v6)
{
	int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (reuse_port)
		set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (at->any.sa_family == AF_INET6)
		set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, only_v6);
	set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* accepted sockets inherit it */
	if (bind(fd, &at->any, address_length(at)) != 0 || listen(fd, BACKLOG) != 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* [::] takes IPv4 too, unless a listener of its own has that. */
static int open_at(const struct address *at, bool reuse_port)
{
	int fd = open_socket(at, reuse_port, false);

	if (fd < 0 && errno == EADDRINUSE && at->any.sa_family == AF_INET6)
		fd = open_socket(at, reuse_port, true);
	return fd;
}

int listener_open(struct listener **out, struct loop *loop, const struct address *at,
	bool reuse_port, listener_on_accept *on_accept, void *context)
{
	int fd = open_at(at, reuse_port);
	struct listener *l;
	socklen_t size = sizeof(l->address);

	if (fd < 0)
		return ERR_SYSTEM;
	l = mem_new(sizeof(*l));
	l->io = (struct io){fd, on_ready};
	l->loop = loop;
	l->on_accept = on_accept;
	l->context = context;
	l->pause.on_time = on_pause_over;
	l->later.run = on_later;
	list_init(&l->later.link);
	if (getsockname(fd, &l->address.any, &size) != 0 || loop_add(loop, &l->io) < 0) {
		int saved = errno;

		close(fd);
		free(l);
		errno = saved;
		return ERR_SYSTEM;
	}
	*out = l;
	return 0;
}

void listener_close(struct listener *l)
{
	if (l == NULL || l->closed)
		return;
	l->closed = true;
	timer_stop(l->loop, &l->pause);
	loop_remove(l->loop, &l->io);
	close(l->io.fd);
	if (!l->accepting)
		free_listener(l);
}

struct address listener_address(const struct listener *l)
{
	return l->address;
}
