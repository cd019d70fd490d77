/* cli/control_orders.h - what a running broker can be told by its operators
 *
 * Threads: the control thread's.
 */
#ifndef CLI_CONTROL_ORDERS_H
#define CLI_CONTROL_ORDERS_H

#include "base/buf.h"
#include "cli/server.h"

/* An order under way. */
struct order {
	struct server *server;
	const char *by;                /* who asks: "root uid=0 pid=4711" */
	struct buf lines;              /* of the answer, not yet sent */
	bool (*send)(struct order *o); /* sends them and empties it; false: nobody listens */
	void *context;
};

/* Does what the line asks, and ends the answer with the line that has `status`. */
void order_carry_out(struct order *o, struct view line);

#endif
