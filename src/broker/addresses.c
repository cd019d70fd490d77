/* A bucket holds thousandths of a connection, so that a rate of one a second fills it a little every
 * millisecond; it holds a second's worth, and at least one.
 *
 * **Invariant:** an entry is in `idle` exactly when it has no connections and no sessions.
 */
#include "broker/addresses.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "broker/broker.h"

#define ONE 1000u              /* in a bucket */
#define SWEEP 2u               /* idle entries looked at whenever one is added */
#define CANDIDATES 16u         /* of which the one with the fewest failures goes */
#define V4_PREFIX (1ull << 32) /* no IPv6 network is there (RFC 4291, 2.4: reserved) */
#define LOOPBACK_V6 (2ull << 32)

struct bucket {
	uint64_t level;
	uint64_t filled_ms;
};

struct entry {
	uint64_t key;
	struct list idle;
	struct list offline; /* links of sessions, oldest first */
	uint32_t offline_count;
	uint32_t connections; /* admitted */
	uint32_t refused;     /* open until they are told */
	uint32_t failures;
	uint64_t failed_ms; /* the last one */
	struct bucket admitted;
	struct bucket told;
};

/* --- keys ------------------------------------------------------------- */

uint64_t address_key(const struct address *a)
{
	uint64_t key = 0;

	if (a->any.sa_family != AF_INET6)
		return V4_PREFIX | ntohl(a->v4.sin_addr.s_addr);
	for (int i = 0; i < 8; i++)
		key = key << 8 | a->v6.sin6_addr.s6_addr[i];
	return key ? key : LOOPBACK_V6;
}

bool address_key_is_loopback(uint64_t key)
{
	return key == LOOPBACK_V6 || key >> 24 == (V4_PREFIX >> 24 | 127);
}

static struct view key_of(const uint64_t *key)
{
	return (struct view){(const char *)key, sizeof(*key)};
}

/* --- entries ---------------------------------------------------------- */

static bool is_used(const struct entry *e)
{
	return e->connections || e->refused || e->offline_count;
}

/* The clocks of workers differ by a little. */
static uint64_t since(uint64_t then_ms, uint64_t now_ms)
{
	return now_ms > then_ms ? now_ms - then_ms : 0;
}

static void forget_old_failures(struct entry *e, uint64_t now_ms)
{
	if (since(e->failed_ms, now_ms) >= ADDRESSES_FORGET_MS)
		e->failures = 0;
}

/* Nothing would be different without it. */
static bool is_blank(struct entry *e, uint64_t now_ms)
{
	forget_old_failures(e, now_ms);
	return e->failures == 0 && since(e->admitted.filled_ms, now_ms) >= 1000 &&
	       since(e->told.filled_ms, now_ms) >= 1000;
}

static void entry_free(struct addresses *a, struct entry *e)
{
	if (!list_is_empty(&e->idle))
		a->idle_count--;
	list_remove(&e->idle);
	map_remove(&a->by_key, key_of(&e->key));
	free(e);
}

static void sweep(struct addresses *a, uint64_t now_ms)
{
	for (uint32_t i = 0; i < SWEEP && !list_is_empty(&a->idle); i++) {
		struct entry *e = container_of(a->idle.next, struct entry, idle);

		if (is_blank(e, now_ms)) {
			entry_free(a, e);
			continue;
		}
		list_remove(&e->idle);
		list_append(&a->idle, &e->idle);
	}
}

static void make_room(struct addresses *a)
{
	struct list *link = a->idle.next;
	struct entry *least = container_of(link, struct entry, idle);

	for (uint32_t i = 0; i < CANDIDATES && link != &a->idle; i++, link = link->next) {
		struct entry *e = container_of(link, struct entry, idle);

		if (e->failures < least->failures)
			least = e;
	}
	entry_free(a, least);
}

static void settle(struct addresses *a, struct entry *e, uint64_t now_ms)
{
	bool is_idle = !list_is_empty(&e->idle);

	if (is_used(e) == !is_idle)
		return;
	if (is_idle) {
		list_remove(&e->idle);
		a->idle_count--;
		return;
	}
	list_append(&a->idle, &e->idle);
	a->idle_count++;
	sweep(a, now_ms);
	if (a->idle_count > ADDRESSES_IDLE)
		make_room(a);
}

static struct entry *find(struct addresses *a, uint64_t key)
{
	return map_get(&a->by_key, key_of(&key));
}

static struct entry *find_or_make(struct addresses *a, uint64_t key)
{
	struct entry *e = find(a, key);

	if (e)
		return e;
	e = mem_new(sizeof(*e));
	e->key = key;
	list_init(&e->idle);
	list_init(&e->offline);
	map_put(&a->by_key, key_of(&e->key), e);
	return e;
}

void addresses_init(struct addresses *a)
{
	*a = (struct addresses){0};
	pthread_mutex_init(&a->lock, NULL);
	list_init(&a->idle);
}

void addresses_fini(struct addresses *a)
{
	struct entry *e;

	for (size_t at = 0; (e = map_next(&a->by_key, &at)) != NULL;)
		free(e);
	map_fini(&a->by_key);
	pthread_mutex_destroy(&a->lock);
}

uint32_t addresses_count(struct addresses *a)
{
	uint32_t n;

	pthread_mutex_lock(&a->lock);
	n = (uint32_t)a->by_key.count;
	pthread_mutex_unlock(&a->lock);
	return n;
}

/* --- connections ------------------------------------------------------ */

static bool bucket_take(struct bucket *b, uint32_t rate, uint64_t now_ms)
{
	uint64_t most = (uint64_t)rate * ONE;
	uint64_t passed = since(b->filled_ms, now_ms);

	b->level = b->filled_ms == 0 || passed >= 1000 ? most : b->level + passed * rate;
	if (passed || b->filled_ms == 0)
		b->filled_ms = now_ms;
	if (b->level > most)
		b->level = most;
	if (b->level < ONE)
		return false;
	b->level -= ONE;
	return true;
}

/* One more is told, if `may`. */
static enum admission refuse(struct entry *e, bool may, enum admission as)
{
	if (!may)
		return ADMISSION_NOT_TAKEN;
	e->refused++;
	return as;
}

static enum admission admit(struct entry *e, const struct broker_limits *l, uint64_t now_ms)
{
	uint32_t most = l->connections_per_address;
	uint32_t rate = l->connect_rate_per_address;

	if (most && e->connections >= most)
		return refuse(e, e->refused < most, ADMISSION_MANY);
	if (rate && !bucket_take(&e->admitted, rate, now_ms))
		return refuse(e, bucket_take(&e->told, rate, now_ms), ADMISSION_FAST);
	e->connections++;
	return ADMITTED;
}

enum admission addresses_enter(
	struct addresses *a, uint64_t key, const struct broker_limits *limits, uint64_t now_ms)
{
	enum admission as;
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = find_or_make(a, key);
	as = admit(e, limits, now_ms);
	settle(a, e, now_ms);
	pthread_mutex_unlock(&a->lock);
	return as;
}

void addresses_leave(struct addresses *a, uint64_t key, enum admission as, uint64_t now_ms)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = find(a, key);
	if (as == ADMITTED)
		e->connections--;
	else
		e->refused--;
	settle(a, e, now_ms);
	pthread_mutex_unlock(&a->lock);
}

/* --- failed logins ---------------------------------------------------- */

static uint32_t delay_of(const struct entry *e)
{
	uint32_t delay = ADDRESSES_DELAY_MS;

	if (e->failures == 0)
		return 0;
	for (uint32_t i = 1; i < e->failures && delay < ADDRESSES_DELAY_MOST_MS; i++)
		delay *= 2;
	return delay;
}

uint32_t addresses_delay(struct addresses *a, uint64_t key, uint64_t now_ms)
{
	uint32_t delay = 0;
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = find(a, key);
	if (e) {
		forget_old_failures(e, now_ms);
		delay = delay_of(e);
	}
	pthread_mutex_unlock(&a->lock);
	return delay;
}

uint32_t addresses_failed(struct addresses *a, uint64_t key, uint64_t now_ms)
{
	uint32_t delay;
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = find_or_make(a, key);
	forget_old_failures(e, now_ms);
	e->failures++;
	e->failed_ms = now_ms;
	delay = delay_of(e);
	settle(a, e, now_ms);
	pthread_mutex_unlock(&a->lock);
	return delay;
}

/* --- sessions left behind --------------------------------------------- */

void addresses_leave_behind(struct addresses *a, uint64_t key, struct list *link, uint32_t most,
	void (*on_over)(void *context, struct list *oldest), void *context)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = find_or_make(a, key);
	list_append(&e->offline, link);
	if (most && e->offline_count >= most) {
		struct list *oldest = e->offline.next;

		list_remove(oldest);
		on_over(context, oldest);
	} else {
		e->offline_count++;
	}
	settle(a, e, 0);
	pthread_mutex_unlock(&a->lock);
}

void addresses_take_back(struct addresses *a, uint64_t key, struct list *link, uint64_t now_ms)
{
	struct entry *e;

	pthread_mutex_lock(&a->lock);
	e = list_is_empty(link) ? NULL : find(a, key);
	if (e) {
		list_remove(link);
		e->offline_count--;
		settle(a, e, now_ms);
	}
	pthread_mutex_unlock(&a->lock);
}
