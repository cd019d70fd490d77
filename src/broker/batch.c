#include "broker/batch.h"

#include <string.h>

#include "broker/own.h"
#include "mqtt/packet.h"
#include "mqtt/property.h"

void batch_clear(struct batch *b)
{
	b->iov_count = b->count = b->with_id = b->bytes = b->largest = 0;
	b->share = 0;
	b->scratch_used = 1;
	b->end = NULL;
}

/* --- filling ---------------------------------------------------------- */

static void add_iov(struct batch *b, const void *p, size_t n)
{
	b->iov[b->iov_count++] = (struct iovec){(void *)(uintptr_t)p, n};
	b->bytes += (uint32_t)n;
}

static void add_record(struct batch *b, const struct journal_entry *entry, uint64_t seq,
	uint32_t packet_bytes, uint32_t id_at, uint8_t qos)
{
	b->records[b->count++] = (struct batch_record){
		.seq = seq, .time_ms = entry->time_ms, .end = b->bytes, .id_at = id_at, .qos = qos};
	b->with_id += id_at != 0;
	if (packet_bytes > b->largest)
		b->largest = packet_bytes;
}

/* As it lies in the journal, for clients of MQTT 3.1.1, which name no maximum packet size. */
static enum batch_answer add_direct(struct batch *b, const struct journal_segment *segment,
	const struct journal_entry *entry, uint64_t seq)
{
	const uint8_t *packet = segment->packets + entry->offset;

	if (packet == b->end) {
		b->iov[b->iov_count - 1].iov_len += entry->packet_bytes;
		b->bytes += entry->packet_bytes;
	} else {
		add_iov(b, packet, entry->packet_bytes);
	}
	b->end = packet + entry->packet_bytes;
	add_record(b, entry, seq, entry->packet_bytes, 0, 0);
	return BATCH_ADDED;
}

/* The option of subscriptions by which this record is not sent: who published it gets it by no No
 * Local one [MQTT-3.8.3-3]. */
static uint8_t left_out(
	const struct batch_form *form, const struct journal_entry *entry, uint64_t seq)
{
	return form->alone && session_published(form->alone, entry, seq) ? SUBSCRIPTION_NO_LOCAL
									 : 0;
}

/* Properties of the packet as this group gets it: the expiry that is left, the alias,
 * subscription identifiers, then what came with the message. */
static void make_properties(struct batch *b, const struct batch_form *form,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq,
	uint16_t alias)
{
	buf_clear(&b->properties);
	if (form->version != MQTT_5)
		return;
	if (entry->expiry_s) {
		uint64_t waited_s = (form->now_ms - entry->time_ms) / 1000;
		uint64_t left_s = waited_s < entry->expiry_s ? entry->expiry_s - waited_s : 0;

		/* [MQTT-3.3.2-6] */
		mqtt_put_number(
			&b->properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, (uint32_t)left_s);
	}
	if (alias)
		mqtt_put_number(&b->properties, MQTT_PROPERTY_TOPIC_ALIAS, alias);
	if (form->id)
		mqtt_put_number(&b->properties, MQTT_PROPERTY_SUBSCRIPTION_IDENTIFIER, form->id);
	else if (form->ids)
		subscriptions_put_ids(form->ids, record_topic(segment, entry), seq,
			left_out(form, entry, seq), &b->properties);
	/* [MQTT-3.3.2-4], [MQTT-3.3.2-15] to [MQTT-3.3.2-18], [MQTT-3.3.2-20] */
	if (entry->property_bytes)
		buf_append(&b->properties, segment->packets + entry->offset + entry->packet_bytes,
			entry->property_bytes);
}

struct layout {
	const uint8_t *topic; /* with its length field */
	const uint8_t *payload;
	uint32_t topic_bytes;
	uint32_t payload_bytes;
	uint32_t head_bytes; /* everything before the payload */
	uint32_t remaining;
};

static struct layout layout_of(const struct batch *b, const struct journal_segment *segment,
	const struct journal_entry *entry, bool with_id, bool with_properties, bool with_topic)
{
	static const uint8_t no_topic[2] = {0};
	const uint8_t *packet = segment->packets + entry->offset;
	uint32_t property_bytes = (uint32_t)buf_length(&b->properties);
	struct layout l = {.topic = packet + entry->header_bytes};

	l.topic_bytes = 2 + ((uint32_t)l.topic[0] << 8 | l.topic[1]);
	l.payload = l.topic + l.topic_bytes;
	l.payload_bytes = entry->packet_bytes - entry->header_bytes - l.topic_bytes;
	if (!with_topic) {
		l.topic = no_topic;
		l.topic_bytes = sizeof(no_topic);
	}
	l.remaining = l.topic_bytes + (with_id ? 2 : 0) + l.payload_bytes;
	if (with_properties)
		l.remaining += (uint32_t)mqtt_varint_bytes(property_bytes) + property_bytes;
	l.head_bytes = 1 + (uint32_t)mqtt_varint_bytes(l.remaining) + l.remaining - l.payload_bytes;
	return l;
}

static void put_properties(uint8_t *to, const struct buf *properties)
{
	uint32_t n = (uint32_t)buf_length(properties);
	uint32_t rest = n;

	do {
		*to = (uint8_t)(rest & 0x7f);
		rest >>= 7;
		*to |= (uint8_t)(rest ? 0x80 : 0);
		to++;
	} while (rest);
	if (n)
		memcpy(to, buf_bytes(properties), n);
}

/* Set for what a new subscription gets and where the subscriber wants it as it was published. */
static bool is_retained(const struct batch_form *form, const struct journal_entry *entry,
	struct view topic, uint64_t seq)
{
	if (form->retain) /* [MQTT3-3.3.1-8] */
		return true;
	/* [MQTT-3.3.1-12], [MQTT-3.3.1-13] */
	return form->as_published && entry->flags & JOURNAL_RETAIN &&
	       subscriptions_want_as_published(
		       form->as_published, topic, seq, left_out(form, entry, seq));
}

static enum batch_answer add_made(struct batch *b, const struct batch_form *form,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq,
	uint8_t qos)
{
	bool is_v5 = form->version == MQTT_5;
	struct view topic = record_topic(segment, entry);
	bool retain = is_retained(form, entry, topic, seq);
	/* [MQTT-3.3.1-2], [MQTT-3.3.1-3], [MQTT-4.3.1-1], [MQTT-4.3.2-2], [MQTT-4.3.3-2] */
	uint8_t flags = (uint8_t)((form->dup && qos ? 0x08 : 0) | qos << 1 | retain);
	bool is_known = false;
	uint16_t alias = form->aliases ? alias_find(form->aliases, topic, &is_known) : 0;
	uint32_t id_at = 0;
	struct layout l;
	uint8_t *to;

	make_properties(b, form, segment, entry, seq, alias);
	l = layout_of(b, segment, entry, qos > 0, is_v5, !is_known);
	/* [MQTT-3.1.2-24] */
	if (l.head_bytes + l.payload_bytes > form->largest || l.head_bytes >= BATCH_SCRATCH)
		return BATCH_TOO_LARGE;
	if (b->scratch_used + l.head_bytes > BATCH_SCRATCH || b->iov_count + 2 > BATCH_IOVECS)
		return BATCH_IS_FULL;
	to = b->scratch + b->scratch_used;
	to += mqtt_publish_header(to, flags, l.remaining);
	memcpy(to, l.topic, l.topic_bytes);
	to += l.topic_bytes;
	if (qos) { /* [MQTT-2.2.1-2] */
		id_at = (uint32_t)(to - b->scratch);
		to += 2;
	}
	if (is_v5)
		put_properties(to, &b->properties);
	add_iov(b, b->scratch + b->scratch_used, l.head_bytes);
	b->scratch_used += l.head_bytes;
	if (l.payload_bytes)
		add_iov(b, l.payload, l.payload_bytes);
	if (alias && !is_known)
		alias_tell(form->aliases, alias, topic, b->count);
	add_record(b, entry, seq, l.head_bytes + l.payload_bytes, id_at, qos);
	b->records[b->count - 1].retain = retain;
	return BATCH_ADDED;
}

enum batch_answer batch_add(struct batch *b, const struct batch_form *form,
	const struct journal_segment *segment, const struct journal_entry *entry, uint64_t seq,
	uint8_t qos)
{
	if (b->count == BATCH_RECORDS || b->iov_count == BATCH_IOVECS || b->bytes >= BATCH_BYTES)
		return BATCH_IS_FULL;
	/* [MQTT-3.3.2-5]; delivery that has begun goes on. */
	if (entry->expiry_s && !form->dup &&
		form->now_ms >= entry->time_ms + entry->expiry_s * 1000ull)
		return BATCH_EXPIRED;
	if (form->is_direct)
		return add_direct(b, segment, entry, seq);
	return add_made(b, form, segment, entry, seq, qos);
}

/* --- sending ---------------------------------------------------------- */

uint32_t batch_within(const struct batch *b, uint32_t room)
{
	uint32_t n = 0;

	if (b->with_id <= room)
		return b->count;
	while (n < b->count && (b->records[n].id_at == 0 || room)) { /* [MQTT-4.9.0-2] */
		room -= b->records[n].id_at != 0;
		n++;
	}
	return n;
}

static uint64_t slot_of(const struct batch *b, const struct batch_record *r)
{
	return r->seq | (uint64_t)b->share << INFLIGHT_SHARE | (r->qos == 2 ? INFLIGHT_QOS_2 : 0) |
	       (r->retain ? INFLIGHT_RETAIN : 0);
}

static void patch_id(struct batch *b, uint32_t record, uint16_t id)
{
	uint8_t *at = b->scratch + b->records[record].id_at;

	at[0] = (uint8_t)(id >> 8);
	at[1] = (uint8_t)id;
}

/* Copies batch bytes [from, to) behind what the connection has: the rest of a packet begun. */
static void push_range(struct batch *b, struct conn *conn, uint32_t from, uint32_t to)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->iov_count && at < to; i++) {
		uint32_t n = (uint32_t)b->iov[i].iov_len;
		uint32_t skip = from > at ? from - at : 0;
		uint32_t keep = to - at < n ? to - at : n;

		if (skip < keep)
			conn_push(conn, (const uint8_t *)b->iov[i].iov_base + skip, keep - skip);
		at += n;
	}
}

/* The iovecs that make up the first `bytes`; the last may be cut for the call and is mended after. */
static ssize_t write_prefix(struct batch *b, struct conn *conn, uint32_t bytes)
{
	uint32_t at = 0;
	uint32_t i = 0;
	size_t whole;
	ssize_t taken;

	if (bytes == b->bytes)
		return conn_writev(conn, b->iov, (int)b->iov_count);
	while (at + b->iov[i].iov_len < bytes)
		at += (uint32_t)b->iov[i++].iov_len;
	whole = b->iov[i].iov_len;
	b->iov[i].iov_len = bytes - at;
	taken = conn_writev(conn, b->iov, (int)i + 1);
	b->iov[i].iov_len = whole;
	return taken;
}

/* Records wholly or partly within the first `taken` bytes. */
static uint32_t records_begun(const struct batch *b, uint32_t n, uint32_t taken)
{
	uint32_t low = 0;
	uint32_t high = n;

	if (taken == 0)
		return 0;
	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (b->records[middle].end < taken)
			low = middle + 1;
		else
			high = middle;
	}
	return low + 1;
}

static int send_prefix(struct batch *b, uint32_t n, struct conn *conn)
{
	uint32_t bytes = b->records[n - 1].end;
	ssize_t taken = write_prefix(b, conn, bytes);
	uint32_t begun;

	if (taken < 0)
		return (int)taken;
	if ((uint32_t)taken == bytes)
		return (int)n;
	begun = records_begun(b, n, (uint32_t)taken);
	if (begun && (uint32_t)taken < b->records[begun - 1].end)
		push_range(b, conn, (uint32_t)taken, b->records[begun - 1].end);
	return (int)begun;
}

int batch_send(struct batch *b, uint32_t n, struct conn *conn, struct inflight *window)
{
	uint16_t given = 0;
	uint16_t used = 0;
	int sent;

	if (n == 0)
		return 0;
	for (uint32_t i = 0; b->with_id && i < n; i++) {
		if (b->records[i].id_at == 0)
			continue;
		patch_id(b, i, inflight_add(window, slot_of(b, &b->records[i])));
		given++;
	}
	sent = send_prefix(b, n, conn);
	for (uint32_t i = 0; given && (int)i < sent; i++)
		used = (uint16_t)(used + (b->records[i].id_at != 0));
	if (used < given)
		inflight_take_back(window, (uint16_t)(given - used));
	return sent;
}

int batch_send_again(struct batch *b, struct conn *conn, const uint16_t *ids)
{
	if (b->count == 0)
		return 0;
	for (uint32_t i = 0; i < b->count; i++)
		patch_id(b, i, ids[i]);
	return send_prefix(b, b->count, conn);
}
