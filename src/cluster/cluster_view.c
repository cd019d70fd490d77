/* cluster/cluster_view.c - what an operator sees of a cluster, for any thread */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "cluster/cluster_inside.h"
#include "cluster/follower.h"
#include "cluster/groups.h"
#include "cluster/tally.h"
#include "cluster/writer.h"

/* --- this node ---------------------------------------------------------------- */

const char *cluster_state_text(enum cluster_state state)
{
	static const char *const texts[] = {
		[CLUSTER_OPEN] = "open",
		[CLUSTER_HOLDING] = "holding",
		[CLUSTER_SPOOLING] = "spooling",
		[CLUSTER_DRAINING] = "draining",
	};

	return texts[state];
}

const char *cluster_state_why(const struct cluster *c)
{
	static const char *const whys[] = {
		[CLUSTER_OPEN] = NULL,
		[CLUSTER_HOLDING] = "Redis does not confirm messages: sources are held",
		[CLUSTER_SPOOLING] =
			"Redis does not confirm messages: they are kept on this machine's disk",
		[CLUSTER_DRAINING] = "Redis is back: what was kept on disk is being committed",
	};

	return whys[count_read(&writer_figures(c->writer)->state)];
}

static void show_redis(const struct cluster *c, struct cluster_figures *out)
{
	const struct redis_figures *r = redis_figures(c->core.redis);

	out->redis_state = (unsigned)count_read(&r->state);
	out->redis = cluster_redis_text(out->redis_state);
	out->connections = count_read(&r->links);
	out->lost = count_read(&r->lost);
	out->moved = count_read(&r->moved);
}

static void show_writer(const struct cluster *c, struct cluster_figures *out)
{
	const struct writer_figures *w = writer_figures(c->writer);

	out->state = (enum cluster_state)count_read(&w->state);
	out->claims = count_read(&w->answered);
	out->calls = count_read(&w->calls);
	out->repeated = count_read(&w->repeated);
	out->waiting_ms = count_read(&w->waiting_ms);
	out->waiting_bytes = writer_bytes(c->writer);
	out->spooled = count_read(&w->spooled);
	out->spool_messages = count_read(&w->spool_messages);
	out->spool_bytes = count_read(&w->spool_bytes);
	out->spool_most_bytes = c->settings.spool_bytes;
	out->foreign = count_read(&w->foreign);
	out->escaped = count_read(&w->escaped);
	out->put_back = count_read(&w->put_back);
}

static void show_follower(const struct cluster *c, struct cluster_figures *out)
{
	struct follower_sum sum;

	follower_sum(c->follower, &sum);
	out->read = sum.entries;
	out->lag_entries = sum.lag_entries;
	out->lag_ms = sum.lag_ms;
	out->missed = sum.missed;
	out->unordered = count_read(&follower_figures(c->follower)->unordered);
	out->unsafe = sum.unsafe;
	out->no_records = sum.malformed;
	out->follow_held = count_read(&follower_figures(c->follower)->held);
	memcpy(out->shards, sum.shards, sizeof(out->shards));
}

void cluster_figures(struct cluster *c, struct cluster_figures *out)
{
	const char *why = cluster_state_why(c);
	const char *told = atomic_load(&c->degraded);

	/* A state that was entered since the last look is told at once: who sees it held or spooling must
	 * not be told that all is well. */
	*out = (struct cluster_figures){
		.degraded = told ? told : why,
		.fault = atomic_load(&c->fault),
		.node = c->settings.node,
		.short_shards = count_read(&c->short_shards),
		.evicting_shards = count_read(&c->evicting_shards),
	};
	show_redis(c, out);
	show_writer(c, out);
	show_follower(c, out);
}

/* --- all of them -------------------------------------------------------------- */

void cluster_each_node(
	struct cluster *c, void (*on_node)(void *context, const struct node *node), void *context)
{
	roll_each(&c->roll, on_node, context);
}

uint64_t cluster_sum(struct cluster *c, struct nodes_sum *out)
{
	uint64_t taken_ms = roll_sum(&c->roll, out);
	uint64_t now = clock_mono_ms();

	if (taken_ms == 0)
		return UINT64_MAX;
	return now > taken_ms ? now - taken_ms : 0;
}

const char *cluster_redis_text(uint64_t state)
{
	return state <= REDIS_WHOLE ? redis_state_text((enum redis_state)state) : "unknown";
}

void cluster_each_holding(
	struct cluster *c, void (*on_one)(void *context, const struct holding *h), void *context)
{
	tally_each_holding(c->tallies, on_one, context);
}

void cluster_each_tally(
	struct cluster *c, void (*on_tally)(void *context, const struct tally *t), void *context)
{
	tally_each(c->tallies, on_tally, context);
}

void cluster_each_target_shard(struct cluster *c,
	void (*on_shard)(void *context, struct view target, uint32_t shard, struct view node),
	void *context)
{
	groups_each_share(c->targets, on_shard, context);
}
