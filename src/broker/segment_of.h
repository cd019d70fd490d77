/* broker/segment_of.h - a journal segment in memory for this room's tests */
#ifndef BROKER_SEGMENT_OF_H
#define BROKER_SEGMENT_OF_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "journal/journal.h"
#include "mqtt/packet.h"

struct made_segment {
	struct journal_segment segment;
	struct journal_entry entries[64];
	struct buf packets;
	uint32_t count;
};

/* Appends a record; topic numbers are the caller's. */
static inline void made_add(struct made_segment *m, uint32_t number, const char *topic,
	const char *payload, const char *properties, uint8_t qos)
{
	uint8_t header[MQTT_HEADER_LARGEST];
	uint32_t remaining = (uint32_t)(2 + strlen(topic) + strlen(payload));
	size_t n = mqtt_publish_header(header, 0, remaining);
	struct journal_entry *e = &m->entries[m->count++];

	*e = (struct journal_entry){
		.offset = (uint32_t)buf_length(&m->packets),
		.packet_bytes = (uint32_t)n + remaining,
		.property_bytes = (uint32_t)strlen(properties),
		.topic = number,
		.time_ms = 1000,
		.header_bytes = (uint8_t)n,
		.flags = (uint8_t)(qos << 6),
	};
	buf_append(&m->packets, header, n);
	mqtt_put_string(&m->packets, view_of(topic));
	buf_text(&m->packets, payload);
	buf_text(&m->packets, properties);
	m->segment = (struct journal_segment){
		.end = UINT64_MAX, .number = 1, .entries = m->entries, .packets = m->packets.data};
}

static inline void made_fini(struct made_segment *m)
{
	buf_fini(&m->packets);
}

#endif
