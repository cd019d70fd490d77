/* commit/roaming.h - sessions that follow their clients from machine to machine
 *
 * What the broker asks of the cluster and the cluster of the broker; neither knows the other. Every
 * session has an owner number in the cluster, which grows with each CONNECT of its client anywhere:
 *
 *     machine B                     cluster                        machine A
 *     take ---------------------->  owner 7 -> 8, was A's ------>  on_taken_away
 *                                                                  closes the connection, lets go
 *     on_taken(8, row) <----------  row, of owner 7 <------------  give
 *     put, put ... drop ---------->  only while the number is still 8
 *
 * Who has a session writes its row when it changes; the cluster keeps the latest. A row is the
 * broker's and opaque here but for its first byte.
 *
 * Wills of connected clients are kept beside the sessions, whether these last or not, since nobody else
 * knows them when a machine dies. One of the others then publishes them, unless the client has been taken
 * meanwhile; two that publish the same one do it under the same identifier:
 *
 *     machine A      cluster                              machine B
 *     will ------->  kept ... A is dead, delay over --->  on_will: published
 *     will_done -->  gone <-----------------------------  will_done
 *
 * Threads: struct roaming's functions on any; on_taken and struct roaming_host's on the cluster's thread.
 */
#ifndef COMMIT_ROAMING_H
#define COMMIT_ROAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "base/view.h"

#define ROAMING_LIVE 'L' /* first byte of a row: the machine's mark says how far the session got */

/* The asker's memory until on_taken. */
struct roaming_take {
	struct buf key;
	uint64_t address; /* of the client, as a number */
	bool is_scoped;   /* a session of another address is not taken */
	void (*on_taken)(struct roaming_take *t);
	/* The answer: */
	bool is_known;   /* false: the cluster is out of reach, nothing else is set */
	bool is_refused; /* another address has it, nothing else is set */
	uint32_t owner;  /* from now on */
	uint32_t before; /* 0: nobody had it */
	struct buf row;  /* of who had it before; empty: none is known */
	struct buf mark; /* of the machine that wrote the row, when that begins with ROAMING_LIVE */
	void *context;   /* the cluster's */
};
void roaming_take_fini(struct roaming_take *t);

/* What a client wants published when its connection breaks; borrowed, opaque but for the delay. */
struct roaming_will {
	struct uuid id;    /* another one for each connection */
	uint64_t delay_ms; /* after the machine's death */
	struct view bytes; /* empty: there is none any more */
};

struct roaming {
	void (*take)(void *context, struct roaming_take *t);
	/* The row from now on; it may go ttl_ms after this call, 0: never. */
	void (*put)(
		void *context, struct view key, uint32_t owner, struct view row, uint64_t ttl_ms);
	/* The answer to on_taken_away(): the last row under the old number; empty: there is none here. */
	void (*give)(void *context, struct view key, uint32_t owner, struct view row);
	/* The session has ended. */
	void (*drop)(void *context, struct view key, uint32_t owner);
	/* Every live session of this machine has got at least so far; all rows put before belong to it. */
	void (*mark)(void *context, struct view mark);
	/* The will of this machine's client from now on, or that it has none. */
	void (*will)(void *context, struct view key, const struct roaming_will *will);
	/* It is published, or never will be. run: as on_will() gave it; empty: this machine's own. */
	void (*will_done)(void *context, struct view run, struct view key, const struct uuid *id);
	void *context;
};

struct roaming_host {
	/* Another machine has taken the session under the number `owner`. */
	void (*on_taken_away)(void *context, struct view key, uint32_t owner);
	/* A take that was answered as "out of reach" has been done all the same: it is this machine's
	 * under this number. */
	void (*on_late)(void *context, struct view key, uint32_t owner);
	/* The machine whose run this was is dead: its client's will is to be published here, and then
	 * will_done(). */
	void (*on_will)(
		void *context, struct view run, struct view key, const struct roaming_will *will);
	void *context;
};

#endif
