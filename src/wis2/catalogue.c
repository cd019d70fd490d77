/* wis2/catalogue.c - one hash table of pairs, and the few patterns apart
 *
 *     keys      open addressing, at most half full: 128 bits of (owner, tail), 0: free. The owner is
 *               a record's id or a centre-id; each hashes under a seed of its own.
 *     patterns  tails with + or #, in order of their owner's hash, so that a miss looks at those of
 *               two owners only
 *
 * **Invariant:** a list on a shelf does not change.
 */
#include "wis2/catalogue.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/map.h"
#include "base/mem.h"
#include "mqtt/filter.h"
#include "wis2/record.h"

#define FIRST_SIZE 64u

struct pattern {
	uint64_t owner;
	char *filter; /* owned */
};

struct catalogue {
	uint64_t id_seed;
	uint64_t centre_seed;
	XXH128_hash_t *keys;
	size_t size; /* a power of two */
	size_t count;
	size_t pairs;
	struct pattern *patterns;
	size_t pattern_count;
	size_t pattern_bytes;
};

/* --- keys ------------------------------------------------------------- */

static uint64_t owner_of(struct view owner, uint64_t seed)
{
	return XXH3_64bits_withSeed(owner.p, owner.n, seed);
}

static bool is_free(XXH128_hash_t key)
{
	return (key.low64 | key.high64) == 0;
}

static XXH128_hash_t key_of(uint64_t owner, struct view tail)
{
	XXH128_hash_t key = XXH3_128bits_withSeed(tail.p, tail.n, owner);

	key.low64 += is_free(key);
	return key;
}

static XXH128_hash_t *find(const struct catalogue *c, XXH128_hash_t key)
{
	size_t at = key.low64 & (c->size - 1);

	while (!is_free(c->keys[at]) && !XXH128_isEqual(c->keys[at], key))
		at = (at + 1) & (c->size - 1);
	return &c->keys[at];
}

static void grow(struct catalogue *c)
{
	XXH128_hash_t *old = c->keys;
	size_t size = c->size;

	c->size = size * 2;
	c->keys = mem_new(c->size * sizeof(*c->keys));
	for (size_t i = 0; i < size; i++) {
		if (!is_free(old[i]))
			*find(c, old[i]) = old[i];
	}
	free(old);
}

/* False: it is there. */
static bool add_key(struct catalogue *c, uint64_t owner, struct view tail)
{
	XXH128_hash_t key = key_of(owner, tail);
	XXH128_hash_t *place;

	if (c->count * 2 >= c->size)
		grow(c);
	place = find(c, key);
	if (!is_free(*place))
		return false;
	*place = key;
	c->count++;
	return true;
}

/* --- patterns --------------------------------------------------------- */

static bool has_wildcard(struct view tail)
{
	return memchr(tail.p, '+', tail.n) != NULL || memchr(tail.p, '#', tail.n) != NULL;
}

/* The first pattern of that owner or behind. */
static size_t first_of(const struct catalogue *c, uint64_t owner)
{
	size_t low = 0, high = c->pattern_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->patterns[middle].owner < owner)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool add_pattern(struct catalogue *c, uint64_t owner, struct view filter)
{
	size_t first = first_of(c, owner), at = first;

	for (; at < c->pattern_count && c->patterns[at].owner == owner; at++) {
		if (view_equal(view_of(c->patterns[at].filter), filter))
			return true;
	}
	if (at - first >= CATALOGUE_PATTERNS_OF_ONE || c->pattern_count >= CATALOGUE_PATTERNS_MOST)
		return false;
	c->patterns = mem_resize(c->patterns, (c->pattern_count + 1) * sizeof(*c->patterns));
	memmove(&c->patterns[at + 1], &c->patterns[at],
		(c->pattern_count - at) * sizeof(*c->patterns));
	c->patterns[at] = (struct pattern){owner, mem_text_of(filter)};
	c->pattern_count++;
	c->pattern_bytes += sizeof(*c->patterns) + filter.n + 1;
	return true;
}

static bool matches(const struct catalogue *c, uint64_t owner, struct view tail)
{
	size_t at = c->pattern_count ? first_of(c, owner) : 0;

	for (; at < c->pattern_count && c->patterns[at].owner == owner; at++) {
		if (filter_match(view_of(c->patterns[at].filter), tail))
			return true;
	}
	return false;
}

/* --- filling ---------------------------------------------------------- */

struct catalogue *catalogue_new(void)
{
	struct catalogue *c = mem_new(sizeof(*c));

	c->id_seed = map_seed();
	c->centre_seed = map_seed();
	c->size = FIRST_SIZE;
	c->keys = mem_new(c->size * sizeof(*c->keys));
	return c;
}

void catalogue_free(struct catalogue *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->pattern_count; i++)
		free(c->patterns[i].filter);
	free(c->patterns);
	free(c->keys);
	free(c);
}

bool catalogue_add(struct catalogue *c, struct view id, struct view tail)
{
	struct view centre = metadata_id_centre(id);
	uint64_t by_id = owner_of(id, c->id_seed);
	uint64_t by_centre = owner_of(centre, c->centre_seed);

	if (centre.p == NULL || tail.n == 0)
		return false;
	if (has_wildcard(tail)) {
		if (!filter_is_valid(tail) || !add_pattern(c, by_id, tail) ||
			!add_pattern(c, by_centre, tail))
			return false;
		c->pairs++;
		return true;
	}
	if (c->count / 2 >= CATALOGUE_PAIRS_MOST)
		return false;
	add_key(c, by_id, tail);
	c->pairs += add_key(c, by_centre, tail);
	return true;
}

struct catalogue_size catalogue_size(const struct catalogue *c)
{
	return (struct catalogue_size){
		c->pairs, sizeof(*c) + c->size * sizeof(*c->keys) + c->pattern_bytes};
}

/* --- asking ----------------------------------------------------------- */

static bool has(const struct catalogue *c, uint64_t owner, struct view tail)
{
	return !is_free(*find(c, key_of(owner, tail))) || matches(c, owner, tail);
}

/* The owner is asked before the list: another's record is no record, and no reason to fall back on
 * those of the topic's centre (metadata.md, section 5). */
enum catalogue_answer catalogue_ask(
	const struct catalogue *c, const struct catalogue_question *question)
{
	struct view id = question->metadata_id;

	if (id.n) {
		struct view owner = metadata_id_centre(id);

		if (!question->any_owner && owner.p && !view_equal(owner, question->centre))
			return CATALOGUE_FOREIGN;
		if (has(c, owner_of(id, c->id_seed), question->tail)) /* MD-01, MD-05 */
			return CATALOGUE_YES;
		if (!question->fallback)
			return CATALOGUE_NO;
	}
	if (!has(c, owner_of(question->centre, c->centre_seed), question->tail)) /* MD-01 */
		return CATALOGUE_NO;
	return id.n ? CATALOGUE_BY_CENTRE : CATALOGUE_YES;
}

/* --- the shelf -------------------------------------------------------- */

void shelf_init(struct shelf *s)
{
	*s = (struct shelf){.seed = map_seed()};
}

void shelf_fini(struct shelf *s)
{
	catalogue_free(shelf_put(s, NULL));
}

struct catalogue *shelf_put(struct shelf *s, struct catalogue *list)
{
	return atomic_exchange(&s->list, list);
}

/* Not written again while it is set, so that workers do not fight for its cache line. */
static void raise(atomic_bool *flag)
{
	if (!atomic_load_explicit(flag, memory_order_relaxed))
		atomic_store_explicit(flag, true, memory_order_release);
}

enum catalogue_answer shelf_ask(struct shelf *s, const struct catalogue_question *question)
{
	const struct catalogue *list = atomic_load_explicit(&s->list, memory_order_acquire);
	enum catalogue_answer answer;

	if (list == NULL)
		return CATALOGUE_YES;
	answer = catalogue_ask(list, question);
	if (answer == CATALOGUE_NO)
		raise(&s->missed);
	return answer;
}

uint64_t shelf_hash(const struct shelf *s, struct view metadata_id)
{
	return owner_of(metadata_id, s->seed) | 1;
}

void shelf_notice(struct shelf *s, struct view gone)
{
	if (gone.n) {
		unsigned at = atomic_fetch_add_explicit(&s->gone_at, 1, memory_order_relaxed);

		atomic_store_explicit(
			&s->gone[at % SHELF_GONE], shelf_hash(s, gone), memory_order_release);
	}
	raise(&s->noticed);
}
