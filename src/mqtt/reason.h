/* mqtt/reason.h - reason codes of MQTT 5 (2.4) and return codes of 3.1.1, from reason.def */
#ifndef MQTT_REASON_H
#define MQTT_REASON_H

#include <stdint.h>

enum mqtt_reason_code {
#define X(name, value, text, packets) MQTT_RC_##name = value,
#include "mqtt/reason.def"
#undef X
};

/* "Not authorized"; "unknown reason code" for values outside the table. */
const char *mqtt_reason_text(uint8_t reason);

/* CONNACK return code of 3.1.1 (table 3.1) that comes closest to a reason code; 0 stays 0.
 * 0xff: 3.1.1 has none, close without a CONNACK. */
uint8_t mqtt_reason_to_v3(uint8_t reason);

#endif
