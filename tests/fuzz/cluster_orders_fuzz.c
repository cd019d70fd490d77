/* Entries of the hash of orders: what is taken lies inside the text, in its order. */
#include <stdint.h>
#include <stdlib.h>

#include "cluster/orders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct view value = {(const char *)data, size};
	struct order_entry e;

	if (!order_entry_parse(value, &e))
		return 0;
	if (e.run.n == 0 || e.text.n == 0 || e.run.p + e.run.n + 1 != e.text.p ||
		e.text.p + e.text.n != value.p + value.n)
		abort();
	return 0;
}
