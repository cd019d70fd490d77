/* broker/promise.h - answers that wait until the cluster has what they say
 *
 * SUBACK and UNSUBACK of a session that lasts promise that the client finds its subscriptions on whichever
 * machine it comes to next. So they leave when Redis has the row (commit/receipt.h); the subscription is
 * in force meanwhile. On one machine they leave at once.
 *
 *     SUBSCRIBE --> in force, row on its way --> promise --receipts--> SUBACK
 *
 * Of one client PROMISES_MOST wait at most, then it is read no further.
 *
 * Threads: the worker's.
 */
#ifndef BROKER_PROMISE_H
#define BROKER_PROMISE_H

#include "mqtt/packet.h"

#define PROMISES_MOST 64u

struct client;

/* Sends p (a list of codes; copied) when what the session has become is safe. */
void promise_send(struct client *c, const struct mqtt_packet *p);
/* The connection has ended. */
void promise_forget_all(struct client *c);

#endif
