#include "cluster/vitals.h"

#define RING (VITALS_LOOKS + 1)

static const struct vitals_look *look_at(const struct vitals *v, uint32_t back)
{
	return &v->looks[(v->taken - 1 - back) % RING];
}

static void add_look(struct vitals *v, const struct cluster_vitals *own, uint64_t now_ms)
{
	v->looks[v->taken++ % RING] = (struct vitals_look){.at_ms = now_ms,
		.counters = {[VITALS_RECEIVED] = own->received,
			[VITALS_PUBLISHED] = own->published,
			[VITALS_DELIVERED] = own->delivered}};
}

/* In thousandths a second; unknown before there are two looks. A counter that fell, as those of a source
 * taken out, gives none for as long as it is the older one. */
static uint64_t rate(const struct vitals *v, enum vitals_rate r)
{
	const struct vitals_look *now = look_at(v, 0);
	const struct vitals_look *then =
		look_at(v, v->taken > VITALS_LOOKS ? VITALS_LOOKS : v->taken - 1);
	uint64_t ms = now->at_ms - then->at_ms;

	if (ms == 0)
		return NODE_UNTOLD;
	if (now->counters[r] < then->counters[r])
		return 0;
	return (now->counters[r] - then->counters[r]) * 1000000 / ms;
}

static enum node_mode mode_of(const struct cluster_figures *cluster,
	const struct cluster_vitals *own, enum cluster_failure failure)
{
	if (own->journal_failed)
		return MODE_FAILED;
	switch (cluster->state) {
	case CLUSTER_HOLDING:
		return MODE_HOLDING;
	case CLUSTER_SPOOLING:
		return failure == CLUSTER_LOCAL ? MODE_LOCAL : MODE_SPOOLING;
	case CLUSTER_DRAINING:
		return MODE_COMMITTING;
	default:
		return cluster->degraded || own->journal_held ? MODE_DEGRADED : MODE_OK;
	}
}

void vitals_take(struct vitals *v, const struct cluster_figures *cluster,
	const struct cluster_vitals *own, enum cluster_failure failure, uint64_t now_ms,
	uint64_t figures[NODE_FIGURES])
{
	add_look(v, own, now_ms);
	figures[NODE_MODE] = mode_of(cluster, own, failure);
	figures[NODE_REDIS] = (uint64_t)cluster->redis_state;
	figures[NODE_UPTIME] = own->uptime_ms / 1000;
	figures[NODE_CLIENTS] = own->sessions - own->offline;
	figures[NODE_OFFLINE] = own->offline;
	figures[NODE_SESSIONS] = own->sessions;
	figures[NODE_BEHIND] = own->behind;
	figures[NODE_RECEIVED] = rate(v, VITALS_RECEIVED);
	figures[NODE_PUBLISHED] = rate(v, VITALS_PUBLISHED);
	figures[NODE_DELIVERED] = rate(v, VITALS_DELIVERED);
	figures[NODE_HELD] = own->sources_held;
	figures[NODE_CONNECTED] = own->sources_connected;
	figures[NODE_LAG] = cluster->lag_entries;
	figures[NODE_LAG_TIME] = cluster->lag_ms;
	figures[NODE_SHARDS] = 0;
	for (unsigned i = 0; i < FOLLOW_STATES; i++)
		figures[NODE_SHARDS] += i == FOLLOW_LIVE ? 0 : cluster->shards[i];
	figures[NODE_SPOOL] = cluster->spool_messages;
}
