/* wis2/inline_data.h - how many bytes encoded text stands for (WNM-52, WNM-59)
 *
 * Nothing is kept but the count: base64 (RFC 4648, 4, padded), and base64 of gzip (RFC 1952 and
 * 1951) unpacked up to a limit. Pure, no allocation.
 */
#ifndef WIS2_INLINE_DATA_H
#define WIS2_INLINE_DATA_H

#include <stdint.h>

#include "base/view.h"

#define INLINE_LARGEST 4096u /* most bytes that gzip may stand for here */

/* Decodes into out (at least text.n / 4 * 3 bytes; may be NULL to count only). Gives the number of
 * bytes, or -1 when text is no padded base64. */
int32_t base64_decode(struct view text, uint8_t *out);

/* Bytes that gzip unpacks to, the checksum and length of each member verified; -1 when it is broken,
 * has other bytes behind it, or is longer than INLINE_LARGEST. */
int32_t gzip_length(const uint8_t *data, size_t n);

#endif
