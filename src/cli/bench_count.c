/* cli/bench_count.c - sequences with gaps, and a histogram by 32 steps in each power of two */
#include "cli/bench_count.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define STEPS 32u /* in each power of two; below STEPS each value has a bucket of its own */

static void gap_open(struct sequence *s, uint32_t at, struct sequence_gap gap)
{
	if (s->gap_count == s->gap_size) {
		s->gap_size = s->gap_size ? 2 * s->gap_size : 8;
		s->gaps = mem_resize(s->gaps, s->gap_size * sizeof(*s->gaps));
	}
	memmove(s->gaps + at + 1, s->gaps + at, (s->gap_count - at) * sizeof(*s->gaps));
	s->gaps[at] = gap;
	s->gap_count++;
}

static void gap_close(struct sequence *s, uint32_t at)
{
	s->gap_count--;
	memmove(s->gaps + at, s->gaps + at + 1, (s->gap_count - at) * sizeof(*s->gaps));
}

/* The first gap that ends behind number. */
static uint32_t gap_find(const struct sequence *s, uint64_t number)
{
	uint32_t low = 0, high = s->gap_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->gaps[middle].to > number)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool take_late(struct sequence *s, uint64_t number)
{
	uint32_t at = gap_find(s, number);
	struct sequence_gap *gap = &s->gaps[at];

	if (at == s->gap_count || number < gap->from) {
		s->repeated++;
		return false;
	}
	s->reordered++;
	if (gap->to == gap->from + 1) {
		gap_close(s, at);
	} else if (number == gap->from) {
		gap->from++;
	} else if (number == gap->to - 1) {
		gap->to--;
	} else {
		struct sequence_gap right = {number + 1, gap->to};

		gap->to = number;
		gap_open(s, at + 1, right);
	}
	return true;
}

bool sequence_take(struct sequence *s, uint64_t number)
{
	if (number < s->next)
		return take_late(s, number);
	if (number > s->next)
		gap_open(s, s->gap_count, (struct sequence_gap){s->next, number});
	s->next = number + 1;
	return true;
}

uint64_t sequence_lost(const struct sequence *s, uint64_t total)
{
	uint64_t lost = total > s->next ? total - s->next : 0;

	for (uint32_t i = 0; i < s->gap_count; i++)
		lost += s->gaps[i].to - s->gaps[i].from;
	return lost;
}

void sequence_fini(struct sequence *s)
{
	free(s->gaps);
	*s = (struct sequence){0};
}

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t power;

	if (ns < STEPS)
		return (uint32_t)ns;
	power = 63u - (uint32_t)__builtin_clzll(ns) - 5u; /* STEPS is 2^5 */
	return power * STEPS + (uint32_t)(ns >> power);
}

static uint64_t bucket_end(uint32_t i)
{
	uint32_t power = i < 2 * STEPS ? 0 : i / STEPS - 1;

	return (uint64_t)(i - power * STEPS) << power;
}

void latency_add(struct latency *l, uint64_t ns, uint64_t times)
{
	l->buckets[bucket_of(ns)] += times;
	l->count += times;
	if (ns > l->max_ns)
		l->max_ns = ns;
}

uint64_t latency_at(const struct latency *l, double share)
{
	double wanted = share * (double)l->count;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < LATENCY_BUCKETS && l->count; i++) {
		sum += l->buckets[i];
		if (sum && (double)sum >= wanted)
			return bucket_end(i + 1) < l->max_ns ? bucket_end(i + 1) : l->max_ns;
	}
	return 0;
}
