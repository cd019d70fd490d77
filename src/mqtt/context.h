/* mqtt/context.h - sets of "this packet from that side", as property.def and reason.def write them
 *
 * A bit for each packet type and sender: clients in the lower half, servers in the upper. Bit 0,
 * which no packet type has, stands for the will inside a CONNECT.
 *
 * Of the room alone: the one-letter macros are for the files that evaluate the two tables.
 */
#ifndef MQTT_CONTEXT_H
#define MQTT_CONTEXT_H

#include <stdint.h>

#include "mqtt/packet.h"

#define C(packet) (UINT32_C(1) << MQTT_##packet)
#define S(packet) (UINT32_C(0x10000) << MQTT_##packet)
#define B(packet) (C(packet) | S(packet))
#define WILL UINT32_C(1)
#define ANY                                                                                \
	(WILL | C(CONNECT) | S(CONNACK) | B(PUBLISH) | B(PUBACK) | B(PUBREC) | B(PUBREL) | \
		B(PUBCOMP) | C(SUBSCRIBE) | S(SUBACK) | C(UNSUBSCRIBE) | S(UNSUBACK) |     \
		B(DISCONNECT) | B(AUTH))

/* The bit of a packet that arrived. */
static inline uint32_t context_of(enum mqtt_side side, unsigned type)
{
	return UINT32_C(1) << (type + (side == MQTT_FROM_SERVER ? 16 : 0));
}

/* The same packets sent by the other side. */
static inline uint32_t context_turned(uint32_t context)
{
	return context << 16 | context >> 16;
}

/* May a packet of this context carry the reason code (MQTT 5, 2.4)? */
bool context_has_reason(uint32_t context, uint8_t reason);

#endif
