/* cluster/members.h - this node among the others: its beat, their state, the sources it holds
 *
 * Every second one script writes that this node lives and reads who else does (cluster/nodes.h).
 * From that, and from the leases, follows which sources it holds (cluster/holders.h); what has to
 * change is asked of Redis, a few hundred leases a call.
 *
 *	beat ---> nodes ---> holder_decide() a source ---> swaps ---> leases ---> on_change()
 *	  version of the leases: read again when another has changed them
 *
 * While Redis is out of reach all stays as it is: nothing can be published then, and nobody can
 * know better. Who comes back finds in the leases what others have taken meanwhile.
 *
 * A node whose name another run keeps alive holds nothing and says so, again and again; a run that
 * has died is replaced after NODE_SILENT_MS.
 *
 * Threads: the loop's, but for members_set_sources().
 */
#ifndef CLUSTER_MEMBERS_H
#define CLUSTER_MEMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/nodes.h"
#include "net/loop.h"

struct members;
struct redis;

struct members_config {
	struct loop *loop;
	struct redis *redis;   /* with members_scripts() loaded */
	const char *node;      /* node_name_is_good(); copied */
	uint64_t start;        /* of this run, different from every other */
	unsigned roles;        /* enum node_role */
	const char *version;   /* of the program; copied */
	const char *advertise; /* NULL: nothing; copied */
	uint32_t replicas;     /* nodes that hold each source */
	/* This node holds the source with this slot (HOLDER_NONE: others do), as its voice or not;
	 * told when that changes, at first it holds none. */
	void (*on_holding)(void *context, const char *source, uint32_t slot, bool is_voice);
	/* They have been read; changed: who is alive, and what for. NULL: nobody wants to know. */
	void (*on_nodes)(void *context, const struct nodes *nodes, bool changed);
	/* What this node tells of itself, before each beat. NULL: nothing. */
	void (*on_figures)(void *context, uint64_t figures[NODE_FIGURES]);
	/* members_leave(): is something else to be handed over first? NULL: never. */
	bool (*owes)(void *context);
	void *context;
};

#define MEMBERS_SCRIPTS 2
extern const char *const members_scripts[MEMBERS_SCRIPTS];

struct members *members_new(const struct members_config *config);
/* The first beat; before that nobody knows of this node. */
void members_begin(struct members *m);
/* After redis_free(). */
void members_free(struct members *m);

/* Its beats have not been answered for as long as after which others take a node for dead. */
bool members_is_cut_off(const struct members *m);

/* Is it a run, "NODE/START", of a node that lives? */
bool members_has_run(const struct members *m, struct view run);
/* Or of one that may have begun since the nodes were last read? */
bool members_may_have_run(const struct members *m, struct view run);

/* The nodes as last read; borrowed until the loop's next turn. */
const struct nodes *members_nodes(const struct members *m);

/* The names of all sources that are configured, in any order; copied. Any thread. */
void members_set_sources(struct members *m, const char *const *names, uint32_t n);

/* Hands its sources over: says that it is about to leave, and waits until the others have taken
 * all leases and nothing else is owed, at most limit_ms; then says that it has left, and gives up the
 * rest. on_left() is called once. */
void members_leave(struct members *m, uint64_t limit_ms, void (*on_left)(void *context));

#endif
