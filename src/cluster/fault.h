/* cluster/fault.h - what an error of Redis' means for whoever has to mend it
 *
 * Pure.
 */
#ifndef CLUSTER_FAULT_H
#define CLUSTER_FAULT_H

#include "base/view.h"

/* The reply's text without its "-". Static text; NULL: nothing that has to be mended, such as a slot that
 * is elsewhere, a script to be loaded, or a key that is not there. */
const char *fault_text(struct view error);

#endif
