/* publish/feed.c - see the header */
#include "publish/feed.h"

#include <string.h>

void feed_by_shard(struct feed *f, const struct vector *upto)
{
	f->by_shard = true;
	f->local = f->next;
	f->after = *upto;
	memset(f->state, SHARE_NONE, sizeof(f->state));
	f->owned = 0;
}

void feed_give(struct feed *f, const struct sharing_parts *parts)
{
	f->owned = 0;
	for (uint32_t i = 0; i < VECTOR_SHARDS; i++) {
		if (parts->state[i] != SHARE_OWNED)
			f->state[i] = parts->state[i];
		f->owned += f->state[i] != SHARE_NONE;
	}
}

bool feed_gains(const struct feed *f, const struct sharing_parts *parts, struct vector *behind)
{
	bool is_any = false;

	for (uint32_t i = 0; i < VECTOR_SHARDS; i++) {
		behind->place[i] = UINT64_MAX;
		if (parts->state[i] != SHARE_OWNED || f->state[i] == SHARE_OWNED)
			continue;
		behind->place[i] =
			f->state[i] == SHARE_NONE ? parts->place.place[i] : f->after.place[i];
		is_any = true;
	}
	return is_any;
}

void feed_take(struct feed *f, const struct sharing_parts *parts, uint64_t from)
{
	struct vector behind;

	if (!feed_gains(f, parts, &behind))
		return;
	for (uint32_t i = 0; i < VECTOR_SHARDS; i++) {
		if (behind.place[i] == UINT64_MAX)
			continue;
		f->owned += f->state[i] == SHARE_NONE;
		f->state[i] = SHARE_OWNED;
		f->after.place[i] = behind.place[i];
	}
	if (from < f->next)
		f->next = from;
}
