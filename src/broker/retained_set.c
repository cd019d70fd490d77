/*     level 1   first ---------------> b ---------------------> NULL
 *     level 0   first ------> a -----> b ------> c ------> d -> NULL
 */
#include "broker/retained_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"

/* Per level, the pointer that leads to the first entry at or behind a topic. */
struct path {
	struct retained_topic **at[RETAINED_SET_HEIGHT];
};

static struct path find_path(struct retained_set *s, struct view topic)
{
	struct retained_topic **next = s->first;
	struct path path;

	for (unsigned level = RETAINED_SET_HEIGHT; level-- > 0;) {
		while (next[level] && view_order(retained_topic_name(next[level]), topic) < 0)
			next = next[level]->next;
		path.at[level] = &next[level];
	}
	return path;
}

struct retained_topic *retained_set_from(
	const struct retained_set *s, struct view topic, bool is_behind)
{
	struct retained_topic *const *next = s->first;

	for (unsigned level = RETAINED_SET_HEIGHT; level-- > 0;) {
		while (next[level] &&
			view_order(retained_topic_name(next[level]), topic) < (is_behind ? 1 : 0))
			next = next[level]->next;
	}
	return next[0];
}

struct retained_topic *retained_set_find(const struct retained_set *s, struct view topic)
{
	struct retained_topic *t = retained_set_from(s, topic, false);

	return t && view_equal(retained_topic_name(t), topic) ? t : NULL;
}

/* xorshift, seeded so that nobody outside can choose topics that make the list slow. */
static uint8_t draw_height(struct retained_set *s)
{
	uint64_t bits;
	uint8_t height = 1;

	if (s->random == 0)
		s->random = map_seed();
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	for (bits = s->random; height < RETAINED_SET_HEIGHT && (bits & 3) == 0; bits >>= 2)
		height++;
	return height;
}

struct retained_topic *retained_set_add(struct retained_set *s, struct view topic)
{
	struct path path = find_path(s, topic);
	uint8_t height = draw_height(s);
	struct retained_topic *t;

	check(topic.n && topic.n <= UINT16_MAX);
	t = mem_new(sizeof(*t) + height * sizeof(*t->next) + topic.n);
	t->height = height;
	t->topic_bytes = (uint16_t)topic.n;
	memcpy(&t->next[height], topic.p, topic.n);
	for (unsigned level = 0; level < height; level++) {
		t->next[level] = *path.at[level];
		*path.at[level] = t;
	}
	return t;
}

void retained_set_cut(struct retained_set *s, struct retained_topic *t)
{
	struct path path = find_path(s, retained_topic_name(t));

	for (unsigned level = 0; level < t->height; level++) {
		check(*path.at[level] == t);
		*path.at[level] = t->next[level];
	}
	t->is_cut = true;
}

void retained_set_fini(struct retained_set *s)
{
	struct retained_topic *next;

	for (struct retained_topic *t = s->first[0]; t; t = next) {
		next = t->next[0];
		free(t);
	}
	*s = (struct retained_set){0};
}
