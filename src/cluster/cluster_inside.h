/* cluster/cluster_inside.h - of cluster.c, which runs it, and cluster_view.c, which shows it */
#ifndef CLUSTER_CLUSTER_INSIDE_H
#define CLUSTER_CLUSTER_INSIDE_H

#include <pthread.h>

#include "cluster/cluster.h"
#include "cluster/core.h"
#include "cluster/roll.h"
#include "cluster/vitals.h"
#include "commit/retaining.h"

enum cluster_kind { KIND_UNKNOWN, KIND_OURS, KIND_OTHER };

struct cluster {
	struct cluster_settings settings; /* texts are its own */
	struct cluster_core core;
	struct writer *writer;
	struct follower *follower;
	struct members *members;
	struct sessions *sessions;
	struct tallies *tallies;
	struct orders *orders;
	struct groups *groups;
	struct groups *targets;
	struct mail *mail;
	struct tls_context *tls;
	pthread_t thread;
	bool is_running;
	/* the loop's */
	enum cluster_kind kind;
	struct redis_request agree;
	char agreed_on[32];
	struct timer agree_timer;
	struct timer look;
	const char *told; /* why it is degraded, as last logged */
	const char *told_fault;
	uint64_t outages; /* of the writer: so many are over, and were looked back at */
	struct retaining_host retaining;
	_Atomic(const char *) degraded;
	_Atomic(const char *) fault;
	count short_shards;
	count evicting_shards;
	/* leaving */
	struct task leave_task;
	uint64_t leave_limit_ms;
	pthread_mutex_t lock; /* of the next two */
	pthread_cond_t left;
	bool has_left;
	struct roll roll;
	struct vitals vitals;
};

/* Why it is degraded by the writer's state alone; NULL: it is not. Any thread. */
const char *cluster_state_why(const struct cluster *c);

#endif
