/* commit/vector.c - rows of places, in a run of memory that is thinned out when it is full
 *
 * **Invariant:** seq and every place never fall from row to row, so rows can be halved to find one.
 */
#include "commit/vector.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

#define WIDTH_FIRST 16u

struct vector_log {
	uint64_t *rows; /* count * (1 + width): seq, then places */
	uint32_t width; /* shards that a row has room for */
	uint32_t count;
	uint32_t size;   /* rows that there is memory for */
	uint64_t stride; /* records between two rows */
	uint64_t due;    /* the next row stands at this seq or behind it */
	struct vector now;
};

static uint64_t *row_at(const struct vector_log *l, uint32_t i)
{
	return l->rows + (size_t)i * (1 + l->width);
}

struct vector_log *vector_log_new(void)
{
	struct vector_log *l = mem_new(sizeof(*l));

	l->width = WIDTH_FIRST;
	l->stride = VECTOR_STRIDE_FIRST;
	return l;
}

void vector_log_free(struct vector_log *l)
{
	if (l == NULL)
		return;
	free(l->rows);
	free(l);
}

/* --- rows ----------------------------------------------------------------- */

/* Rows made so far get room for more shards, of which they had nothing. */
static void widen(struct vector_log *l, uint32_t shard)
{
	struct vector_log old = *l;

	while (l->width <= shard)
		l->width *= 2;
	l->rows = mem_new((size_t)l->size * (1 + l->width) * sizeof(*l->rows));
	for (uint32_t i = 0; i < l->count; i++)
		memcpy(row_at(l, i), row_at(&old, i), (1 + old.width) * sizeof(*l->rows));
	free(old.rows);
}

/* Rows before the last one at or below head are of no use any more. */
static void drop_below(struct vector_log *l, uint64_t head)
{
	uint32_t gone = 0;

	while (gone + 1 < l->count && *row_at(l, gone + 1) <= head)
		gone++;
	if (gone == 0)
		return;
	l->count -= gone;
	memmove(l->rows, row_at(l, gone), (size_t)l->count * (1 + l->width) * sizeof(*l->rows));
}

static void thin_out(struct vector_log *l)
{
	for (uint32_t i = 1; 2 * i < l->count; i++)
		memcpy(row_at(l, i), row_at(l, 2 * i), (1 + l->width) * sizeof(*l->rows));
	l->count = (l->count + 1) / 2;
	l->stride *= 2;
}

static void make_room(struct vector_log *l, uint64_t head)
{
	if (l->count < l->size)
		return;
	drop_below(l, head);
	if (l->count == VECTOR_ROWS_MOST)
		thin_out(l);
	if (l->count < l->size)
		return;
	l->size = l->size ? l->size * 2 : 16;
	l->rows = mem_resize(l->rows, (size_t)l->size * (1 + l->width) * sizeof(*l->rows));
}

static void add_row(struct vector_log *l, uint64_t seq, uint64_t head)
{
	uint64_t *row;

	make_room(l, head);
	row = row_at(l, l->count++);
	*row = seq;
	memcpy(row + 1, l->now.place, l->width * sizeof(*row));
	l->due = seq + l->stride;
}

void vector_log_note(
	struct vector_log *l, uint64_t seq, uint32_t shard, uint64_t place, uint64_t head)
{
	check(shard < VECTOR_SHARDS);
	if (shard >= l->width)
		widen(l, shard);
	if (seq >= l->due || l->count == 0)
		add_row(l, seq, head);
	if (place > l->now.place[shard])
		l->now.place[shard] = place;
}

/* --- questions -------------------------------------------------------------- */

void vector_log_now(const struct vector_log *l, struct vector *out)
{
	*out = l->now;
}

uint64_t vector_log_row(const struct vector_log *l, uint64_t seq, struct vector *out)
{
	uint32_t low = 0, high = l->count;

	memset(out, 0, sizeof(*out));
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (*row_at(l, middle) <= seq)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return 0;
	memcpy(out->place, row_at(l, low - 1) + 1, l->width * sizeof(*out->place));
	return *row_at(l, low - 1);
}

static bool is_within(const struct vector_log *l, uint32_t i, const struct vector *v)
{
	const uint64_t *place = row_at(l, i) + 1;

	for (uint32_t shard = 0; shard < l->width; shard++) {
		if (place[shard] > v->place[shard])
			return false;
	}
	return true;
}

uint64_t vector_log_within(const struct vector_log *l, const struct vector *v)
{
	uint32_t low = 0, high = l->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (is_within(l, middle, v))
			low = middle + 1;
		else
			high = middle;
	}
	return low ? *row_at(l, low - 1) : 0;
}
