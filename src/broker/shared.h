/* broker/shared.h - shared subscriptions: each message to one member of a group (MQTT 5, 4.8.2)
 *
 *     journal  ...|........................|......> tail
 *                 ^ cursor                         "$share/NAME/FILTER", one per account
 *                 |
 *     returned  ->+-- dealt in turn, under the group's lock --> member's hand --> socket
 *        ^                                                         |
 *        +---- not sent, or open at QoS 1 when a connection ends --+
 *
 * A group has one position, the cursor; behind it nothing is looked at again except what members gave
 * back, which goes out first. Whichever worker with a member in the group comes first after an append
 * deals for all: each wanted record to the next member in turn that has room (its window, its socket).
 * Members on other workers find theirs in their hand and are woken. So a member that is full or does
 * not read is passed over, and what it could not take goes to others. A worker takes the group's lock
 * once per batch, twice when something comes back; who has no shared subscription never does.
 *
 * A group is named by account, share name and filter: accounts do not share, as what one may not read
 * another one's member would take away. It lasts as long as a session, connected or not, subscribes
 * to it; while nobody is connected the cursor stands still. Each member gets a message at the least of
 * the QoS published and granted to it. At QoS 1, what a member had open when its connection ended
 * goes to the front, with a new packet identifier and without DUP; at QoS 2 it stays with its session.
 *
 * In a cluster each machine deals only records of the shards that it owns (broker/shared_part.h).
 *
 * Threads: functions on a session or a worker on its worker's thread; the rest says so.
 */
#ifndef BROKER_SHARED_H
#define BROKER_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "base/list.h"
#include "base/map.h"
#include "broker/row.h"
#include "broker/subscriptions.h"
#include "journal/journal.h"
#include "net/loop.h"

struct broker;
struct broker_worker;
struct session;
struct shared_member;

/* Part of struct broker. */
struct shareds {
	pthread_mutex_t lock; /* of the map and who is in it; taken before a group's */
	struct map groups;
	struct list ended; /* the cluster is still to hear of these, see shared_part.h */
	_Atomic uint64_t count;
	uint64_t parts;               /* numbers given, see shared_part.h */
	struct journal_reader reader; /* the cluster's thread; open when there is a cluster */
};
void shareds_init(struct shareds *all);
void shareds_fini(struct shareds *all);

/* Part of struct broker_worker. */
struct shared_worker {
	struct list desks;      /* groups with connected members on this worker */
	_Atomic bool is_called; /* one of them has something to do */
	struct list throttled;  /* members that wait for their account's rate */
	struct timer rate;
	uint64_t seen;       /* the journal's tail at the last turn */
	count checkpoint_ms; /* when its last checkpoint began */
};

/* --- subscribing ------------------------------------------------------ */

/* The filter by which messages are chosen: without "$share/NAME/". */
struct view shared_filter(const struct subscription *one);

/* The number for a further shared subscription of s: none that stands with a subscription or a
 * message in flight; 0: all are taken. */
uint16_t shared_next_number(const struct session *s);

/* Subscriptions, account or client of s have changed: leaves and joins groups accordingly. */
void shared_fit(struct session *s);

/* The connection of s ends (before its window is put to rest): gives back, takes no more part. */
void shared_pause(struct session *s);

/* The session ends or forgets its subscriptions: leaves all groups. Not connected. */
void shared_leave(struct session *s);

/* The broker is gone; only memory is given back. */
void shared_discard(struct session *s);

/* --- delivering ------------------------------------------------------- */

void shared_worker_init(struct broker_worker *w);
void shared_worker_fini(struct broker_worker *w);
bool shared_has_work(const struct broker_worker *w);
/* In the worker's turn, between journal_reader_enter() and leave. */
void shared_turn(struct broker_worker *w);

/* s may be able to take something again: acknowledged, sent, resent. */
void shared_go_on(struct session *s);

/* Does the row of a group list what s has in flight at QoS 1 by this number? */
bool shared_holds(const struct session *s, uint16_t number);

/* The least position of the groups s takes part in; UINT64_MAX: none. */
uint64_t shared_position(const struct session *s);

/* --- lasting (broker/persist.h) --------------------------------------- */

/* A row in the store that is not a session but a group. */
bool shared_is_row(const struct row *row);
/* While the store is walked; no position lies behind `tail`. */
void shared_load(struct broker *b, const struct row *row, uint64_t tail);
/* The walk is over: what was in flight goes back, groups that nobody subscribes to end. */
void shared_loaded(struct broker *b);
/* A worker has left rows for its sessions as they were at begun_ms (monotonic) or later. */
void shared_checkpoint(struct broker_worker *w, uint64_t begun_ms);
/* No session is connected any more: exact rows. */
void shared_save_all(struct broker *b);

#endif
