#include "broker/users.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

struct user {
	uint32_t connections;
	uint32_t sessions;
	char name[];
};

void users_init(struct users *u)
{
	pthread_mutex_init(&u->lock, NULL);
	u->by_name = (struct map){0};
	u->sessions = 0;
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

static struct user *find_or_make(struct users *u, const char *name)
{
	struct user *user = map_get(&u->by_name, key_of(name));

	return user ? user : user_new(u, key_of(name));
}

static void free_if_unused(struct users *u, struct user *user)
{
	if (user->connections || user->sessions)
		return;
	map_remove(&u->by_name, view_of(user->name));
	free(user);
}

/* One more, unless there are `most`. */
static bool count_up(uint32_t *n, uint32_t most)
{
	if (most && *n >= most)
		return false;
	++*n;
	return true;
}

bool users_enter(struct users *u, const char *name, uint32_t most)
{
	struct user *user;
	bool may;

	pthread_mutex_lock(&u->lock);
	user = find_or_make(u, name);
	may = count_up(&user->connections, most);
	free_if_unused(u, user);
	pthread_mutex_unlock(&u->lock);
	return may;
}

void users_leave(struct users *u, const char *name)
{
	struct user *user;

	pthread_mutex_lock(&u->lock);
	user = map_get(&u->by_name, key_of(name));
	check(user && user->connections);
	user->connections--;
	free_if_unused(u, user);
	pthread_mutex_unlock(&u->lock);
}

bool users_keep(struct users *u, const char *name, uint32_t most, uint32_t most_of_all)
{
	struct user *user;
	bool may;

	pthread_mutex_lock(&u->lock);
	user = find_or_make(u, name);
	may = (most_of_all == 0 || u->sessions < most_of_all) && count_up(&user->sessions, most);
	u->sessions += may;
	free_if_unused(u, user);
	pthread_mutex_unlock(&u->lock);
	return may;
}

void users_drop(struct users *u, const char *name)
{
	struct user *user;

	pthread_mutex_lock(&u->lock);
	user = map_get(&u->by_name, key_of(name));
	check(user && user->sessions);
	user->sessions--;
	u->sessions--;
	free_if_unused(u, user);
	pthread_mutex_unlock(&u->lock);
}
