/* broker/group.h - sessions that want the same things, and which of them want this topic
 *
 * Sessions of a worker with equal subscriptions, version and deny list form a group: a record is
 * matched once for the group and its packet made once for all of them. A match is the list of groups
 * that want a topic; it is kept by topic text (bounded) and found by the journal's topic number.
 *
 *     record --topic number--> match --> { group, qos } { group, qos } ...
 *                                           |
 *                                           +--> live sessions of the group
 *
 * **Invariant:** a group's filters never change; a session with other filters is in another group.
 * Threads: the worker's.
 */
#ifndef BROKER_GROUP_H
#define BROKER_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/account.h"
#include "broker/subscriptions.h"
#include "journal/journal.h"
#include "mqtt/tree.h"

/* One record of the present turn that the group wants. */
struct group_ref {
	uint32_t delta; /* from the turn's first record */
	uint8_t qos;    /* granted by the matching filters, at most as published */
};

struct session;

/* Answers of group_wants() and the like, by topic number of one segment. */
struct wants {
	uint8_t *by_topic; /* 0 not asked yet, 1 no, 2 + qos */
	uint32_t size;
	uint32_t segment; /* UINT32_MAX: none */
};

struct group {
	struct buf key;        /* version, account with a deny list, filters without positions */
	struct session *alone; /* its only member, see broker/own.h; NULL: whoever fits */
	struct subscriptions filters;
	struct accounts *accounts; /* one reference */
	const struct account *account;
	struct list live;  /* sessions at the tail */
	uint32_t sessions; /* in the group, live or behind */
	uint8_t version;
	bool has_ids;      /* some filter has a subscription identifier */
	bool as_published; /* some filter has Retain As Published */
	bool is_direct;    /* MQTT 3.1.1, QoS 0: the journal's bytes are the packets */
	/* the present turn */
	struct group *next_active;
	bool is_active;
	struct group_ref *refs;
	uint32_t ref_count;
	uint32_t ref_size;
	struct wants wants; /* for sessions that are behind */
};

struct match_item {
	struct group *group;
	uint8_t qos;
};

struct match {
	char *topic; /* owned; the map's key */
	size_t topic_bytes;
	struct match_item *items;
	uint32_t count;
	uint32_t size;
	uint64_t generation; /* of the groups when it was made */
	bool used;           /* since the last sweep */
};

struct groups {
	struct map by_key;
	struct filter_tree *tree;
	struct map matches;       /* by topic */
	uint64_t generation;      /* grows when a group comes or goes */
	struct match **by_number; /* of the present segment */
	uint32_t by_number_size;
	uint32_t segment;
};

void groups_init(struct groups *g);
void groups_fini(struct groups *g);

/* The group for these subscriptions (without the shared ones), made if new. Refs accounts. alone: the session, when nobody
 * else may be in it, else NULL. */
struct group *group_join(struct groups *g, const struct subscriptions *s, uint8_t version,
	struct accounts *accounts, const struct account *account, struct session *alone);
/* The last one out frees it. The session's link was removed from `live` by the caller. */
void group_leave(struct groups *g, struct group *group);

/* Who wants this record's topic. Valid until groups change. */
const struct match *match_record(
	struct groups *g, const struct journal_segment *segment, const struct journal_entry *entry);

/* Does the group want it, and with which QoS (min of granted and published)? -1: no. */
int group_wants(struct group *group, const struct journal_segment *segment,
	const struct journal_entry *entry);

/* The same for any subscriptions; what was answered is remembered in `wants`. */
int wants_ask(struct wants *wants, const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry);
void wants_clear(struct wants *wants); /* for other subscriptions or another account */
void wants_fini(struct wants *wants);

/* The same for subscriptions of which some are younger than the record. */
int subscriptions_want(const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq);

/* The same for what the subscriber published itself: No Local subscriptions do not count. */
int subscriptions_want_own(const struct subscriptions *s, const struct account *account,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq);

/* Appends the identifiers of the subscriptions by which a record is sent as MQTT 5 properties: those
 * that match, are not younger, and have none of the options `without`. */
void subscriptions_put_ids(const struct subscriptions *s, struct view topic, uint64_t seq,
	uint8_t without, struct buf *properties);

/* Has one of these Retain As Published? */
bool subscriptions_want_as_published(
	const struct subscriptions *s, struct view topic, uint64_t seq, uint8_t without);

void group_add_ref(struct group *group, uint32_t delta, uint8_t qos);

/* A record's topic. */
static inline struct view record_topic(
	const struct journal_segment *segment, const struct journal_entry *entry)
{
	const uint8_t *p = segment->packets + entry->offset + entry->header_bytes;

	return (struct view){(const char *)p + 2, (size_t)p[0] << 8 | p[1]};
}

static inline uint8_t qos_least(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

#endif
