#include "cluster/followed.h"

#include "base/error.h"
#include "mqtt/filter.h"

/* A record of this size, or more, is none that a node wrote. */
#define RECORD_LARGEST (JOURNAL_PACKET_LARGEST - 64u)

int followed_decode(struct view bytes, struct record *out)
{
	int err = bytes.n > RECORD_LARGEST ? ERR_TOO_LARGE : record_decode(bytes, out);

	if (err == ERR_VERSION && (uint8_t)bytes.p[0] < RECORD_VERSION)
		err = ERR_MALFORMED;
	return err == 0 && !topic_is_valid(out->topic) ? ERR_TOPIC : err;
}

/* The number of the session that published it, when it was one of this process: "node/start/number". */
static uint32_t origin_of(const struct cluster_core *core, struct view source)
{
	struct view own = view_of(core->name);
	uint32_t number = 0;

	if (!view_starts_with(source, own) || source.n < own.n + 2 || source.p[own.n] != '/')
		return 0;
	for (size_t i = own.n + 1; i < source.n; i++) {
		if (source.p[i] < '0' || source.p[i] > '9' || number > JOURNAL_ORIGIN_MOST / 10)
			return 0;
		number = number * 10 + (uint32_t)(source.p[i] - '0');
	}
	return number <= JOURNAL_ORIGIN_MOST ? number : 0;
}

struct journal_message followed_message(
	const struct cluster_core *core, uint32_t shard, uint64_t place, const struct record *r)
{
	return (struct journal_message){.topic = r->topic,
		.payload = r->payload,
		.properties = r->properties,
		.id = r->id,
		.log_id = place,
		.expiry_s = r->expiry_s,
		.shard = (uint8_t)shard,
		.flags = r->flags,
		.qos = r->qos,
		.origin = origin_of(core, r->source)};
}

bool followed_is_timely(struct journal_message *m, uint64_t age_ms)
{
	uint64_t all_ms = m->expiry_s * 1000ull;

	if (m->expiry_s == 0)
		return true;
	if (age_ms >= all_ms) /* [MQTT-3.3.2-5] */
		return false;
	m->expiry_s = (uint32_t)((all_ms - age_ms + 999) / 1000); /* [MQTT-3.3.2-6] */
	return true;
}
