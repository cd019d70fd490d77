/* cli/generate.h - made-up notifications as a WIS2 Node would publish them
 *
 * Observations of stations with inline content, about 1.2 KB, each with an id and a data_id of its
 * own, on topics of the WIS2 Topic Hierarchy; valid also in mode strict, or broken in a chosen way.
 * Pure: same seed and times, same bytes.
 *
 * Threads: any; a random is used by one at a time.
 */
#ifndef CLI_GENERATE_H
#define CLI_GENERATE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "base/view.h"

/* A small generator of random numbers (splitmix64); zero-initialised is a valid seed. */
struct random {
	uint64_t state;
};
uint64_t random_next(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound); /* bound > 0 */
double random_share(struct random *r);                   /* 0 <= x < 1 */
void random_uuid(struct random *r, struct uuid *out);    /* version 4 */

enum broken {
	BROKEN_NOT,
#define X(name, rule) BROKEN_##name,
#include "cli/broken.def"
#undef X
	BROKEN_COUNT
};
const char *broken_rule(enum broken b); /* "WNM-35"; "" for BROKEN_NOT */

/* Topics from level 5 on: 0 <= i < generate_dataset_count(). */
uint32_t generate_dataset_count(void);

struct generate_request {
	struct view centre;
	uint32_t dataset;
	uint64_t serial;     /* makes data_id unique within the centre */
	uint64_t wall_ms;    /* pubtime; datetime is the full ten minutes before */
	uint32_t size_bytes; /* aimed at by the inline content; 0: no content */
	struct view id;      /* inside the quotes */
	struct view extra;   /* members put right behind "id", each with a comma in front */
	enum broken broken;
};

/* Smallest and largest size that is aimed at; a payload is at most 8 bytes short of what was asked,
 * if that is at least what the members need (about 1050 bytes). */
#define GENERATE_SIZE_LEAST 1u
#define GENERATE_SIZE_MOST 8192u

void generate_topic(const struct generate_request *q, struct buf *out);
/* The payload begins {"id":"<id>"<extra>, so what stands in id and extra has a fixed place. */
void generate_payload(struct random *r, const struct generate_request *q, struct buf *out);

/* Identifier of the i-th test centre: "io-wis2dev-11-test" to -20-, then -100- and on (topics.md,
 * section 3), into out. */
#define GENERATE_CENTRE_BYTES 40
void generate_centre(uint32_t i, char out[GENERATE_CENTRE_BYTES]);

#endif
