/* net/loop.h - one event loop per worker: descriptors, timers, tasks, turns
 *
 * A turn: wait (epoll, edge-triggered; not at all when work is left over), call the
 * handlers of ready descriptors, run due timers, run posted and deferred tasks, then
 * call the turn hooks in the order they were added. A descriptor is registered once
 * for everything; no epoll_ctl happens per message.
 *
 * Threads: everything is called on the loop's own thread except loop_post(),
 * loop_wake() and loop_stop(), which any thread may call.
 * **Invariant:** no callback runs inside the function that registered it.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

struct loop *loop_new(void);    /* NULL: errno says why */
void loop_free(struct loop *l); /* after loop_run() returned; tasks posted are dropped */

/* Runs turns until loop_stop(), which also ends a run that has not begun yet. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread, signal-safe */

/* Time of the current turn's start. */
uint64_t loop_now_ms(const struct loop *l); /* monotonic */
uint64_t loop_wall_ms(const struct loop *l);

/* --- descriptors ------------------------------------------------------ */

#define IO_READ 1u
#define IO_WRITE 2u
#define IO_HANGUP 4u /* closed or failed; reading tells more */

struct io {
	int fd;
	void (*on_ready)(struct io *io, unsigned what);
};

/* Edge-triggered, read and write together. The caller's memory; keep it until loop_remove().
 * 0 or ERR_SYSTEM. */
int loop_add(struct loop *l, struct io *io);
/* Nothing is called for io afterwards, not even for events already fetched. Before close(fd). */
void loop_remove(struct loop *l, struct io *io);

/* --- timers: caller's memory, zero-initialised ------------------------ */

struct timer {
	void (*on_time)(struct timer *t);
	uint64_t due_ms;
	uint32_t place; /* in the loop's heap, 1-based; 0: not running */
};

/* Restarts a running one. Not before the next turn: a delay of 0 is 1. */
void timer_start(struct loop *l, struct timer *t, uint64_t delay_ms);
void timer_stop(struct loop *l, struct timer *t); /* harmless when not running */

/* --- tasks ------------------------------------------------------------ */

struct task {
	void (*run)(struct task *t);
	struct task *next; /* the loop's, while posted */
};

/* Runs t on the loop's thread in its next turn. Any thread. The task's memory is the caller's
 * until run() is called; a task is posted once at a time. */
void loop_post(struct loop *l, struct task *t);

/* Runs t at the end of this turn, before the turn hooks (or in the next turn, which then begins at
 * once, when called from a hook or from a deferred task). Loop's thread only, a task already deferred
 * stays deferred once. It may be taken back by list_remove(&d->link). */
struct deferred {
	void (*run)(struct deferred *d);
	struct list link; /* list_init() before first use */
};
void loop_defer(struct loop *l, struct deferred *d);

/* Makes sure that a turn begins soon: writes an eventfd only if the loop sleeps. Any thread.
 * Sequentially consistent with what the turn hooks read: what was stored before loop_wake() is
 * seen by a hook of the next turn. */
void loop_wake(struct loop *l);

/* Leave for one costly step (a TLS handshake's, some 200 microseconds) in this turn, so that a crowd
 * that connects at once delays the others by little; false: defer it. A turn gives it
 * LOOP_COSTLY_A_TURN times. */
#define LOOP_COSTLY_A_TURN 8
bool loop_may_spend(struct loop *l);

/* Called at the end of every turn; true: there is more to do, do not sleep. Also asked (has_work,
 * may be NULL) after the loop has declared itself asleep and before it sleeps. */
struct turn_hook {
	bool (*on_turn)(struct turn_hook *h);
	bool (*has_work)(struct turn_hook *h);
	struct list link;
};
void loop_add_hook(struct loop *l, struct turn_hook *h);
void loop_remove_hook(struct loop *l, struct turn_hook *h);

/* --- scratch ---------------------------------------------------------- */

/* The loop's shared read buffer, LOOP_SCRATCH_BYTES; contents last until the next callback. */
#define LOOP_SCRATCH_BYTES (256u * 1024u)
uint8_t *loop_scratch(struct loop *l);

/* --- inside the room (net/linger.h) ----------------------------------- */

struct lingers;
struct lingers *loop_lingers(struct loop *l);

#endif
