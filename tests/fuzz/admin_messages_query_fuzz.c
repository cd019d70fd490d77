/* Parameters of /api/v1/messages: what is taken is within bounds, and the address written of it is read
 * again as the same. */
#include <stdint.h>
#include <stdlib.h>

#include "admin/messages_query.h"
#include "mqtt/filter.h"

#define NOW 1800000000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct messages_query q, again;
	struct view text = {(const char *)data, size};
	struct buf next = {0};
	const char *why;

	if (messages_query_read(text, NOW, &q, &why) < 0) {
		if (why == NULL)
			abort();
		return 0;
	}
	if (q.limit < 1 || q.limit > MESSAGES_LIMIT_MOST || q.until_ms < q.since_ms)
		abort();
	if (buf_length(&q.topic) && !filter_is_valid(buf_view(&q.topic)))
		abort();
	if (q.until_ms == UINT64_MAX || q.until_ms < 253402300800000u) { /* year 10000 */
		messages_query_write(&q, 7, &next);
		text = buf_view(&next);
		view_cut(&text, '?');
		if (messages_query_read(text, NOW, &again, &why) < 0)
			abort();
		if (!view_equal(buf_view(&q.topic), buf_view(&again.topic)) ||
			q.until_ms != again.until_ms || q.limit != again.limit ||
			q.form != again.form || again.after != 7)
			abort();
		messages_query_fini(&again);
		buf_fini(&next);
	}
	messages_query_fini(&q);
	return 0;
}
