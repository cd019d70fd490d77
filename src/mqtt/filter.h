/* mqtt/filter.h - topic names and topic filters (MQTT 5, section 4.7)
 *
 * Pure. A filter is judged once, then matched against names known to be valid.
 */
#ifndef MQTT_FILTER_H
#define MQTT_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

/* 1-65535 bytes, UTF-8 without NUL, no wildcard [MQTT-4.7.1-1]. A topic beginning with $ is a
 * valid name; whether a client may publish there is the broker's affair. */
bool topic_is_valid(struct view topic);

/* Wildcards alone in their level, # last; UTF-8; not a $share form (cut it first). */
bool filter_is_valid(struct view filter);

/* The same, but "$share/..." counts as any other text, as in MQTT 3.1.1. */
bool filter_is_well_formed(struct view filter);

/* $share/{name}/{filter}: 1 and *group, *filter set; 0 not a shared filter; ERR_FILTER malformed
 * (MQTT 5, 4.8.2: a name without / + #, at least one character; a filter behind it). */
int filter_cut_share(struct view whole, struct view *group, struct view *filter);

/* A leading wildcard does not match a topic beginning with $ [MQTT-4.7.2-1]. */
bool filter_match(struct view filter, struct view topic);

/* Is every topic that `inner` matches also matched by `outer`? Both valid filters. */
bool filter_covers(struct view outer, struct view inner);

#endif
