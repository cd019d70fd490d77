/* source/internal.h - what the files of this room share
 *
 *     sources.c   the set: what sources_apply() decides, sent to the workers as commands
 *     life.c      one source: begun, changed, stopped; what its uplink tells
 *     hello.c     what CONNECT says, SUBSCRIBE to SUBACK, everything that is not a PUBLISH
 *     intake.c    PUBLISH packets: judged, committed, counted
 *     config.c    a source's configuration as a value, and what follows from it
 *     window.c    acknowledgements in order;  pace.c  rate, poisoned packets
 *
 * Threads: everything in struct source is its worker's, except where a comment says otherwise.
 */
#ifndef SOURCE_INTERNAL_H
#define SOURCE_INTERNAL_H

#include <pthread.h>

#include "base/buf.h"
#include "base/log.h"
#include "mqtt/packet.h"
#include "source/pace.h"
#include "source/source.h"
#include "source/window.h"
#include "uplink/uplink.h"

/* --- configuration and what follows from it; immutable once made ------- */

struct source_setup {
	struct source_config config;
	struct gate_policy policy;
	struct source_filters filters;
	struct uplink_plan plan; /* its texts are config's */
	struct address *bind;    /* the source's own; NULL: the set's */
	struct uplink_tls *tls;  /* of each endpoint */
};

void source_config_copy(struct source_config *to, const struct source_config *from);
bool source_config_equal(const struct source_config *a, const struct source_config *b);
char **source_copy_texts(char *const *texts, uint32_t n);
void source_policy_for(struct gate_policy *p, const struct source_config *c);
void source_setup_free(struct source_setup *setup);

/* --- one source -------------------------------------------------------- */

/* Why nothing is read for the moment. */
enum source_pause {
	PAUSED_HELD = 1,   /* commit cannot take more */
	PAUSED_RATE = 2,   /* over `rate` */
	PAUSED_WINDOW = 4, /* every packet id is open */
};

/* Texts shown to people; under the set's text_lock. */
struct source_shown {
	char centre_id[256];
	enum source_kind kind;
	bool enabled;
};

struct source {
	char *name;      /* fixed */
	uint16_t number; /* fixed: publisher in the journal */
	struct sources *set;
	struct source_worker *worker;
	struct source_figures figures; /* read by any thread */
	struct firsts firsts;          /* the same */
	struct source_shown shown;
	struct source_config known; /* the applying thread's copy, to see what has changed */

	struct list link;  /* in worker->all */
	struct list dirty; /* in worker->dirty: acknowledgements may leave */
	struct source_setup *setup;
	struct source_filters stale; /* subscribed by an earlier configuration, to be ended */
	uint32_t slot;               /* of the holders of a source, or SOURCE_NOT_HELD */
	bool is_voice;               /* it counts and reports; another holder does not */
	bool ending;                 /* to be freed when closed */
	struct uplink uplink;
	bool clean_next; /* the next CONNECT drops the peer's session: poisoned */

	/* the intake */
	struct commit_owner owner;
	struct commit_waiter waiter;
	struct window window;
	unsigned pauses; /* enum source_pause, or-ed */
	struct bucket bucket;
	struct timer rate_timer;
	uint32_t skip; /* bytes of an oversized PUBLISH still to read past */
	uint32_t skip_token;
	bool told_excess; /* more than receive maximum came on this connection */
	uint64_t taken;   /* PUBLISH packets of this connection */
	struct poison poison;
	struct log_limit rejected_log;
	struct log_limit by_centre_log;
};

/* --- one worker -------------------------------------------------------- */

/* What became of one PUBLISH of the batch, noted first and counted once it is certain. */
struct source_item {
	uint32_t token;
	uint16_t rule; /* enum rule */
	uint8_t check;
	bool pass;
	bool by_centre; /* struct gate_verdict */
	bool has_delay;
	uint64_t delay_us;
};

#define BATCH_MOST 512u

/* A message of the batch that broke a rule; its bytes are the connection's. */
struct source_broken {
	struct finding finding;
	struct view topic;
	struct view payload;
	bool passes; /* it is let through (verify) */
};

/* Reused by all sources of a worker: a batch lives within one on_bytes call. */
struct source_batch {
	const uint8_t *start;  /* first packet of the batch */
	const uint8_t *rewind; /* the batch was refused: reading goes on here later */
	uint32_t item_count;
	uint32_t request_count;
	uint32_t broken_count;
	struct gate_verdict verdict;
	struct source_broken broken[BATCH_MOST];
	struct buf bytes; /* payloads without content, properties to forward */
	struct source_item items[BATCH_MOST];
	struct commit_request requests[BATCH_MOST];
};

struct source_worker {
	struct sources *set;
	struct commit_port *port;
	struct loop *loop;
	struct hierarchy *hierarchy;
	struct turn_hook hook;
	struct list all;
	struct list dirty;
	struct source_batch *batch;
	bool stopping;        /* tells set->stopped when the last source is closed */
	struct task task;     /* runs the inbox */
	pthread_mutex_t lock; /* of the inbox */
	struct list inbox;
	bool posted;
};

struct sources {
	struct reports *reports; /* NULL: nobody is told of broken messages */
	struct uplink_means uplinks;
	char *centre_id;
	struct hierarchy *hierarchy;
	struct shelf *shelf;
	struct address *bind;
	uint32_t bind_count;
	uint32_t packet_size;
	unsigned worker_count;
	struct source_worker *workers;
	pthread_mutex_t lock; /* of the list: applying thread writes, walks read */
	struct source **list; /* in order of name */
	uint32_t count;
	uint16_t next_number;
	bool is_shared; /* with other machines */
	/* A source's content was cut ever since the start: whoever brings one of its messages with
	 * the content has other bytes and is not to blame. Any thread. */
	atomic_bool cuts_content;
	pthread_mutex_t text_lock; /* of every source's `shown` */
	pthread_mutex_t stop_lock;
	pthread_cond_t stopped;
	unsigned running; /* workers that are not stopped; under stop_lock */
};

/* --- life.c ------------------------------------------------------------ */

struct source *source_new(
	struct sources *set, struct source_worker *w, uint16_t number, struct source_setup *setup);
/* Not before it has left the worker. */
void source_free(struct source *s);
void source_begin(struct source *s);
void source_change(struct source *s, struct source_setup *setup); /* takes setup */
/* Disconnects; keeps the peer's session. `ending`: the source is freed then. */
void source_quit(struct source *s, bool ending);
void source_hold(struct source *s, uint32_t slot, bool is_voice);
void source_worker_check_stopped(struct source_worker *w);

/* --- hello.c ----------------------------------------------------------- */

void source_on_hello(struct uplink *u, struct buf *id, bool *clean_start, struct buf *properties);
void source_on_accepted(struct uplink *u, const struct mqtt_packet *connack);
/* A packet that is neither CONNACK nor PUBLISH. 0 or negative, *why names the fault. */
int source_take_other(struct source *s, const struct mqtt_packet *packet, const char **why);

/* --- intake.c ---------------------------------------------------------- */

void source_intake_init(struct source *s);
void source_intake_fini(struct source *s);
/* The connection has ended: what is under way is counted when done, but not acknowledged. */
void source_intake_closed(struct source *s);
ssize_t source_on_bytes(struct uplink *u, const uint8_t *p, size_t n);
/* Lets acknowledgements leave that are next in order. */
void source_acknowledge(struct source *s);

#endif
