/* source/forward.h - what of a source's PUBLISH is passed on
 *
 * Both give a view into `bytes`, to which they append; the caller has made room for all that one read
 * can need, so that earlier views stay good.
 *
 * Threads: any; the state is the caller's.
 */
#ifndef SOURCE_FORWARD_H
#define SOURCE_FORWARD_H

#include "base/buf.h"
#include "mqtt/packet.h"

/* The MQTT 5 properties to pass on, each as it came: user properties, content type, payload format
 * (GB-67). */
struct view forward_properties(struct buf *bytes, const struct mqtt_properties *p);

/* The payload without one of its members (`content` is a view into it) and one of the commas beside
 * it; every other byte as it was. */
struct view forward_without(struct buf *bytes, struct view payload, struct view content);

#endif
