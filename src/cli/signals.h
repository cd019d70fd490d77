/* cli/signals.h - SIGINT and SIGTERM as events of a loop
 *
 * Threads: the loop's; open it before other threads start, they inherit the mask.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <signal.h>

#include "net/loop.h"

struct signals {
	struct io io;
	struct loop *loop;
	sigset_t before;
	void (*on_signal)(struct signals *s, int number);
};

/* Blocks both signals and takes them from a descriptor; s->on_signal is set by the caller. 0 or
 * ERR_SYSTEM. */
int signals_open(struct signals *s, struct loop *l);
/* Puts the mask back. */
void signals_close(struct signals *s);

#endif
