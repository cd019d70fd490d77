/* publish/ledger.h - the thread that saves positions and counts what was removed
 *
 * Both wait for the disk. Once a second the positions are written when one has moved; a range of the
 * journal that was removed before a target got there is counted by topic from what its segments left
 * behind, added to the target's figures and told once.
 *
 * Threads: ledger_lost() any; the others the applying thread's.
 */
#ifndef PUBLISH_LEDGER_H
#define PUBLISH_LEDGER_H

#include <stdint.h>

#include "publish/positions.h"

struct ledger;
struct publisher;
struct target;

/* Reads what an earlier run left. */
struct ledger *ledger_new(struct publisher *p, const char *file);
/* The thread; once there is something to save. Harmless again. */
void ledger_start(struct ledger *l);
/* Ends the thread after one more save. */
void ledger_free(struct ledger *l);

/* Is there a file; and could it be read (or there was none)? */
bool ledger_has_found(const struct ledger *l);
bool ledger_is_whole(const struct ledger *l);
/* Where an earlier run left this target, told once. False: it knew none of this name. */
bool ledger_take(struct ledger *l, const char *name, uint64_t *seq);

/* Records [from, to) are gone. Borrows the target until ledger_await(). */
void ledger_lost(struct ledger *l, struct target *t, uint64_t from, uint64_t to);
/* Waits until nothing that was asked for is under way. */
void ledger_await(struct ledger *l);

#endif
