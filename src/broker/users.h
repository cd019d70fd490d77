/* broker/users.h - how many connections each account has now
 *
 * Counted by user name, so that the numbers stay right when a reload replaces the accounts.
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
};

void users_init(struct users *u);
void users_fini(struct users *u);

/* One more connection of this user (NULL: anonymous), unless it has `most` already (0: no limit).
 * False: refused, nothing counted. */
bool users_enter(struct users *u, const char *name, uint32_t most);
void users_leave(struct users *u, const char *name);

#endif
