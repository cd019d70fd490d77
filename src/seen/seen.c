/* The ids stand in a ring in the order of their claims; claim number n stands at place n modulo the
 * ring. A hash table of ring places finds them: 4 bytes a slot, open addressing, the seed secret as
 * anybody may choose ids. Ages are not kept per id: one mark per second says which claim was that
 * second's first.
 *
 * Memory follows use. The ring's pages come as it fills and go as it empties. The table doubles:
 * the address space reserved at the start is laid out like a heap, the table of 2^k slots at slot
 * 2^k, so the old and the new one never overlap. While both are there each claim moves a few slots
 * from the old to the new; a slot left behind is marked moved, so that searches in the old still
 * pass over it.
 *
 * **Invariant:** every claim in [first, next) that is not superseded is found by exactly one slot.
 * A claim is superseded when its id was claimed again after the window but before it was removed.
 */
#include "seen/seen.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"

#define SLOTS_FIRST 4096u     /* of the smallest table: 16 KiB */
#define SLOTS_HUGE (1u << 20) /* tables from 4 MiB on in huge pages */
#define EMPTY 0u
#define MOVED UINT32_MAX
#define MOVE_PER_CLAIM 8u
#define TOUCH_PER_CLAIM 32u /* slots of the next table made ahead, see touch_ahead() */
#define EXPIRE_PER_CLAIM 4u
#define EXPIRE_PER_CALL 8192u
#define MARK_MS 1000u
#define PREFETCH_MOST 64u
#define IDS_PER_PIECE (1u << 17) /* given back at once; a whole number of pages */
#define RING_PIECE (IDS_PER_PIECE * sizeof(struct claimed))

struct claimed {
	struct uuid id;
	uint32_t print;
};
_Static_assert(sizeof(struct claimed) == 20, "what a remembered id takes");

/* The first claim of a second. */
struct mark {
	uint64_t second;
	uint64_t claim;
};

struct table {
	uint32_t *slots; /* ring place plus one, EMPTY or MOVED */
	uint64_t size;   /* power of two; 0: not there */
};

struct seen {
	struct claimed *ring;
	size_t max_ids;
	uint64_t ring_bytes;
	uint64_t first;  /* oldest claim not yet removed */
	uint64_t next;   /* number of the next claim */
	uint64_t used;   /* slots taken in both tables */
	uint32_t *space; /* for tables, see above */
	uint64_t space_bytes;
	uint64_t size_largest;
	struct table now;
	struct table old; /* being moved */
	uint64_t move_at;
	uint64_t touch_at;  /* slots of the next table that are there */
	struct mark *marks; /* ring of marks */
	size_t marks_size;
	uint64_t mark_first;
	uint64_t mark_next;
	uint64_t window_ms;
	uint64_t seed;
};

static void *reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, uint64_t bytes)
{
	if (p)
		munmap(p, bytes);
}

/* --- table ------------------------------------------------------------- */

static const struct uuid *id_at(const struct seen *s, uint64_t place)
{
	return &s->ring[place].id;
}

static uint64_t hash_of(const struct seen *s, const struct uuid *id)
{
	return map_hash(id->b, sizeof(id->b), s->seed);
}

static bool same(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* The slot that holds this id, or NULL. */
static uint32_t *find_in(
	const struct seen *s, const struct table *t, const struct uuid *id, uint64_t hash)
{
	uint64_t mask = t->size - 1;

	if (t->size == 0)
		return NULL;
	for (uint64_t at = hash & mask; t->slots[at] != EMPTY; at = (at + 1) & mask) {
		if (t->slots[at] != MOVED && same(id_at(s, t->slots[at] - 1), id))
			return &t->slots[at];
	}
	return NULL;
}

static void insert(struct table *t, uint64_t hash, uint32_t value)
{
	uint64_t mask = t->size - 1;
	uint64_t at = hash & mask;

	while (t->slots[at] != EMPTY)
		at = (at + 1) & mask;
	t->slots[at] = value;
}

/* Empties a slot of the new table and moves later ones of its run back over the hole. */
static void close_hole(const struct seen *s, const struct table *t, uint64_t hole)
{
	uint64_t mask = t->size - 1;

	for (uint64_t at = (hole + 1) & mask; t->slots[at] != EMPTY; at = (at + 1) & mask) {
		uint64_t home = hash_of(s, id_at(s, t->slots[at] - 1)) & mask;

		if (((at - home) & mask) >= ((at - hole) & mask)) {
			t->slots[hole] = t->slots[at];
			hole = at;
		}
	}
	t->slots[hole] = EMPTY;
}

static struct table table_of(const struct seen *s, uint64_t size)
{
	return (struct table){s->space + size, size};
}

/* Moves some slots from the old table to the new; the old one's memory goes at the end. */
static void move_some(struct seen *s)
{
	uint64_t end = s->move_at + MOVE_PER_CLAIM;

	for (; s->move_at < end; s->move_at++) {
		uint32_t value = s->old.slots[s->move_at];

		if (value == EMPTY || value == MOVED)
			continue;
		s->old.slots[s->move_at] = MOVED;
		insert(&s->now, hash_of(s, id_at(s, value - 1)), value);
	}
	if (s->move_at < s->old.size)
		return;
	madvise(s->old.slots, s->old.size * sizeof(uint32_t), MADV_DONTNEED);
	s->old = (struct table){0};
}

/* Ids the next claims will move: their cache lines are on the way meanwhile. */
static void fetch_moves(const struct seen *s)
{
	for (uint64_t at = s->move_at; at < s->move_at + MOVE_PER_CLAIM; at++) {
		uint32_t value = s->old.slots[at];

		if (value != EMPTY && value != MOVED)
			__builtin_prefetch(id_at(s, value - 1));
	}
}

static void grow(struct seen *s)
{
	s->old = s->now;
	s->now = table_of(s, s->old.size * 2);
	s->move_at = s->touch_at = 0;
}

/* From a load of 0.7 on the next table's pages are made a few at a time: left to the first claims
 * in it, they would be made all at once, and zeroing them takes tens of milliseconds. */
static void touch_ahead(struct seen *s)
{
	struct table next = table_of(s, s->now.size * 2);

	if (s->used * 10 < s->now.size * 7 || s->touch_at >= next.size)
		return;
	if (s->touch_at == 0 && next.size >= SLOTS_HUGE)
		madvise(next.slots, next.size * sizeof(uint32_t), MADV_HUGEPAGE);
	*(volatile uint32_t *)&next.slots[s->touch_at] = EMPTY;
	s->touch_at += TOUCH_PER_CLAIM;
}

/* Room for one more at a load of at most 0.8, which the largest table has for max_ids. */
static void make_room(struct seen *s)
{
	if (s->old.size) {
		move_some(s);
		if (s->old.size)
			fetch_moves(s);
	} else if (s->now.size < s->size_largest) {
		touch_ahead(s);
		if ((s->used + 1) * 5 > s->now.size * 4)
			grow(s);
	}
}

/* The slot of an id in either table; *t is then which. */
static uint32_t *find(struct seen *s, const struct uuid *id, uint64_t hash, struct table **t)
{
	uint32_t *slot = find_in(s, &s->now, id, hash);

	*t = &s->now;
	if (slot == NULL && s->old.size) {
		slot = find_in(s, &s->old, id, hash);
		*t = &s->old;
	}
	return slot;
}

/* Takes the claim out of the table unless it was superseded. */
static void unlink_claim(struct seen *s, uint64_t claim)
{
	uint64_t place = claim % s->max_ids;
	const struct uuid *id = id_at(s, place);
	struct table *t;
	uint32_t *slot = find(s, id, hash_of(s, id), &t);

	if (slot == NULL || *slot != place + 1)
		return;
	if (t == &s->old)
		*slot = MOVED;
	else
		close_hole(s, t, (uint64_t)(slot - t->slots));
	s->used--;
}

/* --- ages -------------------------------------------------------------- */

static struct mark *mark_at(const struct seen *s, uint64_t n)
{
	return &s->marks[n % s->marks_size];
}

/* Has everything claimed in this second left the window? */
static bool is_past(const struct seen *s, const struct mark *m, uint64_t now_ms)
{
	return m->second * MARK_MS + (MARK_MS - 1) + s->window_ms < now_ms;
}

static void put_mark(struct seen *s, uint64_t now_ms)
{
	uint64_t second = now_ms / MARK_MS;

	if (s->mark_next > s->mark_first && mark_at(s, s->mark_next - 1)->second >= second)
		return;
	/* Not reached while the clock goes forward: a window has fewer seconds than places. */
	if (s->mark_next - s->mark_first == s->marks_size)
		return;
	*mark_at(s, s->mark_next++) = (struct mark){second, s->next};
}

static void drop_past_marks(struct seen *s, uint64_t now_ms)
{
	while (s->mark_first < s->mark_next && is_past(s, mark_at(s, s->mark_first), now_ms))
		s->mark_first++;
}

/* The oldest claim inside the window; marks past it are dropped already. */
static uint64_t window_start(const struct seen *s)
{
	return s->mark_first < s->mark_next ? mark_at(s, s->mark_first)->claim : s->next;
}

/* --- removing ---------------------------------------------------------- */

/* Gives back the piece of the ring that the oldest claim has just left. */
static void free_piece(struct seen *s)
{
	uint64_t place = s->first % s->max_ids;

	if (place % IDS_PER_PIECE == 0 && s->next - s->first <= s->max_ids - IDS_PER_PIECE)
		madvise(&s->ring[place ? place - IDS_PER_PIECE
				       : (s->max_ids - 1) / IDS_PER_PIECE * IDS_PER_PIECE],
			RING_PIECE, MADV_DONTNEED);
}

static void remove_oldest(struct seen *s)
{
	unlink_claim(s, s->first++);
	if (s->max_ids > 2 * IDS_PER_PIECE)
		free_piece(s);
}

static void expire(struct seen *s, uint64_t now_ms, uint32_t most)
{
	uint64_t start;

	drop_past_marks(s, now_ms);
	start = window_start(s);
	for (; most > 0 && s->first < start; most--)
		remove_oldest(s);
}

/* --- public ------------------------------------------------------------ */

static uint64_t table_size_for(size_t ids)
{
	uint64_t size = SLOTS_FIRST;

	while (size * 4 < (uint64_t)ids * 5)
		size *= 2;
	return size;
}

struct seen *seen_open(size_t max_ids, uint64_t window_ms)
{
	struct seen *s = mem_new(sizeof(*s));

	check(max_ids >= 1);
	s->max_ids = max_ids < UINT32_MAX - 2 ? max_ids : UINT32_MAX - 2;
	s->window_ms = window_ms;
	s->marks_size = window_ms / MARK_MS + 3;
	s->size_largest = table_size_for(s->max_ids);
	/* Rounded up, so that the last piece can be given back as well. */
	s->ring_bytes = (s->max_ids / IDS_PER_PIECE + 1) * RING_PIECE;
	s->space_bytes = s->size_largest * 2 * sizeof(uint32_t);
	s->ring = reserve(s->ring_bytes);
	s->space = reserve(s->space_bytes);
	s->marks = reserve(s->marks_size * sizeof(*s->marks));
	if (s->ring == NULL || s->space == NULL || s->marks == NULL) {
		seen_close(s);
		return NULL;
	}
	s->seed = map_seed();
	s->now = table_of(s, SLOTS_FIRST);
	return s;
}

void seen_close(struct seen *s)
{
	if (s == NULL)
		return;
	release(s->ring, s->ring_bytes);
	release(s->space, s->space_bytes);
	release(s->marks, s->marks_size * sizeof(*s->marks));
	free(s);
}

/* Which claim does ring place + 1 `value` belong to? */
static uint64_t claim_of(const struct seen *s, uint32_t value)
{
	uint64_t back = (s->next - 1 - (value - 1)) % s->max_ids;

	return s->next - 1 - back;
}

/* A slot was found, or NULL: what is said of an id with this print. */
static enum seen_answer answer(const struct seen *s, const uint32_t *slot, uint32_t print)
{
	uint32_t known;

	if (slot == NULL || claim_of(s, *slot) < window_start(s))
		return SEEN_FIRST;
	known = s->ring[*slot - 1].print;
	return print == known || print == SEEN_NO_PRINT || known == SEEN_NO_PRINT ? SEEN_REPEAT
										  : SEEN_CONFLICT;
}

enum seen_answer seen_claim(struct seen *s, const struct uuid *id, uint32_t print, uint64_t now_ms)
{
	uint64_t hash = hash_of(s, id);
	struct table *t;
	uint32_t *slot;
	uint32_t value;
	enum seen_answer known;

	expire(s, now_ms, EXPIRE_PER_CLAIM);
	slot = find(s, id, hash, &t);
	known = answer(s, slot, print);
	if (known != SEEN_FIRST)
		return known;
	if (s->next - s->first == s->max_ids) {
		remove_oldest(s);
		slot = slot ? find(s, id, hash, &t) : NULL;
	}
	put_mark(s, now_ms);
	value = (uint32_t)(s->next % s->max_ids) + 1;
	s->ring[value - 1] = (struct claimed){*id, print};
	if (slot) {
		*slot = value;
	} else {
		make_room(s);
		insert(&s->now, hash, value);
		s->used++;
	}
	s->next++;
	return SEEN_FIRST;
}

enum seen_answer seen_ask(const struct seen *s, const struct uuid *id, uint32_t print)
{
	uint64_t hash = hash_of(s, id);
	const uint32_t *slot = find_in(s, &s->now, id, hash);

	if (slot == NULL && s->old.size)
		slot = find_in(s, &s->old, id, hash);
	return answer(s, slot, print);
}

bool seen_has(const struct seen *s, const struct uuid *id)
{
	return seen_ask(s, id, SEEN_NO_PRINT) != SEEN_FIRST;
}

static void fetch_some(const struct seen *s, const struct uuid *const *ids, size_t n)
{
	uint64_t homes[PREFETCH_MOST];

	for (size_t i = 0; i < n; i++) {
		homes[i] = hash_of(s, ids[i]) & (s->now.size - 1);
		__builtin_prefetch(&s->now.slots[homes[i]], 1);
	}
	/* By now the first slots are there: fetch what they point to. */
	for (size_t i = 0; i < n; i++) {
		uint32_t value = s->now.slots[homes[i]];

		if (value != EMPTY)
			__builtin_prefetch(id_at(s, value - 1));
	}
}

void seen_prefetch(const struct seen *s, const struct uuid *const *ids, size_t n)
{
	for (size_t at = 0; at < n; at += PREFETCH_MOST)
		fetch_some(s, ids + at, n - at < PREFETCH_MOST ? n - at : PREFETCH_MOST);
}

void seen_forget_newest(struct seen *s, size_t n)
{
	for (; n > 0 && s->next > s->first; n--) {
		s->next--;
		unlink_claim(s, s->next);
	}
	while (s->mark_next > s->mark_first && mark_at(s, s->mark_next - 1)->claim >= s->next)
		s->mark_next--;
}

void seen_expire(struct seen *s, uint64_t now_ms)
{
	expire(s, now_ms, EXPIRE_PER_CALL);
}

size_t seen_count(const struct seen *s)
{
	return (size_t)(s->next - s->first);
}

uint64_t seen_span_ms(const struct seen *s, uint64_t now_ms)
{
	uint64_t at = s->mark_first;

	if (s->next == s->first)
		return 0;
	/* Ids pushed out by others leave their marks behind. */
	while (at + 1 < s->mark_next && mark_at(s, at + 1)->claim <= s->first)
		at++;
	if (at == s->mark_next || mark_at(s, at)->second * MARK_MS > now_ms)
		return 0;
	return now_ms - mark_at(s, at)->second * MARK_MS;
}

/* Pages of [p, p + bytes) that are there. */
static size_t resident(void *p, uint64_t bytes)
{
	unsigned char pages[4096];
	size_t count = 0;

	for (uint64_t at = 0; at < bytes; at += sizeof(pages) * 4096) {
		uint64_t piece =
			bytes - at < sizeof(pages) * 4096 ? bytes - at : sizeof(pages) * 4096;
		size_t n = (size_t)((piece + 4095) / 4096);

		if (mincore((char *)p + at, piece, pages) != 0)
			return 0;
		for (size_t i = 0; i < n; i++)
			count += pages[i] & 1;
	}
	return count * 4096;
}

size_t seen_bytes(const struct seen *s)
{
	return resident(s->ring, s->ring_bytes) + resident(s->space, s->space_bytes);
}
