/* base/map.h - a hash table from text to pointer
 *
 * Open addressing, seeded XXH3 (a peer may choose the keys). Keys are borrowed:
 * they must live inside the value, or as long as the entry.
 *
 * Threads: one at a time.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdint.h>

#include "base/view.h"

struct map_slot {
	const char *key;
	uint32_t key_bytes;
	uint32_t hash; /* the lower half, which is enough for as many slots as memory holds */
	void *value;   /* NULL: free */
};

struct map {
	struct map_slot *slots;
	size_t size; /* power of two, or 0 */
	size_t count;
	uint64_t seed;
};

/* Zero-initialised is empty and valid as well (seed drawn at first use). */
void map_fini(struct map *m);

/* NULL when absent. */
void *map_get(const struct map *m, struct view key);

/* Gives the value replaced, or NULL. value is not NULL. */
void *map_put(struct map *m, struct view key, void *value);

/* Gives the value removed, or NULL. */
void *map_remove(struct map *m, struct view key);

/* Walks: *at starts at 0; NULL at the end. Nothing may be put or removed meanwhile. */
void *map_next(const struct map *m, size_t *at);

/* The process's hash of bytes for tables that peers can fill; seed from map_seed(). */
uint64_t map_hash(const void *p, size_t n, uint64_t seed);
uint64_t map_seed(void);

#endif
