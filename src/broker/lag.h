/* broker/lag.h - how far behind the sessions are, looked at now and then (inside the room) */
#ifndef BROKER_LAG_H
#define BROKER_LAG_H

#include "base/count.h"
#include "net/loop.h"

struct broker_worker;

/* A worker's last look; gauges, overwritten each time. */
struct lag {
	struct timer timer;
	count messages[HISTOGRAM_BUCKETS];
	count message_sum;
	count us[HISTOGRAM_BUCKETS];
	count us_sum;
	count us_most;
};

/* Looks every five seconds while the loop runs. */
void lag_start(struct broker_worker *w);
void lag_stop(struct broker_worker *w);

#endif
