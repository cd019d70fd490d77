/* cli/bench_count.h - did every message arrive once, in order, and how long did it take?
 *
 * A sequence expects 0, 1, 2 ...; what is missing is kept as gaps, so that a late message is told
 * from a repeated one without a bit per message. Pure.
 *
 * Threads: one at a time.
 */
#ifndef CLI_BENCH_COUNT_H
#define CLI_BENCH_COUNT_H

#include <stdbool.h>
#include <stdint.h>

struct sequence_gap {
	uint64_t from;
	uint64_t to; /* behind the last one missing */
};

/* Zero-initialised is valid. */
struct sequence {
	uint64_t next;             /* behind the highest seen */
	struct sequence_gap *gaps; /* owned; ascending */
	uint32_t gap_count;
	uint32_t gap_size;
	uint64_t repeated;
	uint64_t reordered; /* came after a higher one */
};

/* True: number had not come before. */
bool sequence_take(struct sequence *s, uint64_t number);
/* Of 0 ... total-1, how many have not come. */
uint64_t sequence_lost(const struct sequence *s, uint64_t total);
void sequence_fini(struct sequence *s);

/* Durations in nanoseconds with an error of at most 3 %. */
#define LATENCY_BUCKETS 2048u
struct latency {
	uint64_t buckets[LATENCY_BUCKETS];
	uint64_t count;
	uint64_t max_ns;
};
void latency_add(struct latency *l, uint64_t ns, uint64_t times);
/* Upper end of the bucket in which the share lies (0.5: median); 0 when nothing was added. */
uint64_t latency_at(const struct latency *l, double share);

#endif
