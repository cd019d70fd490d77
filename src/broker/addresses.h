/* broker/addresses.h - what is remembered of the addresses clients come from
 *
 *     address --> { connections now, how fast they came, failed logins, sessions left behind }
 *
 * An IPv4 address counts by itself, IPv6 by /64: that is what one subscriber's line has. An entry
 * with a connection or an offline session is bounded by what those are bounded by. One without is kept
 * only while it remembers something, and at most ADDRESSES_IDLE of these: of a few of the oldest the
 * one with the fewest failed logins goes first, so that whoever has many addresses pushes out his own
 * single failures before another's many.
 *
 * Threads: any; a lock, taken when connections, logins and sessions begin and end, never for a
 * message.
 */
#ifndef BROKER_ADDRESSES_H
#define BROKER_ADDRESSES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "net/address.h"

struct broker_limits;

#define ADDRESSES_IDLE 65536u
#define ADDRESSES_FORGET_MS (5u * 60u * 1000u) /* failed logins, after the last one */
#define ADDRESSES_DELAY_MS 100u                /* for the first failed login; then doubled */
#define ADDRESSES_DELAY_MOST_MS 6400u

/* What an address counts as; 0 is none. */
uint64_t address_key(const struct address *a);
/* 127.0.0.0/8, and ::1. */
bool address_key_is_loopback(uint64_t key);

struct addresses {
	pthread_mutex_t lock;
	struct map by_key;
	struct list idle; /* without connections and sessions, oldest first */
	uint32_t idle_count;
};

void addresses_init(struct addresses *a);
void addresses_fini(struct addresses *a);

/* A new connection: may it? The refused are told why in CONNACK, as many at once (in a second) as the
 * limit itself admits; those above it are not taken. */
enum admission {
	ADMITTED,
	ADMISSION_MANY,      /* limits.connections_per_address: told 0x97, then closed */
	ADMISSION_FAST,      /* limits.connect_rate_per_address: told 0x9F, then closed */
	ADMISSION_NOT_TAKEN, /* closed at once; nothing is counted, no addresses_leave() */
};
enum admission addresses_enter(
	struct addresses *a, uint64_t key, const struct broker_limits *limits, uint64_t now_ms);
void addresses_leave(struct addresses *a, uint64_t key, enum admission as, uint64_t now_ms);

/* How long a login by something secret waits now; 0 when nothing failed lately. */
uint32_t addresses_delay(struct addresses *a, uint64_t key, uint64_t now_ms);
/* One more failed login; gives the delay from now on. */
uint32_t addresses_failed(struct addresses *a, uint64_t key, uint64_t now_ms);

/* A session goes offline: its link (alone) joins those the address has left behind, until
 * addresses_take_back(). More than `most` (0: no limit): the oldest leaves the list, and on_over gets
 * it under the lock, as only there it is sure to exist. */
void addresses_leave_behind(struct addresses *a, uint64_t key, struct list *link, uint32_t most,
	void (*on_over)(void *context, struct list *oldest), void *context);
/* Harmless when it is not in the list. */
void addresses_take_back(struct addresses *a, uint64_t key, struct list *link, uint64_t now_ms);

/* Entries there are; for tests. */
uint32_t addresses_count(struct addresses *a);

#endif
