/* net/address.h - IPv4 and IPv6 addresses with ports, and URLs */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/view.h"

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

#define ADDRESS_TEXT_BYTES 64
/* "127.0.0.1:1883", "[::1]:1883" */
void address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES]);
socklen_t address_length(const struct address *a);
/* Literal IPv4 or IPv6 (brackets optional) and port; false when it is a name. */
bool address_parse(struct view host, uint16_t port, struct address *out);
uint16_t address_port(const struct address *a);
bool address_same_host(const struct address *a, const struct address *b);
/* ::ffff:192.0.2.1 (an IPv4 peer of a socket for both) becomes 192.0.2.1. */
void address_unmap(struct address *a);

/* A block of addresses: "192.0.2.0/24", "2001:db8::/32", or one address. */
struct address_block {
	uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d; those behind the prefix are 0 */
	uint8_t bits;      /* of the prefix, 0 to 128 */
};
/* False: not a block; bits set behind the prefix are a slip of whoever wrote it. */
bool address_block_parse(struct view text, struct address_block *out);
bool address_is_in(const struct address *a, const struct address_block *block);

enum url_scheme {
	URL_MQTT,
	URL_MQTTS,
	URL_WS,
	URL_WSS,
	URL_HTTP,
	URL_HTTPS,
	URL_REDIS,
	URL_REDISS,
	URL_SCHEME_COUNT
};

struct url {
	enum url_scheme scheme;
	bool tls;       /* mqtts, wss, https, rediss */
	uint16_t port;  /* given or the scheme's: 1883 8883 80 443 80 443 6379 6379 */
	char host[256]; /* without brackets */
	char user[128]; /* "" when not given; percent-decoded */
	char password[128];
	char path[256]; /* "/mqtt" for ws and wss when not given, else "/" */
};

/* 0, or ERR_CONFIG and *why names the fault (static text). Port 0 is taken as written: a listener
 * then takes a free one. */
int url_parse(struct view text, struct url *out, const char **why);
const char *url_scheme_name(enum url_scheme scheme);
/* "mqtts://host:8883", "wss://host:443/mqtt" without credentials, and without a query, which may hold
 * some. Into out. */
#define URL_TEXT_BYTES 544
void url_format(const struct url *u, char out[URL_TEXT_BYTES]);

#endif
