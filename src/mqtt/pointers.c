#include "mqtt/pointers.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define FIRST_SIZE 2u

/* Addresses are no peer's choice, so mixing their bits is enough (Fibonacci hashing). */
static uint32_t home_of(const struct pointers *set, const void *p)
{
	uint64_t mixed = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(mixed >> 32) & (set->size - 1);
}

/* Where p is, or the free slot where it would go. */
static uint32_t find(const struct pointers *set, const void *p)
{
	uint32_t at = home_of(set, p);

	while (set->slots[at] && set->slots[at] != p)
		at = (at + 1) & (set->size - 1);
	return at;
}

static void grow(struct pointers *set)
{
	struct pointers old = *set;

	set->size = old.size ? old.size * 2 : FIRST_SIZE;
	set->slots = mem_new(set->size * sizeof(*set->slots));
	for (uint32_t i = 0; i < old.size; i++) {
		if (old.slots[i])
			set->slots[find(set, old.slots[i])] = old.slots[i];
	}
	free(old.slots);
}

void pointers_fini(struct pointers *set)
{
	free(set->slots);
	*set = (struct pointers){0};
}

bool pointers_add(struct pointers *set, void *p)
{
	uint32_t at;

	check(p != NULL);
	if ((set->count + 1) * 3 > set->size * 2) /* one slot at least stays free */
		grow(set);
	at = find(set, p);
	if (set->slots[at])
		return false;
	set->slots[at] = p;
	set->count++;
	return true;
}

/* Moves later entries of the run back so that no search stops early at the hole. */
static void close_hole(struct pointers *set, uint32_t hole)
{
	uint32_t mask = set->size - 1;
	uint32_t at = hole;

	for (;;) {
		at = (at + 1) & mask;
		if (set->slots[at] == NULL)
			break;
		if (((at - home_of(set, set->slots[at])) & mask) >= ((at - hole) & mask)) {
			set->slots[hole] = set->slots[at];
			hole = at;
		}
	}
	set->slots[hole] = NULL;
}

bool pointers_remove(struct pointers *set, void *p)
{
	uint32_t at;

	if (set->size == 0)
		return false;
	at = find(set, p);
	if (set->slots[at] == NULL)
		return false;
	close_hole(set, at);
	if (--set->count == 0)
		pointers_fini(set);
	return true;
}
