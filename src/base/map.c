#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/mem.h"

#define MAP_FIRST_SIZE 16

uint64_t map_hash(const void *p, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t map_seed(void)
{
	uint64_t seed;

	check(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
	return seed | 1;
}

void map_fini(struct map *m)
{
	free(m->slots);
	*m = (struct map){0};
}

static uint32_t hash_in(const struct map *m, struct view key)
{
	return (uint32_t)map_hash(key.p, key.n, m->seed);
}

static struct view key_of(const struct map_slot *slot)
{
	return (struct view){slot->key, slot->key_bytes};
}

static struct map_slot *find(const struct map *m, struct view key, uint32_t hash)
{
	size_t at = hash & (m->size - 1);

	while (m->slots[at].value) {
		if (m->slots[at].hash == hash && view_equal(key_of(&m->slots[at]), key))
			break;
		at = (at + 1) & (m->size - 1);
	}
	return &m->slots[at];
}

void *map_get(const struct map *m, struct view key)
{
	return m->size ? find(m, key, hash_in(m, key))->value : NULL;
}

static void grow(struct map *m)
{
	struct map old = *m;

	m->size = old.size ? old.size * 2 : MAP_FIRST_SIZE;
	m->seed = old.seed ? old.seed : map_seed();
	m->slots = mem_new(m->size * sizeof(*m->slots));
	for (size_t i = 0; i < old.size; i++) {
		if (old.slots[i].value)
			*find(m, key_of(&old.slots[i]), old.slots[i].hash) = old.slots[i];
	}
	free(old.slots);
}

void *map_put(struct map *m, struct view key, void *value)
{
	struct map_slot *slot;
	uint32_t hash;
	void *old;

	check(value != NULL && key.n <= UINT32_MAX);
	if (m->count * 3 >= m->size * 2)
		grow(m);
	hash = hash_in(m, key);
	slot = find(m, key, hash);
	old = slot->value;
	*slot = (struct map_slot){key.p, (uint32_t)key.n, hash, value};
	m->count += old == NULL;
	return old;
}

/* Moves later entries of the run back so that no search stops early at the hole. */
static void close_hole(struct map *m, size_t hole)
{
	size_t mask = m->size - 1;
	size_t at = hole;

	for (;;) {
		at = (at + 1) & mask;
		if (m->slots[at].value == NULL)
			break;
		if (((at - (m->slots[at].hash & mask)) & mask) >= ((at - hole) & mask)) {
			m->slots[hole] = m->slots[at];
			hole = at;
		}
	}
	m->slots[hole] = (struct map_slot){0};
}

void *map_remove(struct map *m, struct view key)
{
	struct map_slot *slot;
	void *old;

	if (m->size == 0)
		return NULL;
	slot = find(m, key, hash_in(m, key));
	old = slot->value;
	if (old) {
		m->count--;
		close_hole(m, (size_t)(slot - m->slots));
	}
	return old;
}

void *map_next(const struct map *m, size_t *at)
{
	while (*at < m->size) {
		void *value = m->slots[(*at)++].value;

		if (value)
			return value;
	}
	return NULL;
}
