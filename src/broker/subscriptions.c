/* The block is a row of entries: struct entry_head, then the filter's bytes. */
#include "broker/subscriptions.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/mem.h"

#define FROM_MOST 0xffffffffffffull /* positions stay far below */

/* Its bytes are stored. */
struct entry_head {
	uint64_t from : 48;
	uint64_t share : 16;
	uint32_t id;
	uint8_t qos;
	uint8_t options;
	uint16_t filter_bytes;
};
_Static_assert(sizeof(struct entry_head) == 16, "no padding");

void subscriptions_fini(struct subscriptions *s)
{
	free(s->block);
	*s = (struct subscriptions){0};
}

bool subscriptions_next(const struct subscriptions *s, uint32_t *at, struct subscription *out)
{
	struct entry_head head;

	if (*at >= s->bytes)
		return false;
	memcpy(&head, s->block + *at, sizeof(head));
	*out = (struct subscription){
		.filter = {(const char *)s->block + *at + sizeof(head), head.filter_bytes},
		.from = head.from,
		.share = head.share,
		.id = head.id,
		.qos = head.qos,
		.options = head.options,
	};
	*at += (uint32_t)sizeof(head) + head.filter_bytes;
	return true;
}

/* Where the filter stands or would stand; *bytes is its entry's length, 0 when absent. */
static uint32_t find(const struct subscriptions *s, struct view filter, uint32_t *bytes)
{
	struct subscription one;
	uint32_t at = 0;
	uint32_t start = 0;

	*bytes = 0;
	while (subscriptions_next(s, &at, &one)) {
		int where = view_order(one.filter, filter);

		if (where == 0) /* [MQTT-3.10.4-1] */
			*bytes = at - start;
		if (where >= 0)
			return start;
		start = at;
	}
	return start;
}

/* What follows from the entries together. */
static void sum_up(struct subscriptions *s)
{
	struct subscription one;
	uint32_t at = 0;

	s->youngest = 0;
	s->shared = 0;
	while (subscriptions_next(s, &at, &one)) {
		s->shared += one.share != 0;
		if (one.from > s->youngest)
			s->youngest = one.from;
	}
}

/* Does a whole entry with a filter stand at the front? Cuts it off. */
static bool cut_entry(struct view *rest, struct view *filter)
{
	struct entry_head head;

	if (rest->n < sizeof(head))
		return false;
	memcpy(&head, rest->p, sizeof(head));
	*rest = view_skip(*rest, sizeof(head));
	if (head.filter_bytes == 0 || head.filter_bytes > rest->n || head.qos > 2)
		return false;
	*filter = (struct view){rest->p, head.filter_bytes};
	*rest = view_skip(*rest, head.filter_bytes);
	return true;
}

static void limit_from(struct subscriptions *s, uint64_t latest)
{
	uint8_t *p = s->block;
	struct entry_head head;

	for (size_t at = 0; at < s->bytes; at += sizeof(head) + head.filter_bytes) {
		memcpy(&head, p + at, sizeof(head));
		if (head.from > latest)
			head.from = latest & FROM_MOST;
		memcpy(p + at, &head, sizeof(head));
	}
}

/* Most sessions have one or two subscriptions and keep them for long: not a byte to spare. */
static void resize(struct subscriptions *s, uint32_t bytes)
{
	if (bytes) {
		s->block = mem_resize(s->block, bytes);
	} else {
		free(s->block);
		s->block = NULL;
	}
	s->bytes = bytes;
}

int subscriptions_restore(struct subscriptions *s, struct view block, uint64_t latest)
{
	struct view rest = block;
	struct view filter;
	struct view last = {NULL, 0};
	uint32_t count = 0;

	for (; rest.n; count++) {
		if (!cut_entry(&rest, &filter) || (last.p && view_order(last, filter) >= 0))
			return ERR_CORRUPT;
		last = filter;
	}
	resize(s, (uint32_t)block.n);
	if (block.n)
		memcpy(s->block, block.p, block.n);
	s->count = count;
	limit_from(s, latest);
	sum_up(s);
	return 0;
}

/* What stands at `at` takes `new` bytes instead of `old`; gives where. */
static uint8_t *make_room(struct subscriptions *s, uint32_t at, uint32_t old, uint32_t new)
{
	uint32_t before = s->bytes, behind = before - at - old;

	if (new > old)
		resize(s, before + new - old);
	if (behind)
		memmove(s->block + at + new, s->block + at + old, behind);
	if (new < old)
		resize(s, before + new - old);
	return s->block + at;
}

bool subscriptions_put(struct subscriptions *s, const struct subscription *one)
{
	struct entry_head head = {
		.from = one->from & FROM_MOST,
		.share = one->share,
		.id = one->id,
		.qos = one->qos,
		.options = one->options,
		.filter_bytes = (uint16_t)one->filter.n,
	};
	uint32_t bytes = (uint32_t)(sizeof(head) + one->filter.n);
	uint32_t old;
	uint32_t at = find(s, one->filter, &old);
	uint8_t *p;

	check(one->filter.n && one->filter.n <= UINT16_MAX);
	if (old) {
		struct entry_head before;

		/* What the old one still has to get is not lost with it. */
		memcpy(&before, s->block + at, sizeof(before));
		if (before.from < head.from) /* [MQTT-3.8.4-4] */
			head.from = before.from;
		head.share = before.share;
	}
	p = make_room(s, at, old, bytes); /* [MQTT-3.8.4-3] */
	memcpy(p, &head, sizeof(head));
	memcpy(p + sizeof(head), one->filter.p, one->filter.n);
	s->count += old == 0;
	sum_up(s);
	return old != 0;
}

bool subscriptions_has(const struct subscriptions *s, struct view filter)
{
	uint32_t bytes;

	find(s, filter, &bytes);
	return bytes != 0;
}

bool subscriptions_remove(struct subscriptions *s, struct view filter)
{
	uint32_t bytes;
	uint32_t at = find(s, filter, &bytes);

	if (bytes == 0)
		return false;
	make_room(s, at, bytes, 0);
	s->count--;
	sum_up(s);
	return true;
}

void subscriptions_unmark(struct subscriptions *s, struct view filter, uint8_t option)
{
	uint32_t bytes;
	uint32_t at = find(s, filter, &bytes);
	struct entry_head head;

	if (bytes == 0)
		return;
	memcpy(&head, s->block + at, sizeof(head));
	head.options = (uint8_t)(head.options & ~option);
	memcpy(s->block + at, &head, sizeof(head));
}

void subscriptions_not_before(struct subscriptions *s, uint64_t position)
{
	uint8_t *p = s->block;
	struct entry_head head;

	for (size_t at = 0; at < s->bytes; at += sizeof(head) + head.filter_bytes) {
		memcpy(&head, p + at, sizeof(head));
		if (head.from < position)
			head.from = position & FROM_MOST;
		memcpy(p + at, &head, sizeof(head));
	}
	sum_up(s);
}
