#include "net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"

#define HOST "Host: a\r\n"

static ssize_t parse(struct view text, struct http_request *r, int *status)
{
	/* An exact copy, so that a sanitizer sees one byte too many. */
	char *copy = malloc(text.n ? text.n : 1);
	ssize_t n;

	memcpy(copy, text.p, text.n);
	n = http_parse((const uint8_t *)copy, text.n, r, status);
	free(copy);
	return n;
}

static void faults_are_refused_with_their_status(void **state)
{
	static const struct {
		struct view text;
		int status;
		int err;
	} rows[] = {
		{VIEW("GET / HTTP/1.1\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nHost: a\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nA: b\rc"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nA: b\rc\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST " folded\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "\tfolded\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nHost : a\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nno colon\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n: empty\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nA: b\0c\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\nA: b\x7f\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET  / HTTP/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1 \r\n"), 400, ERR_MALFORMED},
		{VIEW("G(T / HTTP/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET /\xc3\xa4 HTTP/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET a HTTP/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET /\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.x\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / http/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/2.0\r\n"), 505, ERR_VERSION},
		{VIEW("GET / HTTP/0.9\r\n"), 505, ERR_VERSION},
		{VIEW("\r\n\r\nGET / HTTP/1.1\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
			400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n"), 400,
			ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n"), 400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n"), 413,
			ERR_TOO_LARGE},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n"),
			413, ERR_TOO_LARGE},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), 501,
			ERR_MALFORMED},
		{VIEW("GET / HTTP/1.1\r\n" HOST
		      "transfer-encoding: x\r\nContent-Length: 1\r\n\r\n"),
			400, ERR_MALFORMED},
		{VIEW("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, ERR_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_request r = {.fields.count = -7};
		int status = 0;
		ssize_t n = parse(rows[i].text, &r, &status);

		if (n != rows[i].err || status != rows[i].status)
			fail_msg("row %zu: got %zd, status %d; want %d, %d", i, n, status,
				rows[i].err, rows[i].status);
		assert_int_equal(r.fields.count, -7); /* untouched */
	}
}

static void the_head_of_an_answer_is_taken_apart(void **state)
{
	static const struct {
		const char *text;
		int want; /* the status, or negative */
		const char *reason;
	} rows[] = {
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n", 101,
			"Switching Protocols"},
		{"HTTP/1.0 404 Not Found\r\n\r\n", 404, "Not Found"},
		{"HTTP/1.1 200 \r\n\r\n", 200, ""},
		{"HTTP/1.1 200\r\n\r\n", 200, ""},
		{"HTTP/1.1 599 \xc3\xa9\r\n\r\n", 599, "\xc3\xa9"},
		{"HTTP/2.0 200 OK\r\n", ERR_VERSION, ""},
		{"SSH-2.0-OpenSSH_9.2\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 20 OK\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 2000 OK\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 099 OK\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 600 OK\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 2x0 OK\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 200 a\x01z\r\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 200 OK\n\n", ERR_MALFORMED, ""},
		{"HTTP/1.1 200 OK\r\n folded: a\r\n", ERR_MALFORMED, ""},
		{"\r\n", ERR_MALFORMED, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *p = (const uint8_t *)rows[i].text;
		size_t n = strlen(rows[i].text);
		struct http_response r = {0};
		ssize_t got = http_parse_response(p, n, &r);

		if (rows[i].want < 0 ? got != rows[i].want
				     : got != (ssize_t)n || r.status != rows[i].want)
			fail_msg("%s: got %zd, status %d", rows[i].text, got, r.status);
		for (size_t cut = 0; rows[i].want > 0 && cut < n; cut++)
			assert_int_equal(http_parse_response(p, cut, &r), 0);
		if (rows[i].want > 0)
			assert_true(view_equal(r.reason, view_of(rows[i].reason)));
	}
}

static void a_request_is_taken_apart(void **state)
{
	const char *text = "GET /api/v1/rejects?rule=WNM-35&empty=&pct=%41+b%2F&bad=%zz&nul=%00"
			   " HTTP/1.1\r\nhOST: a\r\nX-Y:\t two words \r\n\r\nGET /next";
	struct http_request r;
	char value[8];
	int status;

	(void)state;
	assert_int_equal(http_parse((const uint8_t *)text, strlen(text), &r, &status),
		strlen(text) - strlen("GET /next"));
	assert_true(view_equal(r.method, VIEW("GET")));
	assert_true(view_equal(r.path, VIEW("/api/v1/rejects")));
	assert_true(view_starts_with(r.query, VIEW("rule=")));
	assert_true(view_equal(http_header(&r.fields, VIEW("Host")), VIEW("a")));
	assert_true(view_equal(http_header(&r.fields, VIEW("x-y")), VIEW("two words")));
	assert_null(http_header(&r.fields, VIEW("absent")).p);
	assert_int_equal(r.body_bytes, 0);
	assert_true(http_parameter(&r, VIEW("rule"), value, sizeof(value)));
	assert_string_equal(value, "WNM-35");
	assert_false(http_parameter(&r, VIEW("rule"), value, 6)); /* too long */
	assert_true(http_parameter(&r, VIEW("empty"), value, sizeof(value)));
	assert_string_equal(value, "");
	assert_true(http_parameter(&r, VIEW("pct"), value, sizeof(value)));
	assert_string_equal(value, "A b/");
	assert_false(http_parameter(&r, VIEW("bad"), value, sizeof(value)));
	assert_false(http_parameter(&r, VIEW("nul"), value, sizeof(value)));
	assert_false(http_parameter(&r, VIEW("absent"), value, sizeof(value)));
}

static void any_beginning_of_a_request_needs_more(void **state)
{
	struct view whole =
		VIEW("\r\nPOST http://a:1/b?c HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n");
	struct http_request r;
	int status;

	(void)state;
	for (size_t n = 0; n < whole.n; n++)
		assert_int_equal(parse((struct view){whole.p, n}, &r, &status), 0);
	assert_int_equal(http_parse((const uint8_t *)whole.p, whole.n, &r, &status), whole.n);
	assert_int_equal(r.body_bytes, 5);
	assert_true(view_equal(r.path, VIEW("/b")));
	assert_true(view_equal(r.query, VIEW("c")));
}

static void connections_are_kept_alive_as_each_version_says(void **state)
{
	static const struct {
		struct view text;
		bool keep_alive;
	} rows[] = {
		{VIEW("GET / HTTP/1.1\r\n" HOST "\r\n"), true},
		{VIEW("GET / HTTP/1.2\r\n" HOST "\r\n"), true},
		{VIEW("GET / HTTP/1.0\r\n\r\n"), false},
		{VIEW("GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n"), false},
		{VIEW("GET / HTTP/1.1\r\n" HOST
		      "Connection: keep-alive\r\nConnection: close\r\n\r\n"),
			false},
		{VIEW("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), true},
	};
	struct http_request r;
	int status;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(http_parse((const uint8_t *)rows[i].text.p, rows[i].text.n, &r,
				    &status) > 0);
		assert_int_equal(r.keep_alive, rows[i].keep_alive);
	}
}

static void heads_are_bounded(void **state)
{
	struct http_request r;
	struct buf b = {0};
	int status = 0;

	(void)state;
	buf_text(&b, "GET /");
	while (buf_length(&b) <= HTTP_HEAD_LARGEST)
		buf_text(&b, "aaaaaaaa");
	assert_int_equal(http_parse(buf_bytes(&b), buf_length(&b), &r, &status), ERR_TOO_LARGE);
	assert_int_equal(status, 414);
	buf_text(&b, " HTTP/1.1\r\n" HOST "\r\n");
	assert_int_equal(http_parse(buf_bytes(&b), buf_length(&b), &r, &status), ERR_TOO_LARGE);
	assert_int_equal(status, 414);
	buf_clear(&b);
	buf_text(&b, "GET / HTTP/1.1\r\n" HOST "A: ");
	while (buf_length(&b) <= HTTP_HEAD_LARGEST)
		buf_text(&b, "aaaaaaaa");
	assert_int_equal(http_parse(buf_bytes(&b), buf_length(&b), &r, &status), ERR_TOO_LARGE);
	assert_int_equal(status, 431);
	buf_text(&b, "\r\n\r\n");
	assert_int_equal(http_parse(buf_bytes(&b), buf_length(&b), &r, &status), ERR_TOO_LARGE);
	assert_int_equal(status, 431);
	buf_clear(&b);
	buf_text(&b, "GET / HTTP/1.1\r\n");
	for (int i = 0; i <= HTTP_HEADERS_MOST; i++)
		buf_text(&b, "A: b\r\n");
	assert_int_equal(http_parse(buf_bytes(&b), buf_length(&b), &r, &status), ERR_TOO_LARGE);
	assert_int_equal(status, 431);
	buf_fini(&b);
}

static void answers_carry_their_length_and_no_more_than_they_may(void **state)
{
	static const struct {
		int status;
		bool keep_alive, head_only;
		const char *want;
	} rows[] = {
		{200, true, false,
			"HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 4\r\n"
			"X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\nA: "
			"b\r\n\r\nbody"},
		{404, false, true,
			"HTTP/1.1 404 Not Found\r\nContent-Type: t/x\r\nContent-Length: 4\r\n"
			"X-Content-Type-Options: nosniff\r\nConnection: close\r\nA: b\r\n\r\n"},
		{204, true, false,
			"HTTP/1.1 204 No Content\r\nContent-Type: t/x\r\n"
			"X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\nA: "
			"b\r\n\r\n"},
	};
	struct http_answer a = {.type = "t/x", .extra = "A: b\r\n"};
	struct buf out = {0};

	(void)state;
	buf_text(&a.body, "body");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a.status = rows[i].status;
		http_write(&out, &a, rows[i].keep_alive, rows[i].head_only);
		buf_append(&out, "", 1);
		assert_string_equal((const char *)buf_bytes(&out), rows[i].want);
		buf_clear(&out);
	}
	buf_fini(&a.body);
	buf_fini(&out);
}

static void parameters_come_one_after_the_other(void **state)
{
	struct view query = VIEW("&a=1%2B+%23&&b&c==d&e=%00&f=g");
	struct view name;
	struct buf value = {0};

	(void)state;
	assert_int_equal(http_next_parameter(&query, &name, &value), 1);
	assert_true(view_equal(name, VIEW("a")));
	assert_true(view_equal(buf_view(&value), VIEW("1++#"))); /* + is no space here */
	assert_int_equal(http_next_parameter(&query, &name, &value), 1);
	assert_true(view_equal(name, VIEW("b")));
	assert_int_equal(buf_length(&value), 0);
	assert_int_equal(http_next_parameter(&query, &name, &value), 1);
	assert_true(view_equal(buf_view(&value), VIEW("=d")));
	assert_int_equal(http_next_parameter(&query, &name, &value), ERR_MALFORMED);
	assert_int_equal(http_next_parameter(&query, &name, &value), 1);
	assert_true(view_equal(name, VIEW("f")));
	assert_int_equal(http_next_parameter(&query, &name, &value), 0);
	assert_int_equal(http_next_parameter(&query, &name, &value), 0);
	query = VIEW("a=%4");
	assert_int_equal(http_next_parameter(&query, &name, &value), ERR_MALFORMED);
	query = (struct view){NULL, 0};
	assert_int_equal(http_next_parameter(&query, &name, &value), 0);
	buf_fini(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_are_refused_with_their_status),
		cmocka_unit_test(a_request_is_taken_apart),
		cmocka_unit_test(the_head_of_an_answer_is_taken_apart),
		cmocka_unit_test(any_beginning_of_a_request_needs_more),
		cmocka_unit_test(connections_are_kept_alive_as_each_version_says),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(answers_carry_their_length_and_no_more_than_they_may),
		cmocka_unit_test(parameters_come_one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
