/* What a Redis may answer, to whatever was asked: read within its bounds, taken apart by everyone
 * who takes replies apart. The first byte says in what pieces it comes. */
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "cluster/claim.h"
#include "cluster/retaining.h"
#include "cluster/slots.h"
#include "cluster/stream.h"
#include "commit/retaining.h"

static bool has(void *context, struct view topic, uint64_t place, uint32_t round)
{
	(void)context, (void)topic, (void)place, (void)round;
	return false;
}

static int take(void *context, const struct journal_message *m, uint32_t round)
{
	(void)context, (void)round;
	if (m->topic.n == 0 || m->payload.n == 0)
		abort();
	return 0;
}

static void drop(void *context, uint32_t shard, uint64_t from, uint32_t round, struct buf *cursor)
{
	(void)context, (void)shard, (void)from, (void)round;
	buf_clear(cursor);
}

/* As a page of what a shard has retained. */
static void compare(const struct resp *reply)
{
	static const struct retaining_host host = {has, take, drop, NULL};
	static struct cluster_core core = {
		.name = (char *)(uintptr_t) "n/1", .shards = 1, .retaining = &host};
	struct retaining_round round = {0};

	if (core.loop == NULL) {
		log_configure(LOG_ERROR, false);
		core.loop = loop_new();
	}
	retaining_init(&round, &core, 0);
	retaining_begin(&round);
	if (reply->type != RESP_ERROR && retaining_read(&round, reply) == 0) {
		retaining_confirm(&round);
		while (round.step == RETAINING_TAKE || round.step == RETAINING_DROP)
			retaining_go_on(&round, 1700000000000ull);
	}
	retaining_fini(&round);
}

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
	compare(reply);
	stream_state_of(reply, &state);
	run_id_of(reply, run_id);
	server_clock_of(reply);
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
