/* cli/everywhere.h - what an operator orders on one node of a cluster is done on all
 *
 *     isobar source add x --reload order, "source/x"--> control thread --> everywhere_change()
 *     main thread: everywhere_look(): reads the file as it is now --> cluster_tell_order()
 *
 *     another node: everywhere_take(), cluster's thread --SIGUSR1--> main thread: everywhere_look():
 *                   checks and writes its own file, bans, kicks; true: files are to be read again
 *
 * An order is {"by": WHO, "node": NODE, "order": {...}}, the inner one as on the control socket, or
 * {"order":"file","name":"source/x","text":TEXT}, text null: it is gone.
 */
#ifndef CLI_EVERYWHERE_H
#define CLI_EVERYWHERE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/view.h"

struct server;
struct everywhere;

struct everywhere *everywhere_new(struct server *s);
void everywhere_free(struct everywhere *e); /* NULL: nothing */

/* A file was changed on this node by an operator: "source/NAME" or "accounts". Any thread; nothing
 * without a cluster, as the next. Main is told by the reload that follows. */
void everywhere_change(struct everywhere *e, const char *name, const char *by);
/* Has been done here: tells the others. about: as of cluster_tell_order(). Borrows order. */
void everywhere_tell(struct everywhere *e, const char *about, const char *by, const json_t *order);
/* From another node. Any thread; text is copied. */
void everywhere_take(struct everywhere *e, struct view text);

/* Main thread: does what waits. True: files have changed. */
bool everywhere_look(struct everywhere *e);

#endif
