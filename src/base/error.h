/* base/error.h - the one list of errors
 *
 * Functions return 0 (or a positive count) and negative values from err.def.
 * Who handles an error logs it; who passes it on stays silent.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdint.h>

enum err_row {
#define X(name, text, reason) name##_ROW,
#include "base/err.def"
#undef X
	ERR_COUNT
};

enum {
#define X(name, text, reason) name = -((int)name##_ROW + 1),
#include "base/err.def"
#undef X
};

/* The text of an error; "done" for 0 and above. Static storage. */
const char *err_text(int err);

/* The MQTT 5 reason code that tells a client of it (MQTT 5, section 2.4). */
uint8_t err_reason_code(int err);

#endif
