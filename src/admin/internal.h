/* admin/internal.h - what the files of this room share
 *
 *     admin.c       who asks for what: paths to answers
 *     metrics.c     /metrics              status.c   /api/v1/...
 *     rejects.c     /api/v1/rejects       clients.c  /api/v1/clients
 *     messages.c    /api/v1/messages
 *     exposition.c  metrics as text       centre.c   figures of sources, summed per centre
 *     process.c     the process itself, from /proc            targets.c  brokers that are fed
 *     access.c      who may see a page       nodes.c    /api/v1/nodes
 *     annex.c       $SYS/cluster/...
 */
#ifndef ADMIN_INTERNAL_H
#define ADMIN_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "admin/access.h"
#include "admin/admin.h"
#include "base/buf.h"
#include "net/http_server.h"

struct admin_server {
	struct admin *admin;
	struct loop *loop;
	struct http_server *http;
	struct access *access;
	struct messages *messages;
	struct view user;  /* whose the request is that is answered; {NULL,0}: anybody's */
	struct list pages; /* of clients, under way or not fetched */
};

struct admin {
	struct admin_settings settings; /* strings owned */
	char *centre_id;
	uint64_t started_ms; /* wall clock */
	uint64_t started_mono_ms;
	_Atomic int phase;           /* enum admin_phase */
	_Atomic uint32_t public;     /* pages for anybody, see access_pages() */
	_Atomic uint32_t generation; /* of the accounts */
	pthread_mutex_t lock;        /* of settings.hierarchy and of what follows */
	char **listeners;
	unsigned listener_count;
	struct admin_server **servers; /* one per loop, made at its first client */
	unsigned server_count;
	struct history *history;
	_Atomic uint32_t connections; /* limits */
	_Atomic uint32_t sessions;
	_Atomic uint64_t configured_ms;         /* wall clock: when what is in force was read */
	atomic_bool reload_refused;             /* the last one */
	_Atomic uint64_t messages_served;       /* by /api/v1/messages */
	struct admin_certificate *certificates; /* texts owned */
	unsigned certificate_count;
};

/* Sources of one centre, summed: series are by centre, and one centre may have several sources. */
struct centre {
	char *centre_id;
	uint64_t received;
	uint64_t published;
	uint64_t duplicates;
	uint64_t conflicts;
	uint64_t standby_received;
	uint64_t standby_duplicates;
	uint64_t standby_rejected;
	uint64_t by_centre;
	uint64_t oversized;
	uint64_t clean_starts;
	uint64_t connects;
	uint64_t bytes;
	uint64_t last_message_ms;
	uint64_t rejected[RULE_COUNT];
	uint64_t checks[CHECK_COUNT];
	uint64_t delay[HISTOGRAM_BUCKETS];
	uint64_t delay_us;
	bool connected;
};

struct centres {
	struct centre *list;
	uint32_t count;
	uint32_t size;
};

/* As they are now; free with centres_fini(). */
void centres_collect(struct sources *s, struct centres *out);
/* What all nodes have counted: of each only the WIS2 figures, and duplicates. */
void centres_of_cluster(struct cluster *cluster, struct centres *out);
void centres_fini(struct centres *c);

struct process {
	double cpu_seconds;
	uint64_t resident_bytes;
	uint64_t anonymous_bytes;
	uint64_t open_fds;
	uint64_t most_fds;
};
void process_read(struct process *out);

/* Fills *answer with {"error": text}. */
void answer_fail(struct http_answer *answer, int status, const char *text);

/* The one in force; a reference to unref. */
struct hierarchy *admin_hierarchy(struct admin *a);

void metrics_write(struct admin *a, struct buf *out, bool is_openmetrics);

/* What load balancers and operators are told; texts are static, "" for nothing to tell. */
struct readiness {
	const char *reason; /* not ready */
	const char *degraded;
	const char *fault; /* what is to be mended in Redis for it */
};
struct readiness admin_readiness(struct admin *a, const struct journal_figures *j);

/* Seconds the journal would reach back at the rate since start; its present age without one. */
double admin_journal_reach(const struct admin *a, const struct journal_figures *j);

struct exposition;
void targets_write_metrics(struct admin *a, struct exposition *e);
struct json_t;
struct json_t *targets_list(struct admin *a); /* a new reference */

void status_write(struct admin *a, struct buf *out);

/* In a cluster: all nodes, and their sums; a new reference, as the next two. */
struct json_t *nodes_document(const struct admin *a);
/* Sources that any node holds, and is connected to. */
struct holding_count {
	const char *source; /* the last one that was counted */
	bool is_counted;    /* as connected */
	uint32_t held;
	uint32_t connected;
};
void holdings_count(struct cluster *c, struct holding_count *out);
/* Who holds which source, by name; to be asked by holders_of(). */
struct json_t *holders_index(const struct admin *a);
/* null on one machine. */
struct json_t *holders_of(const struct admin *a, const struct json_t *index, const char *source);
/* Appends and takes the document. */
void status_write_document(struct buf *out, struct json_t *document);
/* A query parameter that is a number; false: it is something else. */
bool request_number(
	const struct http_request *r, const char *name, uint64_t otherwise, uint64_t *out);
/* NULL (the answer is filled, or the request is held), or what is wrong with its parameters (400). */
const char *clients_answer(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer);
/* The loop no longer runs; the HTTP server is still there. */
void clients_fini(struct admin_server *s);
/* NULL, or what is wrong with the request's parameters (400). */
const char *rejects_write(struct admin *a, const struct http_request *r, struct buf *out);
/* One per server: its requests for messages. */
struct messages *messages_new(struct admin_server *s);
/* The history's thread has ended, the loop does not run; before the HTTP server goes. */
void messages_free(struct messages *m);
/* For s->user. Fills *answer, or holds the request. */
void messages_answer(
	struct admin_server *s, const struct http_request *r, struct http_answer *answer);
/* The payload of one, as it came. False: it is not there (any longer). */
bool reject_write(struct admin *a, struct view number, struct buf *out);
/* centre_id {NULL,0}: all. Gives how many sources were written. */
uint32_t sources_write(struct admin *a, struct view centre_id, struct buf *out);
#endif
