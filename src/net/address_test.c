#include "net/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/error.h"

static void addresses_are_read_and_written_back(void **state)
{
	static const struct {
		struct view text;
		const char *want; /* NULL: a name */
	} rows[] = {
		{VIEW("127.0.0.1"), "127.0.0.1:7"},
		{VIEW("::1"), "[::1]:7"},
		{VIEW("[2001:DB8::0:1]"), "[2001:db8::1]:7"},
		{VIEW("[127.0.0.1]"), NULL},
		{VIEW("127.0.0.256"), NULL},
		{VIEW("127.1"), NULL},
		{VIEW("localhost"), NULL},
		{VIEW("fe80::1%eth0"), NULL},
		{VIEW("::1\0"), NULL},
		{VIEW("[]"), NULL},
		{VIEW(""), NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[ADDRESS_TEXT_BYTES];
		struct address a;
		bool got = address_parse(rows[i].text, 7, &a);

		if (got != (rows[i].want != NULL))
			fail_msg("row %zu: %.*s", i, VIEW_ARG(rows[i].text));
		if (!got)
			continue;
		address_format(&a, text);
		assert_string_equal(text, rows[i].want);
		assert_int_equal(address_port(&a), 7);
	}
}

static void the_same_host_is_recognised_whatever_its_port(void **state)
{
	struct address a, b, c, mapped;

	(void)state;
	assert_true(address_parse(VIEW("192.0.2.1"), 1, &a));
	assert_true(address_parse(VIEW("192.0.2.1"), 2, &b));
	assert_true(address_parse(VIEW("192.0.2.2"), 1, &c));
	assert_true(address_parse(VIEW("::ffff:192.0.2.1"), 3, &mapped));
	assert_true(address_same_host(&a, &b));
	assert_false(address_same_host(&a, &c));
	assert_false(address_same_host(&a, &mapped));
	address_unmap(&mapped);
	assert_true(address_same_host(&a, &mapped));
	assert_int_equal(address_port(&mapped), 3);
	assert_int_equal(address_length(&mapped), sizeof(struct sockaddr_in));
}

static void urls_are_taken_apart(void **state)
{
	static const struct {
		const char *text;
		struct url want;
		const char *shown;
	} rows[] = {
		{"mqtt://a", {URL_MQTT, false, 1883, "a", "", "", "/"}, "mqtt://a:1883"},
		{"MQTTS://a.example.", {URL_MQTTS, true, 8883, "a.example.", "", "", "/"},
			"mqtts://a.example.:8883"},
		{"ws://a", {URL_WS, false, 80, "a", "", "", "/mqtt"}, "ws://a:80/mqtt"},
		{"wss://a:8084/ws?x=1", {URL_WSS, true, 8084, "a", "", "", "/ws?x=1"},
			"wss://a:8084/ws"},
		{"wss://u:p@[::1]/a/b?token=secret",
			{URL_WSS, true, 443, "::1", "u", "p", "/a/b?token=secret"},
			"wss://[::1]:443/a/b"},
		{"http://127.0.0.1:8080/", {URL_HTTP, false, 8080, "127.0.0.1", "", "", "/"},
			"http://127.0.0.1:8080"},
		{"https://[2001:db8::1]", {URL_HTTPS, true, 443, "2001:db8::1", "", "", "/"},
			"https://[2001:db8::1]:443"},
		{"mqtt://[::]:0", {URL_MQTT, false, 0, "::", "", "", "/"}, "mqtt://[::]:0"},
		{"mqtt://u@a", {URL_MQTT, false, 1883, "a", "u", "", "/"}, "mqtt://a:1883"},
		{"mqtt://u:p%40:%2f@a:1/", {URL_MQTT, false, 1, "a", "u", "p@:/", "/"},
			"mqtt://a:1"},
		{"mqtt://u:p@ss@a", {URL_MQTT, false, 1883, "a", "u", "p@ss", "/"},
			"mqtt://a:1883"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char shown[URL_TEXT_BYTES];
		const char *why = "";
		struct url u;

		if (url_parse(view_of(rows[i].text), &u, &why) != 0)
			fail_msg("%s: %s", rows[i].text, why);
		assert_int_equal(u.scheme, rows[i].want.scheme);
		assert_int_equal(u.tls, rows[i].want.tls);
		assert_int_equal(u.port, rows[i].want.port);
		assert_string_equal(u.host, rows[i].want.host);
		assert_string_equal(u.user, rows[i].want.user);
		assert_string_equal(u.password, rows[i].want.password);
		assert_string_equal(u.path, rows[i].want.path);
		url_format(&u, shown);
		assert_string_equal(shown, rows[i].shown);
	}
}

#define A50 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"

static void faulty_urls_say_what_is_wrong(void **state)
{
	static const struct {
		struct view text;
		const char *why; /* some of it */
	} rows[] = {
		{VIEW(""), "no \"scheme://\""},
		{VIEW("a:1883"), "no \"scheme://\""},
		{VIEW("amqp://a"), "unknown scheme"},
		{VIEW("mqtt://"), "has no host"},
		{VIEW("mqtt://u@"), "has no host"},
		{VIEW("mqtt://:1883"), "has no host"},
		{VIEW("mqtt://a b"), "not a name"},
		{VIEW("mqtt://a\0b"), "not a name"},
		{VIEW("mqtt://::1"), "brackets"},
		{VIEW("mqtt://[::1"), "no IPv6 address"},
		{VIEW("mqtt://[a]"), "no IPv6 address"},
		{VIEW("mqtt://[::1]x"), "behind the host"},
		{VIEW("mqtt://a:"), "port"},
		{VIEW("mqtt://a:65536"), "port"},
		{VIEW("mqtt://a:-1"), "port"},
		{VIEW("mqtt://a:000001"), "port"},
		{VIEW("mqtt://a/b"), "has a path"},
		{VIEW("ws://a/b c"), "path"},
		{VIEW("ws://a/b#c"), "path"},
		{VIEW("mqtt://%4:x@a"), "hexadecimal"},
		{VIEW("mqtt://%00@a"), "hexadecimal"},
		{VIEW("mqtt://" A50 A50 A50 "@a"), "127"},
		{VIEW("mqtt://" A50 A50 A50 A50 A50 "abcd"), "host that"},
		{VIEW("ws://a/" A50 A50 A50 A50 A50 "abcde"), "255"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct url u = {.port = 4711};
		const char *why = "";

		if (url_parse(rows[i].text, &u, &why) != ERR_CONFIG || !strstr(why, rows[i].why))
			fail_msg("%.*s: got \"%s\", want \"%s\"", VIEW_ARG(rows[i].text), why,
				rows[i].why);
		assert_int_equal(u.port, 4711);
	}
}

static void a_block_holds_the_addresses_of_its_prefix(void **state)
{
	static const struct {
		struct view block;
		struct view host;
		bool wanted;
	} rows[] = {
		{VIEW("192.0.2.0/24"), VIEW("192.0.2.255"), true},
		{VIEW("192.0.2.0/24"), VIEW("192.0.3.0"), false},
		{VIEW("192.0.2.128/25"), VIEW("192.0.2.127"), false},
		{VIEW("192.0.2.128/25"), VIEW("192.0.2.129"), true},
		{VIEW("192.0.2.7"), VIEW("192.0.2.7"), true},
		{VIEW("192.0.2.7"), VIEW("192.0.2.6"), false},
		{VIEW("0.0.0.0/0"), VIEW("203.0.113.9"), true},
		{VIEW("0.0.0.0/0"), VIEW("::1"), false},
		{VIEW("::/0"), VIEW("2001:db8::1"), true},
		{VIEW("2001:db8::/33"), VIEW("2001:db8:7fff::1"), true},
		{VIEW("2001:db8::/33"), VIEW("2001:db8:8000::1"), false},
		{VIEW("[::1]"), VIEW("::1"), true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address_block block;
		struct address a;

		assert_true(address_block_parse(rows[i].block, &block));
		assert_true(address_parse(rows[i].host, 1883, &a));
		if (address_is_in(&a, &block) != rows[i].wanted)
			fail_msg("%.*s in %.*s: want %d", VIEW_ARG(rows[i].host),
				VIEW_ARG(rows[i].block), rows[i].wanted);
	}
}

static void what_is_no_block_is_refused(void **state)
{
	static const struct view rows[] = {VIEW(""), VIEW("a"), VIEW("192.0.2.0/"),
		VIEW("192.0.2.0/33"), VIEW("192.0.2.1/24"), VIEW("192.0.2.0/024"),
		VIEW("192.0.2.0/2 "), VIEW("192.0.2.0/24/24"), VIEW("2001:db8::/129"),
		VIEW("2001:db8::1/64"), VIEW("192.0.2.0/-1"), VIEW("/24")};
	struct address_block block;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (address_block_parse(rows[i], &block))
			fail_msg("%.*s was taken", VIEW_ARG(rows[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written_back),
		cmocka_unit_test(the_same_host_is_recognised_whatever_its_port),
		cmocka_unit_test(urls_are_taken_apart),
		cmocka_unit_test(faulty_urls_say_what_is_wrong),
		cmocka_unit_test(a_block_holds_the_addresses_of_its_prefix),
		cmocka_unit_test(what_is_no_block_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
