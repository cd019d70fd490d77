/* cluster/leases.h - the sources configured here, and who has each of their leases
 *
 * A lease is named "SOURCE/SLOT"; its value is a run of a node, "NAME/START". The table has what was
 * last read, in order of name, and what this node does for each.
 *
 * Pure: replies in, a table out.
 */
#ifndef CLUSTER_LEASES_H
#define CLUSTER_LEASES_H

#include "base/buf.h"
#include "cluster/holders.h"
#include "cluster/resp.h"

struct lease_row {
	char *name;
	struct leases leases; /* the texts are the row's */
	uint32_t slot;        /* that this node has, or HOLDER_NONE */
	bool voice;
};

struct lease_table {
	struct lease_row *rows;
	uint32_t count;
};

void lease_table_fini(struct lease_table *t);

/* From now on these sources, in order of name; takes the texts, not the list. Slot and voice of those
 * that stay are kept, no lease is known of any. */
void lease_table_set(struct lease_table *t, char **names, uint32_t n);

/* Takes the reply to HGETALL. The names of leases that `run` has of sources that are not in the table
 * are appended to *left, a NUL behind each. False: it is not such a reply, nothing was taken. */
bool lease_table_take(
	struct lease_table *t, const struct resp *reply, struct view run, struct buf *left);

/* Who has it now; empty: nobody. */
void lease_set(struct lease_row *row, uint32_t slot, struct view run);
/* Appends its name. */
void lease_name(struct buf *b, const struct lease_row *row, uint32_t slot);

#endif
