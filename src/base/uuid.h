/* base/uuid.h - a message's identity: the 16 bytes of a UUID */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"

#define UUID_TEXT_BYTES 36

struct uuid {
	uint8_t b[16];
};

/* Reads the plain 36-character form, either letter case (WNM-12). False leaves *out alone. */
bool uuid_parse(struct view text, struct uuid *out);

/* Writes 36 lower-case characters and a NUL. */
void uuid_format(const struct uuid *id, char out[UUID_TEXT_BYTES + 1]);

/* A random one, version 4 (RFC 9562, section 5.4). */
void uuid_random(struct uuid *out);

#endif
