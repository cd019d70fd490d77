/* publish/feed.c - see the header */
#include "publish/feed.h"

void feed_share(struct feed *f, uint64_t from, const struct feed_share *shares, uint32_t n)
{
	bool is_given[FEED_SHARDS] = {false};
	bool was_by_shard = f->by_shard;
	bool is_new = false;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *after = &f->after[shares[i].shard];

		is_given[shares[i].shard] = true;
		if (was_by_shard && *after != FEED_NOTHING)
			continue;
		*after = shares[i].after;
		is_new = true;
	}
	for (uint32_t i = 0; i < FEED_SHARDS; i++) {
		if (!is_given[i])
			f->after[i] = FEED_NOTHING;
	}
	f->by_shard = true;
	if (is_new && from < f->next)
		f->next = from;
}
