/* cluster/takes_claims.c - claims of sessions that were made or gone on with while Redis was away
 *
 *     takes_claim() --> waiting --some at a time--> "claim" --> number: on_late()
 *                          ^--- not answered, or another is said to be later ---|
 *                                                after CLAIMS_YIELD_MS of that: on_lost()
 */
#include "cluster/takes_inside.h"

#include "base/error.h"

#define CLAIMS_BUSY 64u
#define CLAIMS_AGAIN_MS 200u
#define CLAIMS_YIELD_MS \
	3000u /* others' takes of which nobody waited for the answer are undone by then */

static void on_claimed(struct redis_request *q, int err);

static void pump(struct takes *t)
{
	struct list *next;

	for (struct list *at = t->waiting.next; at != &t->waiting; at = next) {
		struct taking *g = container_of(at, struct taking, link);

		next = at->next;
		if (!t->has_begun || t->busy == CLAIMS_BUSY)
			return;
		if (map_get(&t->lates, buf_view(&g->key)) ||
			!taking_submit(g, taking_put(g, "claim"), taking_on_reply, on_claimed)) {
			timer_start(t->config.core->loop, &t->again, CLAIMS_AGAIN_MS);
			continue;
		}
		list_remove(&g->link);
		t->busy++;
	}
}

static void on_again(struct timer *timer)
{
	pump(container_of(timer, struct takes, again));
}

/* One that was not answered keeps its number, as it may have been done. */
static void claim_again(struct taking *g)
{
	struct takes *t = g->takes;

	if (g->is_anew)
		g->number = ++t->last;
	g->is_anew = g->is_done = g->is_told = false;
	list_append(&t->waiting, &g->link);
	if (t->again.place == 0)
		timer_start(t->config.core->loop, &t->again, CLAIMS_AGAIN_MS);
}

static void end_claim(struct taking *g)
{
	const struct takes_config *c = &g->takes->config;
	const struct roaming_host *host = c->host;

	map_remove(&g->takes->claims, buf_view(&g->key));
	g->is_claim = false;
	if (g->is_ended && g->owner)
		c->on_ended(c->context, buf_view(&g->key), g->owner);
	else if (!g->is_ended && !g->is_moved && g->owner == 0)
		host->on_lost(host->context, buf_view(&g->key), 0);
	else if (!g->is_ended && !g->is_moved)
		host->on_late(host->context, buf_view(&g->key), g->owner);
	if (g->owner && taking_has_other(g) && !g->is_told)
		taking_read_will(g);
	else
		taking_free(g);
}

/* Another seems to have a later CONNECT: it may be one that was not answered. */
static bool yields_still(struct taking *g)
{
	uint64_t now = loop_now_ms(g->takes->config.core->loop);

	if (g->owner)
		return false;
	if (g->yields_ms == 0)
		g->yields_ms = now;
	return now - g->yields_ms < CLAIMS_YIELD_MS;
}

static void on_claimed(struct redis_request *q, int err)
{
	struct taking *g = container_of(q, struct taking, q);
	struct takes *t = g->takes;

	t->busy--;
	g->is_busy = false;
	if (err == ERR_SHUTDOWN)
		return;
	if (err || !g->is_done || g->is_anew || (yields_still(g) && !g->is_ended && !g->is_moved))
		claim_again(g);
	else
		end_claim(g);
	if (!err)
		pump(t);
}

void takes_claim(
	struct takes *t, struct view key, unsigned flags, uint64_t address, uint64_t age_ms)
{
	struct taking *g = map_get(&t->claims, key);

	if (g == NULL) {
		g = taking_new(t, key);
		g->is_claim = true;
		map_put(&t->claims, buf_view(&g->key), g);
		list_append(&t->waiting, &g->link);
	}
	g->is_anew = g->is_busy;
	g->is_ended = g->is_moved = false;
	g->yields_ms = 0;
	g->flags = flags | (g->flags & ROAMING_CLEAN); /* of an earlier CONNECT */
	g->address = address;
	g->since_ms = loop_now_ms(t->config.core->loop) - age_ms;
	pump(t);
}

void takes_unclaim(struct takes *t, struct view key, bool is_ended)
{
	struct taking *g = map_get(&t->claims, key);

	if (g == NULL)
		return;
	if (g->is_busy) {
		g->is_ended = is_ended;
		g->is_moved = !is_ended;
		g->is_anew = false;
		return;
	}
	map_remove(&t->claims, key);
	taking_free(g);
}

void claims_init(struct takes *t)
{
	list_init(&t->waiting);
	t->again.on_time = on_again;
}

void claims_begin(struct takes *t)
{
	pump(t);
}

void claims_fini(struct takes *t)
{
	timer_stop(t->config.core->loop, &t->again);
	map_fini(&t->claims);
}
