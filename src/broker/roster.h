/* broker/roster.h - the clients that are connected, for those who look after them
 *
 * A walk goes from worker to worker and along each one's clients, a few hundred at a turn of its loop, so that
 * no message waits for it:
 *
 *     roster_walk() --post--> worker 0: each, each ... --next turn--> each ... --> worker 1 ... --> on_end
 *
 * Each client has a number that rises with the time it came, per worker; a later walk goes on behind one.
 *
 * Threads: roster_walk() any; each() and on_end() on the loops of the workers, one after the other.
 */
#ifndef BROKER_ROSTER_H
#define BROKER_ROSTER_H

#include "broker/bans.h"
#include "broker/broker.h"

/* Borrowed during the call. No passwords are here, nor anything that lets one in. */
struct roster_client {
	uint64_t number;
	const struct address *peer;
	struct view client_id;
	const char *user;      /* NULL: anonymous */
	const char *protocol;  /* "3.1.1", "5" */
	const char *transport; /* of the client's URL: "mqtt", "mqtts", "ws", "wss" */
	const char *state;     /* "live" or "behind" */
	uint64_t connected_ms; /* wall clock */
	uint16_t keep_alive_s; /* 0: off */
	uint32_t subscriptions;
	uint64_t lag;       /* records it has not looked at yet */
	uint32_t in_flight; /* QoS 1 and 2 messages on the way to it */
	uint64_t bytes_in;
	uint64_t bytes_out;
};

struct roster_query {
	uint64_t after;                   /* clients with greater numbers; 0: from the first */
	uint32_t limit;                   /* clients at most; 0: no limit */
	const char *user;                 /* only of this account; NULL: of any */
	const char *client_id;            /* only with this one; NULL: any */
	const struct address_block *from; /* only from there; NULL: from anywhere */
	bool kick; /* they are closed with DISCONNECT 0x98; each() is called before. Then also those of the
		    * address or identifier whose CONNECT is not answered yet, without each() */
};

struct roster_walker {
	/* May be NULL. */
	void (*each)(void *context, const struct roster_client *c);
	/* count: clients that fitted; next: `after` of a walk that goes on, 0: that was all. */
	void (*on_end)(void *context, uint64_t count, uint64_t next);
	void *context;
};

/* Copies the query and its texts. Without on_end() when the loops stop before. */
void roster_walk(
	struct broker *b, const struct roster_query *query, const struct roster_walker *walker);

/* One as a JSON object, without a line end. */
void roster_write(const struct roster_client *c, struct buf *out);

#endif
