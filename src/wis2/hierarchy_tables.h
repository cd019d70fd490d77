/* wis2/hierarchy_tables.h - a topic hierarchy from the tables WMO publishes
 *
 * The layout of the repository wis2-topic-hierarchy, folder topic-hierarchy/:
 *
 *     channel.csv version.csv system.csv notification-type.csv data-policy.csv   levels 1 to 6
 *     centre-id.csv                                                              level 4
 *     earth-system-discipline/index.csv              level 7: column 1
 *     earth-system-discipline/weather/index.csv      what stands below weather, and so on down
 *     earth-system-discipline/.../index-flat.csv     two levels: columns 1 and 2
 *
 * Tables are added one by one; only when all are there and fit together is there a hierarchy.
 * Nothing is trusted: sizes, depth and numbers have bounds, names the form the standard gives them
 * (WTH 1.5). Pure: somebody else reads the files.
 *
 * Threads: one at a time.
 */
#ifndef WIS2_HIERARCHY_TABLES_H
#define WIS2_HIERARCHY_TABLES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/view.h"
#include "wis2/topic.h"

#define HIERARCHY_TABLE_LARGEST (4u * 1024u * 1024u) /* bytes of one table */
#define HIERARCHY_NAMES_MOST 50000u                  /* in all tables */
#define HIERARCHY_DEPTH_MOST 16u                     /* levels from the disciplines down */
#define HIERARCHY_NAME_LONGEST 128u

struct hierarchy_tables;

struct hierarchy_tables *hierarchy_tables_new(void);
void hierarchy_tables_free(struct hierarchy_tables *t);

/* Is the file, by its path below topic-hierarchy/, one of the tables? */
bool hierarchy_tables_wants(struct view path);

/* Reads one table; path as above. False, with the reason appended to why, when it is refused; then
 * only hierarchy_tables_free() is left. Borrows both texts. */
bool hierarchy_tables_add(
	struct hierarchy_tables *t, struct view path, struct view csv, struct buf *why);

/* A new hierarchy, or NULL with the reason appended to why. An empty version: one is made of what
 * the tables hold, so that the same tables always have the same. */
struct hierarchy *hierarchy_tables_finish(
	struct hierarchy_tables *t, struct view version, struct buf *why);

#endif
