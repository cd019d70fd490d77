/* mqtt/tree.h - many filters, asked at once: which of them match this topic?
 *
 * A tree of levels with hashed children. Values are opaque pointers; the same
 * (filter, value) pair is kept once. Cost of a match is bounded by the number of
 * matching branches, not by the number of filters.
 *
 * Threads: one at a time.
 */
#ifndef MQTT_TREE_H
#define MQTT_TREE_H

#include <stddef.h>

#include "base/view.h"

struct filter_tree;

struct filter_tree *filter_tree_new(void);
void filter_tree_free(struct filter_tree *t);

/* Borrows filter (valid, checked by the caller). Adding a pair twice changes nothing. */
void filter_tree_add(struct filter_tree *t, struct view filter, void *value);

/* True when the pair was there. */
bool filter_tree_remove(struct filter_tree *t, struct view filter, void *value);

/* Calls on_match for every pair whose filter matches; a value with several matching filters is
 * given once per filter. The tree must not change meanwhile. */
void filter_tree_match(const struct filter_tree *t, struct view topic,
	void (*on_match)(void *context, void *value), void *context);

size_t filter_tree_count(const struct filter_tree *t);

#endif
