/* broker/broker.h - serves MQTT clients from the journal
 *
 * A subscriber is a position in the journal plus a set of topic filters; there is no queue per
 * subscriber. Each worker has its own sessions and match lists; nothing is shared on the way out.
 *
 * Threads: broker_worker functions on that worker's loop; the rest says so.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "broker/account.h"
#include "commit/commit.h"
#include "net/arrival.h"
#include "net/tls.h"

/* `limits:` of the configuration; units in the names. */
struct broker_limits {
	uint32_t connections;
	uint32_t sessions;
	uint32_t sessions_per_account;
	uint32_t sessions_per_address;
	bool loopback_leaves_any; /* sessions: a proxy on this machine is many clients */
	uint32_t connections_per_address;
	uint32_t connect_rate_per_address;
	uint32_t packet_bytes;
	uint32_t subscriptions_per_session;
	uint32_t subscription_bytes_per_session;
	uint32_t send_buffer_bytes;
	uint32_t in_flight;
	uint32_t receive_maximum;
	uint64_t session_expiry_ms;
	uint32_t keep_alive_s;
};
void broker_limits_default(struct broker_limits *l);

struct broker;
struct broker_worker;

struct broker_settings {
	struct broker_limits limits;
	struct hierarchy *hierarchy; /* reffed */
	struct accounts *accounts;   /* reffed */
	struct shelf *shelf;         /* borrowed for the broker's life; NULL: no metadata check */
	bool shadow;                 /* serve nothing */
	bool roams;                  /* broker_set_roaming() follows: the cluster has the wills */
	const char *dir;             /* sessions are stored here; NULL: not. Read by broker_new() */
	const char *retained_dir;    /* retained messages likewise */
	const char *bans_file;       /* and who is banned */
};

/* NULL, after the cause was logged, when what is stored cannot be opened. Loops do not run yet. */
struct broker *broker_new(struct commit *c, struct commit_port *const *ports, unsigned port_count,
	const struct broker_settings *settings);
/* Before the loops run: sessions are shared with other machines (commit/roaming.h). */
struct roaming;
struct roaming_host;
void broker_set_roaming(struct broker *b, const struct roaming *roaming);
struct roaming_host broker_roaming_host(struct broker *b);
/* As well: shared subscriptions with members on several machines (commit/sharing.h). */
struct sharing;
struct sharing_host;
void broker_set_sharing(struct broker *b, const struct sharing *sharing);
struct sharing_host broker_sharing_host(struct broker *b);
/* As well, copied: further topics below $SYS/ (broker/sys.h). */
struct sys_annex;
void broker_set_annex(struct broker *b, const struct sys_annex *annex);
/* What the cluster compares retained messages with (commit/retaining.h). */
struct retaining_host;
struct retaining_host broker_retaining_host(struct broker *b);
/* Tells clients (0x8B), saves sessions, closes; loops still run. Waits until done. */
void broker_stop(struct broker *b);
/* Before broker_stop(): clients are better served there, and are told so (0x9C and this server reference,
 * MQTT 5, 4.11; "": 0x9C alone). Copied. */
void broker_send_elsewhere(struct broker *b, const char *reference);
void broker_free(struct broker *b);
struct broker_worker *broker_worker(struct broker *b, unsigned port_number);

/* Accounts and limits from now on; clients that may stay are not dropped. Any one thread. */
void broker_apply(struct broker *b, const struct broker_settings *settings);

/* Who is refused (broker/bans.h); the broker's. */
struct bans;
struct bans *broker_bans(struct broker *b);

/* A client's TCP connection; takes a->fd. On the worker's loop. */
void broker_accept(struct broker_worker *w, const struct arrival *a);

/* A client's connection that began elsewhere (as an HTTP request) and is open: moved to the broker
 * with conn_move(), or left alone while the broker stops. On the worker's loop. */
struct conn;
void broker_accept_open(struct broker_worker *w, struct conn *from);

/* Who logs in by another door than MQTT: the same accounts, the same delays for failed logins. */
struct broker_rights {
	bool is_right; /* user and password; else the others are false */
	bool is_admin;
	bool may_replay;
	char *const *pages; /* words; the account's, so for the moment only */
	uint32_t page_count;
};
struct login;
/* The worker of this loop. */
struct broker_worker *broker_worker_of(struct broker *b, const struct loop *l);
/* On the worker's loop. NULL: *rights says already. Else on_answer comes later, unless cancelled. */
struct login *broker_login(struct broker_worker *w, const struct address *peer, struct view user,
	struct view password, struct broker_rights *rights,
	void (*on_answer)(void *context, bool is_right), void *context);
void broker_login_cancel(struct login *l);
/* What the account of this name may, for one who has logged in. */
struct broker_rights broker_rights_of(const struct broker_worker *w, struct view user);

/* Why connections are refused. */
enum broker_refusal {
#define X(symbol, word, error) REFUSAL_##symbol,
#include "broker/refusal.def"
#undef X
	REFUSAL_COUNT
};
const char *broker_refusal_word(enum broker_refusal r);

/* Sums over the workers; any thread. */
struct broker_figures {
	uint64_t connections; /* open now */
	uint64_t sessions;    /* connected and offline */
	uint64_t sessions_offline;
	uint64_t subscriptions;
	uint64_t shared_groups; /* of shared subscriptions, see broker/shared.h */
	uint64_t delivered;     /* messages handed to sockets */
	uint64_t delivered_bytes;
	uint64_t acknowledged; /* PUBACKs (PUBCOMPs) received for them */
	uint64_t resent;
	uint64_t received;  /* PUBLISH packets and wills from clients */
	uint64_t published; /* of these, published for the first time */
	uint64_t refused;   /* of these, not authorized or rejected by the gate */
	uint64_t live;      /* sessions at the tail */
	uint64_t behind;
	uint64_t connects;
	uint64_t connects_refused[REFUSAL_COUNT];
	uint64_t dropped_expired;  /* message expiry passed before delivery */
	uint64_t dropped_oversize; /* larger than the client's maximum packet size */
	uint64_t dropped_backlog;  /* more waited than the account may lag (broker/backlog.h) */
	uint64_t dropped_removed;  /* wanted, but removed from the journal before (broker/lost.h) */
	uint64_t
		skipped_records; /* records, wanted or not, removed before a session behind got there */
	uint64_t packets_received; /* MQTT packets of all kinds, from and to clients */
	uint64_t packets_sent;
	uint64_t retained; /* retained messages, and bytes of their topics, payloads, properties */
	uint64_t retained_bytes;
	uint64_t retained_refused; /* not published, as there was no room to retain them */
	struct histogram delivery; /* append to hand-over to the socket, live sessions */
};
void broker_figures(struct broker *b, struct broker_figures *out);

/* Lag of the connected sessions, as each worker saw it at most five seconds ago: two histograms over
 * sessions, bucket i below 2^i records or microseconds. Any thread. */
struct broker_lag {
	uint64_t messages[HISTOGRAM_BUCKETS];
	uint64_t message_sum;
	uint64_t us[HISTOGRAM_BUCKETS];
	uint64_t us_sum;
	uint64_t us_most; /* of the one furthest behind */
};
void broker_lag(struct broker *b, struct broker_lag *out);

#endif
