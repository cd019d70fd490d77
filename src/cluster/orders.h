/* cluster/orders.h - an operator's order to one node reaches all of them
 *
 * One hash in Redis has the last order about each thing (a source's file, the accounts, a ban), with a
 * number that grows: a node that was away reads at its start what is newer than the number it has in a
 * file. Orders about nothing that lasts (kick) stand in a small ring, for those who are there.
 *
 *	orders_tell() --> order.lua --> {isobar}:orders <-- looked at twice a second --> on_order()
 *
 * Threads: the loop's, but for orders_tell().
 */
#ifndef CLUSTER_ORDERS_H
#define CLUSTER_ORDERS_H

#include "cluster/core.h"

#define ORDER_LARGEST (1u << 20)  /* bytes of one */
#define ORDERS_WAITING_MOST 1024u /* not yet told to Redis */
#define ORDERS_FIELDS_MOST 32768u /* in Redis */

struct orders;
#define ORDERS_SCRIPTS 2
extern const char *const orders_scripts[ORDERS_SCRIPTS];

struct orders *orders_new(struct cluster_core *core);
void orders_begin(struct orders *o);
/* NULL: nothing. */
void orders_free(struct orders *o);

/* See cluster_tell_order(). */
int orders_tell(struct orders *o, const char *about, struct view text);

/* What stands in the hash: number, run, order. False: it is none. */
struct order_entry {
	uint64_t number;
	struct view run;
	struct view text;
};
bool order_entry_parse(struct view value, struct order_entry *out);

#endif
