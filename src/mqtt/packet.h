/* mqtt/packet.h - control packets of MQTT 3.1.1 and 5 as structs and as bytes
 *
 * Pure: bytes in, structs out and back; no I/O, no clock, no allocation while
 * decoding. Everything decoded borrows from the bytes given and is valid as long
 * as they are. Sources: OASIS MQTT 3.1.1 and MQTT 5.0; the clause stands at the line.
 *
 * Threads: any; there is no state besides the arguments.
 */
#ifndef MQTT_PACKET_H
#define MQTT_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"
#include "mqtt/property.h"

enum mqtt_version {
	MQTT_3_1 = 3, /* "MQIsdp"; recognised so that it can be refused by name */
	MQTT_3_1_1 = 4,
	MQTT_5 = 5,
};

enum mqtt_type {
#define X(name, value, flags, client, server) MQTT_##name = value,
#include "mqtt/packet.def"
#undef X
};

/* Who sends: decides which packets and properties are allowed. */
enum mqtt_side { MQTT_FROM_CLIENT, MQTT_FROM_SERVER };

#define MQTT_PACKET_LARGEST (268435455u + 5u) /* MQTT 5, 1.5.5: four length bytes */
#define MQTT_HEADER_LARGEST 5u

struct mqtt_will {
	struct view topic;
	struct view payload;
	uint8_t qos;
	bool retain;
	struct mqtt_properties properties;
};

struct mqtt_connect {
	uint8_t version;  /* as sent; enum mqtt_version when supported */
	bool clean_start; /* "clean session" in 3.1.1 */
	bool has_will;
	bool has_user_name;
	bool has_password;
	uint16_t keep_alive_s; /* 0: off */
	struct view client_id; /* may be empty */
	struct view user_name;
	struct view password;
	struct mqtt_will will;
};

struct mqtt_connack {
	bool session_present;
	uint8_t reason; /* return code in 3.1.1 */
};

struct mqtt_publish {
	struct view topic; /* empty with a topic alias */
	struct view payload;
	uint16_t packet_id; /* 0 at QoS 0 */
	uint8_t qos;
	bool retain;
	bool dup;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP */
struct mqtt_ack {
	uint16_t packet_id;
	uint8_t reason; /* 0 when absent */
};

/* SUBSCRIBE, UNSUBSCRIBE, SUBACK, UNSUBACK: a list still in wire form, known to be well-formed.
 * Walk it with mqtt_next_subscription(), mqtt_next_filter() or as reason-code bytes. */
struct mqtt_list {
	uint16_t packet_id;
	struct view items;
	uint32_t count;
};

/* DISCONNECT, AUTH */
struct mqtt_reason {
	uint8_t reason;
};

struct mqtt_packet {
	enum mqtt_type type;
	uint32_t bytes; /* of the whole packet on the wire */
	union {
		struct mqtt_connect connect;
		struct mqtt_connack connack;
		struct mqtt_publish publish;
		struct mqtt_ack ack;
		struct mqtt_list list;
		struct mqtt_reason reason;
	};
	struct mqtt_properties properties; /* of the packet itself; empty in 3.1.1 */
};

struct mqtt_subscription {
	struct view filter;
	uint8_t qos;              /* asked for */
	bool no_local;            /* MQTT 5 */
	bool retain_as_published; /* MQTT 5 */
	uint8_t retain_handling;  /* MQTT 5: 0 send, 1 send if new, 2 do not */
};

/* Length of the packet at p as its fixed header says: >0 the whole packet's bytes (which may
 * not all be there yet), 0 header incomplete, ERR_MALFORMED when the length takes more than
 * four bytes, ERR_TOO_LARGE when it exceeds largest. */
int64_t mqtt_packet_length(const uint8_t *p, size_t n, uint32_t largest);

/* Decodes one packet. >0 bytes consumed, 0 need more, <0: ERR_MALFORMED, ERR_PROTOCOL (told
 * apart as MQTT 5 1.2 does), ERR_TOO_LARGE, ERR_TOPIC (wildcard in a topic name), ERR_FILTER,
 * ERR_TOPIC_ALIAS (0), ERR_VERSION (CONNECT of another version: out->type and
 * out->connect.version are set), ERR_CLIENT_ID (CONNECT of 3.1.1 with an empty client id and
 * clean session 0, [MQTT-3.1.3-8]: all of *out is set, so that the CONNACK can say so).
 * version: what CONNECT agreed (ignored when decoding CONNECT itself). *out is untouched
 * unless the result is >0, ERR_VERSION or ERR_CLIENT_ID; of its properties only `present` and
 * what `present` names is set. *why, when not NULL, gets a static text naming the fault and its
 * clause when the result is <0. In 3.1.1 a filter "$share/..." is text like any other. */
int64_t mqtt_decode(const uint8_t *p, size_t n, enum mqtt_side side, uint8_t version,
	uint32_t largest, struct mqtt_packet *out, const char **why);

/* The protocol version that a CONNECT names, however wrong the rest of it is: 3, 4, 5, or what
 * else it says behind a known protocol name; 0 when p is no CONNECT or ends before. For the
 * CONNACK that answers a CONNECT which mqtt_decode() refused. */
uint8_t mqtt_connect_version(const uint8_t *p, size_t n);

/* Walks list.items: true and *out filled, false at the end. `rest` starts as list.items. */
bool mqtt_next_subscription(struct view *rest, struct mqtt_subscription *out);
bool mqtt_next_filter(struct view *rest, struct view *out);

/* Appends the packet's bytes. Of properties only `raw` is read (build it with mqtt_put_number()
 * and the like), for MQTT 5 only. Lists are given in wire form (items); use
 * mqtt_put_subscription()/mqtt_put_string() to build them. A CONNECT is written for `version`,
 * whatever its version field says. Fields are taken as valid; 0, or ERR_TOO_LARGE when a length
 * field cannot hold them (nothing appended then). out must not own what the packet borrows. */
int mqtt_encode(struct buf *out, uint8_t version, const struct mqtt_packet *packet);

void mqtt_put_subscription(struct buf *out, uint8_t version, const struct mqtt_subscription *s);
void mqtt_put_string(struct buf *out, struct view text); /* at most 65535 bytes */

/* Header of a PUBLISH whose remaining length is known: fixed header only (2-5 bytes) into out.
 * Gives its length. */
size_t mqtt_publish_header(uint8_t out[MQTT_HEADER_LARGEST], uint8_t flags, uint32_t remaining);

/* Bytes that a variable byte integer takes (MQTT 5, 1.5.5), 1-4. */
static inline size_t mqtt_varint_bytes(uint32_t value)
{
	return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Name of a packet type, "PUBLISH"; "?" for 0. */
const char *mqtt_type_name(unsigned type);

#endif
