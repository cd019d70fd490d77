/* broker/worker.h - a worker of the broker (inside the room) */
#ifndef BROKER_WORKER_H
#define BROKER_WORKER_H

#include "base/log.h"
#include "broker/account.h"
#include "broker/addresses.h"
#include "broker/batch.h"
#include "broker/errand.h"
#include "broker/broker.h"
#include "broker/group.h"
#include "broker/lag.h"
#include "broker/password.h"
#include "broker/persist.h"
#include "broker/session.h"
#include "broker/shared.h"
#include "broker/sys.h"
#include "broker/throttle.h"
#include "broker/touch.h"
#include "broker/users.h"
#include "broker/will.h"
#include "commit/commit.h"
#include "commit/roaming.h"
#include "commit/sharing.h"

/* Written by the worker, read by any thread. */
struct worker_counts {
	count connections;
	count live;
	count packets_received;
	count answers_sent; /* packets besides the messages delivered */
	count delivered;
	count delivered_bytes;
	count acknowledged;
	count resent;
	count received;
	count published;
	count refused;
	count connects;
	count connects_refused[REFUSAL_COUNT];
	count dropped_expired;
	count dropped_oversize;
	count dropped_backlog;
	count skipped_records;
	struct histogram delivery;
};

/* See broker/roster.h. */
struct roster {
	struct list walks; /* under way here */
	uint64_t last;     /* serial number given */
};

struct broker_worker {
	struct broker *broker;
	struct loop *loop;
	struct commit_port *port;
	struct journal *journal;
	struct journal_reader reader;
	struct turn_hook hook;
	struct broker_limits limits;
	struct accounts *accounts;
	struct hierarchy *hierarchy;
	struct groups groups;
	struct group *active; /* groups with records in this turn */
	struct list ready;    /* sessions that are behind and may go on */
	struct list patient;  /* sessions that may go on when `patience` ends */
	struct timer patience;
	struct throttle_queue throttled;
	struct list clients; /* in the order of their numbers */
	struct roster roster;
	uint64_t live;   /* position of all live sessions */
	uint64_t now_ms; /* journal's clock at this turn */
	struct batch *batch;
	struct commit_request *requests; /* PUBLISH packets of one read */
	uint32_t request_size;
	struct buf properties; /* of these packets: what is forwarded of MQTT 5 properties */
	unsigned number;
	struct task stop;
	bool is_stopping;
	bool has_stopped;
	struct log_limit refusals; /* by address: a crowd is one line a second */
	struct worker_counts counts;
	struct lag lag;
	struct persist persist;
	struct wills wills;
	struct shared_worker shared;
	struct sys_watch sys_watch;
	struct journal_reader roam_reader; /* see broker/roam.h, and the next */
	struct buf passport;               /* reused */
	_Atomic uint64_t roam_mark;
};

struct bans;
struct retained;
struct store;

struct broker {
	struct commit *commit;
	struct journal *journal;
	struct registry registry;
	struct shareds shareds;
	_Atomic uint64_t lost; /* messages wanted and removed, see broker/lost.h */
	struct store *store;   /* NULL: sessions live in memory only */
	struct retained *retained;
	struct sys *sys;
	struct users users;
	struct addresses addresses;
	struct bans *bans;
	struct errands errands;
	struct passwords *passwords;
	struct broker_worker *workers;
	unsigned worker_count;
	struct shelf *shelf; /* fixed at start */
	_Atomic bool shadow; /* serves nothing */
	/* gauges that sessions moving between workers change from several threads */
	_Atomic int64_t sessions;
	_Atomic int64_t sessions_offline;
	_Atomic int64_t subscriptions;
	_Atomic uint32_t origins; /* numbers given, see broker/own.h */
	pthread_mutex_t stop_lock;
	pthread_cond_t stopped;
	unsigned workers_stopped;
	struct roaming roaming; /* all NULL: one machine; and sharing */
	bool roams;             /* it is set before the loops run */
	struct sharing sharing;
	struct touch touch;
	char *elsewhere; /* set before the workers stop; NULL: nowhere */
};

/* A message that a subscriber wanted was not added to its batch. */
static inline void worker_count_dropped(struct broker_worker *w, enum batch_answer answer)
{
	if (answer == BATCH_EXPIRED)
		count_add(&w->counts.dropped_expired, 1);
	else if (answer == BATCH_TOO_LARGE)
		count_add(&w->counts.dropped_oversize, 1);
}

/* A gauge goes down as well. */
static inline void count_drop(count *c, uint64_t n)
{
	count_set(c, count_read(c) - n);
}

#endif
