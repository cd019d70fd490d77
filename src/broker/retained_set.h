/* broker/retained_set.h - the topics that have a retained message, in their order
 *
 * A skip list, so that whoever goes through the topics may stop anywhere, remember only the last
 * topic, and go on there later, whatever came and went meanwhile. An entry holds no message, only the
 * journal position of one.
 *
 * Threads: one at a time.
 */
#ifndef BROKER_RETAINED_SET_H
#define BROKER_RETAINED_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define RETAINED_SET_HEIGHT 10 /* a quarter of the entries of each level reach the next */

struct retained_topic {
	uint64_t set_at;     /* behind the record it was published in: its place among all
	                      * messages; 0: before those of this journal */
	uint64_t position;   /* a record with its bytes */
	uint64_t expires_ms; /* journal's clock; UINT64_MAX: never */
	uint64_t place;      /* in the shared log; 0: it is not from there */
	struct retained_topic *next_changed; /* the user's */
	uint32_t bytes;                      /* topic, payload, properties */
	uint32_t round;                      /* the cluster asked for it in that one last */
	uint16_t topic_bytes;
	uint8_t height;
	uint8_t shard;                 /* of the shared log */
	bool is_changed;               /* the user's */
	bool is_adopted;               /* no visible record of this journal: see retained_adopt.c */
	bool is_cut;                   /* not in the set any more */
	struct retained_topic *next[]; /* height of them, then the topic */
};

struct retained_set {
	struct retained_topic *first[RETAINED_SET_HEIGHT];
	uint64_t random;
};

static inline struct view retained_topic_name(const struct retained_topic *t)
{
	return (struct view){(const char *)&t->next[t->height], t->topic_bytes};
}

/* Zero-initialised is empty and valid. Frees the entries. */
void retained_set_fini(struct retained_set *s);

/* NULL: none. */
struct retained_topic *retained_set_find(const struct retained_set *s, struct view topic);

/* A new entry, zeroed; the topic (1-65535 bytes) is not in the set. */
struct retained_topic *retained_set_add(struct retained_set *s, struct view topic);

/* Takes it out; free() is the caller's. */
void retained_set_cut(struct retained_set *s, struct retained_topic *t);

/* The first one at or behind `topic`; is_behind: not at it. NULL: none. */
struct retained_topic *retained_set_from(
	const struct retained_set *s, struct view topic, bool is_behind);

#endif
