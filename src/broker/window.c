#include "broker/window.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

#define WINDOW_FIRST_SIZE 16u
#define PACKET_IDS 65535u /* 1..65535 [MQTT-2.2.1-3] */

void window_fini(struct window *w)
{
	free(w->seqs);
	*w = (struct window){0};
}

static uint64_t *slot(const struct window *w, uint32_t i)
{
	return &w->seqs[(w->start + i) & (w->size - 1)];
}

static void grow(struct window *w)
{
	uint32_t size = w->size ? w->size * 2 : WINDOW_FIRST_SIZE;
	uint64_t *seqs = mem_new(size * sizeof(*seqs));

	for (uint32_t i = 0; i < w->count; i++)
		seqs[i] = *slot(w, i);
	free(w->seqs);
	w->seqs = seqs;
	w->size = size;
	w->start = 0;
}

uint16_t window_id(const struct window *w, uint16_t i)
{
	uint32_t first = w->first_id ? w->first_id : 1;

	return (uint16_t)((first - 1 + i) % PACKET_IDS + 1);
}

uint64_t window_seq(const struct window *w, uint16_t i)
{
	return *slot(w, i);
}

uint16_t window_add(struct window *w, uint64_t seq)
{
	check(w->count < PACKET_IDS);
	if (w->count == w->size)
		grow(w);
	*slot(w, w->count) = seq;
	w->count++;
	w->sent++;
	return window_id(w, (uint16_t)(w->count - 1));
}

void window_take_back(struct window *w, uint16_t n)
{
	check(n <= w->count && n <= w->sent);
	w->count = (uint16_t)(w->count - n);
	w->sent = (uint16_t)(w->sent - n);
}

static void drop_front(struct window *w)
{
	w->first_id = window_id(w, 1);
	w->start = (w->start + 1) & (w->size - 1);
	w->count--;
	w->sent--;
}

static void trim(struct window *w)
{
	while (w->sent && *slot(w, 0) == WINDOW_ACKED)
		drop_front(w);
}

void window_forget(struct window *w, uint16_t i)
{
	check(i < w->count);
	*slot(w, i) = WINDOW_ACKED;
}

void window_set_sent(struct window *w, uint16_t n)
{
	check(n <= w->count);
	w->sent = n;
	trim(w);
}

bool window_ack(struct window *w, uint16_t packet_id)
{
	uint32_t first = w->first_id ? w->first_id : 1;
	uint32_t i = (packet_id + PACKET_IDS - first) % PACKET_IDS;

	if (packet_id == 0 || i >= w->sent || *slot(w, i) == WINDOW_ACKED)
		return false;
	*slot(w, i) = WINDOW_ACKED;
	trim(w);
	return true;
}
