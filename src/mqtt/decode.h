/* mqtt/decode.h - what the decoders of packet bodies share; of the room alone */
#ifndef MQTT_DECODE_H
#define MQTT_DECODE_H

#include "mqtt/block.h"
#include "mqtt/packet.h"
#include "mqtt/wire.h"

/* A packet whose bytes are all there. */
struct packet_in {
	struct wire w;    /* behind the fixed header */
	uint32_t context; /* who sends what (mqtt/context.h) */
	uint8_t version;  /* CONNECT: set by its decoder */
	uint8_t flags;    /* of the fixed header */
	bool is_padded;   /* its length is not in the shortest form */
};

/* Only MQTT 5 forbids a padded length [MQTT-1.5.5-1]. */
void check_padding(struct packet_in *in);

/* The block of an MQTT 5 packet, or an empty one. */
void read_properties(struct packet_in *in, struct block *b);

/* Decodes what read_properties() gave. */
void take_properties(struct mqtt_properties *out, const struct block *b);

/* The body of a CONNECT. Notes an error in in->w; *out is filled when there is none, or
 * ERR_CLIENT_ID; with ERR_VERSION only its version. */
void decode_connect(struct packet_in *in, struct mqtt_packet *out);

#endif
