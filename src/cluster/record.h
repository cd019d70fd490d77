/* cluster/record.h - a message as it stands in the shared log
 *
 * Every node reads what any node wrote, also one of the version before: the first byte is the
 * version, and a reader knows its own and the one below. Numbers are written high byte first.
 *
 *	version 1 | flags 1 | qos 1 | expiry 4 | id 16 | [previous 16]
 *	| topic 2+n | publisher 2+n | source 2+n | properties 4+n | payload, the rest
 *
 * Pure.
 */
#ifndef CLUSTER_RECORD_H
#define CLUSTER_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"
#include "base/view.h"

#define RECORD_VERSION 1

/* Those of enum journal_flags that mean the same on every node, and RECORD_PREVIOUS. */
#define RECORD_FLAGS_SHARED 0x0fu
#define RECORD_PREVIOUS 0x80u

struct record {
	struct view topic;      /* 1-65535 bytes */
	struct view payload;    /* unchanged */
	struct view properties; /* MQTT 5 properties to forward, without their length, or empty */
	struct view publisher;  /* name of the source or account: numbers differ between nodes */
	struct view source; /* "node/start/connection" of the source connection, "" for clients */
	struct uuid id;
	struct uuid previous; /* the id before it on this topic from that source connection */
	bool has_previous;
	uint32_t expiry_s; /* message expiry interval; 0: none */
	uint8_t flags;     /* enum journal_flags */
	uint8_t qos;
};

/* Appends it. 0, or ERR_TOO_LARGE: a text is longer than 65535 bytes; nothing is appended. */
int record_encode(struct buf *b, const struct record *r);

/* 0, *out borrows from bytes; ERR_VERSION: of a version that this node does not know;
 * ERR_MALFORMED. */
int record_decode(struct view bytes, struct record *out);

/* Names another one as previous, or none (NULL), in a record that has one. Gives by how many bytes
 * it begins later than before. */
uint32_t record_set_previous(uint8_t *record, const struct uuid *previous);

#endif
