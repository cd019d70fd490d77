#include "broker/users.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

struct user {
	uint32_t connections;
	char name[];
};

void users_init(struct users *u)
{
	pthread_mutex_init(&u->lock, NULL);
	u->by_name = (struct map){0};
}

void users_fini(struct users *u)
{
	struct user *user;

	for (size_t at = 0; (user = map_next(&u->by_name, &at)) != NULL;)
		free(user);
	map_fini(&u->by_name);
	pthread_mutex_destroy(&u->lock);
}

static struct view key_of(const char *name)
{
	return view_of(name ? name : "");
}

static struct user *user_new(struct users *u, struct view key)
{
	struct user *user = mem_new(sizeof(*user) + key.n + 1);

	memcpy(user->name, key.p, key.n);
	map_put(&u->by_name, view_of(user->name), user);
	return user;
}

bool users_enter(struct users *u, const char *name, uint32_t most)
{
	struct view key = key_of(name);
	struct user *user;
	bool may;

	pthread_mutex_lock(&u->lock);
	user = map_get(&u->by_name, key);
	may = most == 0 || user == NULL || user->connections < most;
	if (may && user == NULL)
		user = user_new(u, key);
	if (may)
		user->connections++;
	pthread_mutex_unlock(&u->lock);
	return may;
}

void users_leave(struct users *u, const char *name)
{
	struct user *user;

	pthread_mutex_lock(&u->lock);
	user = map_get(&u->by_name, key_of(name));
	check(user && user->connections);
	if (--user->connections == 0) {
		map_remove(&u->by_name, view_of(user->name));
		free(user);
	}
	pthread_mutex_unlock(&u->lock);
}
