/* cluster/claim.h - claim identifiers and append their messages: the script, its call, its answer
 *
 * One call claims several ids of one shard and appends those that are first to the shard's stream,
 * atomically. A claim remembers who made it (a token), so that who does not know whether his call
 * was done makes it again: a repeat that answers with one's own token is a first. (A token is a hash
 * of node, start and number; where two happen to be equal a repeat is counted as a first, and all
 * the same appended once.)
 *
 *	claim_call(): {k}:log, {k}:<id> ... --> claim.lua --> struct claim_answer a message
 *	                                                 '--> {k}:retained, when it has the flag
 *
 * While Redis moves the slot of a shard to another node the calls of that shard stand still, see
 * cluster/redis.h. Entries are read by log_read() and log_entry().
 *
 * Pure: bytes in, bytes out.
 */
#ifndef CLUSTER_CLAIM_H
#define CLUSTER_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "base/view.h"
#include "cluster/resp.h"

#define SHARDS_MOST 256u

/* The Lua text, static. */
const char *claim_script(void);

/* Where a message's shard lies: the hash of its id, the same on every node. */
uint32_t claim_shard(const struct uuid *id, uint32_t shards);
/* Without a claim: the hash of its topic, so that every node sees one order of a topic. */
uint32_t claim_shard_of_topic(struct view topic, uint32_t shards);
/* The slot of all keys of a shard. */
uint16_t claim_slot(uint32_t shard);

/* --- the call ------------------------------------------------------------- */

struct claim_terms {
	uint64_t remember_ms; /* an id; longer than a node does */
	uint64_t keep_ms; /* an entry of the stream; 0: nothing is trimmed by age in this call */
	uint64_t
		stream_bytes; /* of this shard's stream; 0: nothing is trimmed by size in this call */
};

#define CLAIM_TOKENS (1u << 23)

/* A place in a stream, "1764000000000-0". */
struct log_place {
	uint64_t ms;
	uint64_t number;
};

struct claim_message {
	const struct uuid *id;
	uint32_t token;     /* its lowest 23 bits count */
	struct view record; /* record_encode() */
	/* Of one that is to be retained; else empty. */
	struct view retained; /* its topic */
	uint32_t expiry_s;    /* 0: none */
	bool clears;          /* it has no payload: what is retained goes */
	/* It stood there before, and was lost: what has been retained since stays, and it is appended
	 * as one that is not to be retained. Zeros: it is new. */
	struct log_place place;
};

/* Appends the command, EVALSHA with the script's SHA1. n may be 0: only trims. What is retained is kept
 * in the same step, see cluster/retaining.h. */
void claim_call(struct buf *b, const char *sha, uint32_t shard, const struct claim_terms *terms,
	const struct claim_message *messages, uint32_t n);

/* --- the answer ----------------------------------------------------------- */

struct claim_answer {
	bool first;     /* appended by this call */
	uint32_t token; /* of who was first */
	uint64_t ms;    /* of the first's place in the stream */
};

/* The i-th message's; false: the reply is not one of the script. */
bool claim_answer_of(const struct resp *reply, uint32_t i, struct claim_answer *out);

/* --- the stream ------------------------------------------------------------- */

#define LOG_PLACE_BYTES 42
void log_place_format(struct log_place place, char out[LOG_PLACE_BYTES]);
/* False: not a place. */
bool log_place_parse(struct view text, struct log_place *out);
/* Below, 0 or above 0. */
int log_place_order(struct log_place a, struct log_place b);

/* Appends XREAD COUNT most BLOCK block_ms of what stands behind `after`; block_ms 0: does not block. */
void log_read(
	struct buf *b, uint32_t shard, struct log_place after, uint32_t most, uint32_t block_ms);

/* How many entries the reply to it has (0 when none came); -1: it is not such a reply. */
int64_t log_count(const struct resp *reply);
/* The i-th: its place and its record, borrowed; false: not well-formed. */
bool log_entry(const struct resp *reply, uint32_t i, struct log_place *place, struct view *record);

#endif
