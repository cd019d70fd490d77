/* broker/received.h - QoS 2 messages taken from one client and not released by it yet
 *
 * From its PUBLISH until its PUBREL a packet identifier stands for the same message, whatever is sent
 * with it again [MQTT-4.3.3-10]; the set of these belongs to the session, not to the connection
 * (MQTT 5, 4.1). Sorted, so that its bytes are the same for the same set.
 *
 * Threads: the session's worker.
 */
#ifndef BROKER_RECEIVED_H
#define BROKER_RECEIVED_H

#include <stdbool.h>
#include <stdint.h>

struct received {
	uint16_t *ids; /* ascending, owned; NULL while there is none */
	uint16_t count;
	uint16_t size; /* allocated: at most the 65535 identifiers there are */
};

void received_fini(struct received *r);

bool received_has(const struct received *r, uint16_t packet_id);

/* False when it was there already. packet_id is not 0. */
bool received_add(struct received *r, uint16_t packet_id);

/* False when it was not there. */
bool received_remove(struct received *r, uint16_t packet_id);

#endif
