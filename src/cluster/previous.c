#include "cluster/previous.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

struct place {
	uint64_t key; /* hash of connection and topic; 0: free */
	struct uuid id;
};

struct previous {
	uint64_t seed;
	struct place places[PREVIOUS_PLACES];
};

struct previous *previous_new(void)
{
	struct previous *p = mem_new(sizeof(*p));

	p->seed = map_seed();
	return p;
}

void previous_free(struct previous *p)
{
	free(p);
}

bool previous_swap(struct previous *p, const void *connection, struct view topic,
	const struct uuid *id, struct uuid *before)
{
	uint64_t key = map_hash(topic.p, topic.n, p->seed ^ (uint64_t)(uintptr_t)connection) | 1;
	struct place *at = &p->places[(key >> 1) % PREVIOUS_PLACES];
	bool known = at->key == key;

	if (known)
		*before = at->id;
	at->key = key;
	at->id = *id;
	return known;
}
