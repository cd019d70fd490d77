/* broker/users.h - how many connections and lasting sessions each account has now
 *
 * A session lasts when it is kept after its connection (session expiry above 0); the others are bounded
 * by the connections. Counted by user name, so that the numbers stay right when a reload replaces the accounts.
 *
 * Threads: any; a lock, taken at connects and disconnects only.
 */
#ifndef BROKER_USERS_H
#define BROKER_USERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"

struct users {
	pthread_mutex_t lock;
	struct map by_name;
	uint32_t sessions; /* of all */
};

void users_init(struct users *u);
void users_fini(struct users *u);

/* One more connection of this user (NULL: anonymous), unless it has `most` already (0: no limit).
 * False: refused, nothing counted. */
bool users_enter(struct users *u, const char *name, uint32_t most);
void users_leave(struct users *u, const char *name);

/* One more lasting session of this user (anonymous: NULL or ""), unless it has `most` (0: no limit)
 * or all together have `most_of_all` (0: no limit). False: refused, nothing counted. */
bool users_keep(struct users *u, const char *name, uint32_t most, uint32_t most_of_all);
void users_drop(struct users *u, const char *name);

#endif
