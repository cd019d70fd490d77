/* cli/signals.c - a signalfd in the loop */
#include "cli/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"

static void on_ready(struct io *io, unsigned what)
{
	struct signals *s = container_of(io, struct signals, io);
	struct signalfd_siginfo info;

	(void)what;
	while (read(io->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		s->on_signal(s, (int)info.ssi_signo);
}

int signals_open(struct signals *s, struct loop *l)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &wanted, &s->before);
	s->loop = l;
	s->io = (struct io){signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC), on_ready};
	if (s->io.fd >= 0 && loop_add(l, &s->io) == 0)
		return 0;
	pthread_sigmask(SIG_SETMASK, &s->before, NULL);
	return ERR_SYSTEM;
}

void signals_close(struct signals *s)
{
	loop_remove(s->loop, &s->io);
	close(s->io.fd);
	pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}
