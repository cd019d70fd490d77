/* publish/publish.h - other brokers that are fed with what is committed here
 *
 * Isobar as the antiloop in front of an MQTT cluster (EMQX, VerneMQ, HiveMQ, RabbitMQ, mosquitto): a
 * target is a position in the journal and a set of filters, like a subscriber, but the connection is
 * ours and the packets go to a broker, at QoS 1.
 *
 *     journal --> feed (feed.h: which records) --> window of packet ids --> uplink --> the other broker
 *                   ^                                   |
 *                   +-- position <-- PUBACK ------------+     saved once a second (ledger.h)
 *
 * A target that is away costs nothing: its position stands still, and it gets everything in order when
 * it is back. What the journal had to remove meanwhile is counted and told.
 *
 * In a cluster every node is connected, and each (target, shard) is fed by one of them
 * (publisher_sharing_host(), feed.h). How far a shard has got follows from the position: every record
 * below it that was this node's to feed is done.
 *
 * Threads: publisher_apply(), _stop() and _free() on one thread that is no worker; publisher_each() on
 * any.
 */
#ifndef PUBLISH_PUBLISH_H
#define PUBLISH_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "net/address.h"
#include "uplink/uplink.h"

struct commit;
struct journal;
struct publisher;
struct sharing;
struct sharing_host;

#define PUBLISH_TARGETS 64u /* at most */

/* As under `publish` of the configuration; texts are owned by the struct. */
struct publish_config {
	char *name; /* NULL: its address */
	char *url;
	char *username;
	char *password;
	char **topics; /* count 0: all of origin/a/wis2, cache/a/wis2 and monitor/a/wis2 */
	uint32_t topic_count;
	bool tls_verify;
	char *tls_ca;  /* NULL: the system's */
	char *tls_max; /* "1.2" or NULL */
	bool tls_legacy;
};
void publish_config_fini(struct publish_config *c);
/* A target's name: as configured, or its address without credentials. In a cluster it is one target where
 * the name is the same. False: url is no address. */
bool publish_name(const struct publish_config *c, char out[URL_TEXT_BYTES]);

/* Why messages were lost to a target for good. */
enum publish_loss {
	PUBLISH_REMOVED,  /* the journal had to remove them before they were sent */
	PUBLISH_OVERSIZE, /* larger than the target takes [MQTT-3.2.2-15] */
	PUBLISH_CLOSED,   /* the target closed the connection on it three times */
	PUBLISH_LOSS_COUNT
};
const char *publish_loss_text(enum publish_loss loss);

/* Written by the target's worker, except where said. */
struct publish_figures {
	count acknowledged; /* messages the target has taken */
	count refused;      /* messages the target answered with a reason code that is final */
	count delayed;      /* answers that asked for patience (quota exceeded); sent again later */
	count resent;       /* sent again after a lost connection */
	count expired;      /* not sent, as their message expiry interval was over */
	count lost[PUBLISH_LOSS_COUNT];
	count removed; /* of ranges that were removed, counted by the ledger's thread */
	count state;   /* enum uplink_state */
	count connected;
	count connects;
	count connected_since_ms;
	count position; /* journal: every record before it is done */
	count lag_ms;   /* age of the record at it; 0: nothing waits */
	count owned;    /* in a cluster: shards that are fed from here */
	count gaps;     /* shards taken over at a place that the journal does not reach back to */
};

struct publisher_settings {
	const char *centre_id; /* part of the client id */
	const char *file;      /* where positions are kept */
	char **bind;           /* local addresses for outgoing connections */
	uint32_t bind_count;
	const char *node;      /* of a cluster; NULL: one machine */
	struct commit *commit; /* of a cluster; borrowed for life, as what follows */
	struct journal *journal;
	struct loop *const *loops; /* of the workers */
	unsigned loop_count;
	struct resolver *resolver;
};

/* Before the loops run. Reads the positions. */
struct publisher *publisher_new(const struct publisher_settings *settings);
/* The targets from now on: new ones begin at the journal's tail (or where an earlier run left them),
 * absent ones are forgotten, changed ones reconnect, the others go on undisturbed. Copies. */
void publisher_apply(struct publisher *p, const struct publish_config *configs, uint32_t n);
/* Lets what is in flight be acknowledged (2 s at most), disconnects, saves the positions. The loops
 * still run; not on one of them. */
void publisher_stop(struct publisher *p);
void publisher_free(struct publisher *p);

/* In a cluster, before the loops run: who is asked which shards to feed, and told how far they are. */
struct sharing_host publisher_sharing_host(struct publisher *p);
void publisher_set_sharing(struct publisher *p, const struct sharing *sharing);

/* One target as shown to people; pointers are valid during the call. */
struct publish_view {
	const char *name;
	const char *state;
	const char *last_error; /* "" when none since the last connect */
	uint8_t protocol;       /* in use: 5 or 4 */
	uint64_t lag_messages;  /* records of the journal not yet done, wanted or not */
	uint64_t lag_ms;
	const struct publish_figures *figures;
};
void publisher_each(struct publisher *p,
	void (*on_target)(void *context, const struct publish_view *v), void *context);

/* Everything lost for this reason. */
uint64_t publish_lost(const struct publish_figures *f, enum publish_loss loss);

#endif
