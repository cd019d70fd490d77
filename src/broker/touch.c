#include "broker/touch.h"

#include "broker/roster.h"
#include "broker/worker.h"
#include "commit/roaming.h"

#define TOUCH_EVERY_MS 5000u
#define TOUCH_CLIENTS 256u /* so that a million take five and a half hours */
#define ROUND_LEAST_MS 3600000u
_Static_assert(1000000u / TOUCH_CLIENTS * TOUCH_EVERY_MS < ROAMING_TOUCH_MS, "in time");

static void each(void *context, const struct roster_client *c)
{
	const struct roaming *roaming = &((struct broker *)context)->roaming;
	struct buf key = {0};

	session_put_key(&key, c->user, c->client_id);
	roaming->touch(roaming->context, buf_view(&key));
	buf_fini(&key);
}

/* On the last worker's loop. */
static void on_end(void *context, uint64_t told, uint64_t next)
{
	struct broker *b = context;

	(void)told;
	b->touch.after = next;
	loop_post(b->workers[0].loop, &b->touch.task);
}

static void on_walked(struct task *task)
{
	struct touch *t = container_of(task, struct touch, task);
	struct loop *loop = container_of(t, struct broker, touch)->workers[0].loop;
	uint64_t took = loop_now_ms(loop) - t->round_ms;
	uint64_t rest = took < ROUND_LEAST_MS ? ROUND_LEAST_MS - took : 0;

	timer_start(loop, &t->timer, t->after || rest < TOUCH_EVERY_MS ? TOUCH_EVERY_MS : rest);
}

static void on_time(struct timer *timer)
{
	struct touch *t = container_of(timer, struct touch, timer);
	struct broker *b = container_of(t, struct broker, touch);

	if (t->after == 0)
		t->round_ms = loop_now_ms(b->workers[0].loop);
	roster_walk(b, &(struct roster_query){.after = t->after, .limit = TOUCH_CLIENTS},
		&(struct roster_walker){each, on_end, b});
}

void touch_start(struct broker *b)
{
	struct touch *t = &b->touch;

	t->timer.on_time = on_time;
	t->task.run = on_walked;
	timer_start(b->workers[0].loop, &t->timer, TOUCH_EVERY_MS);
}

void touch_stop(struct broker *b)
{
	timer_stop(b->workers[0].loop, &b->touch.timer);
}
