/* publish/internal.h - what the files of this room share
 *
 *     publisher.c  the set: what publisher_apply() decides, sent to the workers; walks
 *     target.c     one target: its connection, acknowledgements, refusals
 *     feeding.c    from the journal into the connection
 *     feed.c       which records;  positions.c, ledger.c  how far, on disk
 *     share.c      in a cluster: what of it this node feeds
 *
 * Threads: everything in struct target is its worker's, except where a comment says otherwise.
 */
#ifndef PUBLISH_INTERNAL_H
#define PUBLISH_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "commit/sharing.h"
#include "journal/journal.h"
#include "mqtt/inflight.h"
#include "publish/feed.h"
#include "publish/ledger.h"
#include "publish/publish.h"

/* --- what follows from a configuration; immutable once made ------------- */

struct publish_setup {
	struct uplink_endpoint endpoint; /* texts owned */
	struct uplink_plan plan;
	struct uplink_tls tls;
	char **filters;
	uint32_t filter_count;
};
void publish_setup_free(struct publish_setup *setup);

/* Times that tests shorten. */
struct publish_times {
	uint64_t drain_ms; /* at the end: for what is in flight to be acknowledged */
	uint64_t stall_ms; /* without any acknowledgement: the connection is given up */
	uint64_t
		patience_ms; /* first wait when the target asks for patience; doubles to a minute */
};

/* --- one target ---------------------------------------------------------- */

struct target_prefetch;

/* In a cluster: what sharing_host.set() said, for the how many-th time. */
struct target_parts {
	uint64_t number;
	struct sharing_parts parts;
};

/* In a cluster: how a target stands, for who asks on another thread. */
struct target_look {
	bool is_there;     /* it has begun */
	uint64_t taken;    /* as of the target */
	uint64_t position; /* target_position() */
	uint64_t next;
	bool is_seated; /* connected, or was lately */
	uint32_t owned;
	struct vector after;
};

struct target {
	char *name; /* fixed */
	struct publisher *set;
	struct publish_worker *worker;
	struct publish_figures figures; /* read by any thread */
	char *known;                    /* the applying thread's: its configuration as a text */

	struct list link; /* in worker->all */
	struct publish_setup *setup;
	struct uplink uplink;
	struct feed feed;
	struct target_parts *parts; /* with shards to be fed once nothing is open; owned */
	struct inflight window;
	struct timer timer; /* patience, or the time limit of draining */
	bool draining;      /* nothing new is sent */
	bool is_stopped;    /* under set->stop_lock */

	/* the connection */
	uint32_t receive_maximum; /* the target's and ours */
	uint32_t largest;         /* packet it takes */
	bool keeps_retained;
	bool greeted;       /* it may have a session of this process */
	bool has_session;   /* it had one: what is sent again is marked so */
	uint64_t heard_ms;  /* last acknowledgement, or first sent behind it */
	uint64_t pushed_ms; /* last message sent */

	/* refusals (target.c) */
	bool patient;        /* waits before it sends again */
	uint32_t waiting;    /* messages answered with "later" since */
	unsigned delays;     /* in a row */
	bool has_refused;    /* its last answer on this connection was a refusal */
	bool excused;        /* the target said why it goes: not because of a message */
	uint64_t careful_to; /* up to this record they are sent one by one */
	uint64_t strike_seq;
	unsigned strikes;
	struct log_limit refused_log;
	struct log_limit lost_log;

	/* reading (feeding.c) */
	struct target_prefetch *prefetch; /* a question under way */
	uint64_t warm_to;                 /* fetched for this target */
	uint64_t warm_ms;
	uint64_t stuck_at; /* a record that waits for the connection; UINT64_MAX: not known */

	/* in a cluster (share.c) */
	uint64_t number;  /* of this target, different from all before */
	uint64_t lost_ms; /* the connection was; 0: never */
	uint64_t taken;   /* number of the parts heard of last */
	bool is_ending;   /* and shards of them are to be given away */
	pthread_mutex_t look_lock;
	struct target_look look;
	bool is_over;     /* under set->lock, as the next: the cluster was told how far it got */
	uint64_t asked;   /* number of the parts told last */
	uint64_t upto_at; /* position that `upto` is of; UINT64_MAX: none */
	struct vector upto;
};

/* --- one worker ----------------------------------------------------------- */

struct publish_worker {
	struct publisher *set;
	struct loop *loop;
	struct journal_reader reader;
	struct turn_hook hook;
	struct timer tick;
	struct list all;
	struct buf properties; /* of one packet under construction */
};

struct publisher {
	struct journal *journal;
	struct commit *commit; /* NULL: one machine */
	char *node;
	struct sharing sharing;
	struct journal_reader reader; /* in a cluster: of its thread */
	uint64_t made;                /* targets, since start */
	bool is_stopping;             /* under the lock: workers take no parts any more */
	char *centre_id;
	struct address *bind;
	uint32_t bind_count;
	struct uplink_means uplinks;
	struct publish_times times;
	struct ledger *ledger;
	bool has_begun; /* a configuration was applied */
	unsigned worker_count;
	struct publish_worker *workers;
	pthread_mutex_t lock; /* of both lists: applying thread writes, walks and ledger read */
	struct target **list; /* in the order of the configuration */
	uint32_t count;
	struct target **gone; /* taken out, freed once stopped and the cluster was told */
	uint32_t gone_count;
	pthread_mutex_t stop_lock;
	pthread_cond_t stopped;
};

/* --- target.c ------------------------------------------------------------- */

struct target *target_new(struct publisher *set, struct publish_worker *w, const char *name,
	struct publish_setup *setup, uint64_t position);
/* It is stopped, or its loop does not run any more. */
void target_free(struct target *t);
void target_begin(struct target *t);
void target_change(struct target *t, struct publish_setup *setup); /* takes setup */
void target_quit(struct target *t);
/* Every record before it is done. */
uint64_t target_position(const struct target *t);
/* How many may be open. */
uint32_t target_limit(const struct target *t);
void target_lose(struct target *t, enum publish_loss why, uint64_t seq);
/* Once a second: shows the lag; gives up a connection on which nothing is acknowledged. */
void target_tick(struct target *t);

/* --- feeding.c: inside an epoch of the worker's reader ---------------------- */

/* True: there is more to do. */
bool feeding_turn(struct target *t);
bool feeding_is_due(const struct target *t);
/* The connection has ended, or the target has. */
void feeding_end(struct target *t);
/* Nothing can be sent now: what was given away need not be sent again. Brings its own epoch. */
void feeding_forget_others(struct target *t);

static inline struct view feeding_topic(
	const struct journal_segment *segment, const struct journal_entry *entry)
{
	const uint8_t *p = segment->packets + entry->offset + entry->header_bytes;

	return (struct view){(const char *)p + 2, (size_t)p[0] << 8 | p[1]};
}

/* --- share.c: on the worker; nothing on one machine ----------------------------- */

/* It begins. */
void share_begin(struct target *t);
/* Takes parts. */
void share_parts(struct target *t, struct target_parts *parts);
/* Inside an epoch: shards that come are fed from now on. Nothing is open. */
void share_take(struct target *t);
/* Connected, not connected, stopped: somebody may want to know. */
void share_changed(struct target *t);
/* Nothing is open any more: what is to be given away may go. */
void share_ended(struct target *t);
/* How it stands now, for who asks. */
void share_show(struct target *t);

/* --- publisher.c ----------------------------------------------------------- */

void publisher_target_stopped(struct target *t);
bool publisher_is_stopped(struct publisher *p, const struct target *t);
/* Posts to its worker what run() is to do with the target. */
void publisher_order(
	struct target *t, void (*run)(struct target *t, void *argument), void *argument);
bool publish_setup_wants(const struct publish_setup *setup, struct view topic);

#endif
