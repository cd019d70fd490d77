#include "net/proxy_header.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/harness.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 \
	"\xc6\x33\x64\x07\xc0\x00\x02\x01\x9c\x40\x22\xb3" /* 198.51.100.7 192.0.2.1 40000 8883 */
#define V6                                                             \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07" /* 2001:db8::7 */ \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01" /* 2001:db8::1 */ \
	"\x9c\x40\x22\xb3"
#define MAPPED                                         \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x07" \
	"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01" \
	"\x9c\x40\x22\xb3"
#define X16 "xxxxxxxxxxxxxxxx"
#define X108 X16 X16 X16 X16 X16 X16 "xxxxxxxxxxxx"
#define TEXT(literal) literal, sizeof(literal) - 1

/* What the TLV on TLS begins with: certificate of this connection, verified. */
#define VERIFIED "\x03\0\0\0\0"

/* --- what is taken ----------------------------------------------------- */

struct good {
	const char *name;
	const char *bytes;
	size_t n;
	const char *client; /* "": none */
	bool tls;
	const char *cn;
	const char *alpn;
	const char *authority;
};

static const struct good good[] = {
	{"IPv4 in text", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 40000 8883\r\n"),
		"198.51.100.7:40000", false, NULL, NULL, NULL},
	{"IPv6 in text", TEXT("PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n"), "[2001:db8::7]:0",
		false, NULL, NULL, NULL},
	{"unknown in text", TEXT("PROXY UNKNOWN\r\n"), "", false, NULL, NULL, NULL},
	{"unknown with more", TEXT("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"),
		"", false, NULL, NULL, NULL},
	{"the longest line",
		TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
		"", false, NULL, NULL, NULL},
	{"IPv4", TEXT(SIGNATURE "\x21\x11\0\x0c" V4), "198.51.100.7:40000", false, NULL, NULL,
		NULL},
	{"IPv4, datagrams", TEXT(SIGNATURE "\x21\x12\0\x0c" V4), "198.51.100.7:40000", false, NULL,
		NULL, NULL},
	{"IPv6", TEXT(SIGNATURE "\x21\x21\0\x24" V6), "[2001:db8::7]:40000", false, NULL, NULL,
		NULL},
	{"IPv4 in IPv6", TEXT(SIGNATURE "\x21\x21\0\x24" MAPPED), "198.51.100.7:40000", false, NULL,
		NULL, NULL},
	{"a Unix socket", TEXT(SIGNATURE "\x21\x31\0\xd8" X108 X108), "", false, NULL, NULL, NULL},
	{"unspecified", TEXT(SIGNATURE "\x21\0\0\0"), "", false, NULL, NULL, NULL},
	{"unspecified transport", TEXT(SIGNATURE "\x21\x10\0\x0c" V4), "", false, NULL, NULL, NULL},
	{"local", TEXT(SIGNATURE "\x20\0\0\0"), "", false, NULL, NULL, NULL},
	{"local with an address", TEXT(SIGNATURE "\x20\x11\0\x0c" V4), "", false, NULL, NULL, NULL},
	{"local with nonsense", TEXT(SIGNATURE "\x20\x55\0\x04\x03\xff\xff\0"), "", false, NULL,
		NULL, NULL},
	{"ALPN and authority",
		TEXT(SIGNATURE "\x21\x11\0\x21" V4 "\x01\0\x04mqtt"
			       "\x02\0\x0bgb.wmo.test"),
		"198.51.100.7:40000", false, NULL, "mqtt", "gb.wmo.test"},
	{"unknown TLVs",
		TEXT(SIGNATURE "\x21\x11\0\x1a" V4 "\xea\0\x02xy"
			       "\x04\0\0"
			       "\x05\0\x03"
			       "abc"),
		"198.51.100.7:40000", false, NULL, NULL, NULL},
	{"TLS", TEXT(SIGNATURE "\x21\x11\0\x14" V4 "\x20\0\x05\x01\0\0\0\x01"),
		"198.51.100.7:40000", true, NULL, NULL, NULL},
	{"no TLS", TEXT(SIGNATURE "\x21\x11\0\x14" V4 "\x20\0\x05\0\0\0\0\0"), "198.51.100.7:40000",
		false, NULL, NULL, NULL},
	{"a certificate",
		TEXT(SIGNATURE "\x21\x11\0\x26" V4 "\x20\0\x17" VERIFIED "\x21\0\x07TLSv1.3"
			       "\x22\0\x05node7"),
		"198.51.100.7:40000", true, "node7", NULL, NULL},
	{"a certificate of the session",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d\x05\0\0\0\0\x22\0\x05node7"),
		"198.51.100.7:40000", true, "node7", NULL, NULL},
	{"a certificate that failed",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d\x03\0\0\0\x12\x22\0\x05node7"),
		"198.51.100.7:40000", true, NULL, NULL, NULL},
	{"a name without a certificate",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d\x01\0\0\0\0\x22\0\x05node7"),
		"198.51.100.7:40000", true, NULL, NULL, NULL},
	{"a certificate without TLS",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d\x06\0\0\0\0\x22\0\x05node7"),
		"198.51.100.7:40000", false, NULL, NULL, NULL},
	{"a checksum", TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x4f\xa2\x10\xb6"),
		"198.51.100.7:40000", false, NULL, NULL, NULL},
};

static void check_text(const struct good *row, const char *what, struct view got, const char *want)
{
	if (!view_equal(got, view_of(want)))
		fail_msg("%s: %s: got \"%.*s\", want \"%s\"", row->name, what, VIEW_ARG(got),
			want ? want : "");
}

static void check_good(const struct good *row, const uint8_t *p, size_t n)
{
	char client[ADDRESS_TEXT_BYTES] = "";
	struct proxy_header h;
	const char *why = "";
	ssize_t used = proxy_header_parse(p, n, &h, &why);

	if (used != (ssize_t)row->n)
		fail_msg("%s: got %zd (%s), want %zu", row->name, used, why, row->n);
	if (h.has_client)
		address_format(&h.client, client);
	check_text(row, "client", view_of(client), row->client);
	if (h.tls != row->tls)
		fail_msg("%s: tls: got %d", row->name, h.tls);
	check_text(row, "common name", h.name, row->cn);
	check_text(row, "alpn", h.alpn, row->alpn);
	check_text(row, "authority", h.authority, row->authority);
}

static void headers_are_read_whatever_follows_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf b = {0};

		check_good(&good[i], (const uint8_t *)good[i].bytes, good[i].n);
		buf_append(&b, good[i].bytes, good[i].n);
		buf_text(&b, "\x10\x0c\r\nPROXY ");
		check_good(&good[i], buf_bytes(&b), buf_length(&b));
		buf_fini(&b);
	}
}

/* Each beginning is in memory of its own, so that a sanitizer sees a read beyond it. */
static void the_beginning_of_a_header_waits_for_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		for (size_t n = 0; n < good[i].n; n++) {
			uint8_t *p = malloc(n + !n);
			struct proxy_header h;
			const char *why = "";
			ssize_t used;

			assert_non_null(p);
			memcpy(p, good[i].bytes, n);
			used = proxy_header_parse(p, n, &h, &why);
			if (used != 0)
				fail_msg("%s: %zu of %zu bytes: got %zd (%s)", good[i].name, n,
					good[i].n, used, why);
			free(p);
		}
	}
}

/* --- what is not ------------------------------------------------------- */

#define NOT_A_LINE "a PROXY line without two addresses and two ports"
#define NO_END "a PROXY line without its end in 107 bytes"
#define TOO_LONG "a TLV longer than what holds it"

static const struct {
	const char *name;
	const char *bytes;
	size_t n;
	int want;
	const char *why;
} bad[] = {
	{"CONNECT", TEXT("\x10"), ERR_MALFORMED, "no PROXY header"},
	{"a TLS handshake", TEXT("\x16\x03\x01"), ERR_MALFORMED, "no PROXY header"},
	{"HTTP", TEXT("GET / HTTP/1.1\r\n\r\n"), ERR_MALFORMED, "no PROXY header"},
	{"HTTP that begins alike", TEXT("PROPFIND"), ERR_MALFORMED, "no PROXY header"},
	{"small letters", TEXT("proxy TCP4 "), ERR_MALFORMED, "no PROXY header"},
	{"another signature", TEXT("\r\n\r\n\0\r\nQUIX"), ERR_MALFORMED, "no PROXY header"},
	{"an endless line", TEXT("PROXY UNKNOWN " X108), ERR_MALFORMED, NO_END},
	{"a line ended a byte late",
		TEXT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535x\r\n"),
		ERR_MALFORMED, NO_END},
	{"a family of text", TEXT("PROXY UDP4 198.51.100.7 192.0.2.1 1 1\r\n"), ERR_MALFORMED,
		"a PROXY line for neither TCP4, TCP6 nor UNKNOWN"},
	{"no family", TEXT("PROXY \r\n"), ERR_MALFORMED,
		"a PROXY line for neither TCP4, TCP6 nor UNKNOWN"},
	{"IPv6 as IPv4", TEXT("PROXY TCP4 2001:db8::7 192.0.2.1 1 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"IPv4 as IPv6", TEXT("PROXY TCP6 2001:db8::7 192.0.2.1 1 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"brackets", TEXT("PROXY TCP6 [2001:db8::7] 2001:db8::1 1 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"a name", TEXT("PROXY TCP4 localhost 192.0.2.1 1 1\r\n"), ERR_MALFORMED, NOT_A_LINE},
	{"no port", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 1\r\n"), ERR_MALFORMED, NOT_A_LINE},
	{"a port too large", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 65536 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"a port with a zero", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 01 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"a port with a sign", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 1 +1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"one field more", TEXT("PROXY TCP4 198.51.100.7 192.0.2.1 1 1 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"two blanks", TEXT("PROXY TCP4  198.51.100.7 192.0.2.1 1 1\r\n"), ERR_MALFORMED,
		NOT_A_LINE},
	{"a NUL", TEXT("PROXY TCP4 198.51.100.7\0 192.0.2.1 1 1\r\n"), ERR_MALFORMED, NOT_A_LINE},
	{"version 1 in binary", TEXT(SIGNATURE "\x11\x11\0\x0c" V4), ERR_MALFORMED,
		"neither LOCAL nor PROXY of version 2"},
	{"version 3", TEXT(SIGNATURE "\x31\x11\0\x0c" V4), ERR_MALFORMED,
		"neither LOCAL nor PROXY of version 2"},
	{"another command", TEXT(SIGNATURE "\x22\x11\0\x0c" V4), ERR_MALFORMED,
		"neither LOCAL nor PROXY of version 2"},
	{"another family", TEXT(SIGNATURE "\x21\x41\0\x0c" V4), ERR_MALFORMED,
		"an unknown family of addresses or transport"},
	{"another transport", TEXT(SIGNATURE "\x21\x13\0\x0c" V4), ERR_MALFORMED,
		"an unknown family of addresses or transport"},
	{"half an address", TEXT(SIGNATURE "\x21\x21\0\x0c" V4), ERR_MALFORMED,
		"addresses longer than the header"},
	{"a huge header", TEXT(SIGNATURE "\x21\x11\x1f\xf1"), ERR_TOO_LARGE,
		"a header of more than 8 KiB"},
	{"a huge header of no address", TEXT(SIGNATURE "\x20\0\xff\xff"), ERR_TOO_LARGE,
		"a header of more than 8 KiB"},
	{"a TLV cut", TEXT(SIGNATURE "\x21\x11\0\x10" V4 "\x01\0\x02x"), ERR_MALFORMED, TOO_LONG},
	{"a TLV's head cut", TEXT(SIGNATURE "\x21\x11\0\x0e" V4 "\x01\0"), ERR_MALFORMED, TOO_LONG},
	{"an unknown TLV cut", TEXT(SIGNATURE "\x21\x11\0\x0f" V4 "\xea\0\x01"), ERR_MALFORMED,
		TOO_LONG},
	{"a TLV twice", TEXT(SIGNATURE "\x21\x11\0\x14" V4 "\x01\0\x01x\x01\0\x01y"), ERR_MALFORMED,
		"a TLV twice"},
	{"TLS cut", TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x20\0\x04\x01\0\0\0"), ERR_MALFORMED,
		"a TLV on TLS without its five bytes"},
	{"a name longer than its TLV",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d" VERIFIED "\x22\0\x06node7"),
		ERR_MALFORMED, TOO_LONG},
	{"two names",
		TEXT(SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d" VERIFIED "\x22\0\x01"
			       "a\x22\0\x01"
			       "b"),
		ERR_MALFORMED, "a TLV twice"},
	{"a NUL in a name",
		TEXT(SIGNATURE "\x21\x11\0\x1a" V4 "\x20\0\x0b" VERIFIED "\x22\0\x03"
			       "a\0b"),
		ERR_MALFORMED, "a NUL in the name of a certificate"},
	{"a wrong checksum", TEXT(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x4f\xa2\x10\xb7"),
		ERR_MALFORMED, "the checksum is wrong"},
	{"a checksum of another header",
		TEXT(SIGNATURE "\x21\x12\0\x13" V4 "\x03\0\x04\x4f\xa2\x10\xb6"), ERR_MALFORMED,
		"the checksum is wrong"},
	{"a short checksum", TEXT(SIGNATURE "\x21\x11\0\x12" V4 "\x03\0\x03\x4f\xa2\x10"),
		ERR_MALFORMED, "a checksum that has not four bytes"},
};

static void what_is_no_header_is_refused_with_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct proxy_header h = {.tls = true};
		const char *why = "";
		ssize_t got = proxy_header_parse((const uint8_t *)bad[i].bytes, bad[i].n, &h, &why);

		if (got != bad[i].want || strcmp(why, bad[i].why) != 0)
			fail_msg("%s: got %zd \"%s\", want %d \"%s\"", bad[i].name, got, why,
				bad[i].want, bad[i].why);
		assert_true(h.tls); /* untouched */
	}
}

static void a_header_of_the_largest_size_is_taken(void **state)
{
	struct buf b = {0};
	struct proxy_header h;
	const char *why = "";

	(void)state;
	buf_append(&b, TEXT(SIGNATURE "\x21\x11\x1f\xf0" V4 "\xea\x1f\xe1"));
	while (buf_length(&b) < PROXY_HEADER_MOST - 1)
		buf_text(&b, "x");
	assert_int_equal(proxy_header_parse(buf_bytes(&b), buf_length(&b), &h, &why), 0);
	buf_text(&b, "x");
	assert_int_equal(
		proxy_header_parse(buf_bytes(&b), buf_length(&b), &h, &why), PROXY_HEADER_MOST);
	assert_true(h.has_client);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_read_whatever_follows_them),
		cmocka_unit_test(the_beginning_of_a_header_waits_for_more),
		cmocka_unit_test(what_is_no_header_is_refused_with_the_reason),
		cmocka_unit_test(a_header_of_the_largest_size_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
