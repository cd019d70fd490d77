/* cli/server.h - the running Global Broker: all rooms put together
 *
 *     server_start   journal, loops, listeners, broker, sources, admin, threads: in this order
 *     server_reload  what may change while clients stay connected
 *     server_stop    the way back: listeners, sources, broker, threads, journal
 *
 * Threads: everything here on the main thread, which is no worker; what belongs to a loop is done
 * on it by server_on_loop().
 */
#ifndef CLI_SERVER_H
#define CLI_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "admin/admin.h"
#include "broker/broker.h"
#include "catalogue/librarian.h"
#include "cli/config.h"
#include "cli/watch.h"
#include "commit/commit.h"
#include "net/http_server.h"
#include "net/listener.h"
#include "net/porch.h"
#include "net/tls.h"
#include "net/tls_tickets.h"
#include "net/websocket.h"
#include "publish/publish.h"
#include "source/source.h"

struct control;
struct everywhere;
struct server;

struct worker {
	struct server *server;
	struct loop *loop;
	struct commit_port *port;
	struct broker_worker *broker;
	struct http_server *web; /* of ws and wss listeners: the requests that begin a WebSocket */
	struct websocket_rules rules; /* texts are its own */
	pthread_t thread;
	bool is_running;
};

/* A listener as one worker has it. */
struct worker_listener {
	struct worker *worker;
	struct listener *listener;
	struct porch *porch;     /* NULL: clients come straight, not by a load balancer */
	struct tls_context *tls; /* a reference; the worker's */
};

/* What a file looked like when its certificate was loaded. */
struct file_mark {
	struct timespec changed;
	ino_t inode;
	off_t size;
};

/* A listener with its real address, on every worker. */
struct served {
	struct config_listener config; /* texts are its own */
	struct address at;             /* the real port */
	struct tls_context *tls;       /* what new connections get; NULL: plain */
	struct file_mark marks[3];     /* certificate, key, client_ca */
	uint64_t warned_ms;            /* of the certificate's end; 0: not yet */
	bool is_own;                   /* of our own making */
	uint64_t misfit_ms;            /* since when the files do not fit; 0: they do */
	bool misfit_told;
	struct worker_listener *workers; /* one each */
	char *shown;                     /* "mqtt://127.0.0.1:43211" */
};

struct server {
	struct config *config;
	char *centre_id;             /* as at start */
	uint64_t started_ms;         /* monotonic */
	struct hierarchy *hierarchy; /* as at start; a reload gives the broker its own */
	struct commit *commit;
	struct resolver *resolver;
	struct cluster *cluster;     /* NULL: one machine */
	struct shelf shelf;          /* of the metadata check */
	struct librarian *librarian; /* fills it */
	struct broker *broker;
	struct sources *sources;
	struct publisher *publisher;
	struct reports *reports;
	struct watch watch;
	struct admin *admin;
	struct worker *workers;
	uint32_t worker_count;
	struct porch_counts *porch_counts; /* one per worker */
	struct tls_tickets *tickets;       /* of all its TLS listeners */
	struct served *served;
	uint32_t served_count;
	struct everywhere *everywhere; /* orders of other nodes; NULL: one machine */
	pthread_mutex_t bans_lock;     /* for those who change or list bans */
	struct control *control;       /* orders of operators; NULL: not yet */
};

/* Takes config (*config becomes NULL). 0, or negative after the cause was logged; then everything
 * begun was ended. */
int server_start(struct server *s, struct config **config);
/* Takes config. Parts that need a restart are logged and stay as they were. 0, or negative with
 * nothing changed (logged). */
int server_reload(struct server *s, struct config **config);
/* From time to time: looks at certificates, and at what the world should be told. */
void server_look(struct server *s);
/* Waits until every worker has made a turn: none hangs. */
void server_await_turns(struct server *s);
void server_stop(struct server *s);

/* Runs call(argument) on the worker's loop and waits for it; before the thread runs: here. */
void server_on_loop(
	struct worker *w, void (*call)(struct worker *w, void *argument), void *argument);

/* Feeds the brokers that the configuration names. */
void server_publish(struct server *s);

/* What admin shows of a configuration and of the listeners there are. */
void server_tell_admin(struct server *s);

/* What the broker is told of a configuration; the hierarchy knows its sources' centres. */
struct hierarchy *server_hierarchy(const struct config *c);
struct librarian_rules server_librarian_rules(const struct config *c);
struct broker_settings server_broker_settings(const struct config *c, struct hierarchy *h);

/* --- cluster (join.c) -------------------------------------------------- */

/* With `cluster:` in the configuration, before there are ports. 0, or negative after the cause was logged. */
int join_cluster(struct server *s);
/* Sessions follow their clients from node to node, groups have members on several, $SYS tells of all. */
void join_sessions(struct server *s);
/* Before the loops run: each target of `publish` is fed by one node. */
void join_targets(struct server *s);
/* In a cluster: these sources are to be held by its nodes. After sources_apply(). */
void server_share_sources(struct server *s);

/* --- WebSocket (upgrade.c) ------------------------------------------- */

/* Before the threads run: servers of the workers' ws and wss listeners. */
void upgrade_start(struct server *s);
/* Paths and origins from now on, on every worker. */
void upgrade_apply(struct server *s, const struct config *c);
/* After the threads have ended. */
void upgrade_stop(struct server *s);
/* For http and https listeners; context is the server (admin/admin.h). */
admin_first upgrade_answer;

/* --- listeners (serve.c) ---------------------------------------------- */

/* Opens l of c on every worker and logs it. 0, or negative after the cause was logged. *out is
 * filled; copies what it needs of l. */
int served_open(struct server *s, const struct config *c, const struct config_listener *l,
	struct served *out);
/* No new connections; those open stay. */
void served_close(struct server *s, struct served *at);
/* Is this what the configuration asks for (scheme, host, port, certificates, networks)? */
bool served_is(const struct served *at, const struct config_listener *l);

/* --- certificates (certificate.c, own_certificate.c) ------------------ */

/* Sees to it that c's own certificate is there and good for a month. 1 it was made, 0 it was there, or negative and
 * *why is a text to free(). */
int own_certificate_keep(const struct config *c, char **why);

/* What new connections to `at` get by c; marks the files; makes a certificate where there is none. NULL after the
 * cause was logged. */
struct tls_context *certificate_load(struct server *s, const struct config *c, struct served *at);
/* To be called now and then. Certificates whose files have changed are loaded and given to new
 * connections; `always`: those that have not changed as well. Files that cannot be used are tried again each time,
 * and the old ones stay; that is logged at once if `always`, else after some seconds, as tools replace them one
 * after the other. Warns of those that end within 30 days, once a day, and renews those of our own making; tells
 * /metrics when they end; changes the key of session tickets when it is time. */
void certificates_look(struct server *s, bool always);

#endif
