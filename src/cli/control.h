/* cli/control.h - the running broker takes orders from its operators, by a socket in data_dir
 *
 *     isobar client kick x --{"order":"kick","client_id":"x"}--> data_dir/control --> server
 *                          <-- lines of JSON, the last {"status":0} --
 *
 * One order a connection: a JSON object on one line of at most CONTROL_ORDER_BYTES. Lines come back; the
 * last one has `status`, an exit status of cli.h, and, if that is not 0, `error`. Only the user who runs
 * the broker, and root, can open the socket; the kernel says who asks, and each change is logged with it.
 *
 * Threads: the broker's side has one of its own, which may wait where a worker may not.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <jansson.h>

#include "base/view.h"
#include "cli/config.h"

#define CONTROL_ORDER_BYTES 16384u

/* --- the broker's side (control.c) ------------------------------------- */

struct server;
struct control;

/* Opens the socket and begins to answer; the workers run. NULL after the cause was logged. */
struct control *control_start(struct server *s);
/* Ends what is under way within seconds; the workers still run. */
void control_stop(struct control *c);

/* --- an operator's side (control_ask.c) -------------------------------- */

/* Sends the order (stolen) to the broker that runs on this data_dir and waits for the end of its answer;
 * on_line (NULL: none) gets each line before the last. Gives the exit status; each but 0 after a line on
 * stderr, which begins with "isobar COMMAND: ". */
int control_ask(const struct config *c, const char *command, json_t *order,
	void (*on_line)(void *context, struct view text, json_t *line), void *context);

/* Has the broker read its files again, if one runs. True: one does. what: for its log; files (stolen;
 * NULL: none): a list of those that every node of a cluster is to have, "source/NAME" or "accounts". */
bool control_reload(const struct config *c, const char *what, json_t *files);

/* A connection to the socket of this data_dir: a descriptor, or negative (errno). */
int control_connect(const char *data_dir);

#endif
