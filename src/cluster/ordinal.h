/* cluster/ordinal.h - how many entries of a stream have come by, and how many have not
 *
 * An entry's ordinal is how many were ever added to its stream up to it. Redis tells that of the
 * newest; reading counts on from there. Who counts fewer than Redis at the same place has missed the
 * difference: it was trimmed before it was read.
 *
 *	Redis:   ... 17 18 19 20     last = the entry 20, added = 20
 *	reader:  ... 17 18    20     19 when it comes by the entry 20: one was missed
 *
 * Pure.
 */
#ifndef CLUSTER_ORDINAL_H
#define CLUSTER_ORDINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/stream.h"

/* How far somebody got: a place and, when it is known, its ordinal. */
struct mark {
	uint64_t place;
	uint64_t ordinal;
	bool is_counted; /* the ordinal is known */
};

struct ordinal {
	struct mark at; /* never goes back but with the stream */
	struct stream_state newest;
	bool is_checking; /* `newest` has not come by yet */
};

/* An entry has been read; one that came by before changes nothing. Gives how many are found to have been
 * missed. */
uint64_t ordinal_read(struct ordinal *o, uint64_t place);

/* Redis has said how the stream is. It is compared here and now when there is nothing in between, else
 * when it comes by. Gives how many are found to have been missed. */
uint64_t ordinal_look(struct ordinal *o, const struct stream_state *newest);

/* The stream has nothing behind what was read: what was newest at the last look is gone as well. Gives
 * how many are found to have been missed. */
uint64_t ordinal_nothing(struct ordinal *o);

#endif
