/* cluster/slots.h - which key lies in which slot, and which node has it
 *
 * Pure: bytes and replies in, tables out.
 */
#ifndef CLUSTER_SLOTS_H
#define CLUSTER_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "cluster/resp.h"

#define SLOTS 16384u

/* CRC16 of the key, or of what stands between its first "{" and the "}" behind that when that is
 * not empty. Source: Redis Cluster specification, "Hash tags". */
uint16_t slot_of(struct view key);

/* --- CLUSTER SLOTS ----------------------------------------------------- */

struct slot_node {
	struct view host; /* empty: the host of who was asked */
	uint16_t port;
};

struct slot_range {
	uint16_t first;
	uint16_t last;
	uint32_t nodes; /* the master and its replicas, slot_range_node() */
	const struct resp *row;
};

/* The i-th range of a reply to CLUSTER SLOTS; false: the row is not well-formed. */
bool slot_range_of(const struct resp *reply, uint32_t i, struct slot_range *out);
/* Node 0 is the master. False: not well-formed, or its address is not known yet. */
bool slot_range_node(const struct slot_range *range, uint32_t i, struct slot_node *out);

/* "MOVED 3999 127.0.0.1:6381" or "ASK ..."; false: neither, or not well-formed. */
struct slot_redirect {
	bool ask;
	uint16_t slot;
	struct slot_node to;
};
bool slot_redirect_of(struct view error, struct slot_redirect *out);

/* --- CLUSTER NODES ----------------------------------------------------- */

enum node_flags {
	NODE_MYSELF = 1,
	NODE_MASTER = 2,
	NODE_REPLICA = 4,
	NODE_SUSPECTED = 8,   /* "fail?": this node alone says so */
	NODE_FAILED = 16,     /* "fail": a majority of the masters agreed */
	NODE_HANDSHAKE = 32,  /* not known well enough yet */
	NODE_NO_ADDRESS = 64, /* "noaddr" */
};

struct node_line {
	struct view id;
	struct view host;
	uint16_t port;
	unsigned flags;     /* enum node_flags */
	struct view master; /* id; "-": none */
	bool linked;        /* the node that was asked has a connection to it */
	struct view slots;  /* "0-100 200 [300->-...]", "" */
};

/* Takes a line off *rest: 1 with *out, 0 at the end, ERR_MALFORMED (the line is taken off). */
int node_line_next(struct view *rest, struct node_line *out);

/* The replicas of the master that holds a slot, by what the node that was asked says. */
struct replica_census {
	bool has_master;
	bool master_failed; /* agreed */
	bool of_itself;     /* it is the master that was asked */
	uint32_t healthy;
	uint32_t
		failed; /* agreed by a majority of masters: they do not come back by themselves soon */
	uint32_t suspected; /* "fail?", handshake, no address: nobody knows */
};
/* 0 or ERR_MALFORMED. */
int replica_census_of(struct view nodes, uint16_t slot, struct replica_census *out);
/* Replicas that must have what counts, by what the master itself says: `acknowledge`, and fewer only
 * when all missing ones are agreed to have failed (architecture.md). */
uint8_t replicas_needed(const struct replica_census *c, uint8_t acknowledge);

#endif
