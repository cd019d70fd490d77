/* broker/outgoing.h - what holds for every message that leaves, whichever way it was chosen
 *
 * Threads: the worker's.
 */
#ifndef BROKER_OUTGOING_H
#define BROKER_OUTGOING_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/batch.h"
#include "broker/session.h"

/* Of `room` messages of the worker's batch, as many as the account of s may be sent now; to a live
 * session none while another one of the account starves. */
uint32_t outgoing_grant(const struct broker_worker *w, const struct session *s, uint32_t room);

/* The first `sent` messages of the batch (at most 0: none) have gone to s. */
void outgoing_count_sent(
	struct broker_worker *w, const struct session *s, const struct batch *b, int sent);

/* Sends the worker's batch, which is for s alone, as far as window, rate and socket take it. How many
 * left; negative: the connection is closing. *is_throttled: the account's rate is what stopped it. */
int outgoing_send(struct broker_worker *w, struct session *s, bool *is_throttled);

#endif
