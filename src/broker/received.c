#include "broker/received.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define RECEIVED_FIRST_SIZE 8u
#define PACKET_IDS 65535u /* 1..65535 */

void received_fini(struct received *r)
{
	free(r->ids);
	*r = (struct received){0};
}

/* The first place whose identifier is not below. */
static uint16_t place_of(const struct received *r, uint16_t packet_id)
{
	uint16_t low = 0;
	uint16_t high = r->count;

	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (r->ids[middle] < packet_id)
			low = (uint16_t)(middle + 1);
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct received *r, uint16_t place, uint16_t packet_id)
{
	return place < r->count && r->ids[place] == packet_id;
}

bool received_has(const struct received *r, uint16_t packet_id)
{
	return is_at(r, place_of(r, packet_id), packet_id);
}

static void grow(struct received *r)
{
	uint32_t size = r->size ? r->size * 2u : RECEIVED_FIRST_SIZE;

	if (size > PACKET_IDS)
		size = PACKET_IDS;
	r->ids = mem_resize(r->ids, size * sizeof(*r->ids));
	r->size = (uint16_t)size;
}

bool received_add(struct received *r, uint16_t packet_id)
{
	uint16_t place = place_of(r, packet_id);

	check(packet_id != 0);
	if (is_at(r, place, packet_id))
		return false;
	if (r->count == r->size)
		grow(r);
	memmove(r->ids + place + 1, r->ids + place, (r->count - place) * sizeof(*r->ids));
	r->ids[place] = packet_id;
	r->count++;
	return true;
}

bool received_remove(struct received *r, uint16_t packet_id)
{
	uint16_t place = place_of(r, packet_id);

	if (!is_at(r, place, packet_id))
		return false;
	r->count--;
	memmove(r->ids + place, r->ids + place + 1, (r->count - place) * sizeof(*r->ids));
	if (r->count == 0)
		received_fini(r);
	return true;
}
