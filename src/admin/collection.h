/* admin/collection.h - messages as one document over HTTP
 *
 * COLLECTION_GEOJSON (RFC 7946): a FeatureCollection whose features are the payloads, byte for byte;
 * what goes with them (topic, time of receipt) stands beside them in `records`, in the same order. Only
 * what is a GeoJSON feature can stand there: anything else, a monitoring event for instance, is left
 * out and counted in `numberOmitted`.
 *
 * COLLECTION_LINES: one JSON object a line with topic, time and payload, for payloads of any kind:
 * as a string when it is UTF-8, else in base64.
 *
 * Pure. **Invariant:** a payload added comes out of the document with the bytes it had.
 */
#ifndef ADMIN_COLLECTION_H
#define ADMIN_COLLECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/view.h"

#define COLLECTION_BYTES (4u << 20) /* a document that has reached this takes nothing more */

enum collection_form { COLLECTION_GEOJSON, COLLECTION_LINES };

/* Zero-initialised, but for form and limit. */
struct collection {
	enum collection_form form;
	uint32_t limit;
	uint32_t count;
	uint32_t omitted;
	struct buf text;    /* features, or lines */
	struct buf records; /* of features */
};

/* False: it is full, and this one is not in it. */
bool collection_add(struct collection *c, struct view topic, uint64_t time_ms, struct view payload);
/* Gives the document and frees the rest. next: address of what follows, or empty. */
void collection_finish(struct collection *c, struct view next, uint64_t now_ms, struct buf *out);
void collection_fini(struct collection *c);

/* The media type. */
const char *collection_type(enum collection_form form);

/* Is the text one GeoJSON feature (RFC 7946, section 3.2), at most as long as a notification may be? */
bool collection_is_feature(struct view text);

#endif
