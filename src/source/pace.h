/* source/pace.h - the rate limit of a source, and the packet that breaks every connection
 *
 * Pure: time and chance are arguments.
 */
#ifndef SOURCE_PACE_H
#define SOURCE_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* --- a token bucket: `rate` a second, at most a second's worth at once --- */

struct bucket {
	uint32_t rate;        /* 0: no limit */
	uint64_t level_micro; /* what is in it, in millionths of a message */
	uint64_t at_ms;
};

/* A full one. */
void bucket_init(struct bucket *b, uint32_t rate, uint64_t now_ms);
/* False: nothing was taken; come back after bucket_wait_ms(). */
bool bucket_take(struct bucket *b, uint64_t now_ms);
void bucket_give_back(struct bucket *b, uint32_t n);
uint64_t bucket_wait_ms(const struct bucket *b);

/* --- the packet that breaks every connection --- */

struct poison {
	uint64_t fingerprint; /* of the packet's bytes */
	uint64_t position;    /* how many PUBLISH packets came before it on its connection */
	unsigned strikes;
};

#define POISON_STRIKES 3u
/* Notes a protocol error. True when it was the third at the same packet: the session is to be
 * dropped; counting begins again. */
bool poison_strike(struct poison *p, uint64_t fingerprint, uint64_t position);

#endif
