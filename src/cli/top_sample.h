/* cli/top_sample.h - what a broker's pages say at one moment, read for `isobar top`
 *
 *     /api/v1/status    the broker: subscribers, journal, antiloop; the nodes of its cluster
 *     /api/v1/sources   each source with its counters
 *     /metrics          delays by centre, how far sessions lag
 *
 * The pages come from the network: sizes are bounded, what is missing is zero, what is no JSON is a
 * fault. Texts are kept as they came and must be escaped where they are shown.
 *
 * Pure. Threads: one.
 */
#ifndef CLI_TOP_SAMPLE_H
#define CLI_TOP_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define TOP_SOURCES_MOST 20000u
#define TOP_NODES_MOST 1024u
#define TOP_TEXT_BYTES 128u

struct top_source {
	char name[TOP_TEXT_BYTES];
	char centre[TOP_TEXT_BYTES];
	char state[24];
	uint64_t received;
	uint64_t published;
	uint64_t duplicates;
	uint64_t refused; /* by any check */
	uint64_t last_ms; /* wall clock; 0: none yet */
	double delay_sum; /* of its centre: seconds from pubtime to receipt, over delay_count messages */
	double delay_count;
	struct top_source *same; /* another one of its centre, or NULL */
};

/* Rates are the node's own. */
struct top_node {
	char name[TOP_TEXT_BYTES];
	char state[24];
	char mode[24];
	bool alive;
	double silent_s;
	double received;
	double published;
	double delivered;
	double lag_s;
	uint64_t clients;
	uint64_t sources;
};

/* All nodes together, each counted once. */
struct top_total {
	uint64_t alive;
	uint64_t known;
	uint64_t clients;
	uint64_t sessions;
	double received;
	double published;
	double delivered;
};

struct top_sample {
	uint64_t at_ms; /* monotonic; the caller's */
	uint64_t wall_ms;
	char centre_id[TOP_TEXT_BYTES];
	char version[24];
	char phase[24];
	uint64_t uptime_s;
	uint64_t sources_total;
	uint64_t sources_connected;
	uint64_t connections;
	uint64_t offline;
	uint64_t behind;
	uint64_t delivered;
	uint64_t delivered_bytes;
	uint64_t journal_bytes;
	uint64_t journal_s; /* age of its oldest message */
	uint64_t ids;
	bool held;                  /* the journal takes nothing */
	bool failed;                /* it cannot be written */
	double lag_s;               /* of the session that is farthest behind */
	struct top_source *sources; /* in order of name; owned */
	uint32_t count;
	struct top_total total;
	struct top_node *nodes; /* those that are not well first; owned */
	uint32_t node_count;    /* 0: one machine */
};

/* Fills in what the page says. False: it is not such a page. sample is zero-initialised before. */
bool top_read_status(struct top_sample *s, struct view page);
bool top_read_sources(struct top_sample *s, struct view page);
/* After top_read_sources(). */
void top_read_metrics(struct top_sample *s, struct view page);

/* NULL: none of this name. */
const struct top_source *top_find(const struct top_sample *s, const char *name);

void top_sample_fini(struct top_sample *s);

#endif
