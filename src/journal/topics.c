#include "journal/topics.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/map.h"
#include "base/mem.h"

#define FIRST_SIZE 256u

void topics_fini(struct topics *t)
{
	free(t->slots);
	*t = (struct topics){0};
}

void topics_reset(struct topics *t)
{
	topics_fini(t);
	t->seed = map_seed();
}

/* The slot of this hash, or the free one where it belongs. The table is never full. */
static struct topic_slot *slot_of(const struct topics *t, uint64_t low, uint64_t high)
{
	uint32_t mask = t->size - 1;
	uint32_t at = (uint32_t)low & mask;

	while (t->slots[at].number && (t->slots[at].low != low || t->slots[at].high != high))
		at = (at + 1) & mask;
	return &t->slots[at];
}

/* A table of `size` slots with the topics numbered below `count`. */
static void rebuild(struct topics *t, uint32_t size, uint32_t count)
{
	struct topics old = *t;

	t->slots = mem_new(size * sizeof(*t->slots));
	t->size = size;
	t->count = count;
	for (uint32_t i = 0; i < old.size; i++) {
		const struct topic_slot *s = &old.slots[i];

		if (s->number && s->number <= count)
			*slot_of(t, s->low, s->high) = *s;
	}
	free(old.slots);
}

uint32_t topics_number(struct topics *t, struct view topic)
{
	XXH128_hash_t hash = XXH3_128bits_withSeed(topic.p, topic.n, t->seed);
	struct topic_slot *s;

	if ((uint64_t)t->count * 3 >= (uint64_t)t->size * 2)
		rebuild(t, t->size ? t->size * 2 : FIRST_SIZE, t->count);
	s = slot_of(t, hash.low64, hash.high64);
	if (s->number == 0)
		*s = (struct topic_slot){hash.low64, hash.high64, ++t->count};
	return s->number - 1;
}

void topics_shrink(struct topics *t, uint32_t count)
{
	if (count < t->count)
		rebuild(t, t->size, count);
}
