/* Every normative statement that is visible in one packet, as a row: a packet that obeys it or
 * breaks it, and what decoding says. Read a row aloud: "from the client, MQTT 5, these bytes". */
#include "mqtt/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/error.h"
#include "mqtt/bytes_test.h"

#define LARGEST 4096
#define OK 0

struct row {
	const char *name;
	char side; /* 'c' or 's' */
	uint8_t version;
	const char *packet;
	int want;           /* OK: all bytes are taken */
	const char *clause; /* what `why` must cite */
};

static const struct row rows[] = {
	/* the fixed header */
	{"type 0", 'c', 5, "00*", ERR_MALFORMED, "2.1.2"},
	{"auth in 3.1.1", 'c', 4, "f0*", ERR_MALFORMED, "2.1.2"},
	{"connack from a client", 'c', 5, "20* 0000 00", ERR_PROTOCOL, "2.1.2"},
	{"connect from a server", 's', 5, "10*", ERR_PROTOCOL, "2.1.2"},
	{"subscribe from a server", 's', 5, "82* 0001 00 0001 'a' 00", ERR_PROTOCOL, "2.1.2"},
	{"disconnect from a 3.1.1 server", 's', 4, "e0*", ERR_PROTOCOL, "2.1.2"},
	{"pubrel flags 0", 'c', 5, "60* 0001", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"subscribe flags 0", 'c', 5, "80* 0001 00 0001 'a' 00", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"unsubscribe flags 0", 'c', 5, "a0* 0001 00 0001 'a'", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"puback flags 1", 'c', 5, "41* 0001", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"disconnect flags 1", 'c', 4, "e1*", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"auth flags 1", 'c', 5, "f1* 18 00", ERR_MALFORMED, "[MQTT-2.1.3-1]"},
	{"length of five bytes", 'c', 5, "30 ff ff ff ff 7f", ERR_MALFORMED, "1.5.5"},
	{"length not shortest in 5", 'c', 5, "c0 80 00", ERR_MALFORMED, "[MQTT-1.5.5-1]"},
	{"length not shortest in 3.1.1", 'c', 4, "c0 80 00", OK, NULL},
	{"length not shortest in a 5 connect", 'c', 0, "10 8d00 0004 'MQTT' 05 02 0000 00 0000",
		ERR_MALFORMED, "[MQTT-1.5.5-1]"},
	{"longer than allowed", 'c', 5, "30 ff7f", ERR_TOO_LARGE, "3.1.2.11.4"},
	{"pingreq", 'c', 4, "c0*", OK, NULL},
	{"pingreq with a payload", 'c', 4, "c0* 00", ERR_MALFORMED, "behind the last field"},
	{"pingresp", 's', 5, "d0*", OK, NULL},

	/* CONNECT */
	{"connect 3.1.1", 'c', 0, "10* 0004 'MQTT' 04 02 003c 0000", OK, NULL},
	{"connect 5", 'c', 0, "10* 0004 'MQTT' 05 02 003c *; 0000", OK, NULL},
	{"connect with a foreign name", 'c', 0, "10* 0004 'MQTX' 04 02 003c 0000", ERR_PROTOCOL,
		"[MQTT-3.1.2-1]"},
	{"connect 3.1", 'c', 0, "10* 0006 'MQIsdp' 03 02 003c 0001 'c'", ERR_VERSION,
		"[MQTT-3.1.2-2]"},
	{"connect old name, new level", 'c', 0, "10* 0006 'MQIsdp' 04 02 003c 0001 'c'",
		ERR_PROTOCOL, "[MQTT-3.1.2-1]"},
	{"connect level 6", 'c', 0, "10* 0004 'MQTT' 06 02 003c 0000", ERR_VERSION,
		"[MQTT-3.1.2-2]"},
	{"connect with level 3", 'c', 0, "10* 0004 'MQTT' 03 02 003c 0000", ERR_VERSION,
		"[MQTT-3.1.2-2]"},
	{"connect reserved flag 3.1.1", 'c', 0, "10* 0004 'MQTT' 04 03 003c 0000", ERR_MALFORMED,
		"[MQTT-3.1.2-3]"},
	{"connect reserved flag 5", 'c', 0, "10* 0004 'MQTT' 05 03 003c *; 0000", ERR_MALFORMED,
		"[MQTT-3.1.2-3]"},
	{"connect will QoS 3", 'c', 0, "10* 0004 'MQTT' 04 1e 003c 0000 0001 't' 0000",
		ERR_MALFORMED, "[MQTT-3.1.2-12]"},
	{"connect will QoS without will", 'c', 0, "10* 0004 'MQTT' 04 0a 003c 0000", ERR_PROTOCOL,
		"[MQTT-3.1.2-11]"},
	{"connect will retain without will", 'c', 0, "10* 0004 'MQTT' 05 22 003c *; 0000",
		ERR_PROTOCOL, "[MQTT-3.1.2-13]"},
	{"connect will", 'c', 0, "10* 0004 'MQTT' 04 36 003c 0000 0001 't' 0002 'm' 00", OK, NULL},
	{"connect will missing", 'c', 0, "10* 0004 'MQTT' 04 06 003c 0000", ERR_MALFORMED,
		"past the end"},
	{"connect will topic with wildcard", 'c', 0,
		"10* 0004 'MQTT' 04 06 003c 0000 0003 'a/#' 0000", ERR_TOPIC, "[MQTT-4.7.0-1]"},
	{"connect will topic empty", 'c', 0, "10* 0004 'MQTT' 04 06 003c 0000 0000 0000", ERR_TOPIC,
		"[MQTT-4.7.0-1]"},
	{"connect will topic not UTF-8", 'c', 0, "10* 0004 'MQTT' 04 06 003c 0000 0001 ff 0000",
		ERR_MALFORMED, "[MQTT-1.5.4-1]"},
	{"connect will delay", 'c', 0,
		"10* 0004 'MQTT' 05 06 003c *; 0000 * 18 00000005; 0001 't' 0000", OK, NULL},
	{"connect will delay in the packet", 'c', 0,
		"10* 0004 'MQTT' 05 06 003c * 18 00000005; 0000 *; 0001 't' 0000", ERR_MALFORMED,
		"2.2.2.2"},
	{"connect will with receive maximum", 'c', 0,
		"10* 0004 'MQTT' 05 06 003c *; 0000 * 21 0005; 0001 't' 0000", ERR_MALFORMED,
		"2.2.2.2"},
	{"connect password alone 3.1.1", 'c', 0, "10* 0004 'MQTT' 04 42 003c 0000 0001 'p'",
		ERR_PROTOCOL, "[MQTT3-3.1.2-22]"},
	{"connect password alone 5", 'c', 0, "10* 0004 'MQTT' 05 42 003c *; 0000 0001 'p'", OK,
		NULL},
	{"connect user and password", 'c', 0,
		"10* 0004 'MQTT' 04 c2 003c 0001 'c' 0001 'u' 0001 00", OK, NULL},
	{"connect user name missing", 'c', 0, "10* 0004 'MQTT' 04 82 003c 0001 'c'", ERR_MALFORMED,
		"past the end"},
	{"connect user name with U+0000", 'c', 0, "10* 0004 'MQTT' 04 82 003c 0001 'c' 0001 00",
		ERR_MALFORMED, "[MQTT-1.5.4-1]"},
	{"connect with a byte too many", 'c', 0, "10* 0004 'MQTT' 04 02 003c 0001 'c' 00",
		ERR_MALFORMED, "behind the last field"},
	{"connect client id is a surrogate", 'c', 0, "10* 0004 'MQTT' 04 02 003c 0003 eda080",
		ERR_MALFORMED, "[MQTT-1.5.4-1]"},
	{"connect without client id, session kept, 3.1.1", 'c', 0,
		"10* 0004 'MQTT' 04 00 003c 0000", ERR_CLIENT_ID, "[MQTT3-3.1.3-8]"},
	{"connect without client id, session kept, 5", 'c', 0, "10* 0004 'MQTT' 05 00 003c *; 0000",
		OK, NULL},
	{"connect receive maximum 0", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 21 0000; 0000",
		ERR_PROTOCOL, "3.1.2.11.3"},
	{"connect maximum packet size 0", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 27 00000000; 0000",
		ERR_PROTOCOL, "3.1.2.11.4"},
	{"connect request problem 2", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 17 02; 0000",
		ERR_PROTOCOL, "3.1.2.11.7"},
	{"connect request response 2", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 19 02; 0000",
		ERR_PROTOCOL, "3.1.2.11.6"},
	{"connect authentication data alone", 'c', 0,
		"10* 0004 'MQTT' 05 02 003c * 16 0001 00; 0000", ERR_PROTOCOL, "3.1.2.11.10"},
	{"connect session expiry twice", 'c', 0,
		"10* 0004 'MQTT' 05 02 003c * 11 00000001 11 00000001; 0000", ERR_PROTOCOL,
		"more than once"},
	{"connect server keep alive", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 13 0001; 0000",
		ERR_MALFORMED, "2.2.2.2"},
	{"connect unknown property", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 04 00; 0000",
		ERR_MALFORMED, "2.2.2.2"},
	{"connect property past its block", 'c', 0, "10* 0004 'MQTT' 05 02 003c * 21 00; 0000",
		ERR_MALFORMED, "past the end"},
	{"connect block past the packet", 'c', 0, "10* 0004 'MQTT' 05 02 003c 20 21 0001",
		ERR_MALFORMED, "past the end"},
	{"connect user property twice", 'c', 0,
		"10* 0004 'MQTT' 05 02 003c * 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'v'; 0000", OK,
		NULL},

	/* CONNACK */
	{"connack", 's', 4, "20* 01 00", OK, NULL},
	{"connack 5", 's', 5, "20* 00 00 00", OK, NULL},
	{"connack 5 without properties' length", 's', 5, "20* 00 00", ERR_MALFORMED,
		"past the end"},
	{"connack reserved flags", 's', 4, "20* 02 00", ERR_MALFORMED, "[MQTT-3.2.2-1]"},
	{"connack refused with a session", 's', 5, "20* 01 87 00", ERR_PROTOCOL, "[MQTT-3.2.2-6]"},
	{"connack refused with a session 3.1.1", 's', 4, "20* 01 05", ERR_PROTOCOL,
		"[MQTT-3.2.2-6]"},
	{"connack return code 5", 's', 4, "20* 00 05", OK, NULL},
	{"connack return code 6", 's', 4, "20* 00 06", ERR_PROTOCOL, "3.2.2.3"},
	{"connack reason of a puback", 's', 5, "20* 00 10 00", ERR_PROTOCOL, "2.4"},
	{"connack maximum QoS 2", 's', 5, "20* 00 00 * 24 02", ERR_PROTOCOL, "3.2.2.3.4"},
	{"connack retain available 2", 's', 5, "20* 00 00 * 25 02", ERR_PROTOCOL, "3.2.2.3.5"},
	{"connack wildcard available 2", 's', 5, "20* 00 00 * 28 02", ERR_PROTOCOL, "3.2.2.3.11"},
	{"connack identifiers available 2", 's', 5, "20* 00 00 * 29 02", ERR_PROTOCOL,
		"3.2.2.3.12"},
	{"connack shared available 2", 's', 5, "20* 00 00 * 2a 02", ERR_PROTOCOL, "3.2.2.3.13"},
	{"connack receive maximum 0", 's', 5, "20* 00 00 * 21 0000", ERR_PROTOCOL, "3.1.2.11.3"},
	{"connack with request problem", 's', 5, "20* 00 00 * 17 01", ERR_MALFORMED, "2.2.2.2"},

	/* PUBLISH */
	{"publish", 'c', 4, "30* 0003 'a/b' 'x'", OK, NULL},
	{"publish 5", 'c', 5, "30* 0003 'a/b' 00 'x'", OK, NULL},
	{"publish without payload", 's', 4, "31* 0003 'a/b'", OK, NULL},
	{"publish QoS 3", 'c', 4, "36* 0003 'a/b' 0001", ERR_MALFORMED, "[MQTT-3.3.1-4]"},
	{"publish QoS 0 with DUP", 'c', 5, "38* 0003 'a/b' 00", ERR_PROTOCOL, "[MQTT-3.3.1-2]"},
	{"publish QoS 1 with DUP", 'c', 4, "3a* 0003 'a/b' 0001", OK, NULL},
	{"publish QoS 1 with identifier 0", 'c', 4, "32* 0003 'a/b' 0000", ERR_PROTOCOL,
		"[MQTT-2.2.1-3]"},
	{"publish QoS 2 without identifier", 's', 5, "34* 0003 'a/b'", ERR_MALFORMED,
		"past the end"},
	{"publish with #", 'c', 5, "30* 0003 'a/#' 00", ERR_TOPIC, "[MQTT-3.3.2-2]"},
	{"publish with + late", 'c', 5, "30* 000a 'abcdefgh/+' 00", ERR_TOPIC, "[MQTT-3.3.2-2]"},
	{"publish with + early", 'c', 5, "30* 000a 'a+bcdefghi' 00", ERR_TOPIC, "[MQTT-3.3.2-2]"},
	{"publish with U+0000", 'c', 4, "30* 0003 'a' 00 'b'", ERR_MALFORMED, "[MQTT-3.3.2-1]"},
	{"publish with U+0000 early", 'c', 4, "30* 0009 'a' 00 'bcdefgh'", ERR_MALFORMED,
		"[MQTT-3.3.2-1]"},
	{"publish not UTF-8", 's', 4, "30* 0002 'a' c0", ERR_MALFORMED, "[MQTT-3.3.2-1]"},
	{"publish UTF-8", 's', 4, "30* 0009 'ab' c3a9 e282ac 'cd'", OK, NULL},
	{"publish without topic", 's', 4, "30* 0000 'x'", ERR_PROTOCOL, "3.3.2.1"},
	{"publish without topic or alias", 's', 5, "30* 0000 00 'x'", ERR_PROTOCOL, "3.3.2.1"},
	{"publish with an alias alone", 's', 5, "30* 0000 * 23 0001;", OK, NULL},
	{"publish with alias 0", 'c', 5, "30* 0003 'a/b' * 23 0000;", ERR_TOPIC_ALIAS,
		"[MQTT-3.3.2-8]"},
	{"publish with alias twice", 'c', 5, "30* 0003 'a/b' * 23 0001 23 0001;", ERR_PROTOCOL,
		"more than once"},
	{"publish payload format 2", 'c', 5, "30* 0003 'a/b' * 01 02;", ERR_PROTOCOL, "3.3.2.3.2"},
	{"publish response topic", 'c', 5, "30* 0003 'a/b' * 08 0001 'r';", OK, NULL},
	{"publish response topic with wildcard", 'c', 5, "30* 0003 'a/b' * 08 0001 '+';",
		ERR_PROTOCOL, "[MQTT-3.3.2-14]"},
	{"publish response topic not UTF-8", 'c', 5, "30* 0003 'a/b' * 08 0001 ff;", ERR_MALFORMED,
		"[MQTT-1.5.4-1]"},
	{"publish subscription identifier from a client", 'c', 5, "30* 0003 'a/b' * 0b 01;",
		ERR_PROTOCOL, "[MQTT-3.3.4-6]"},
	{"publish subscription identifiers from a server", 's', 5, "30* 0003 'a/b' * 0b 01 0b 02;",
		OK, NULL},
	{"publish subscription identifier 0", 's', 5, "30* 0003 'a/b' * 0b 00;", ERR_PROTOCOL,
		"3.8.2.1.2"},
	{"publish subscription identifier not shortest", 's', 5, "30* 0003 'a/b' * 0b 8100;",
		ERR_MALFORMED, "[MQTT-1.5.5-1]"},
	{"publish user property not UTF-8", 'c', 5, "30* 0003 'a/b' * 26 0001 'k' 0001 ff;",
		ERR_MALFORMED, "[MQTT-1.5.4-1]"},
	{"publish reason string", 'c', 5, "30* 0003 'a/b' * 1f 0001 'r';", ERR_MALFORMED,
		"2.2.2.2"},
	{"publish properties in 3.1.1 are payload", 'c', 4, "30* 0003 'a/b' 04 23 0000", OK, NULL},

	/* PUBACK, PUBREC, PUBREL, PUBCOMP */
	{"puback", 'c', 4, "40* 0001", OK, NULL},
	{"puback identifier 0", 'c', 4, "40* 0000", ERR_PROTOCOL, "[MQTT-2.2.1-3]"},
	{"puback too short", 'c', 4, "40* 00", ERR_MALFORMED, "past the end"},
	{"puback too long in 3.1.1", 'c', 4, "40* 0001 00", ERR_MALFORMED, "behind the last"},
	{"puback with a reason alone", 'c', 5, "40* 0001 80", OK, NULL},
	{"puback with a wrong reason", 'c', 5, "40* 0001 92", ERR_PROTOCOL, "[MQTT-3.4.2-1]"},
	{"puback no subscribers from a client", 'c', 5, "40* 0001 10", ERR_PROTOCOL, "2.4"},
	{"puback no subscribers from a server", 's', 5, "40* 0001 10", OK, NULL},
	{"puback with properties", 's', 5, "40* 0001 00 * 1f 0001 'r'", OK, NULL},
	{"puback reason string twice", 's', 5, "40* 0001 00 * 1f 0001 'r' 1f 0001 'r'",
		ERR_PROTOCOL, "more than once"},
	{"puback with bytes behind", 's', 5, "40* 0001 00 00 00", ERR_MALFORMED, "behind the last"},
	{"pubrec", 's', 5, "50* 0001 91", OK, NULL},
	{"pubrel", 'c', 5, "62* 0001 92", OK, NULL},
	{"pubrel with a reason of puback", 'c', 5, "62* 0001 80", ERR_PROTOCOL, "2.4"},
	{"pubcomp", 's', 4, "70* ffff", OK, NULL},

	/* SUBSCRIBE, SUBACK */
	{"subscribe", 'c', 4, "82* 0001 0003 'a/#' 01 0001 '+' 02", OK, NULL},
	{"subscribe 5", 'c', 5, "82* 0001 * 0b 01; 0003 'a/#' 2d", OK, NULL},
	{"subscribe identifier 0", 'c', 4, "82* 0000 0001 'a' 00", ERR_PROTOCOL, "[MQTT-2.2.1-3]"},
	{"subscribe to nothing", 'c', 4, "82* 0001", ERR_PROTOCOL, "[MQTT-3.8.3-2]"},
	{"subscribe to nothing 5", 'c', 5, "82* 0001 00", ERR_PROTOCOL, "[MQTT-3.8.3-2]"},
	{"subscribe without options", 'c', 4, "82* 0001 0001 'a'", ERR_MALFORMED, "past the end"},
	{"subscribe QoS 3 in 3.1.1", 'c', 4, "82* 0001 0001 'a' 03", ERR_MALFORMED,
		"[MQTT3-3.8.3-4]"},
	{"subscribe reserved bits in 3.1.1", 'c', 4, "82* 0001 0001 'a' 04", ERR_MALFORMED,
		"[MQTT3-3.8.3-4]"},
	{"subscribe reserved bits in 5", 'c', 5, "82* 0001 00 0001 'a' 40", ERR_MALFORMED,
		"[MQTT-3.8.3-5]"},
	{"subscribe QoS 3 in 5", 'c', 5, "82* 0001 00 0001 'a' 03", ERR_PROTOCOL, "3.8.3.1"},
	{"subscribe retain handling 3", 'c', 5, "82* 0001 00 0001 'a' 30", ERR_PROTOCOL, "3.8.3.1"},
	{"subscribe shared", 'c', 5, "82* 0001 00 000b '$share/g/a' '/' 01", OK, NULL},
	{"subscribe shared with no local", 'c', 5, "82* 0001 00 000a '$share/g/a' 04", ERR_PROTOCOL,
		"[MQTT-3.8.3-4]"},
	{"subscribe no local", 'c', 5, "82* 0001 00 0001 'a' 04", OK, NULL},
	{"subscribe shared without a name", 'c', 5, "82* 0001 00 0009 '$share//a' 00", ERR_FILTER,
		"[MQTT-4.8.2-2]"},
	{"subscribe $share in 3.1.1 is text", 'c', 4, "82* 0001 0009 '$share//a' 00", OK, NULL},
	{"subscribe # not last", 'c', 5, "82* 0001 00 0003 '#/a' 00", ERR_FILTER, "[MQTT-4.7.1-1]"},
	{"subscribe + inside a level", 'c', 4, "82* 0001 0002 'a+' 00", ERR_FILTER,
		"[MQTT-4.7.1-1]"},
	{"subscribe to an empty filter", 'c', 4, "82* 0001 0000 00", ERR_FILTER, "[MQTT-4.7.3-1]"},
	{"subscribe filter not UTF-8", 'c', 4, "82* 0001 0001 80 00", ERR_MALFORMED,
		"[MQTT-1.5.4-1]"},
	{"subscribe identifier property 0", 'c', 5, "82* 0001 * 0b 00; 0001 'a' 00", ERR_PROTOCOL,
		"3.8.2.1.2"},
	{"subscribe identifier property twice", 'c', 5, "82* 0001 * 0b 01 0b 01; 0001 'a' 00",
		ERR_PROTOCOL, "more than once"},
	{"suback", 's', 4, "90* 0001 00 01 02 80", OK, NULL},
	{"suback reserved code", 's', 4, "90* 0001 87", ERR_PROTOCOL, "[MQTT3-3.9.3-2]"},
	{"suback 5", 's', 5, "90* 0001 00 00 01 02 87", OK, NULL},
	{"suback 5 with an unsuback code", 's', 5, "90* 0001 00 11", ERR_PROTOCOL, "2.4"},
	{"suback for nothing", 's', 4, "90* 0001", ERR_PROTOCOL, "empty list"},

	/* UNSUBSCRIBE, UNSUBACK */
	{"unsubscribe", 'c', 4, "a2* 0001 0001 'a' 0001 'b'", OK, NULL},
	{"unsubscribe identifier 0", 'c', 4, "a2* 0000 0001 'a'", ERR_PROTOCOL, "[MQTT-2.2.1-3]"},
	{"unsubscribe from nothing", 'c', 5, "a2* 0001 00", ERR_PROTOCOL, "[MQTT-3.10.3-2]"},
	{"unsubscribe not UTF-8", 'c', 5, "a2* 0001 00 0001 ff", ERR_MALFORMED, "[MQTT-1.5.4-1]"},
	{"unsubscribe subscription identifier", 'c', 5, "a2* 0001 * 0b 01; 0001 'a'", ERR_MALFORMED,
		"2.2.2.2"},
	{"unsuback", 's', 4, "b0* 0001", OK, NULL},
	{"unsuback with a payload in 3.1.1", 's', 4, "b0* 0001 00", ERR_MALFORMED,
		"behind the last"},
	{"unsuback identifier 0", 's', 4, "b0* 0000", ERR_PROTOCOL, "[MQTT-2.2.1-3]"},
	{"unsuback 5", 's', 5, "b0* 0001 00 11", OK, NULL},
	{"unsuback 5 with a suback code", 's', 5, "b0* 0001 00 01", ERR_PROTOCOL, "2.4"},

	/* DISCONNECT, AUTH */
	{"disconnect", 'c', 4, "e0*", OK, NULL},
	{"disconnect with a payload in 3.1.1", 'c', 4, "e0* 00", ERR_MALFORMED, "behind the last"},
	{"disconnect 5", 'c', 5, "e0* 04", OK, NULL},
	{"disconnect with will from a server", 's', 5, "e0* 04", ERR_PROTOCOL, "2.4"},
	{"disconnect taken over from a client", 'c', 5, "e0* 8e", ERR_PROTOCOL, "2.4"},
	{"disconnect session expiry from a client", 'c', 5, "e0* 00 * 11 00000001", OK, NULL},
	{"disconnect session expiry from a server", 's', 5, "e0* 8e * 11 00000001", ERR_PROTOCOL,
		"[MQTT-3.14.2-2]"},
	{"disconnect server reference", 's', 5, "e0* 9d * 1c 0001 'h'", OK, NULL},
	{"disconnect server reference from a client", 'c', 5, "e0* 00 * 1c 0001 'h'", ERR_PROTOCOL,
		"other side"},
	{"auth", 'c', 5, "f0* 18 * 15 0001 'm' 16 0000", OK, NULL},
	{"auth without a method", 'c', 5, "f0* 18 00", ERR_PROTOCOL, "3.15.2.2.2"},
	{"auth with a reason alone", 'c', 5, "f0* 18", ERR_MALFORMED, "past the end"},
	{"auth success, short, from a server", 's', 5, "f0*", OK, NULL},
	{"auth success from a client", 'c', 5, "f0*", ERR_PROTOCOL, "2.4"},
	{"auth anew from a server", 's', 5, "f0* 19 * 15 0001 'm'", ERR_PROTOCOL, "2.4"},
};

static enum mqtt_side side_of(char side)
{
	return side == 'c' ? MQTT_FROM_CLIENT : MQTT_FROM_SERVER;
}

/* An exact copy on the heap, so that a sanitizer sees a byte read too many. */
static int64_t decode(const struct row *row, size_t n, const uint8_t *bytes,
	struct mqtt_packet *out, const char **why)
{
	uint8_t *copy = malloc(n ? n : 1);
	int64_t result;

	memcpy(copy, bytes, n);
	result = mqtt_decode(copy, n, side_of(row->side), row->version, LARGEST, out, why);
	free(copy);
	return result;
}

static void every_statement_is_obeyed(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t bytes[512];
		size_t n = bytes_of(rows[i].packet, bytes);
		struct mqtt_packet packet;
		const char *why = "";
		int64_t got = decode(&rows[i], n, bytes, &packet, &why);
		int64_t want = rows[i].want == OK ? (int64_t)n : rows[i].want;

		if (got == want && (rows[i].want == OK || strstr(why, rows[i].clause)))
			continue;
		wrong++;
		print_error("%s: got %ld (%s), want %ld (%s)\n", rows[i].name, (long)got, why,
			(long)want, rows[i].clause ? rows[i].clause : "");
	}
	assert_int_equal(wrong, 0);
}

static void a_packet_refused_leaves_the_struct_alone(void **state)
{
	static struct mqtt_packet before;
	static struct mqtt_packet packet;

	(void)state;
	memset(&before, 0xa5, sizeof(before));
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t bytes[512];
		size_t n = bytes_of(rows[i].packet, bytes);

		if (rows[i].want == OK || rows[i].want == ERR_VERSION ||
			rows[i].want == ERR_CLIENT_ID)
			continue;
		packet = before;
		decode(&rows[i], n, bytes, &packet, NULL);
		assert_memory_equal(&packet, &before, sizeof(packet));
	}
}

static void a_packet_cut_short_needs_more_or_is_refused_early(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint8_t bytes[512];
		size_t n = bytes_of(rows[i].packet, bytes);
		struct mqtt_packet packet;

		for (size_t cut = 0; cut < n; cut++) {
			int64_t got = decode(&rows[i], cut, bytes, &packet, NULL);

			assert_true(got == 0 || (rows[i].want != OK && got == rows[i].want));
		}
	}
}

static void decode_text(const char *text, char side, uint8_t version, struct mqtt_packet *out)
{
	static uint8_t bytes[512];
	size_t n = bytes_of(text, bytes);

	assert_int_equal(
		mqtt_decode(bytes, n, side_of(side), version, LARGEST, out, NULL), (int64_t)n);
	assert_int_equal(out->bytes, n);
	assert_int_equal(out->type, bytes[0] >> 4);
}

static void the_fields_of_a_publish_are_found(void **state)
{
	struct mqtt_packet packet;

	(void)state;
	decode_text(
		"3d* 0003 'a/b' 1234 * 02 00000e10 26 0001 'k' 0001 'v'; 'pay'", 's', 5, &packet);
	assert_true(view_equal(packet.publish.topic, VIEW("a/b")));
	assert_true(view_equal(packet.publish.payload, VIEW("pay")));
	assert_int_equal(packet.publish.packet_id, 0x1234);
	assert_int_equal(packet.publish.qos, 2);
	assert_true(packet.publish.retain && packet.publish.dup);
	assert_int_equal(
		mqtt_number(&packet.properties, MQTT_PROPERTY_MESSAGE_EXPIRY_INTERVAL, 0), 3600);
	assert_true(mqtt_has(&packet.properties, MQTT_PROPERTY_USER_PROPERTY));
	assert_int_equal(mqtt_number(&packet.properties, MQTT_PROPERTY_TOPIC_ALIAS, 7), 7);
	decode_text("30* 0003 'a/b'", 'c', 4, &packet);
	assert_int_equal(packet.publish.packet_id, 0);
	assert_int_equal(packet.publish.payload.n, 0);
	assert_int_equal(packet.properties.present, 0);
	assert_int_equal(packet.properties.raw.n, 0);
}

static void the_fields_of_a_connect_are_found(void **state)
{
	struct mqtt_packet packet;
	struct mqtt_connect *c = &packet.connect;

	(void)state;
	decode_text("10* 0004 'MQTT' 05 ee 0102 * 21 0014; 0001 'c' * 18 00000005;"
		    "0001 't' 0002 00ff 0001 'u' 0001 'p'",
		'c', 0, &packet);
	assert_int_equal(c->version, MQTT_5);
	assert_true(c->clean_start && c->has_will && c->has_user_name && c->has_password);
	assert_int_equal(c->keep_alive_s, 0x0102);
	assert_true(view_equal(c->client_id, VIEW("c")) && view_equal(c->user_name, VIEW("u")));
	assert_true(view_equal(c->password, VIEW("p")) && view_equal(c->will.topic, VIEW("t")));
	assert_true(view_equal(c->will.payload, (struct view){"\0\xff", 2}));
	assert_true(c->will.qos == 1 && c->will.retain);
	assert_int_equal(mqtt_number(&c->will.properties, MQTT_PROPERTY_WILL_DELAY_INTERVAL, 0), 5);
	assert_int_equal(mqtt_number(&packet.properties, MQTT_PROPERTY_RECEIVE_MAXIMUM, 0), 20);
}

static void a_subscription_list_is_walked(void **state)
{
	struct mqtt_subscription s;
	struct mqtt_packet packet;
	struct view rest;

	(void)state;
	decode_text("82* 0001 00 0003 'a/#' 2d 0001 '+' 02", 'c', 5, &packet);
	assert_int_equal(packet.list.count, 2);
	rest = packet.list.items;
	assert_true(mqtt_next_subscription(&rest, &s));
	assert_true(view_equal(s.filter, VIEW("a/#")) && s.qos == 1 && s.no_local &&
		    s.retain_as_published && s.retain_handling == 2);
	assert_true(mqtt_next_subscription(&rest, &s));
	assert_true(view_equal(s.filter, VIEW("+")) && s.qos == 2 && !s.no_local &&
		    !s.retain_as_published && s.retain_handling == 0);
	assert_false(mqtt_next_subscription(&rest, &s));
	decode_text("a2* 0001 0001 'a' 0002 'bc'", 'c', 4, &packet);
	assert_int_equal(packet.list.count, 2);
	rest = packet.list.items;
	assert_true(mqtt_next_filter(&rest, &s.filter) && view_equal(s.filter, VIEW("a")));
	assert_true(mqtt_next_filter(&rest, &s.filter) && view_equal(s.filter, VIEW("bc")));
	assert_false(mqtt_next_filter(&rest, &s.filter));
}

static void a_connect_of_another_version_tells_which(void **state)
{
	struct mqtt_packet packet = {.type = 0};
	uint8_t bytes[512];
	size_t n = bytes_of("10* 0006 'MQIsdp' 03 02 003c 0001 'c'", bytes);

	(void)state;
	assert_int_equal(
		mqtt_decode(bytes, n, MQTT_FROM_CLIENT, 0, LARGEST, &packet, NULL), ERR_VERSION);
	assert_int_equal(packet.type, MQTT_CONNECT);
	assert_int_equal(packet.connect.version, MQTT_3_1);
	assert_int_equal(mqtt_connect_version(bytes, n), 3);
	n = bytes_of("10* 0004 'MQTT' 05 03", bytes); /* reserved flag, and cut off */
	assert_int_equal(mqtt_connect_version(bytes, n), 5);
	assert_int_equal(mqtt_connect_version(bytes, 8), 0);
	n = bytes_of("30* 0004 'MQTT' 05", bytes);
	assert_int_equal(mqtt_connect_version(bytes, n), 0);
}

static void a_connect_without_client_id_is_decoded_all_the_same(void **state)
{
	struct mqtt_packet packet = {.type = 0};
	uint8_t bytes[512];
	size_t n = bytes_of("10* 0004 'MQTT' 04 80 0033 0000 0001 'u'", bytes);

	(void)state;
	assert_int_equal(
		mqtt_decode(bytes, n, MQTT_FROM_CLIENT, 0, LARGEST, &packet, NULL), ERR_CLIENT_ID);
	assert_int_equal(packet.type, MQTT_CONNECT);
	assert_int_equal(packet.connect.version, MQTT_3_1_1);
	assert_true(view_equal(packet.connect.user_name, VIEW("u")));
}

static void the_length_comes_from_the_fixed_header(void **state)
{
	(void)state;
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30", 1, LARGEST), 0);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\x05", 2, LARGEST), 7);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\x80\x01", 3, LARGEST), 131);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\xff\xff", 3, LARGEST), 0);
	assert_int_equal(
		mqtt_packet_length((const uint8_t *)"\x30\xff\xff\xff\x7f", 5, MQTT_PACKET_LARGEST),
		MQTT_PACKET_LARGEST);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\xff\xff\xff\x7f", 5,
				 MQTT_PACKET_LARGEST - 1),
		ERR_TOO_LARGE);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\x05", 2, 7), 7);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\x05", 2, 6), ERR_TOO_LARGE);
	assert_int_equal(mqtt_packet_length((const uint8_t *)"\x30\xff\xff\xff\xff", 5, LARGEST),
		ERR_MALFORMED);
}

static void packet_types_have_names(void **state)
{
	(void)state;
	assert_string_equal(mqtt_type_name(MQTT_PUBLISH), "PUBLISH");
	assert_string_equal(mqtt_type_name(0), "?");
	assert_string_equal(mqtt_type_name(16), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_statement_is_obeyed),
		cmocka_unit_test(a_packet_refused_leaves_the_struct_alone),
		cmocka_unit_test(a_packet_cut_short_needs_more_or_is_refused_early),
		cmocka_unit_test(the_fields_of_a_publish_are_found),
		cmocka_unit_test(the_fields_of_a_connect_are_found),
		cmocka_unit_test(a_subscription_list_is_walked),
		cmocka_unit_test(a_connect_of_another_version_tells_which),
		cmocka_unit_test(a_connect_without_client_id_is_decoded_all_the_same),
		cmocka_unit_test(the_length_comes_from_the_fixed_header),
		cmocka_unit_test(packet_types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
