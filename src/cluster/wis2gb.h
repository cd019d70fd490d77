/* cluster/wis2gb.h - the duplicate filter of the existing antiloop: its keys, our call, its answer
 *
 * The antiloops of other software remember an identifier for two hours under one key each, anywhere
 * in the Redis Cluster; who sets it publishes the message:
 *
 *     theirs  SET wis2gb:dedup:<id> 1|true NX EX 7200           OK: publish; nil: a repeat
 *     ours    SET wis2gb:dedup:<id> isobar EX 7200 NX GET       nil, "isobar": ours; else a repeat
 *
 * The id is written there as in the message, whose letters may be of either case.
 *
 * Pure: bytes in, bytes out.
 */
#ifndef CLUSTER_WIS2GB_H
#define CLUSTER_WIS2GB_H

#include <stdbool.h>

#include "base/buf.h"
#include "cluster/record.h"
#include "cluster/resp.h"

#define WIS2GB_KEY_BYTES (sizeof("wis2gb:dedup:") + UUID_TEXT_BYTES)

/* The key and a NUL. False: the message has no id (a hash stands for it), and no key there. */
bool wis2gb_key(const struct record *r, char out[WIS2GB_KEY_BYTES]);

/* Appends the command. */
void wis2gb_call(struct buf *b, struct view key);

enum wis2gb_answer {
	WIS2GB_UNKNOWN, /* not an answer: ask again */
	WIS2GB_OURS,    /* nobody had it, or a node of ours */
	WIS2GB_THEIRS,
};
enum wis2gb_answer wis2gb_answer_of(const struct resp *reply);

#endif
