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
 * broker's and opaque here but for its first byte. What a client is answered about its session waits
 * for confirm(). A machine that could not ask claims later; then the later CONNECT has the session.
 *
 * Wills of connected clients are kept beside the sessions, whether these last or not, since nobody else
 * knows them when a machine dies. One of the others then publishes them, at once the one to which the
 * client comes back, unless a delay was to wait for just that; two that publish the same one do it under
 * the same identifier:
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
#include "commit/receipt.h"

#define ROAMING_KEEP_MS \
	86400000u /* so long the cluster remembers who has a session without a row */
#define ROAMING_TOUCH_MS 21600000u
/* So long, beyond its expiry, the row of a session stays of which nobody says any more that its client
 * is connected: its machine is gone for good, or was cut off for as long. */
#define ROAMING_LIVE_MS 604800000u

#define ROAMING_LIVE 'L' /* first byte of a row: the machine's mark says how far the session got */

enum roaming_flag {
	ROAMING_LASTS = 1, /* the session is to outlive its connection */
	ROAMING_CLEAN = 2, /* clean start: what was there before ends */
};

/* The asker's memory until on_taken, or until the cluster has stopped: then it comes no more. */
struct roaming_take {
	struct buf key;
	unsigned flags;   /* enum roaming_flag, or-ed */
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
	/* The cluster could not be asked age_ms ago, and this machine serves the session all the same: it is
	 * taken when that can be done, see on_late() and on_lost(). address: the client's, 0: not known. */
	void (*claim)(
		void *context, struct view key, unsigned flags, uint64_t address, uint64_t age_ms);
	/* The row from now on; it may go ttl_ms after this call, 0: never. */
	void (*put)(
		void *context, struct view key, uint32_t owner, struct view row, uint64_t ttl_ms);
	/* The answer to on_taken_away(): the last row under the old number; empty: there is none here.
	 * owner 0: it is claimed no more, and another machine's. */
	void (*give)(void *context, struct view key, uint32_t owner, struct view row);
	/* It ends with its connection at the latest, which lasts: the cluster keeps no row of it. */
	void (*bare)(void *context, struct view key, uint32_t owner);
	/* A client is still connected: its session, or who has it, may go no sooner than said last; at least
	 * every ROAMING_TOUCH_MS. */
	void (*touch)(void *context, struct view key);
	/* The session has ended; owner 0: it is claimed no more. */
	void (*drop)(void *context, struct view key, uint32_t owner);
	/* Tells when all that was put of r->key's session before is safe. */
	void (*confirm)(void *context, struct receipt *r);
	/* Every live session of this machine has got at least so far; all rows put before belong to it. */
	void (*mark)(void *context, struct view mark);
	/* The will of this machine's client from now on, or that it has none. */
	void (*will)(void *context, struct view key, const struct roaming_will *will);
	/* It is published, or never will be. run: as on_will() gave it; empty: this machine's own. */
	void (*will_done)(void *context, struct view run, struct view key, const struct uuid *id);
	void *context;
};

struct roaming_host {
	/* Another machine has taken the session under the number `owner`; by a clean start? */
	void (*on_taken_away)(void *context, struct view key, uint32_t owner, bool is_clean);
	/* What was claimed is this machine's under this number. */
	void (*on_late)(void *context, struct view key, uint32_t owner);
	/* Another machine has the session that is here under the number `owner`; 0: its client has
	 * connected there since it was claimed. */
	void (*on_lost)(void *context, struct view key, uint32_t owner);
	/* The machine whose run this was is dead: its client's will is to be published here, and then
	 * will_done(). Its client may be back, on this machine: then that is not answered before. */
	void (*on_will)(
		void *context, struct view run, struct view key, const struct roaming_will *will);
	void *context;
};

#endif
