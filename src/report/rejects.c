#include "report/rejects.h"

#include <stdlib.h>

#include "base/mem.h"

struct reject_ring {
	struct reject *at[REJECTS_PER_CENTRE];
	uint32_t first;
	uint32_t count;
	uint64_t bytes;
	char centre[]; /* the map's key */
};

static struct reject *nth(const struct reject_ring *ring, uint32_t i)
{
	return ring->at[(ring->first + i) % REJECTS_PER_CENTRE];
}

static void drop_oldest(struct rejects *r, struct reject_ring *ring)
{
	struct reject *oldest = nth(ring, 0);

	ring->first = (ring->first + 1) % REJECTS_PER_CENTRE;
	ring->count--;
	r->count--;
	ring->bytes -= oldest->bytes;
	r->bytes -= oldest->bytes;
	reject_unref(oldest);
}

void rejects_fini(struct rejects *r)
{
	struct reject_ring *ring;
	size_t at = 0;

	while ((ring = map_next(&r->centres, &at)) != NULL) {
		while (ring->count)
			drop_oldest(r, ring);
		free(ring);
	}
	map_fini(&r->centres);
}

static struct reject_ring *ring_of(struct rejects *r, struct view centre)
{
	struct reject_ring *ring = map_get(&r->centres, centre);

	if (ring)
		return ring;
	ring = mem_new(sizeof(*ring) + centre.n);
	memcpy(ring->centre, centre.p, centre.n);
	map_put(&r->centres, (struct view){ring->centre, centre.n}, ring);
	return ring;
}

static struct reject_ring *largest(const struct rejects *r)
{
	struct reject_ring *most = NULL;
	struct reject_ring *ring;
	size_t at = 0;

	while ((ring = map_next(&r->centres, &at)) != NULL) {
		if (most == NULL || ring->bytes > most->bytes)
			most = ring;
	}
	return most;
}

void rejects_add(struct rejects *r, struct reject *one)
{
	struct reject_ring *ring = ring_of(r, one->centre);

	while (ring->count && (ring->count == REJECTS_PER_CENTRE ||
				      ring->bytes + one->bytes > REJECTS_CENTRE_BYTES))
		drop_oldest(r, ring);
	while (r->bytes + one->bytes > REJECTS_BYTES)
		drop_oldest(r, largest(r));
	one->number = ++r->numbered;
	ring->at[(ring->first + ring->count++) % REJECTS_PER_CENTRE] = reject_ref(one);
	ring->bytes += one->bytes;
	r->bytes += one->bytes;
	r->count++;
}

static bool fits(const struct reject *one, const struct rejects_query *q)
{
	if (q->centre.p && !view_equal(q->centre, one->centre) &&
		!view_equal(q->centre, one->subject))
		return false;
	return (q->rule == RULE_NONE || q->rule == one->finding.rule) &&
	       (q->below == 0 || one->number < q->below);
}

static int newest_first(const void *a, const void *b)
{
	const struct reject *x = *(struct reject *const *)a;
	const struct reject *y = *(struct reject *const *)b;

	return x->number > y->number ? -1 : x->number < y->number;
}

/* The newest `limit` of one ring go to list[count..]. */
static uint32_t collect(const struct reject_ring *ring, const struct rejects_query *q,
	struct reject **list, uint32_t count)
{
	uint32_t most = count + q->limit;

	for (uint32_t i = ring->count; i-- > 0 && count < most;) {
		if (fits(nth(ring, i), q))
			list[count++] = nth(ring, i);
	}
	return count;
}

uint32_t rejects_find(const struct rejects *r, const struct rejects_query *q, struct reject **out)
{
	struct reject **list = mem_new(2ull * q->limit * sizeof(struct reject *) + 1);
	struct reject_ring *ring;
	uint32_t count = 0;
	size_t at = 0;

	while ((ring = map_next(&r->centres, &at)) != NULL) {
		count = collect(ring, q, list, count);
		qsort(list, count, sizeof(struct reject *), newest_first);
		count = count < q->limit ? count : q->limit;
	}
	for (uint32_t i = 0; i < count; i++)
		out[i] = reject_ref(list[i]);
	free(list);
	return count;
}

struct reject *rejects_get(const struct rejects *r, uint64_t number)
{
	struct reject_ring *ring;
	size_t at = 0;

	while ((ring = map_next(&r->centres, &at)) != NULL) {
		for (uint32_t i = 0; i < ring->count; i++) {
			if (nth(ring, i)->number == number)
				return reject_ref(nth(ring, i));
		}
	}
	return NULL;
}
