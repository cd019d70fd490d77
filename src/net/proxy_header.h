/* net/proxy_header.h - what a load balancer writes in front of a connection it passes on
 *
 * The PROXY protocol, versions 1 (a line of text) and 2 (binary, with TLVs), as HAProxy's
 * doc/proxy-protocol.txt has it; sections below are that document's. Pure: bytes in, a header out. Whether
 * whoever sent them may be believed is for the caller to know (net/porch.h).
 */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/view.h"
#include "net/address.h"

/* A longer one is refused; addresses and names need some hundred bytes, a certificate in a TLV of the
 * balancer's own some thousand. */
#define PROXY_HEADER_MOST 8192u

struct proxy_header {
	bool has_client; /* false: the balancer speaks for itself (LOCAL, as in health checks), or cannot
			  * tell: the address of the connection counts */
	struct address client;
	bool tls; /* the client came over TLS */
	struct view
		name; /* common name of its certificate, which the balancer has verified; absent: none */
	struct view alpn;      /* the protocol it agreed on; absent: none */
	struct view authority; /* the server name it asked for; absent: none */
};

/* >0: bytes of a whole header at p, and *out, whose texts borrow them; 0: n bytes are not all of it yet;
 * ERR_MALFORMED or ERR_TOO_LARGE: none begins there, and *why says what is wrong (static text). Bytes behind
 * the header are not looked at. */
ssize_t proxy_header_parse(const uint8_t *p, size_t n, struct proxy_header *out, const char **why);

#endif
