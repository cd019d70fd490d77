/* Reason codes looked up by value. */
#include "mqtt/reason.h"

#include <stddef.h>

#include "mqtt/context.h"

struct reason {
	const char *text;
	uint32_t packets;
};

/* By value; codes end at 0xa2 (MQTT 5, table 2-6). */
static const struct reason reasons[256] = {
#define X(name, value, text, packets) [value] = {text, packets},
#include "mqtt/reason.def"
#undef X
};

/* Without a return code that applies there is no CONNACK (MQTT 3.1.1, 3.2.2.3). */
#define NO_RETURN_CODE 0xff

struct translation {
	uint8_t reason;
	uint8_t return_code; /* MQTT 3.1.1, table 3.1 */
};

static const struct translation translations[] = {
	{MQTT_RC_SUCCESS, 0},
	{MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION, 1},
	{MQTT_RC_CLIENT_IDENTIFIER_NOT_VALID, 2},
	{MQTT_RC_UNSPECIFIED_ERROR, 3},
	{MQTT_RC_IMPLEMENTATION_SPECIFIC_ERROR, 3},
	{MQTT_RC_SERVER_UNAVAILABLE, 3},
	{MQTT_RC_SERVER_BUSY, 3},
	{MQTT_RC_SERVER_SHUTTING_DOWN, 3},
	{MQTT_RC_QUOTA_EXCEEDED, 3},
	{MQTT_RC_USE_ANOTHER_SERVER, 3},
	{MQTT_RC_SERVER_MOVED, 3},
	{MQTT_RC_CONNECTION_RATE_EXCEEDED, 3},
	{MQTT_RC_BAD_USER_NAME_OR_PASSWORD, 4},
	{MQTT_RC_NOT_AUTHORIZED, 5},
	{MQTT_RC_BANNED, 5},
	{MQTT_RC_BAD_AUTHENTICATION_METHOD, 5},
};

const char *mqtt_reason_text(uint8_t reason)
{
	const char *text = reasons[reason].text;

	return text ? text : "unknown reason code";
}

uint8_t mqtt_reason_to_v3(uint8_t reason)
{
	for (size_t i = 0; i < sizeof(translations) / sizeof(*translations); i++) {
		if (translations[i].reason == reason)
			return translations[i].return_code;
	}
	return NO_RETURN_CODE; /* [MQTT3-3.2.2-6] */
}

bool context_has_reason(uint32_t context, uint8_t reason)
{
	return reasons[reason].packets & context;
}
