#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* --- addresses --------------------------------------------------------- */

uint16_t address_port(const struct address *a)
{
	return ntohs(a->any.sa_family == AF_INET6 ? a->v6.sin6_port : a->v4.sin_port);
}

socklen_t address_length(const struct address *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

void address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES])
{
	char host[INET6_ADDRSTRLEN] = "?";
	bool v6 = a->any.sa_family == AF_INET6;

	inet_ntop(v6 ? AF_INET6 : AF_INET,
		v6 ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr, host,
		sizeof(host));
	snprintf(out, ADDRESS_TEXT_BYTES, v6 ? "[%s]:%u" : "%s:%u", host, address_port(a));
}

static struct view without_brackets(struct view host)
{
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		return (struct view){host.p + 1, host.n - 2};
	return host;
}

bool address_parse(struct view host, uint16_t port, struct address *out)
{
	struct view bare = without_brackets(host);
	bool bracketed = bare.n != host.n;
	char text[INET6_ADDRSTRLEN];
	struct address a;

	memset(&a, 0, sizeof(a));
	if (bare.n == 0 || bare.n >= sizeof(text) || memchr(bare.p, '\0', bare.n))
		return false;
	memcpy(text, bare.p, bare.n);
	text[bare.n] = '\0';
	if (!bracketed && inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
	} else {
		return false;
	}
	*out = a;
	return true;
}

bool address_same_host(const struct address *a, const struct address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET6)
		return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
	return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
}

void address_unmap(struct address *a)
{
	struct address v4;

	if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return;
	memset(&v4, 0, sizeof(v4));
	v4.v4.sin_family = AF_INET;
	v4.v4.sin_port = a->v6.sin6_port;
	memcpy(&v4.v4.sin_addr, a->v6.sin6_addr.s6_addr + 12, 4);
	*a = v4;
}
