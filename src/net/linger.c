#include "net/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

struct lingering {
	struct io io;
	struct list link;
	struct loop *loop;
	uint64_t end_ms;
	uint32_t bytes;
};

void lingers_init(struct lingers *l)
{
	*l = (struct lingers){.count = 0};
	list_init(&l->all);
}

static void linger_free(struct lingering *one)
{
	list_remove(&one->link);
	close(one->io.fd);
	free(one);
}

void lingers_fini(struct lingers *l)
{
	while (!list_is_empty(&l->all))
		linger_free(container_of(l->all.next, struct lingering, link));
}

static void end(struct lingering *one)
{
	loop_remove(one->loop, &one->io);
	loop_lingers(one->loop)->count--;
	linger_free(one);
}

/* False: the peer has ended, or has said enough. */
static bool throw_away(struct lingering *one)
{
	ssize_t n;

	do {
		n = recv(one->io.fd, loop_scratch(one->loop), LOOP_SCRATCH_BYTES, MSG_DONTWAIT);
		one->bytes += n > 0 ? (uint32_t)n : 0;
	} while ((n > 0 && one->bytes < LINGER_BYTES) || (n < 0 && errno == EINTR));
	return n < 0 && errno == EAGAIN;
}

static void on_ready(struct io *io, unsigned what)
{
	struct lingering *one = container_of(io, struct lingering, io);

	(void)what;
	if (!throw_away(one))
		end(one);
}

/* All wait equally long: the oldest ends first. */
static void on_time(struct timer *t)
{
	struct lingers *l = container_of(t, struct lingers, timer);

	while (!list_is_empty(&l->all)) {
		struct lingering *one = container_of(l->all.next, struct lingering, link);
		uint64_t now = loop_now_ms(one->loop);

		if (one->end_ms > now) {
			timer_start(one->loop, t, one->end_ms - now);
			return;
		}
		end(one);
	}
}

void linger(struct loop *l, int fd)
{
	struct lingers *lingers = loop_lingers(l);
	struct lingering *one;

	if (lingers->count >= LINGERS_MOST || shutdown(fd, SHUT_WR) != 0) {
		close(fd);
		return;
	}
	one = mem_new(sizeof(*one));
	one->io = (struct io){fd, on_ready};
	one->loop = l;
	one->end_ms = loop_now_ms(l) + LINGER_MS;
	list_init(&one->link);
	if (loop_add(l, &one->io) < 0) {
		linger_free(one);
		return;
	}
	if (list_is_empty(&lingers->all)) {
		lingers->timer.on_time = on_time;
		timer_start(l, &lingers->timer, LINGER_MS);
	}
	list_append(&lingers->all, &one->link);
	lingers->count++;
	if (!throw_away(one)) /* an edge from before comes no more */
		end(one);
}
