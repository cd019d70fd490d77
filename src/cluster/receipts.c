/* cluster/receipts.c - in the order of their coming, as all wait equally long */
#include "cluster/receipts.h"

#include "base/log.h"

static void tell(struct receipt *r)
{
	list_remove(&r->link);
	list_remove(&r->due);
	r->on_done(r);
}

static void tell_all(struct receipts *all)
{
	while (!list_is_empty(&all->due))
		tell(container_of(all->due.next, struct receipt, due));
}

/* Later ones must not be answered before earlier ones, so these are told as well. */
static void on_time(struct timer *t)
{
	struct receipts *all = container_of(t, struct receipts, timer);
	struct receipt *first = container_of(all->due.next, struct receipt, due);
	uint64_t now = loop_now_ms(all->loop);

	if (list_is_empty(&all->due))
		return;
	if (first->due_ms > now) {
		timer_start(all->loop, t, first->due_ms - now);
		return;
	}
	log_warn("cluster", "unconfirmed",
		"what=%s why=\"Redis has not taken it within %u ms: clients are answered without\"",
		all->what, RECEIPTS_WAIT_MS);
	all->is_away = true;
	tell_all(all);
}

void receipts_init(struct receipts *all, struct loop *loop, const char *what)
{
	*all = (struct receipts){.loop = loop, .what = what};
	all->timer.on_time = on_time;
	list_init(&all->due);
}

void receipts_fini(struct receipts *all)
{
	timer_stop(all->loop, &all->timer);
}

void receipts_wait(struct receipts *all, struct receipt *r, struct list *with)
{
	list_init(&r->link);
	list_init(&r->due);
	if (all->is_away) {
		r->on_done(r);
		return;
	}
	r->due_ms = loop_now_ms(all->loop) + RECEIPTS_WAIT_MS;
	list_append(with, &r->link);
	list_append(&all->due, &r->due);
	if (all->timer.place == 0)
		timer_start(all->loop, &all->timer, RECEIPTS_WAIT_MS);
}

void receipts_tell(struct list *these)
{
	while (!list_is_empty(these))
		tell(container_of(these->next, struct receipt, link));
}

void receipts_resume(struct receipts *all)
{
	if (all->is_away)
		log_info("cluster", "confirmed", "what=%s", all->what);
	all->is_away = false;
}
