/* cli/hierarchy_files.h - the topic hierarchy from a folder or zip in WMO's layout
 *
 * The tables may stand at the top or in a folder inside (a repository, a release archive): the
 * outermost centre-id.csv says where. What is read has bounds, a zip's contents too, whatever its
 * directory says of them.
 *
 * Threads: any, but it reads files: not on a worker.
 */
#ifndef CLI_HIERARCHY_FILES_H
#define CLI_HIERARCHY_FILES_H

#include "base/buf.h"
#include "wis2/topic.h"

/* A folder or a zip; NULL: the built-in one. Gives a hierarchy (one reference), or NULL with the reason appended
 * to why. Its version is the x.y.z found in the path, else one made of what the tables hold. */
struct hierarchy *hierarchy_read(const char *path, struct buf *why);

#endif
