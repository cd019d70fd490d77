#include "source/firsts.h"

#include <stdlib.h>

#include "base/mem.h"

void firsts_fini(struct firsts *f)
{
	struct first *one = atomic_load(&f->newest);

	while (one) {
		struct first *next = one->next;

		free(one);
		one = next;
	}
	map_fini(&f->by_centre);
	free(f->by_number);
}

static struct first *first_new(struct firsts *f, struct view centre)
{
	struct first *one = mem_new(sizeof(*one) + centre.n + 1);

	memcpy(one->centre, centre.p, centre.n);
	one->number = ++f->count;
	if (one->number >= f->size) {
		f->size = (uint16_t)(f->size ? f->size * 2 : 8);
		f->by_number = mem_resize(f->by_number, f->size * sizeof(*f->by_number));
	}
	f->by_number[one->number] = one;
	map_put(&f->by_centre, (struct view){one->centre, centre.n}, one);
	one->next = atomic_load_explicit(&f->newest, memory_order_relaxed);
	atomic_store_explicit(&f->newest, one, memory_order_release);
	return one;
}

uint16_t firsts_number(struct firsts *f, struct view centre)
{
	const struct first *newest = atomic_load_explicit(&f->newest, memory_order_relaxed);
	const struct first *one;

	if (newest && view_equal(centre, view_of(newest->centre)))
		return newest->number; /* a node has one centre */
	one = map_get(&f->by_centre, centre);
	if (one == NULL && f->count < FIRSTS_MOST)
		one = first_new(f, centre);
	return one ? one->number : 0;
}

void firsts_add(struct firsts *f, uint16_t number)
{
	if (number)
		count_add(&f->by_number[number]->messages, 1);
}

const struct first *firsts_next(const struct firsts *f, const struct first *after)
{
	return after ? after->next : atomic_load_explicit(&f->newest, memory_order_acquire);
}
