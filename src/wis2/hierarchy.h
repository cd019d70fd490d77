/* wis2/hierarchy.h - the tables behind a topic's verdict
 *
 * Inside the room only; the public face is wis2/topic.h. A tree of names with the children of each
 * node side by side in byte order, and the list of centre identifiers in the same form. The tables
 * compiled into the program come from tools/hierarchy.awk.
 *
 * Threads: any; nothing changes once made.
 */
#ifndef WIS2_HIERARCHY_H
#define WIS2_HIERARCHY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "wis2/topic.h"

#define HIERARCHY_ROOT 0u /* above the disciplines */
#define HIERARCHY_NONE 0u /* as an answer: no such node */

/* A name's place in the text of all names. */
struct hierarchy_name {
	uint32_t at;
	uint32_t length;
};

/* A node's children. */
struct hierarchy_branch {
	uint32_t first;
	uint32_t count; /* 0: a leaf */
};

/* One set of tables. Node 0 is the root above the disciplines; children of a node stand together,
 * in byte order of their names, as the centres do. */
struct hierarchy_table {
	const char *version;
	const char *text;
	const struct hierarchy_name *centres;
	size_t centre_count;
	const struct hierarchy_name *nodes;
	const struct hierarchy_branch *branches; /* of the node of that number */
};

/* A hierarchy on tables of its own. Takes what they point to, each made by mem_new(). */
struct hierarchy *hierarchy_of_table(const struct hierarchy_table *table);

/* The child of that name, or HIERARCHY_NONE. */
unsigned hierarchy_child(const struct hierarchy *h, unsigned node, struct view name);
bool hierarchy_is_leaf(const struct hierarchy *h, unsigned node);

/* The nearest name among a node's children; {NULL, 0} when none is near. */
struct view hierarchy_nearest_child(const struct hierarchy *h, unsigned node, struct view name);

#endif
