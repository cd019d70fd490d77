/* What a Redis may answer, to whatever was asked: read within its bounds, taken apart by everyone
 * who takes replies apart. The first byte says in what pieces it comes. */
#include <stdint.h>
#include <stdlib.h>

#include "cluster/claim.h"
#include "cluster/slots.h"
#include "cluster/stream.h"

static void take_apart(const struct resp *reply)
{
	struct claim_answer answer;
	struct slot_redirect to;
	struct slot_range range;
	struct slot_node node;
	struct log_place place;
	struct view record;
	struct stream_state state;
	char run_id[RUN_ID_BYTES];

	for (uint32_t i = 0; i < 4; i++) {
		claim_answer_of(reply, i, &answer);
		log_entry(reply, i, &place, &record);
		if (slot_range_of(reply, i, &range) && range.first > range.last)
			abort();
		for (uint32_t j = 0; slot_range_of(reply, i, &range) && j < range.nodes; j++)
			if (slot_range_node(&range, j, &node) && node.port == 0)
				abort();
	}
	log_count(reply);
	stream_state_of(reply, &state);
	run_id_of(reply, run_id);
	if (slot_redirect_of(reply->text, &to) && to.slot >= SLOTS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct resp_reader *r = resp_reader_new(64 * 1024);
	const struct resp *reply;
	size_t step = size ? 1 + data[0] : 1;
	int err = 0;

	for (size_t at = 1; err >= 0 && at < size; at += step) {
		resp_feed(r, data + at, size - at < step ? size - at : step);
		while ((err = resp_next(r, &reply)) > 0)
			take_apart(reply);
	}
	resp_reader_free(r);
	return 0;
}
