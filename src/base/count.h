/* base/count.h - counters and histograms written by one thread and read by any
 *
 * A worker counts in its own memory without a locked instruction; whoever shows the
 * figures adds up what the workers have. Values only grow.
 */
#ifndef BASE_COUNT_H
#define BASE_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t count; /* a plain number; the name says that one thread writes it */

static inline uint64_t count_read(const count *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void count_add(count *c, uint64_t n)
{
	atomic_store_explicit(c, count_read(c) + n, memory_order_relaxed);
}

static inline void count_set(count *c, uint64_t value)
{
	atomic_store_explicit(c, value, memory_order_relaxed);
}

/* Durations by powers of two of microseconds: bucket i holds values < 2^i us (i = 0..30), the last
 * everything else. */
#define HISTOGRAM_BUCKETS 32
struct histogram {
	count buckets[HISTOGRAM_BUCKETS];
	count sum_us;
};

/* The bucket of a value: below 2^i, the last one holds everything else. */
static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned i = value == 0 ? 0 : 64u - (unsigned)__builtin_clzll(value);

	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t us, uint64_t times)
{
	count_add(&h->buckets[histogram_bucket(us)], times);
	count_add(&h->sum_us, us * times);
}

#endif
