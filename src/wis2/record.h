/* wis2/record.h - discovery metadata records: what one of them names (metadata.md, section 2)
 *
 * Of a WCMP2 record only what the check needs is judged: a JSON object, `id` of the form
 * urn:wmo:md:{centre-id}:{local id}, and those of its `links` that lead to a broker and name a topic
 * of WIS2 in `channel` (old records: `wmo:topic`). Catalogues have validated the rest.
 *
 * Threads: any; nothing is kept.
 */
#ifndef WIS2_RECORD_H
#define WIS2_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define RECORD_BYTES_MOST (1u << 20) /* of one record's JSON text */
#define RECORD_ID_MOST 512u
#define RECORD_TAIL_MOST 1024u
#define RECORD_PAIRS_MOST 256u /* channels of one record; further ones are left out */

/* One channel of one record; views are valid during the call. */
typedef void record_on_pair(void *context, struct view id, struct view tail);

/* The centre-id in urn:wmo:md:{centre-id}:{local id}; {NULL,0}: not of that form (WNM-43). */
struct view metadata_id_centre(struct view id);

/* A channel from level 5 down, such as "data/core/weather/..."; {NULL,0}: not one of WIS2 data. It
 * may be an MQTT filter; "#" when the filter ends in # before level 5. */
struct view record_tail(struct view channel);

/* Is this the part of a data topic from level 5 down, or a filter for such parts? */
bool record_tail_is_valid(struct view tail);

/* Reads one record's JSON text. Gives the number of pairs, which may be 0, or ERR_MALFORMED. */
int record_read(struct view json, record_on_pair *on_pair, void *context);

#endif
