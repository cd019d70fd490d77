#include "broker/throttle.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "broker/batch.h"
#include "broker/client.h"
#include "broker/session.h"
#include "broker/worker.h"

#define ONE 1000 /* in a bucket: a rate of one a second then fills it every millisecond */
#define TURN_MS 50u
#define SECOND_MS 1000u

/* --- buckets ---------------------------------------------------------- */

/* Who wins the exchange adds what has come since. */
static void fill(struct throttle_bucket *b, uint64_t now_ms)
{
	uint64_t last = atomic_load_explicit(&b->filled_ms, memory_order_relaxed);
	int64_t most = (int64_t)b->rate * ONE;
	int64_t more;
	int64_t over;

	if (now_ms <= last || !atomic_compare_exchange_strong(&b->filled_ms, &last, now_ms))
		return;
	more = (int64_t)((now_ms - last < SECOND_MS ? now_ms - last : SECOND_MS) * b->rate);
	over = atomic_fetch_add(&b->level, more) + more - most;
	if (over > 0)
		atomic_fetch_sub(&b->level, over);
}

static int64_t left(struct throttle_bucket *b, uint64_t now_ms)
{
	if (b->rate == 0)
		return INT64_MAX;
	fill(b, now_ms);
	return atomic_load_explicit(&b->level, memory_order_relaxed) / ONE;
}

static void spend(struct throttle_bucket *b, uint64_t n)
{
	if (b->rate)
		atomic_fetch_sub(&b->level, (int64_t)n * ONE);
}

/* --- of an account ---------------------------------------------------- */

struct throttle *throttle_new(uint64_t messages_per_second, uint64_t bytes_per_second)
{
	struct throttle *t;

	if (messages_per_second == 0 && bytes_per_second == 0)
		return NULL;
	t = mem_new(sizeof(*t));
	t->messages.rate = messages_per_second;
	t->bytes.rate = bytes_per_second;
	return t;
}

uint32_t throttle_grant(struct throttle *t, const struct batch *b, uint32_t n, uint64_t now_ms)
{
	int64_t messages = left(&t->messages, now_ms);
	int64_t bytes = left(&t->bytes, now_ms);

	if (messages <= 0 || bytes <= 0)
		return 0;
	if (n > messages)
		n = (uint32_t)messages;
	while (n > 1 && b->records[n - 1].end > bytes)
		n--;
	return n;
}

void throttle_spend(struct throttle *t, uint64_t n, uint64_t bytes)
{
	spend(&t->messages, n);
	spend(&t->bytes, bytes);
}

bool throttle_is_empty(struct throttle *t, uint64_t now_ms)
{
	return left(&t->messages, now_ms) <= 0 || left(&t->bytes, now_ms) <= 0;
}

/* --- sessions that wait ------------------------------------------------ */

static void on_turn(struct timer *timer)
{
	struct broker_worker *w = container_of(timer, struct broker_worker, throttled.timer);

	list_splice(&w->ready, &w->throttled.starved);
	list_splice(&w->ready, &w->throttled.served);
}

void throttle_queue_init(struct broker_worker *w)
{
	w->throttled.timer.on_time = on_turn;
	list_init(&w->throttled.starved);
	list_init(&w->throttled.served);
}

void throttle_queue_fini(struct broker_worker *w)
{
	timer_stop(w->loop, &w->throttled.timer);
}

static struct throttle *throttle_of(const struct session *s)
{
	return s->client->account->throttle;
}

/* Counts as ready, so that nothing else wakes it. */
void throttle_wait(struct session *s, bool has_got)
{
	struct throttle_queue *q = &s->worker->throttled;

	if (!has_got) {
		s->is_starving = true;
		atomic_fetch_add(&throttle_of(s)->starving, 1);
	}
	s->is_ready = true;
	list_remove(&s->link);
	list_append(has_got ? &q->served : &q->starved, &s->link);
	if (q->timer.place == 0)
		timer_start(s->worker->loop, &q->timer, TURN_MS);
}

void throttle_end_wait(struct session *s)
{
	if (s->is_starving)
		atomic_fetch_sub(&throttle_of(s)->starving, 1);
	s->is_starving = false;
}
