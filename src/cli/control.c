/* The socket is opened by way of /proc/self/fd, as a path of a socket has 107 bytes at most and a folder may
 * be deeper. Its mode is set before it has a name, so that nobody else can open it for a moment.
 */
#include "cli/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/control_orders.h"

#define SILENCE_S 2 /* of one who has connected */
#define BY_BYTES 128

struct control {
	struct server *server;
	char *path;
	int fd;   /* listening */
	int stop; /* eventfd */
	pthread_t thread;
};

/* --- one connection --------------------------------------------------- */

static bool send_lines(struct order *o)
{
	int fd = *(int *)o->context;
	struct view rest = buf_view(&o->lines);

	while (rest.n) {
		ssize_t n = send(fd, rest.p, rest.n, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		rest = view_skip(rest, n < 0 ? 0 : (size_t)n);
	}
	buf_clear(&o->lines);
	return true;
}

/* The line without its end; false: none came whole. */
static bool read_line(int fd, char *out, size_t size, struct view *line)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = recv(fd, out + have, size - have, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		end = memchr(out + have, '\n', (size_t)n);
		have += (size_t)n;
		if (end) {
			*line = (struct view){out, (size_t)(end - out)};
			return true;
		}
	}
	return false;
}

/* Who is at the other end, as the kernel says. False: somebody who may not. */
static bool who(int fd, char *by, size_t size)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	struct passwd entry, *found = NULL;
	char room[1024];

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return false;
	if (peer.uid != 0 && peer.uid != geteuid()) {
		log_warn(
			"cli", "order_refused", "uid=%u pid=%d", (unsigned)peer.uid, (int)peer.pid);
		return false;
	}
	getpwuid_r(peer.uid, &entry, room, sizeof(room), &found);
	snprintf(by, size, "%s uid=%u pid=%d", found ? found->pw_name : "?", (unsigned)peer.uid,
		(int)peer.pid);
	return true;
}

static void serve(struct control *c, int fd)
{
	const struct timeval silence = {.tv_sec = SILENCE_S};
	char *text = mem_new(CONTROL_ORDER_BYTES);
	char by[BY_BYTES];
	struct order o = {.server = c->server, .by = by, .send = send_lines, .context = &fd};
	struct view line;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof(silence));
	if (who(fd, by, sizeof(by)) && read_line(fd, text, CONTROL_ORDER_BYTES, &line)) {
		order_carry_out(&o, line);
		(void)send_lines(&o);
	}
	buf_fini(&o.lines);
	free(text);
	close(fd);
}

static void *run(void *context)
{
	struct control *c = context;
	struct pollfd waiting[] = {{c->fd, POLLIN, 0}, {c->stop, POLLIN, 0}};

	for (;;) {
		int fd;

		if (poll(waiting, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (waiting[1].revents)
			return NULL;
		fd = waiting[0].revents ? accept4(c->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd >= 0)
			serve(c, fd);
	}
}

/* --- the socket ------------------------------------------------------- */

/* Calls bind or connect with the address of data_dir's socket. */
static int name_socket(
	int fd, const char *data_dir, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int folder = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err, why;

	if (folder < 0)
		return -1;
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/control", folder);
	err = call(fd, (struct sockaddr *)&at, sizeof(at));
	why = errno;
	close(folder);
	errno = why;
	return err;
}

int control_connect(const char *data_dir)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && name_socket(fd, data_dir, connect) < 0) {
		int why = errno;

		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

/* The journal's lock is held: a socket that is there is left over. */
static bool open_socket(struct control *c, const char *data_dir)
{
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || fchmod(c->fd, 0600) < 0)
		return false;
	if (unlink(c->path) < 0 && errno != ENOENT)
		return false;
	return name_socket(c->fd, data_dir, bind) == 0 && listen(c->fd, 8) == 0;
}

static void control_free(struct control *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->stop >= 0)
		close(c->stop);
	free(c->path);
	free(c);
}

struct control *control_start(struct server *s)
{
	struct control *c = mem_new(sizeof(*c));
	int err = 0;

	c->server = s;
	c->path = mem_printf("%s/control", s->config->data_dir);
	c->stop = eventfd(0, EFD_CLOEXEC);
	if (c->stop < 0 || !open_socket(c, s->config->data_dir))
		err = errno;
	else
		err = pthread_create(&c->thread, NULL, run, c);
	if (err == 0) {
		pthread_setname_np(c->thread, "control");
		return c;
	}
	log_error("cli", "cannot_take_orders", "path=%s why=\"%s\"", c->path, strerror(err));
	control_free(c);
	return NULL;
}

void control_stop(struct control *c)
{
	const uint64_t one = 1;

	if (write(c->stop, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(c->thread, NULL);
	unlink(c->path);
	control_free(c);
}
