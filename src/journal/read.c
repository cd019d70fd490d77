/* Finding records without a lock. The tail is loaded before the set, so that the set is at least
 * as new as what the tail promises. */
#include "journal/internal.h"

uint64_t journal_tail(const struct journal *j)
{
	return atomic_load(&j->tail);
}

uint64_t journal_head(const struct journal *j)
{
	return atomic_load(&j->head);
}

uint64_t journal_safe(const struct journal *j)
{
	return atomic_load(j->config.sync == JOURNAL_SYNC_ALWAYS ? &j->safe : &j->tail);
}

/* Index of the last segment with base <= seq; the set is not empty and begins at or below seq. */
static size_t segment_at(const struct segment_set *set, uint64_t seq)
{
	size_t low = 0;
	size_t high = set->n;

	if (seq >= set->at[set->n - 1].base)
		return set->n - 1;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (set->at[middle].base <= seq)
			low = middle;
		else
			high = middle;
	}
	return low;
}

const struct journal_segment *journal_find(const struct journal *j, uint64_t seq)
{
	uint64_t tail = atomic_load(&j->tail);
	const struct segment_set *set = atomic_load(&j->set);

	if (seq >= tail || set->n == 0 || seq < set->at[0].base)
		return NULL;
	return &set->at[segment_at(set, seq)];
}

uint64_t journal_seq_at(const struct journal *j, uint64_t since_ms)
{
	uint64_t high = atomic_load(&j->tail);
	const struct segment_set *set = atomic_load(&j->set);
	uint64_t low = set->n ? set->at[0].base : high;

	/* Times never go back from record to record. */
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct journal_segment *s = &set->at[segment_at(set, middle)];

		if (s->entries[middle - s->base].time_ms < since_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
