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

/* --- blocks ------------------------------------------------------------- */

#define V4_BITS 96 /* of ::ffff:0:0/96, which IPv4 lies in */

static void bytes_of(const struct address *a, uint8_t out[16])
{
	static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

	if (a->any.sa_family == AF_INET6) {
		memcpy(out, a->v6.sin6_addr.s6_addr, 16);
		return;
	}
	memcpy(out, v4_prefix, 12);
	memcpy(out + 12, &a->v4.sin_addr, 4);
}

/* The bits that count, of byte i. */
static uint8_t mask_of(unsigned bits, unsigned i)
{
	unsigned before = i * 8;

	if (bits >= before + 8)
		return 0xff;
	return (uint8_t)(bits <= before ? 0 : 0xff00u >> (bits - before));
}

static bool is_same(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	for (unsigned i = 0; i < 16; i++)
		if ((a[i] ^ b[i]) & mask_of(bits, i))
			return false;
	return true;
}

/* "24": at most three digits, no leading zero. */
static bool parse_bits(struct view text, unsigned most, unsigned *out)
{
	unsigned bits = 0;

	if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		bits = bits * 10 + (unsigned)(text.p[i] - '0');
	}
	*out = bits;
	return bits <= most;
}

bool address_block_parse(struct view text, struct address_block *out)
{
	struct view rest = text;
	struct view host = view_cut(&rest, '/');
	struct address_block block = {.bits = 128};
	struct address a;
	unsigned bits;
	bool is_v6;

	if (!address_parse(host, 0, &a))
		return false;
	is_v6 = a.any.sa_family == AF_INET6;
	bits = is_v6 ? 128 : 32;
	if (rest.p && !parse_bits(rest, bits, &bits))
		return false;
	block.bits = (uint8_t)(is_v6 ? bits : bits + V4_BITS);
	bytes_of(&a, block.bytes);
	for (unsigned i = 0; i < 16; i++)
		if (block.bytes[i] & ~mask_of(block.bits, i))
			return false;
	*out = block;
	return true;
}

bool address_is_in(const struct address *a, const struct address_block *block)
{
	uint8_t bytes[16];

	bytes_of(a, bytes);
	return is_same(bytes, block->bytes, block->bits);
}
