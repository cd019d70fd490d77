/* net/proxy_header.c
 *
 *     1   PROXY TCP4 198.51.100.7 192.0.2.1 40000 8883 CR LF
 *     2   signature 12 | version, command 1 | family, transport 1 | length 2 | addresses | TLVs
 *
 * A TLV that says something we go by stands once: with two of them, the balancer and we might go by
 * different ones. Those we do not know are skipped.
 */
#include "net/proxy_header.h"

#include <string.h>

#include "base/error.h"

#define TEXT_MOST 107 /* section 2.1, CR LF included */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_BYTES 12u
#define HEAD_BYTES 16u
#define TLV_BYTES 3u

struct reading {
	struct view whole;
	struct proxy_header *out;
	bool is_verified; /* the client's certificate */
	const char *why;
};

static bool fault(struct reading *r, const char *why)
{
	r->why = why;
	return false;
}

static uint8_t byte_at(struct view v, size_t i)
{
	return i < v.n ? (uint8_t)v.p[i] : 0;
}

static uint32_t number_at(struct view v, size_t i, unsigned bytes)
{
	uint32_t number = 0;

	while (bytes--)
		number = number << 8 | byte_at(v, i++);
	return number;
}

/* As far as they are there: is it the beginning of `want`? */
static bool may_begin(struct view v, struct view want)
{
	return memcmp(v.p, want.p, v.n < want.n ? v.n : want.n) == 0;
}

/* --- version 1 (section 2.1) ------------------------------------------ */

static bool read_port(struct view text, uint16_t *out)
{
	uint32_t port = 0;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		port = port * 10 + (uint32_t)(text.p[i] - '0');
	}
	*out = (uint16_t)port;
	return port <= UINT16_MAX;
}

static bool read_host(struct view text, sa_family_t family, uint16_t port, struct address *out)
{
	return byte_at(text, 0) != '[' && address_parse(text, port, out) &&
	       out->any.sa_family == family;
}

/* "198.51.100.7 192.0.2.1 40000 8883" */
static bool read_text_addresses(struct reading *r, struct view rest, sa_family_t family)
{
	struct view from = view_cut(&rest, ' '), to = view_cut(&rest, ' ');
	struct view from_port = view_cut(&rest, ' '), to_port = view_cut(&rest, ' ');
	struct address server;
	uint16_t client_port, server_port;

	if (rest.p || !read_port(from_port, &client_port) || !read_port(to_port, &server_port) ||
		!read_host(from, family, client_port, &r->out->client) ||
		!read_host(to, family, server_port, &server))
		return fault(r, "a PROXY line without two addresses and two ports");
	r->out->has_client = true;
	return true;
}

static bool read_line(struct reading *r, struct view line)
{
	struct view rest = view_skip(line, sizeof("PROXY ") - 1);
	struct view family = view_cut(&rest, ' ');

	if (view_equal(family, VIEW("UNKNOWN"))) /* what follows is to be ignored */
		return true;
	if (view_equal(family, VIEW("TCP4")))
		return read_text_addresses(r, rest, AF_INET);
	if (view_equal(family, VIEW("TCP6")))
		return read_text_addresses(r, rest, AF_INET6);
	return fault(r, "a PROXY line for neither TCP4, TCP6 nor UNKNOWN");
}

static ssize_t read_text(struct reading *r)
{
	struct view seen = {r->whole.p, r->whole.n < TEXT_MOST ? r->whole.n : TEXT_MOST};
	const char *end = memmem(seen.p, seen.n, "\r\n", 2);

	if (end == NULL && seen.n < TEXT_MOST)
		return 0;
	if (end == NULL)
		return fault(r, "a PROXY line without its end in 107 bytes");
	if (!read_line(r, (struct view){seen.p, (size_t)(end - seen.p)}))
		return 0;
	return end + 2 - seen.p;
}

/* --- TLVs of version 2 ------------------------------------------------- */

typedef bool take_tlv(struct reading *r, struct view value);

struct tlv_row {
	uint8_t type;
	take_tlv *take;
};

static bool read_tlvs(
	struct reading *r, struct view rest, const struct tlv_row *rows, unsigned row_count)
{
	uint32_t taken = 0;

	while (rest.n) {
		uint8_t type = byte_at(rest, 0);
		size_t n = number_at(rest, 1, 2);
		struct view value = view_skip(rest, TLV_BYTES);
		unsigned i = 0;

		if (rest.n < TLV_BYTES || n > value.n)
			return fault(r, "a TLV longer than what holds it");
		rest = view_skip(value, n);
		value.n = n;
		while (i < row_count && rows[i].type != type)
			i++;
		if (i == row_count)
			continue;
		if (taken & 1u << i)
			return fault(r, "a TLV twice");
		taken |= 1u << i;
		if (!rows[i].take(r, value))
			return false;
	}
	return true;
}

static bool take_alpn(struct reading *r, struct view value)
{
	r->out->alpn = value;
	return true;
}

static bool take_authority(struct reading *r, struct view value)
{
	r->out->authority = value;
	return true;
}

/* CRC32c (RFC 4960, appendix B) of the header with the checksum's own four bytes as zero. */
static uint32_t checksum_without(struct view whole, size_t hole)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < whole.n; i++) {
		crc ^= i - hole < 4 ? 0 : byte_at(whole, i);
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static bool take_checksum(struct reading *r, struct view value)
{
	if (value.n != 4)
		return fault(r, "a checksum that has not four bytes");
	if (number_at(value, 0, 4) != checksum_without(r->whole, (size_t)(value.p - r->whole.p)))
		return fault(r, "the checksum is wrong"); /* section 2.2.3 */
	return true;
}

static bool take_name(struct reading *r, struct view value)
{
	if (value.n && memchr(value.p, '\0', value.n))
		return fault(r, "a NUL in the name of a certificate");
	if (r->is_verified)
		r->out->name = value;
	return true;
}

/* Section 2.2.6: client 1 | verify 4 | TLVs. A certificate shown and found good: either bit of it, and
 * verify is 0. */
static bool take_tls(struct reading *r, struct view value)
{
	enum { CLIENT_TLS = 1, CERTIFICATE_OF_CONNECTION = 2, CERTIFICATE_OF_SESSION = 4 };
	static const struct tlv_row inner[] = {{0x22, take_name}};
	uint8_t client = byte_at(value, 0);

	if (value.n < 5)
		return fault(r, "a TLV on TLS without its five bytes");
	r->out->tls = client & CLIENT_TLS;
	r->is_verified = r->out->tls &&
			 client & (CERTIFICATE_OF_CONNECTION | CERTIFICATE_OF_SESSION) &&
			 number_at(value, 1, 4) == 0;
	return read_tlvs(r, view_skip(value, 5), inner, 1);
}

static const struct tlv_row outer[] = {
	{0x01, take_alpn},
	{0x02, take_authority},
	{0x03, take_checksum},
	{0x20, take_tls},
};

/* --- version 2 (section 2.2) ------------------------------------------- */

static void read_v4(struct view v, struct address *out)
{
	*out = (struct address){.v4.sin_family = AF_INET};
	memcpy(&out->v4.sin_addr, v.p, 4);
	memcpy(&out->v4.sin_port, v.p + 8, 2);
}

static void read_v6(struct view v, struct address *out)
{
	*out = (struct address){.v6.sin6_family = AF_INET6};
	memcpy(&out->v6.sin6_addr, v.p, 16);
	memcpy(&out->v6.sin6_port, v.p + 32, 2);
	address_unmap(out);
}

/* By the family's number: unspecified, IPv4, IPv6, Unix sockets (whose names are nobody's address). */
static const struct {
	size_t bytes;
	void (*read)(struct view v, struct address *out);
} families[] = {{0, NULL}, {12, read_v4}, {36, read_v6}, {216, NULL}};

static bool read_block(struct reading *r, uint8_t family, uint8_t transport)
{
	struct view block = view_skip(r->whole, HEAD_BYTES);

	if (family == 0 || transport == 0)
		return true;
	if (block.n < families[family].bytes)
		return fault(r, "addresses longer than the header");
	if (families[family].read) {
		families[family].read(block, &r->out->client);
		r->out->has_client = true;
	}
	return read_tlvs(r, view_skip(block, families[family].bytes), outer,
		sizeof(outer) / sizeof(outer[0]));
}

static bool read_whole(struct reading *r)
{
	enum { LOCAL = 0x20, PROXY = 0x21 };
	uint8_t command = byte_at(r->whole, 12);
	uint8_t family = byte_at(r->whole, 13) >> 4, transport = byte_at(r->whole, 13) & 15;

	if (command == LOCAL) /* whatever else it says */
		return true;
	if (command != PROXY)
		return fault(r, "neither LOCAL nor PROXY of version 2");
	if (family > 3 || transport > 2)
		return fault(r, "an unknown family of addresses or transport");
	return read_block(r, family, transport);
}

static ssize_t read_binary(struct reading *r)
{
	size_t length = HEAD_BYTES + number_at(r->whole, 14, 2);

	if (r->whole.n < HEAD_BYTES)
		return 0;
	if (length > PROXY_HEADER_MOST) {
		fault(r, "a header of more than 8 KiB");
		return ERR_TOO_LARGE;
	}
	if (r->whole.n < length)
		return 0;
	r->whole.n = length;
	return read_whole(r) ? (ssize_t)length : 0;
}

ssize_t proxy_header_parse(const uint8_t *p, size_t n, struct proxy_header *out, const char **why)
{
	struct proxy_header header = {0};
	struct reading r = {{(const char *)p, n}, &header, false, NULL};
	ssize_t used = 0;

	if (n == 0)
		return 0;
	if (may_begin(r.whole, (struct view){SIGNATURE, SIGNATURE_BYTES}))
		used = read_binary(&r);
	else if (may_begin(r.whole, VIEW("PROXY ")))
		used = read_text(&r);
	else
		fault(&r, "no PROXY header");
	if (r.why) {
		*why = r.why;
		return used < 0 ? used : ERR_MALFORMED;
	}
	if (used > 0)
		*out = header;
	return used;
}
