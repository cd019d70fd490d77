/* CLUSTER NODES: any text is lines or not; no replica is counted twice. */
#include <stdint.h>
#include <stdlib.h>

#include "cluster/slots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view text = {(const char *)data, size}, rest = text;
	struct replica_census c;
	struct node_line n;
	uint32_t replicas = 0;
	int err;

	while ((err = node_line_next(&rest, &n)) != 0)
		replicas += err > 0 && (n.flags & NODE_REPLICA) != 0;
	for (unsigned slot = 0; slot < SLOTS; slot += 4095)
		if (replica_census_of(text, (uint16_t)slot, &c) == 0 &&
			c.healthy + c.failed + c.suspected > replicas)
			abort();
	return 0;
}
