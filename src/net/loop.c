/* net/loop.c
 *
 * One turn:
 *
 *	epoll_wait -> handlers of ready descriptors -> due timers -> posted tasks
 *	           -> deferred tasks -> turn hooks -> (asleep?) -> epoll_wait
 *
 * Whether the loop sleeps is one word that only ever changes by an exchange, so
 * all changes stand in one order:
 *
 *	AWAKE   a turn is under way, nobody has called since it began
 *	WOKEN   somebody called loop_wake() since: one more turn before sleeping
 *	ASLEEP  in (or about to enter) epoll_wait: the caller has to write the eventfd
 *
 * A caller stores its work first and then exchanges in WOKEN. Either it reads
 * ASLEEP and writes the eventfd, or the loop's own exchange comes later, reads
 * WOKEN and so sees the work. No wake-up is lost and the eventfd is written at
 * most once per sleep. It is never read: registered edge-triggered, each write is
 * an edge of its own.
 *
 * Posted tasks are a lock-free stack that the loop takes as a whole and reverses,
 * so tasks of one thread run in the order they were posted.
 *
 * **Invariant:** timers[t->place - 1] == t for each running timer, and no timer is
 * due before its parent.
 */
#include "net/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/mem.h"
#include "net/linger.h"

#define EVENTS_A_TURN 256

enum sleep_state { AWAKE, WOKEN, ASLEEP };

struct loop {
	int epoll_fd;
	int wake_fd;
	atomic_int sleep; /* enum sleep_state */
	atomic_bool stopping;
	_Atomic(struct task *) posted; /* newest first */
	uint64_t now_ms;
	uint64_t wall_ms;
	struct timer **timers; /* a binary heap by due_ms */
	uint32_t timer_count;
	uint32_t timer_size;
	uint32_t costly; /* costly steps made in this turn */
	bool busy;       /* a hook has more to do */
	struct lingers lingers;
	struct list deferred;
	struct list hooks;
	struct list *next_hook; /* the one after the hook being called */
	uint8_t *scratch;       /* allocated at first use */
	int fetched;            /* events[handled..fetched) are still to be delivered */
	int handled;
	struct epoll_event events[EVENTS_A_TURN];
};

/* --- life -------------------------------------------------------------- */

static void read_clocks(struct loop *l)
{
	l->now_ms = clock_mono_ms();
	l->wall_ms = clock_wall_ms();
}

static int add_wake_fd(struct loop *l)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd < 0)
		return ERR_SYSTEM;
	return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &event) == 0 ? 0 : ERR_SYSTEM;
}

struct loop *loop_new(void)
{
	struct loop *l = mem_new(sizeof(*l));
	int saved;

	lingers_init(&l->lingers);
	list_init(&l->deferred);
	list_init(&l->hooks);
	read_clocks(l);
	l->wake_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd >= 0 && add_wake_fd(l) == 0)
		return l;
	saved = errno;
	loop_free(l);
	errno = saved;
	return NULL;
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	lingers_fini(&l->lingers);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	free(l->timers);
	free(l->scratch);
	free(l);
}

struct lingers *loop_lingers(struct loop *l)
{
	return &l->lingers;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

uint64_t loop_wall_ms(const struct loop *l)
{
	return l->wall_ms;
}

uint8_t *loop_scratch(struct loop *l)
{
	if (l->scratch == NULL)
		l->scratch = mem_resize(NULL, LOOP_SCRATCH_BYTES);
	return l->scratch;
}

bool loop_may_spend(struct loop *l)
{
	if (l->costly >= LOOP_COSTLY_A_TURN)
		return false;
	l->costly++;
	return true;
}

/* --- descriptors ------------------------------------------------------- */

int loop_add(struct loop *l, struct io *io)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = io};

	return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, io->fd, &event) == 0 ? 0 : ERR_SYSTEM;
}

void loop_remove(struct loop *l, struct io *io)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	for (int i = l->handled; i < l->fetched; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
}

static unsigned readiness(uint32_t events)
{
	return (events & EPOLLIN ? IO_READ : 0u) | (events & EPOLLOUT ? IO_WRITE : 0u) |
	       (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? IO_HANGUP : 0u);
}

static void handle_events(struct loop *l)
{
	while (l->handled < l->fetched) {
		struct epoll_event *event = &l->events[l->handled++];
		struct io *io = event->data.ptr; /* NULL: the eventfd, or removed meanwhile */

		if (io)
			io->on_ready(io, readiness(event->events));
	}
}

/* --- timers ------------------------------------------------------------ */

static void put_timer(struct loop *l, uint32_t place, struct timer *t)
{
	l->timers[place - 1] = t;
	t->place = place;
}

static void rise(struct loop *l, uint32_t place, struct timer *t)
{
	while (place > 1 && l->timers[place / 2 - 1]->due_ms > t->due_ms) {
		put_timer(l, place, l->timers[place / 2 - 1]);
		place /= 2;
	}
	put_timer(l, place, t);
}

static void sink(struct loop *l, uint32_t place, struct timer *t)
{
	for (;;) {
		uint32_t child = place * 2;

		if (child < l->timer_count &&
			l->timers[child]->due_ms < l->timers[child - 1]->due_ms)
			child++;
		if (child > l->timer_count || l->timers[child - 1]->due_ms >= t->due_ms)
			break;
		put_timer(l, place, l->timers[child - 1]);
		place = child;
	}
	put_timer(l, place, t);
}

/* Puts t where it belongs, beginning at a place that is free for it. */
static void settle(struct loop *l, uint32_t place, struct timer *t)
{
	if (place > 1 && l->timers[place / 2 - 1]->due_ms > t->due_ms)
		rise(l, place, t);
	else
		sink(l, place, t);
}

void timer_start(struct loop *l, struct timer *t, uint64_t delay_ms)
{
	/* Never in this turn, so that a timer that restarts itself cannot hold it. */
	if (delay_ms == 0)
		delay_ms = 1;
	t->due_ms = delay_ms > UINT64_MAX - l->now_ms ? UINT64_MAX : l->now_ms + delay_ms;
	if (t->place) {
		settle(l, t->place, t);
		return;
	}
	if (l->timer_count == l->timer_size) {
		l->timer_size = l->timer_size ? l->timer_size * 2 : 16;
		l->timers = mem_resize(l->timers, l->timer_size * sizeof(struct timer *));
	}
	rise(l, ++l->timer_count, t);
}

void timer_stop(struct loop *l, struct timer *t)
{
	uint32_t place = t->place;
	struct timer *last;

	if (place == 0)
		return;
	check(l->timers[place - 1] == t);
	t->place = 0;
	last = l->timers[--l->timer_count];
	if (last != t)
		settle(l, place, last);
}

static void run_timers(struct loop *l)
{
	while (l->timer_count && l->timers[0]->due_ms <= l->now_ms) {
		struct timer *t = l->timers[0];

		timer_stop(l, t);
		t->on_time(t);
	}
}

/* --- tasks ------------------------------------------------------------- */

void loop_wake(struct loop *l)
{
	uint64_t one = 1;
	int saved = errno;

	if (atomic_exchange(&l->sleep, WOKEN) == ASLEEP && write(l->wake_fd, &one, sizeof(one)) < 0)
		check(errno == EAGAIN); /* the counter is full: it was woken often enough */
	errno = saved;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stopping, true);
	loop_wake(l);
}

void loop_post(struct loop *l, struct task *t)
{
	struct task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);

	do
		t->next = head;
	while (!atomic_compare_exchange_weak(&l->posted, &head, t));
	loop_wake(l);
}

static void run_posted(struct loop *l)
{
	struct task *newest = atomic_exchange(&l->posted, NULL);
	struct task *oldest = NULL;

	while (newest) {
		struct task *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct task *t = oldest;

		oldest = t->next; /* run() may free t or post it again */
		t->run(t);
	}
}

void loop_defer(struct loop *l, struct deferred *d)
{
	if (list_is_empty(&d->link))
		list_append(&l->deferred, &d->link);
}

static void run_deferred(struct loop *l)
{
	struct list batch;

	list_init(&batch);
	list_splice(&batch, &l->deferred);
	while (!list_is_empty(&batch)) {
		struct deferred *d = container_of(batch.next, struct deferred, link);

		list_remove(&d->link);
		d->run(d);
	}
}

void loop_add_hook(struct loop *l, struct turn_hook *h)
{
	list_append(&l->hooks, &h->link);
}

void loop_remove_hook(struct loop *l, struct turn_hook *h)
{
	if (l->next_hook == &h->link)
		l->next_hook = h->link.next;
	list_remove(&h->link);
}

static void run_hooks(struct loop *l)
{
	l->busy = false;
	for (struct list *at = l->hooks.next; at != &l->hooks; at = l->next_hook) {
		struct turn_hook *h = container_of(at, struct turn_hook, link);

		l->next_hook = at->next;
		if (h->on_turn(h))
			l->busy = true;
	}
	l->next_hook = NULL;
}

/* --- turns ------------------------------------------------------------- */

static bool hooks_have_work(const struct loop *l)
{
	for (const struct list *at = l->hooks.next; at != &l->hooks; at = at->next) {
		struct turn_hook *h = container_of(at, struct turn_hook, link);

		if (h->has_work && h->has_work(h))
			return true;
	}
	return false;
}

/* Declares the loop asleep if it may; false: there is something to do at once. */
static bool fall_asleep(struct loop *l)
{
	if (l->busy || !list_is_empty(&l->deferred))
		return false;
	return atomic_exchange(&l->sleep, ASLEEP) == AWAKE && !hooks_have_work(l);
}

/* How long to wait for descriptors; -1: as long as it takes. */
static int wait_ms(const struct loop *l)
{
	uint64_t now, due;

	if (l->timer_count == 0)
		return -1;
	now = clock_mono_ms();
	due = l->timers[0]->due_ms;
	if (due <= now)
		return 0;
	return due - now > INT_MAX ? INT_MAX : (int)(due - now);
}

static void wait_for_events(struct loop *l)
{
	int n = epoll_wait(l->epoll_fd, l->events, EVENTS_A_TURN, fall_asleep(l) ? wait_ms(l) : 0);

	atomic_exchange(&l->sleep, AWAKE);
	check(n >= 0 || errno == EINTR);
	l->fetched = n > 0 ? n : 0;
	l->handled = 0;
}

void loop_run(struct loop *l)
{
	while (!atomic_exchange(&l->stopping, false)) {
		wait_for_events(l);
		read_clocks(l);
		l->costly = 0;
		handle_events(l);
		run_timers(l);
		run_posted(l);
		run_deferred(l);
		run_hooks(l);
	}
}
