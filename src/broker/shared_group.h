/* broker/shared_group.h - a group of broker/shared.h (inside shared*.c)
 *
 * Locks: what is marked L belongs to the group's lock, the rest of a desk or member to its worker.
 */
#ifndef BROKER_SHARED_GROUP_H
#define BROKER_SHARED_GROUP_H

#include "base/buf.h"
#include "broker/group.h"
#include "broker/session.h"
#include "broker/shared.h"
#include "broker/worker.h"

#define SHARED_HAND 256u /* dealt to one member at most before its worker has come by */

/* A session's part in one group. */
struct shared_member {
	struct shared_member *next; /* of the session */
	struct session *session;
	struct shared *group;
	struct subscriptions own; /* this one, by its inner filter, with its identifier */
	uint16_t number;          /* of the subscription */
	uint8_t qos;              /* granted */
	bool is_seated;           /* connected */
	bool is_starved;          /* has no room: not dealt to until it says so */
	struct list
		waking; /* in desk->waking: may have room again; or in worker->shared.throttled */
	struct buf out; /* positions taken from the hand, empty between turns */
	struct list in_turn; /* L in group->turn, while credit > 0 */
	struct list round;   /* of this turn */
	struct list called;  /* L in desk->called, while the hand holds something */
	struct buf hand;     /* L positions dealt */
	uint32_t credit;     /* L how many more */
	struct list seat;    /* L in desk->members while connected */
	struct buf open;     /* L dealt and not acknowledged at QoS 1, at the last checkpoint */
};

/* The members of a group on one worker. */
struct shared_desk {
	struct list link; /* in worker->shared.desks while it has members */
	struct shared *group;
	struct broker_worker *worker;
	struct list members; /* L */
	struct list waking;
	struct list called;     /* L */
	_Atomic bool is_called; /* comes by in the next turn, whatever the tail says */
	_Atomic bool to_wake;   /* called, its worker not woken yet */
};

struct shared_prefetch;
struct shared_part;

struct shared {
	pthread_mutex_t lock;
	struct broker *broker;
	struct buf key;                   /* of its row: user NUL NUL name/filter */
	uint32_t holders;                 /* sessions that subscribe; the lock of struct shareds */
	struct subscriptions filters;     /* the one filter, without an identifier */
	struct accounts *accounts;        /* L one reference; NULL: nobody was connected yet */
	const struct account *account;    /* L */
	struct wants wants;               /* L */
	_Atomic uint64_t cursor;          /* written L: records below were dealt or not wanted */
	struct buf returned;              /* L positions to deal first, ascending */
	struct list turn;                 /* L members with credit, the next first */
	bool is_live;                     /* L the last deal reached the tail */
	struct shared_prefetch *prefetch; /* L cold packets are being fetched */
	uint64_t warm_from;               /* L [from, to) was fetched */
	uint64_t warm_to;
	/* L its row, see shared_store.c */
	uint64_t safe;
	uint64_t noted;
	uint64_t noted_ms;
	struct buf redealt[2];
	uint64_t saved_hash;
	struct shared_part *part;   /* L what is dealt here of it; NULL: all, there is no cluster */
	struct shared_desk desks[]; /* one per worker */
};

/* --- positions: a buf of uint64_t -------------------------------------- */

static inline uint32_t positions_count(const struct buf *b)
{
	return (uint32_t)(buf_length(b) / sizeof(uint64_t));
}

static inline uint64_t positions_at(const struct buf *b, uint32_t i)
{
	uint64_t seq;

	memcpy(&seq, buf_bytes(b) + i * sizeof(seq), sizeof(seq));
	return seq;
}

static inline void positions_add(struct buf *b, uint64_t seq)
{
	buf_append(b, &seq, sizeof(seq));
}

/* Ascending, each once. */
void positions_sort(struct buf *b);

/* --- shared_deal.c: with the group's lock ------------------------------ */

enum deal_answer {
	DEAL_DONE,    /* nothing wanted is left */
	DEAL_BLOCKED, /* no member has room, or cold packets are awaited */
	DEAL_MORE,    /* the share of this turn is used up */
};

/* Deals what there is to the members in turn. In a turn of w, which is a reader. */
enum deal_answer shared_deal(struct shared *g, struct broker_worker *w);

/* Puts these positions (to be emptied) back to the front. */
void shared_give_back(struct shared *g, struct buf *positions);

/* Sets what the member may be dealt, and with that whether it is in turn. */
void shared_set_credit(struct shared_member *m, uint32_t credit);

/* All desks with members come by; without the lock shared_wake() is to be called. */
void shared_call_all(struct shared *g);

/* Wakes the workers called. Better without the lock: it may cost a system call. */
void shared_wake(struct shared *g);

/* The group ends (lock of struct shareds): forgets what it waits for. */
void shared_forget_prefetch(struct shared *g);

/* --- shared_send.c ------------------------------------------------------ */

/* The desk has something to do in the next turn. Its worker. */
void shared_come_by(struct shared_desk *d);

/* How many messages the member's client may be sent besides `dealt` ones [MQTT-3.3.4-9]; none while
 * some are to be sent again. Its worker. */
uint32_t shared_room(const struct shared_member *m, uint32_t dealt);

/* --- shared.c ----------------------------------------------------------- */

/* The group of this key, made if new to begin at `from`. Lock of struct shareds. */
struct shared *shared_find(struct broker *b, struct view key, uint64_t from);
/* If nobody subscribes to it any more: out of the map and freed. Lock of struct shareds. */
void shared_end_unheld(struct shared *g);
/* --- shared_store.c ----------------------------------------------------- */

/* Writes its row if it differs from the last one; with the group's lock. */
void shared_save(struct shared *g);

#endif
