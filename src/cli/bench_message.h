/* cli/bench_message.h - messages that can be recognised without being decoded
 *
 * A message of the load generator is a valid notification. Its id carries run, publisher and
 * sequence number, and a member right behind it the time of sending, all at fixed places of the
 * payload, so that making and recognising one is a copy and four numbers:
 *
 *   {"id":"RRRRRRRR-PPPP-4000-8000-SSSSSSSSSSSS","bench":"TTTTTTTTTTTTTTTT", ...
 *
 * On the receiving side a stream takes bytes as they come, looks at the first bytes of each
 * PUBLISH and skips the rest without keeping it. Pure.
 *
 * Threads: one at a time.
 */
#ifndef CLI_BENCH_MESSAGE_H
#define CLI_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/view.h"

#define BENCH_MARKED_BYTES 71u /* of a payload, up to the end of the time */

struct bench_mark {
	uint32_t run;
	uint16_t publisher;
	uint64_t sequence; /* 48 bits */
	uint64_t time_ns;  /* CLOCK_MONOTONIC */
};

/* A whole PUBLISH packet of one topic, in which mark and packet id are written over. */
struct bench_template {
	struct buf packet;
	char *topic;    /* owned */
	uint32_t id_at; /* of the packet id; 0 at QoS 0 */
	uint32_t payload_at;
};

/* i-th topic and payload of size_bytes (at least about 1000); qos and version of the packet. */
void bench_template_init(
	struct bench_template *t, uint32_t i, uint32_t size_bytes, uint8_t qos, uint8_t version);
void bench_template_fini(struct bench_template *t);
/* Appends the packet with this mark. */
void bench_put(const struct bench_template *t, const struct bench_mark *mark, uint16_t packet_id,
	struct buf *out);
/* False when these are not the first BENCH_MARKED_BYTES of a message of a load generator. */
bool bench_mark_read(const uint8_t *payload, struct bench_mark *out);

/* What a stream tells: of a PUBLISH only what is set here is there. */
struct bench_packet {
	uint8_t type; /* enum mqtt_type */
	uint8_t qos;
	uint8_t reason; /* of PUBACK, PUBREC, PUBCOMP, DISCONNECT; first code of SUBACK */
	uint16_t packet_id;
	bool is_marked;
	struct bench_mark mark;
};

#define BENCH_HEAD_BYTES 1024u
struct bench_stream {
	uint32_t skip; /* bytes of a packet already told */
	uint32_t held; /* bytes in head */
	uint8_t version;
	uint8_t head[BENCH_HEAD_BYTES];
};

/* Takes all n bytes, tells every packet whose first bytes are there. n, or ERR_MALFORMED,
 * ERR_TOO_LARGE (topic and properties exceed BENCH_HEAD_BYTES). */
ssize_t bench_stream_take(struct bench_stream *s, const uint8_t *p, size_t n,
	void (*on_packet)(void *context, const struct bench_packet *packet), void *context);

#endif
