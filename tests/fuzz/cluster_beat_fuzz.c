/* What another node may have written about itself: any field is a node or none, and what is taken stays
 * within bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/nodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resp pair[] = {{.type = RESP_STRING, .text = VIEW("a")},
		{.type = RESP_STRING, .text = {(const char *)data, size}}};
	struct resp fields = {.type = RESP_ARRAY, .items = pair, .count = 2};
	struct nodes nodes = {0};
	struct nodes_sum sum;

	nodes_take(&nodes, &fields, 1000);
	nodes_sum(&nodes, &sum);
	for (uint32_t i = 0; i < nodes.count; i++) {
		const struct node *n = &nodes.list[i];

		if (strlen(n->version) + strlen(n->advertise) > size ||
			sum.states[node_state(n)] != 1 || n->alive == n->left)
			abort();
		for (unsigned f = 0; f < NODE_FIGURES; f++)
			if (n->figures[f] > UINT64_MAX >> 12 && n->figures[f] != NODE_UNTOLD)
				abort();
	}
	nodes_fini(&nodes);
	return 0;
}
