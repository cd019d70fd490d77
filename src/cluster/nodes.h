/* cluster/nodes.h - the machines of the cluster, as one of them sees the others
 *
 * Each node keeps one field of a hash in Redis and changes it every second:
 *
 *	start beat up|draining|left roles version advertise figures
 *	00012f66f8c2a1b4 217 up sources,subscribers 0.1.0 mqtts://wbroker01.example.org:8883 up=217 on=12 ...
 *
 * `start` is different for each run of the program; `beat` grows. A node is alive while its field
 * changes: whoever reads it goes by his own monotonic clock, so that no wall clock counts, neither
 * the nodes' nor Redis'. While Redis is out of reach nothing is read, and nobody is judged. `left` is
 * the last that a node says when it is stopped.
 *
 * Pure: replies and times in, a table out.
 */
#ifndef CLUSTER_NODES_H
#define CLUSTER_NODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cluster/resp.h"

#define NODE_BEAT_MS 1000u      /* between two beats */
#define NODE_SILENT_MS 3000u    /* so long without a beat is dead */
#define NODE_FORGET_MS 3600000u /* and so long is not listed any more */
#define NODE_NAME_MOST 64u
#define NODES_MOST 1024u

enum node_role { NODE_SOURCES = 1, NODE_SUBSCRIBERS = 2 };

/* Small figures, written anew with each beat; NODE_UNTOLD: not known. */
enum node_figure {
#define X(symbol, word, name, unit, join, topic) NODE_##symbol,
#include "cluster/node_figure.def"
#undef X
	NODE_FIGURES
};
#define NODE_UNTOLD UINT64_MAX

/* What a node does with new messages, the worst that is so. */
enum node_mode {
	MODE_OK,
	MODE_DEGRADED,   /* it says why in /readyz */
	MODE_COMMITTING, /* what was kept on its disk, in order */
	MODE_HOLDING,
	MODE_SPOOLING,
	MODE_LOCAL,  /* the same, and delivers them to its own subscribers */
	MODE_FAILED, /* its journal cannot be written */
	MODE_MODES
};
const char *node_mode_text(uint64_t mode);

struct node {
	char *name;
	char *field; /* as it stood in Redis */
	char *version;
	char *advertise; /* where clients find it, "" when it does not say */
	uint64_t start;
	uint64_t beat;
	uint64_t changed_ms; /* its field was another before, by our monotonic clock */
	uint64_t figures[NODE_FIGURES];
	unsigned roles; /* enum node_role, or-ed */
	bool draining;  /* it is about to leave, or has left */
	bool left;
	bool alive;
	bool listed; /* in the last reply */
};

struct nodes {
	struct node *list; /* in order of name */
	uint32_t count;
	uint64_t taken_ms;   /* the last reply; 0: none yet */
	uint64_t settled_ms; /* since then who is alive, and what for, is as it is */
};

void nodes_fini(struct nodes *n);

/* *to becomes what *from is. */
void nodes_copy(struct nodes *to, const struct nodes *from);

/* A name that may stand in fields and keys: 1 to 64 letters, digits, '.', '-' and '_'. */
bool node_name_is_good(struct view name);

/* The field that a node writes. */
struct node_words {
	uint64_t start;
	uint64_t beat;
	bool draining;
	unsigned roles;
	const char *version;
	const char *advertise;   /* NULL: nothing */
	const uint64_t *figures; /* NODE_FIGURES of them; NULL: nothing */
	bool left;
};
void node_say(struct buf *b, const struct node_words *words);

/* Takes the reply to HGETALL at this time: names and fields by turns; what is not well-formed is passed
 * over. Who comes first is alive until he has been silent for long enough. When the last reply is
 * older than that, everybody has his time anew. True: who is alive, or what for, has changed. */
bool nodes_take(struct nodes *n, const struct resp *fields, uint64_t now_ms);

/* How this one is seen. */
enum node_state { NODE_ALIVE, NODE_DRAINING, NODE_LEFT, NODE_DEAD, NODE_STATES };
enum node_state node_state(const struct node *node);
const char *node_state_text(enum node_state state);

/* All nodes together: figures of those that live, each counted once; NODE_UNTOLD: none has told it, or
 * it is nothing to be joined. */
struct nodes_sum {
	uint64_t states[NODE_STATES];
	uint64_t figures[NODE_FIGURES];
};
void nodes_sum(const struct nodes *n, struct nodes_sum *out);

/* NULL: not known. */
const struct node *nodes_find(const struct nodes *n, struct view name);

/* Alive, with this role, and not about to leave. */
bool node_serves(const struct node *node, unsigned role);

/* The node of this run, "NAME/START"; NULL: it is not alive, or another run of it is. */
const struct node *nodes_by_run(const struct nodes *n, struct view run);
/* Does it live, or may it have begun since the nodes were read: of a node that is not known, or by a later
 * start than is known? */
bool nodes_may_have_run(const struct nodes *n, struct view run);
/* Appends it. */
void node_run(struct buf *b, const char *name, uint64_t start);

#endif
