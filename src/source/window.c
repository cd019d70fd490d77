/* source/window.c - see the header; tokens count up and wrap, a place is token modulo size */
#include "source/window.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define FIRST_SIZE 64u

static struct window_place *place(const struct window *w, uint32_t token)
{
	return &w->places[token & (w->size - 1)];
}

void window_fini(struct window *w)
{
	free(w->places);
	*w = (struct window){0};
}

static void grow(struct window *w)
{
	struct window bigger = *w;

	bigger.size = w->size ? w->size * 2 : FIRST_SIZE;
	bigger.places = mem_new(bigger.size * sizeof(*bigger.places));
	for (uint32_t t = w->head; t != w->tail; t++)
		*place(&bigger, t) = *place(w, t);
	free(w->places);
	*w = bigger;
}

uint32_t window_take(struct window *w, uint16_t packet_id, uint8_t qos)
{
	check(!window_is_full(w));
	if (w->tail - w->head == w->size)
		grow(w);
	*place(w, w->tail) = (struct window_place){.packet_id = packet_id, .qos = qos};
	if (packet_id)
		w->unacknowledged++;
	return w->tail++;
}

void window_give_back(struct window *w, uint32_t token)
{
	while (w->tail != token) {
		w->tail--;
		if (place(w, w->tail)->packet_id)
			w->unacknowledged--;
	}
}

void window_set_centre(struct window *w, uint32_t token, uint16_t centre)
{
	place(w, token)->centre = centre;
}

uint16_t window_done(struct window *w, uint32_t token)
{
	check(token - w->head < w->tail - w->head);
	place(w, token)->done = true;
	return place(w, token)->centre;
}

bool window_pop(struct window *w, struct window_place *out)
{
	if (window_is_empty(w) || !place(w, w->head)->done)
		return false;
	*out = *place(w, w->head++);
	if (out->packet_id)
		w->unacknowledged--;
	return true;
}

void window_abandon(struct window *w)
{
	for (uint32_t t = w->head; t != w->tail; t++)
		place(w, t)->packet_id = 0;
	w->unacknowledged = 0;
}
