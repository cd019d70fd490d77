/* mqtt/block.h - the property block of a received packet: judged first, decoded afterwards
 *
 * Judging fills nothing but a few words, so that a packet refused later costs no copy of the
 * large struct and leaves the caller's alone. Of the room alone.
 */
#ifndef MQTT_BLOCK_H
#define MQTT_BLOCK_H

#include "mqtt/property.h"
#include "mqtt/wire.h"

struct block {
	struct view raw;  /* behind its length */
	uint32_t present; /* as in struct mqtt_properties */
};

/* Reads the length and judges every property in it; context: who carries it (mqtt/context.h).
 * An error is noted in w. */
void block_read(struct wire *w, uint32_t context, struct block *out);

/* Reads one property, whatever it may be: false with the error noted in w. w is not at its end. */
bool mqtt_read_property(struct wire *w, struct mqtt_property_item *out);

/* Decodes a block that was read without error. Fields of absent properties are not touched. */
void block_fill(const struct block *b, struct mqtt_properties *out);

#endif
