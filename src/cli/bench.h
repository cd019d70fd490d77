/* cli/bench.h - the load generator's parts: one run and its connections
 *
 *   connecting -> (all subscribed) settling -> running -> settling -> closing
 *
 * Publishers send numbered messages (cli/bench_message.h), subscribers count what arrives
 * (cli/bench_count.h). One loop, one thread.
 *
 * Sessions that come back take three runs of the same number: one makes the sessions and leaves, one
 * publishes, one resumes; the last one runs from its first connection on.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/arguments.h"
#include "cli/bench_count.h"
#include "cli/bench_message.h"
#include "cli/client.h"
#include "cli/signals.h"

enum bench_role {
	BENCH_SUBSCRIBER,
	BENCH_STOPPED, /* subscribes, then reads no more */
	BENCH_IDLE,    /* only connects */
	BENCH_PUBLISHER,
	BENCH_ROLES
};

struct bench_config {
	struct client_options where;
	const char *publish_url; /* NULL: as the subscribers */
	const char *publish_user;
	const char *publish_password_file;
	uint64_t counts[BENCH_ROLES];
	struct argument_list filters; /* subscribers take them in turn */
	uint64_t qos;                 /* of subscriptions */
	uint64_t publish_qos;         /* UINT64_MAX: as subscriptions */
	uint64_t messages;            /* of all publishers together */
	uint64_t rate;                /* messages a second of all; 0: as fast as taken */
	uint64_t size;
	uint64_t topics;
	uint64_t window; /* QoS 1 and 2: messages a publisher has open */
	uint64_t ahead;  /* messages that publishers may be ahead of subscribers; 0: any */
	uint64_t receive_maximum;
	uint64_t keep_alive_s;
	uint64_t timeout_ms;
	uint64_t hold_ms;           /* stay connected so long after the end */
	uint64_t session_expiry_ms; /* of subscribers */
	uint64_t run;               /* number in every message; 0: a random one */
	const char *name;           /* subscribers are NAME0, NAME1 ...; NULL: random identifiers */
	uint64_t pid;               /* of the broker; 0: not measured */
	uint8_t version;
	bool resume; /* subscribers come back for what another run has published */
};

/* Which topics a filter matches: a subscriber's numbers have no holes by other topics. */
struct bench_filter {
	struct view text;
	int64_t *rank;    /* per topic: place among those matched, or -1 */
	uint64_t *before; /* per topic: matched ones before it */
	uint64_t matched;
};

struct bench;
struct bench_link {
	struct cli_client client;
	struct bench *bench;
	enum bench_role role;
	uint32_t number; /* among its role */
	bool is_ready;
	bool is_gone;
	struct bench_stream stream;
	/* subscriber */
	struct client_settings settings; /* with its own identifier, if they have names */
	char *id;                        /* owned */
	const struct bench_filter *filter;
	struct sequence *sequences; /* per publisher */
	uint64_t now_ns;            /* when the bytes under work were read */
	/* publisher */
	uint64_t share; /* messages to send */
	uint64_t sent;
	uint64_t settled; /* acknowledged, refused, or sent at QoS 0 */
	uint64_t refused;
	uint16_t last_id;
};

enum bench_phase { BENCH_CONNECTING, BENCH_STARTING, BENCH_RUNNING, BENCH_ENDING, BENCH_CLOSING };

struct bench {
	struct bench_config config;
	struct client_target targets[2]; /* subscribers, publishers */
	struct client_settings settings[BENCH_ROLES];
	struct bench_filter filters[ARGUMENT_LIST_MOST];
	struct bench_template *templates; /* config.topics of them */
	struct loop *loop;
	struct turn_hook hook;
	struct timer timer; /* start, end, close */
	struct timer timeout;
	struct timer tick; /* rate */
	struct signals signals;
	struct bench_link *links;
	uint32_t link_count;
	uint32_t publisher_at; /* links[] of the first publisher */
	uint32_t to_open;      /* all, or without the publishers */
	uint32_t opened;
	uint32_t ready;
	uint32_t gone;
	enum bench_phase phase;
	bool failed; /* a connection was lost or refused */
	bool timed_out;
	bool refused_connection;
	uint32_t run; /* random number of this run, in every mark */

	uint64_t expected;
	uint64_t sent;
	uint64_t settled;
	uint64_t delivered; /* distinct ones */
	uint64_t received;  /* with repeats */
	uint64_t foreign;   /* not of this run */
	uint64_t start_ns;
	uint64_t end_ns;
	double broker_cpu[2]; /* seconds at start and end; negative: unknown */
	uint64_t broker_anon_kib;
	struct latency latency;
};

/* bench_links.c */
void bench_links_new(struct bench *b);
void bench_links_free(struct bench *b);
/* Opens further connections, a bounded number at a time. */
void bench_open_more(struct bench *b);
/* Sends what may be sent now; true: more could be. */
bool bench_publish(struct bench *b);
/* No more is published than was until now, and no more is expected. */
void bench_end_publishing(struct bench *b);
void bench_close_all(struct bench *b);
uint64_t bench_filter_expected(
	const struct bench *b, const struct bench_filter *f, uint64_t messages);

/* bench.c: a connection has become ready, or has gone */
void bench_on_ready(struct bench_link *l);
void bench_on_gone(struct bench_link *l, int err, const char *why);

/* bench_report.c: one JSON line on stdout; true: everything arrived once and in order */
bool bench_report(const struct bench *b);
/* CPU seconds (all threads) of a process; negative when they cannot be read. */
double bench_cpu_seconds(uint64_t pid);
/* Anonymous resident memory, KiB; 0 when it cannot be read. */
uint64_t bench_anon_kib(uint64_t pid);

#endif
