/* base/utf8.h - is it well-formed UTF-8? (Unicode 15, table 3-7; RFC 3629)
 *
 * Overlong forms, surrogates (D800-DFFF), values above 10FFFF and truncated
 * sequences are not.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* Length (1-4) of the well-formed sequence at p, or 0. n > 0. */
size_t utf8_sequence(const char *p, size_t n);

/* Bytes before the first fault; n when there is none. */
size_t utf8_valid_prefix(const char *p, size_t n);

#endif
