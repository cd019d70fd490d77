/* The handshake as a client makes it: answers made by hand, and those of our own server. */
#include "net/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

/* RFC 6455, section 1.3 */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define LINE "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"
#define REST UPGRADE ACCEPT PROTOCOL "\r\n"

/* [MQTT-6.0.0-3], [MQTT3-6.0.0-3] */
static void the_request_names_host_path_and_protocol_and_no_password(void **state)
{
	static const struct {
		const char *url;
		const char *line;
		const char *host;
	} rows[] = {
		{"ws://a.example", "GET /mqtt HTTP/1.1\r\n", "Host: a.example\r\n"},
		{"ws://u:p@a.example:80/", "GET / HTTP/1.1\r\n", "Host: a.example\r\n"},
		{"ws://a:443/x?y=1", "GET /x?y=1 HTTP/1.1\r\n", "Host: a:443\r\n"},
		{"wss://a/mqtt", "GET /mqtt HTTP/1.1\r\n", "Host: a\r\n"},
		{"wss://a:80", "GET /mqtt HTTP/1.1\r\n", "Host: a:80\r\n"},
		{"wss://[::1]:8084", "GET /mqtt HTTP/1.1\r\n", "Host: [::1]:8084\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[512];
		struct buf out = {0};
		struct url url;
		const char *why;

		assert_int_equal(url_parse(view_of(rows[i].url), &url, &why), 0);
		websocket_request(&out, &url, KEY);
		snprintf(want, sizeof(want),
			"%s%sUpgrade: websocket\r\nConnection: Upgrade\r\n"
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
			"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
			rows[i].line, rows[i].host);
		if (!view_equal(buf_view(&out), view_of(want)))
			fail_msg("%s: %.*s", rows[i].url, VIEW_ARG(buf_view(&out)));
		buf_fini(&out);
	}
}

static void every_key_is_another(void **state)
{
	char a[WEBSOCKET_KEY_BYTES], b[WEBSOCKET_KEY_BYTES];

	(void)state;
	websocket_new_key(a);
	websocket_new_key(b);
	assert_int_equal(strlen(a), 24);
	assert_string_not_equal(a, b);
}

static const struct {
	const char *name;
	const char *answer;
	const char *why; /* some of it; NULL: agreed */
} answers[] = {
	{"good", LINE REST, NULL},
	{"in lists and any case",
		"HTTP/1.1 101 \r\nupgrade: h2c, WebSocket\r\nconnection: keep-alive, "
		"upgrade\r\n" ACCEPT PROTOCOL "\r\n",
		NULL},
	{"after announcements",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" LINE
			REST,
		NULL},
	{"empty list of extensions", LINE "Sec-WebSocket-Extensions:\r\n" REST, NULL},
	{"a page", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answers 200 OK, not 101"},
	{"not found", "HTTP/1.1 404 \r\n\r\n", "answers 404 Not Found, not 101"},
	{"forbidden", "HTTP/1.1 403 Keep out!\r\n\r\n", "answers 403 Keep out!, not 101"},
	{"own words are shown in ASCII", "HTTP/1.1 500 \xc3\xa9\t\"\r\n\r\n", "500 ???\", not"},
	{"redirect", "HTTP/1.1 301 Moved\r\nLocation: https://b/\r\n\r\n",
		"redirects (301) to https://b/, which is not followed"},
	{"redirect to nowhere", "HTTP/1.1 302 Found\r\n\r\n", "answers 302 Found"},
	{"no Upgrade", LINE "Connection: Upgrade\r\n" ACCEPT PROTOCOL "\r\n",
		"no Upgrade: websocket"},
	{"another Upgrade", LINE "Upgrade: h2c\r\nConnection: Upgrade\r\n" ACCEPT PROTOCOL "\r\n",
		"no Upgrade: websocket"},
	{"no Connection", LINE "Upgrade: websocket\r\n" ACCEPT PROTOCOL "\r\n",
		"no Connection: Upgrade"},
	{"no accept", LINE UPGRADE PROTOCOL "\r\n", "has not one Sec-WebSocket-Accept"},
	{"two accepts", LINE ACCEPT REST, "has not one Sec-WebSocket-Accept"},
	{"wrong accept",
		LINE UPGRADE "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" PROTOCOL
			     "\r\n",
		"Sec-WebSocket-Accept does not belong to our key"},
	{"extension", LINE "Sec-WebSocket-Extensions: permessage-deflate\r\n" REST,
		"extension not offered: permessage-deflate"},
	{"no protocol", LINE UPGRADE ACCEPT "\r\n", "does not agree to speak mqtt"},
	{"another protocol", LINE UPGRADE ACCEPT "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n",
		"wants to speak \"mqttv3.1\""},
	{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1.1"},
	{"a CONNACK", "\x20\x03\x84\r\n\x01", "not HTTP/1.1"},
};

/* [MQTT-6.0.0-4], [MQTT3-6.0.0-4] */
static void answers_are_judged_by_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const uint8_t *p = (const uint8_t *)answers[i].answer;
		size_t n = strlen(answers[i].answer);
		char why[WEBSOCKET_WHY_BYTES] = "";
		ssize_t got = websocket_judge_answer(p, n, KEY, why);

		if (answers[i].why ? got != ERR_PROTOCOL || !strstr(why, answers[i].why)
				   : got != (ssize_t)n)
			fail_msg("%s: %zd %s", answers[i].name, got, why);
		for (size_t cut = 0; cut < n && answers[i].why == NULL; cut++)
			assert_int_equal(websocket_judge_answer(p, cut, KEY, why), 0);
	}
}

static void what_stands_behind_the_answer_is_left(void **state)
{
	static const char text[] = LINE REST "\x82\x01x";
	char why[WEBSOCKET_WHY_BYTES];

	(void)state;
	assert_int_equal(websocket_judge_answer((const uint8_t *)text, sizeof(text) - 1, KEY, why),
		sizeof(text) - 1 - 3);
}

static ssize_t judge_long(const char *begin, const char *again, size_t most)
{
	struct buf b = {0};
	char why[WEBSOCKET_WHY_BYTES] = "";
	ssize_t got;

	buf_text(&b, begin);
	while (buf_length(&b) < most)
		buf_text(&b, again);
	buf_cut(&b, most);
	got = websocket_judge_answer(buf_bytes(&b), buf_length(&b), KEY, why);
	if (got < 0)
		assert_non_null(strstr(why, "too large"));
	buf_fini(&b);
	return got;
}

static void a_head_without_end_is_refused(void **state)
{
	static const struct {
		const char *begin;
		const char *again;
	} rows[] = {
		{"", "x"},
		{LINE "X: ", "x"},
		{"", "HTTP/1.1 102 Processing\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(judge_long(rows[i].begin, rows[i].again, HTTP_HEAD_LARGEST), 0);
		assert_int_equal(judge_long(rows[i].begin, rows[i].again, HTTP_HEAD_LARGEST + 1),
			ERR_TOO_LARGE);
	}
}

static void our_server_and_our_client_agree(void **state)
{
	char *paths[] = {(char[]){"/mqtt"}};
	struct websocket_rules rules = {paths, 1, NULL, 0};
	struct http_answer answer = {0};
	struct buf request = {0}, bytes = {0};
	char key[WEBSOCKET_KEY_BYTES], why[WEBSOCKET_WHY_BYTES] = "";
	struct http_request r;
	const char *fault;
	struct url url;
	int status;

	(void)state;
	assert_int_equal(url_parse(VIEW("wss://a.example"), &url, &fault), 0);
	websocket_new_key(key);
	websocket_request(&request, &url, key);
	assert_int_equal(http_parse(buf_bytes(&request), buf_length(&request), &r, &status),
		buf_length(&request));
	assert_true(websocket_answer(&rules, &r, &answer));
	http_write(&bytes, &answer, true, false);
	if (websocket_judge_answer(buf_bytes(&bytes), buf_length(&bytes), key, why) !=
		(ssize_t)buf_length(&bytes))
		fail_msg("%s", why);
	buf_fini(&request);
	buf_fini(&bytes);
	buf_fini(&answer.body);
	buf_fini(&answer.fields);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_names_host_path_and_protocol_and_no_password),
		cmocka_unit_test(every_key_is_another),
		cmocka_unit_test(answers_are_judged_by_the_table),
		cmocka_unit_test(what_stands_behind_the_answer_is_left),
		cmocka_unit_test(a_head_without_end_is_refused),
		cmocka_unit_test(our_server_and_our_client_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
