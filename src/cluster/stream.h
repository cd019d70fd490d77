/* cluster/stream.h - a shard's stream as a follower asks for it: places, its state, who serves it
 *
 * Pure.
 */
#ifndef CLUSTER_STREAM_H
#define CLUSTER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cluster/claim.h"
#include "cluster/resp.h"

/* A place in 8 bytes, as claim.lua remembers it and journal entries have it: ms since September 2020
 * in 5, number in 3. Orders as places do; 0 is before all of them. */
uint64_t place_pack(struct log_place place);
struct log_place place_unpack(uint64_t packed); /* 0: 0-0 */

/* Milliseconds of the packed place, to compare with others. */
static inline uint64_t place_ms(uint64_t packed)
{
	return packed >> 24;
}

/* The packed place of so many milliseconds before; 0 when there is none. */
uint64_t place_before(uint64_t packed, uint64_t ms);

/* --- how the stream is ---------------------------------------------------- */

struct stream_state {
	uint64_t last;  /* packed place of the newest entry ever made; 0: none yet */
	uint64_t added; /* entries ever made */
};

/* Appends XINFO STREAM of the shard's stream. Source: Redis 7.0, "entries-added". */
void stream_ask(struct buf *b, uint32_t shard);
/* 0; also for a stream that is not there yet. ERR_MALFORMED: not such a reply. */
int stream_state_of(const struct resp *reply, struct stream_state *out);

/* Appends XREVRANGE: which is the newest entry at this place or before it? */
void stream_ask_upto(struct buf *b, uint32_t shard, uint64_t place);
/* 0 with its packed place, 0 when there is none. ERR_MALFORMED: not such a reply. */
int stream_upto_of(const struct resp *reply, uint64_t *place);

/* --- what INFO says ----------------------------------------------------------- */

/* The value of a line "name:value" of it, name with the colon; empty: there is none. */
struct view info_value(const struct resp *reply, struct view name);

#define RUN_ID_BYTES 40

/* From the reply to INFO server: 40 digits, new at every start of a Redis process. False: the reply has
 * none. */
bool run_id_of(const struct resp *reply, char out[RUN_ID_BYTES]);
/* From the same reply: its clock, ms, by which it gives places; 0: it does not say. */
uint64_t server_clock_of(const struct resp *reply);

#endif
