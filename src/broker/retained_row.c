#include "broker/retained_row.h"

#include <xxhash.h>

#include "base/error.h"
#include "mqtt/filter.h"

#define VERSION_LOCAL 1u /* without a place */

struct row_head {
	uint64_t checksum; /* of all that follows */
	uint32_t version;
	uint32_t expiry_s;
	uint64_t set_at;
	uint64_t time_ms;
	struct uuid id;
	uint32_t payload_bytes;
	uint32_t property_bytes;
	uint16_t topic_bytes;
	uint16_t publisher;
	uint8_t qos;
	uint8_t flags;
	uint8_t shard;
	uint8_t unused;
};
_Static_assert(sizeof(struct row_head) == 64, "no padding, as its bytes are stored");

static uint64_t checksum(struct view bytes)
{
	return XXH3_64bits(bytes.p + sizeof(uint64_t), bytes.n - sizeof(uint64_t));
}

void retained_row_encode(const struct retained_row *r, struct buf *out)
{
	const struct journal_message *m = &r->message;
	struct row_head head = {
		.version = m->log_id ? RETAINED_ROW_VERSION : VERSION_LOCAL,
		.expiry_s = m->expiry_s,
		.set_at = r->set_at,
		.time_ms = r->time_ms,
		.id = m->id,
		.payload_bytes = (uint32_t)m->payload.n,
		.property_bytes = (uint32_t)m->properties.n,
		.topic_bytes = (uint16_t)m->topic.n,
		.publisher = m->publisher,
		.qos = m->qos,
		.flags = m->flags,
		.shard = m->shard,
	};
	size_t start = buf_length(out);

	buf_append(out, &head, sizeof(head));
	if (m->log_id)
		buf_append(out, &m->log_id, sizeof(m->log_id));
	buf_append(out, m->topic.p, m->topic.n);
	buf_append(out, m->payload.p, m->payload.n);
	buf_append(out, m->properties.p, m->properties.n);
	head.checksum = checksum(view_skip(buf_view(out), start));
	memcpy(out->data + out->start + start, &head, sizeof(head));
}

static bool take_place(struct view *rest, uint64_t *place)
{
	if (rest->n < sizeof(*place))
		return false;
	memcpy(place, rest->p, sizeof(*place));
	*rest = view_skip(*rest, sizeof(*place));
	return true;
}

int retained_row_decode(struct view bytes, struct retained_row *r)
{
	struct row_head head;
	struct view rest = view_skip(bytes, sizeof(head));
	uint64_t place = 0;

	if (bytes.n < sizeof(head))
		return ERR_CORRUPT;
	memcpy(&head, bytes.p, sizeof(head));
	if (head.checksum != checksum(bytes))
		return ERR_CORRUPT;
	if (head.version == 0 || head.version > RETAINED_ROW_VERSION)
		return ERR_VERSION;
	if (head.version > VERSION_LOCAL && !take_place(&rest, &place))
		return ERR_CORRUPT;
	if ((uint64_t)head.topic_bytes + head.payload_bytes + head.property_bytes != rest.n ||
		head.qos > 2)
		return ERR_CORRUPT;
	*r = (struct retained_row){.set_at = head.set_at, .time_ms = head.time_ms};
	r->message = (struct journal_message){
		.topic = {rest.p, head.topic_bytes},
		.payload = {rest.p + head.topic_bytes, head.payload_bytes},
		.properties = {rest.p + head.topic_bytes + head.payload_bytes, head.property_bytes},
		.id = head.id,
		.log_id = place,
		.expiry_s = head.expiry_s,
		.publisher = head.publisher,
		.shard = head.shard,
		.flags = head.flags,
		.qos = head.qos,
	};
	return topic_is_valid(r->message.topic) ? 0 : ERR_CORRUPT;
}
