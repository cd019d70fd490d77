/* admin/admin.h - what an operator sees over HTTP: metrics, health, JSON, a page
 *
 * Served on the workers' own loops from counters read without locks. Sources: WIS2 Metric Hierarchy
 * (monitoring.md, section 1), OpenMetrics 1.0.0, Prometheus text 0.0.4.
 *
 * Threads: admin_accept() on the loop given; the rest any.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "broker/broker.h"
#include "broker/sys.h"
#include "catalogue/librarian.h"
#include "cluster/cluster.h"
#include "commit/commit.h"
#include "net/arrival.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/porch.h"
#include "net/tls.h"
#include "publish/publish.h"
#include "report/report.h"
#include "source/source.h"

struct admin;

/* Asked about each request before this room answers it; true: *answer (zeroed before) is filled. On
 * the request's loop, arguments as of http_on_request. */
typedef bool admin_first(
	void *context, struct loop *l, const struct http_request *r, struct http_answer *answer);

struct admin_settings {
	const char *centre_id; /* report_by */
	struct commit *commit;
	struct broker *broker;
	struct sources *sources;
	struct publisher *publisher;
	struct reports *reports;
	struct librarian *librarian;
	struct cluster *cluster;     /* NULL: one machine */
	struct hierarchy *hierarchy; /* for its version */
	unsigned workers;
	const struct porch_counts *porches; /* one per worker; read until admin_free() */
	uint64_t journal_keep_ms;
	uint64_t journal_size_bytes;
	uint64_t window_ms; /* antiloop.window */
	uint64_t ids;       /* antiloop.ids */
	admin_first *first; /* NULL: none */
	void *first_context;
};

struct admin *admin_new(const struct admin_settings *settings);
void admin_free(struct admin *a);

/* The nodes of a cluster as topics below $SYS/cluster/ (broker/sys.h); as long as c. */
struct sys_annex admin_annex(struct cluster *c);

/* Refs h: whose version is shown from now on. */
void admin_set_hierarchy(struct admin *a, struct hierarchy *h);

/* Certificates of TLS listeners. Texts are copied. */
struct admin_certificate {
	const char *listener; /* its URL */
	const char *file;
	int64_t ends_s; /* Unix time */
	bool self_signed;
};
void admin_set_certificates(struct admin *a, const struct admin_certificate *list, unsigned n);

/* What a reload may change; borrowed for the call. Any one thread; also before the first client. */
struct admin_change {
	char *const *listeners; /* URLs as shown to people, without credentials */
	unsigned listener_count;
	char *const *public_pages; /* words of `http_public` */
	unsigned public_page_count;
	uint32_t connections; /* limits */
	uint32_t sessions;
};
void admin_apply(struct admin *a, const struct admin_change *change);
/* A reload was taken, or refused and nothing has changed. */
void admin_tell_reload(struct admin *a, bool is_taken);

/* Where the process stands; decides /readyz. */
enum admin_phase { ADMIN_STARTING, ADMIN_SERVING, ADMIN_DRAINING };
void admin_set_phase(struct admin *a, enum admin_phase phase);

/* Appends what /readyz answers, a JSON object and a line end. False: not ready (503). */
bool admin_ready(struct admin *a, struct buf *out);

/* An HTTP client's connection; takes arrival->fd. */
void admin_accept(struct admin *a, struct loop *l, const struct arrival *arrival);

#endif
