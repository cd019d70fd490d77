/* mqtt/property.h - MQTT 5 properties, decoded from the table in property.def
 *
 * Single-valued properties are decoded into fields by table; those that may come
 * more than once (user property; subscription identifier in PUBLISH) are walked in
 * the raw block (their fields hold the last one).
 */
#ifndef MQTT_PROPERTY_H
#define MQTT_PROPERTY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

/* Rows of property.def in order; the identifier on the wire is another number. */
enum mqtt_property {
#define X(name, id, words, type, where, many) MQTT_PROPERTY_##name,
#include "mqtt/property.def"
#undef X
	MQTT_PROPERTY_COUNT
};

struct mqtt_properties {
	uint32_t present;                      /* bit (1 << enum mqtt_property) */
	struct view raw;                       /* the block behind its length, as received */
	uint32_t number[MQTT_PROPERTY_COUNT];  /* byte, two, four byte and variable integers */
	struct view text[MQTT_PROPERTY_COUNT]; /* strings and binary data */
};

static inline bool mqtt_has(const struct mqtt_properties *p, enum mqtt_property which)
{
	return p->present >> which & 1;
}

/* The number if present, else `absent`. */
static inline uint32_t mqtt_number(
	const struct mqtt_properties *p, enum mqtt_property which, uint32_t absent)
{
	return mqtt_has(p, which) ? p->number[which] : absent;
}

/* Walk of the raw block for all properties (validated before); false at the end. For user
 * properties name and text are set, for strings text, for numbers number. */
struct mqtt_property_item {
	enum mqtt_property which;
	uint32_t number;
	struct view name;
	struct view text;
	struct view raw; /* identifier and value as on the wire */
};
bool mqtt_next_property(struct view *rest, struct mqtt_property_item *out);

/* Appending to a block under construction (identifier and value; without the block's length). */
void mqtt_put_number(struct buf *block, enum mqtt_property which, uint32_t value);
void mqtt_put_text(struct buf *block, enum mqtt_property which, struct view value);
void mqtt_put_user(struct buf *block, struct view name, struct view value);
void mqtt_put_varint(struct buf *out, uint32_t value);

/* Name as the specification writes it: "Session Expiry Interval". */
const char *mqtt_property_name(enum mqtt_property which);

#endif
