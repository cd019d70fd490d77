/* broker/throttle.h - an account's limits on what is sent to it: messages and bytes a second
 *
 * A bucket for each, shared by all sessions of the account on all workers. What is sent is taken out
 * once per gathered write; who finds it empty falls behind and waits in his worker's queue, without
 * losing anything and without keeping anybody else. A bucket holds a second's worth. Workers look and
 * take without a lock, so together they may take a little more than is there; it is owed.
 *
 *     live --empty--> waiting: starved first, then those who got something --every 50 ms--> ready
 *
 * While one session of the account starves, none of it goes on live: all of them take their turns in
 * the queue.
 *
 * Threads: struct throttle any; the rest the worker's.
 */
#ifndef BROKER_THROTTLE_H
#define BROKER_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/loop.h"

struct batch;
struct broker_worker;
struct session;

struct throttle_bucket {
	uint64_t rate;         /* a second; 0: no limit */
	_Atomic int64_t level; /* in thousandths; negative: owed */
	_Atomic uint64_t filled_ms;
};

struct throttle {
	struct throttle_bucket messages;
	struct throttle_bucket bytes;
	_Atomic uint32_t starving; /* sessions that got nothing at their last turn */
};

/* NULL when neither is limited: then nothing of this costs anything. */
struct throttle *throttle_new(uint64_t messages_per_second, uint64_t bytes_per_second);

/* How many of the batch's first n messages may be sent now. What is larger than a second's worth goes
 * when the bucket is not empty. */
uint32_t throttle_grant(struct throttle *t, const struct batch *b, uint32_t n, uint64_t now_ms);
/* n messages were sent, that many bytes. */
void throttle_spend(struct throttle *t, uint64_t n, uint64_t bytes);
/* Nothing may be sent now. */
bool throttle_is_empty(struct throttle *t, uint64_t now_ms);

/* --- sessions that wait ------------------------------------------------ */

/* Part of struct broker_worker. */
struct throttle_queue {
	struct timer timer;
	struct list starved;
	struct list served;
};
void throttle_queue_init(struct broker_worker *w);
void throttle_queue_fini(struct broker_worker *w);

/* s (behind, not ready) gets its next turn with others of the queue; has_got: something in this one. */
void throttle_wait(struct session *s, bool has_got);
/* Its turn has come, or it leaves. */
void throttle_end_wait(struct session *s);

#endif
