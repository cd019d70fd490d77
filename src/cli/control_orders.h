/* cli/control_orders.h - what a running broker can be told by its operators
 *
 * Threads: the control thread's.
 */
#ifndef CLI_CONTROL_ORDERS_H
#define CLI_CONTROL_ORDERS_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/server.h"

/* An order under way. */
struct order {
	struct server *server;
	const char *by;                /* who asks: "root uid=0 pid=4711" */
	bool is_told;                  /* by another node: nobody else is to be told */
	struct buf lines;              /* of the answer, not yet sent */
	bool (*send)(struct order *o); /* sends them and empties it; false: nobody listens */
	void *context;
};

/* May it come from another node? */
bool order_is_shared(const json_t *order);

/* Does what the line asks, and ends the answer with the line that has `status`. */
void order_carry_out(struct order *o, struct view line);

/* --- inside ------------------------------------------------------------ */

/* The answer's last line. error: what is wrong, or NULL. */
void order_end(struct order *o, int status, const char *error);

/* For `isobar compare` (control_watch.c): what was taken into the journal from a place on, and what was
 * refused since a number; each answer says where the next one goes on. */
void order_records(struct order *o, const json_t *order);
void order_refused(struct order *o, const json_t *order);
/* Which of these ids were published before. */
void order_known(struct order *o, const json_t *order);

#endif
