#include "catalogue/book.h"

#include <stdlib.h>

#include "base/mem.h"
#include "catalogue/book_pair.h"
#include "wis2/record.h"

#define TEXT_MOST (RECORD_ID_MOST + 1 + RECORD_TAIL_MOST)

void book_init(struct book *b)
{
	*b = (struct book){0};
}

static void free_pairs(struct book *b)
{
	struct book_pair *p;
	size_t at = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL)
		free(p);
	map_fini(&b->pairs);
}

void book_fini(struct book *b)
{
	free_pairs(b);
	for (unsigned i = 0; i < BOOK_LISTS_MOST; i++)
		free(b->lists[i].url);
	*b = (struct book){0};
}

/* --- lists ------------------------------------------------------------ */

int book_place(struct book *b, struct view url)
{
	int unused = -1;

	for (int i = (int)BOOK_LISTS_MOST - 1; i >= 0; i--) {
		if (b->lists[i].url == NULL)
			unused = i;
		else if (view_equal(view_of(b->lists[i].url), url))
			return i;
	}
	if (unused >= 0)
		b->lists[unused].url = mem_text_of(url);
	return unused;
}

void book_begin(struct book *b, unsigned place)
{
	struct book_pair *p;
	size_t at = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL)
		p->lists &= (uint16_t) ~(1u << place);
}

void book_drop(struct book *b, unsigned place)
{
	book_begin(b, place);
	free(b->lists[place].url);
	b->lists[place] = (struct book_list){0};
}

/* --- pairs ------------------------------------------------------------ */

struct book_pair *book_pair(struct book *b, struct view id, struct view tail)
{
	char key[TEXT_MOST];
	size_t length = id.n + 1 + tail.n;
	struct book_pair *p;

	if (id.n > RECORD_ID_MOST || metadata_id_centre(id).p == NULL ||
		!record_tail_is_valid(tail))
		return NULL;
	memcpy(key, id.p, id.n);
	key[id.n] = '\t';
	memcpy(key + id.n + 1, tail.p, tail.n);
	p = map_get(&b->pairs, (struct view){key, length});
	if (p || b->pairs.count >= CATALOGUE_PAIRS_MOST)
		return p;
	p = mem_new(sizeof(*p) + length);
	p->id_length = (uint16_t)id.n;
	p->length = (uint16_t)length;
	memcpy(p->text, key, length);
	map_put(&b->pairs, (struct view){p->text, length}, p);
	b->bytes += sizeof(*p) + length;
	return p;
}

bool book_see(struct book *b, unsigned place, struct view id, struct view tail, uint64_t now_ms)
{
	struct book_pair *p = book_pair(b, id, tail);

	if (p == NULL)
		return false;
	p->seen_ms = now_ms;
	p->lists |= (uint16_t)(1u << place);
	return true;
}

void book_renew(struct book *b, unsigned place, uint64_t now_ms)
{
	struct book_pair *p;
	size_t at = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL) {
		if (p->lists >> place & 1)
			p->seen_ms = now_ms;
	}
}

void book_delete(struct book *b, const struct shelf *shelf, uint64_t hash)
{
	struct book_pair *p;
	size_t at = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL) {
		if (shelf_hash(shelf, pair_id(p)) == hash)
			p->gone = true;
	}
}

/* --- what counts ------------------------------------------------------- */

/* A record of a list that could not be renewed counts as long as that list does. */
static bool counts(const struct book_pair *p, uint64_t now_ms, uint64_t grace_ms)
{
	uint64_t age_ms = now_ms > p->seen_ms ? now_ms - p->seen_ms : 0;

	if (p->lists)
		return age_ms <= BOOK_SERVES_MS || age_ms <= grace_ms;
	return !p->gone && age_ms < grace_ms;
}

/* Those that do not count any more, out of the map; it must not change during a walk. */
static void remove_old(struct book *b, uint64_t now_ms, uint64_t grace_ms)
{
	struct book_pair **old = mem_new((b->pairs.count + 1) * sizeof(struct book_pair *));
	struct book_pair *p;
	size_t at = 0, n = 0;

	while ((p = map_next(&b->pairs, &at)) != NULL) {
		if (!counts(p, now_ms, grace_ms))
			old[n++] = p;
	}
	for (size_t i = 0; i < n; i++) {
		map_remove(&b->pairs, (struct view){old[i]->text, old[i]->length});
		b->bytes -= sizeof(*old[i]) + old[i]->length;
		free(old[i]);
	}
	free(old);
}

struct catalogue *book_sweep(struct book *b, uint64_t now_ms, uint64_t grace_ms)
{
	struct catalogue *list = catalogue_new();
	struct book_pair *p;
	size_t at = 0;

	remove_old(b, now_ms, grace_ms);
	while ((p = map_next(&b->pairs, &at)) != NULL)
		catalogue_add(list, pair_id(p), pair_tail(p));
	return list;
}

uint64_t book_newest_ms(const struct book *b)
{
	uint64_t newest = 0;

	for (unsigned i = 0; i < BOOK_LISTS_MOST; i++) {
		if (b->lists[i].good_ms > newest)
			newest = b->lists[i].good_ms;
	}
	return newest;
}

size_t book_bytes(const struct book *b)
{
	return b->bytes + b->pairs.size * sizeof(struct map_slot);
}
