/* net/http.c
 *
 * The parser works line by line on what has come, so a fault is found as soon as its
 * line is whole. It is strict where lenience lets two readers of one connection
 * disagree about where a request ends (request smuggling): lines end with CRLF, no
 * folded headers, one Content-Length of digits only, no Transfer-Encoding.
 */
#include "net/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"

/* --- characters -------------------------------------------------------- */

/* RFC 9110, section 5.6.2 */
static bool is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (!is_token_char(v.p[i]))
			return false;
	return v.n > 0;
}

/* RFC 9110, section 5.5: visible characters, space, tab, and bytes from 0x80 as they are. */
static bool is_field_value(struct view v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool is_visible(struct view v)
{
	for (size_t i = 0; i < v.n; i++)
		if (v.p[i] <= ' ' || v.p[i] == 0x7f)
			return false;
	return v.n > 0;
}

static bool same_name(struct view a, struct view b)
{
	return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static struct view trimmed(struct view v)
{
	while (v.n && (v.p[0] == ' ' || v.p[0] == '\t'))
		v = view_skip(v, 1);
	while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
		v.n--;
	return v;
}

/* --- parsing ----------------------------------------------------------- */

static int refuse(int *status, int answer, int err)
{
	*status = answer;
	return err;
}

/* Takes one line with its CRLF off *rest. 1, 0 need more, or negative. */
static int cut_line(struct view *rest, struct view *line, int *status)
{
	const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	size_t n = end ? (size_t)(end - rest->p) : rest->n;
	const char *cr = n ? memchr(rest->p, '\r', n) : NULL;

	if (end == NULL) {
		/* A CR that something else follows will never be good. */
		if (cr && cr != rest->p + n - 1)
			return refuse(status, 400, ERR_MALFORMED);
		return 0;
	}
	if (n == 0 || cr != end - 1) /* RFC 9112, section 2.2 */
		return refuse(status, 400, ERR_MALFORMED);
	*line = (struct view){rest->p, n - 1};
	*rest = view_skip(*rest, n + 1);
	return 1;
}

static int parse_version(struct view v, bool *is_1_1, int *status)
{
	if (v.n != 8 || !view_starts_with(v, VIEW("HTTP/")) || v.p[6] != '.' || v.p[5] < '0' ||
		v.p[5] > '9' || v.p[7] < '0' || v.p[7] > '9')
		return refuse(status, 400, ERR_MALFORMED);
	if (v.p[5] != '1')
		return refuse(status, 505, ERR_VERSION);
	*is_1_1 = v.p[7] != '0';
	return 0;
}

/* origin-form, "*", or absolute-form (RFC 9112, section 3.2). */
static int parse_target(struct http_request *r, int *status)
{
	struct view rest = r->target;
	const char *host;

	if (view_starts_with(rest, VIEW("http://")) || view_starts_with(rest, VIEW("https://"))) {
		host = memchr(rest.p, '/', rest.n);
		rest = view_skip(rest, (size_t)(host - rest.p) + 2);
		host = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
		rest = host ? view_skip(rest, (size_t)(host - rest.p)) : VIEW("/");
	} else if (rest.n == 0 || (rest.p[0] != '/' && !view_equal(rest, VIEW("*")))) {
		return refuse(status, 400, ERR_MALFORMED);
	}
	r->path = view_cut(&rest, '?');
	r->query = rest;
	return 0;
}

static int parse_request_line(struct view line, struct http_request *r, int *status)
{
	int err;

	r->method = view_cut(&line, ' ');
	r->target = view_cut(&line, ' ');
	if (!is_token(r->method) || !is_visible(r->target))
		return refuse(status, 400, ERR_MALFORMED);
	err = parse_version(line, &r->is_1_1, status);
	r->keep_alive = r->is_1_1; /* RFC 9112, section 9.3 */
	return err ? err : parse_target(r, status);
}

/* RFC 9112, section 4; the space before a missing reason is often missing too. */
static int parse_status_line(struct view line, struct http_response *r)
{
	struct view version = view_cut(&line, ' '), code = view_cut(&line, ' ');
	bool is_1_1;
	int ignored, err = parse_version(version, &is_1_1, &ignored);

	if (err)
		return err;
	if (code.n != 3 || code.p[0] < '1' || code.p[0] > '5' || !is_field_value(line))
		return ERR_MALFORMED;
	for (size_t i = 0; i < code.n; i++) {
		if (code.p[i] < '0' || code.p[i] > '9')
			return ERR_MALFORMED;
		r->status = r->status * 10 + (code.p[i] - '0');
	}
	r->reason = line;
	return 0;
}

static int parse_header(struct view line, struct http_fields *f, int *status)
{
	struct view name = view_cut(&line, ':');

	/* A folded line begins with a space, which no token does (RFC 9112, section 5.2); neither
	 * does one end before the colon (section 5.1). */
	if (line.p == NULL || !is_token(name) || !is_field_value(line))
		return refuse(status, 400, ERR_MALFORMED);
	if (f->count == HTTP_HEADERS_MOST)
		return refuse(status, 431, ERR_TOO_LARGE);
	f->list[f->count++] = (struct http_header){name, trimmed(line)};
	return 0;
}

/* --- what the headers mean for the connection -------------------------- */

int http_count(const struct http_fields *f, struct view name)
{
	int n = 0;

	for (int i = 0; i < f->count; i++)
		n += same_name(f->list[i].name, name);
	return n;
}

static int judge_length(struct http_request *r, int *status)
{
	struct view v = http_header(&r->fields, VIEW("content-length"));
	uint64_t n = 0;

	if (http_count(&r->fields, VIEW("content-length")) == 0)
		return 0;
	if (http_count(&r->fields, VIEW("content-length")) > 1 || v.n == 0)
		return refuse(status, 400, ERR_MALFORMED);
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return refuse(status, 400, ERR_MALFORMED);
		if (n <= HTTP_BODY_LARGEST)
			n = n * 10 + (uint64_t)(v.p[i] - '0');
	}
	if (n > HTTP_BODY_LARGEST)
		return refuse(status, 413, ERR_TOO_LARGE);
	r->body_bytes = n;
	return 0;
}

static struct view listed(struct view list, struct view token)
{
	while (list.p) {
		struct view element = trimmed(view_cut(&list, ','));

		if (same_name(element, token))
			return element;
	}
	return list;
}

struct view http_listed(const struct http_fields *f, struct view name, struct view token)
{
	struct view found = {NULL, 0};

	for (int i = 0; i < f->count && found.p == NULL; i++)
		if (same_name(f->list[i].name, name))
			found = listed(f->list[i].value, token);
	return found;
}

static void judge_connection(struct http_request *r)
{
	bool close = http_listed(&r->fields, VIEW("connection"), VIEW("close")).p != NULL;
	bool keep = http_listed(&r->fields, VIEW("connection"), VIEW("keep-alive")).p != NULL;

	r->keep_alive = (r->keep_alive || keep) && !close;
}

static int judge_headers(struct http_request *r, int *status)
{
	int hosts = http_count(&r->fields, VIEW("host"));

	if (hosts > 1 || (r->is_1_1 && hosts == 0)) /* RFC 9112, section 3.2 */
		return refuse(status, 400, ERR_MALFORMED);
	if (http_count(&r->fields, VIEW("transfer-encoding"))) {
		/* Together with a length, or in 1.0, it is an attack (RFC 9112, section 6.1). */
		if (!r->is_1_1 || http_count(&r->fields, VIEW("content-length")))
			return refuse(status, 400, ERR_MALFORMED);
		return refuse(status, 501, ERR_MALFORMED);
	}
	judge_connection(r);
	return judge_length(r, status);
}

/* Not whole: is it too long already? */
static int need_more(size_t n, bool in_headers, int *status)
{
	if (n <= HTTP_HEAD_LARGEST)
		return 0;
	return refuse(status, in_headers ? 431 : 414, ERR_TOO_LARGE);
}

static int parse_headers(struct view *rest, struct http_fields *f, int *status)
{
	struct view line;
	int got, err;

	while ((got = cut_line(rest, &line, status)) > 0) {
		if (line.n == 0)
			return 1;
		if ((err = parse_header(line, f, status)) < 0)
			return err;
	}
	return got;
}

ssize_t http_parse(const uint8_t *p, size_t n, struct http_request *out, int *status)
{
	struct view rest = {(const char *)p, n}, line;
	struct http_request r = {0};
	int got;

	if (n >= 2 && p[0] == '\r' && p[1] == '\n') /* RFC 9112, section 2.2 */
		rest = view_skip(rest, 2);
	got = cut_line(&rest, &line, status);
	if (got <= 0)
		return got ? got : need_more(n, false, status);
	if ((size_t)(rest.p - (const char *)p) > HTTP_HEAD_LARGEST)
		return refuse(status, 414, ERR_TOO_LARGE);
	got = parse_request_line(line, &r, status);
	if (got < 0)
		return got;
	got = parse_headers(&rest, &r.fields, status);
	if (got <= 0)
		return got ? got : need_more(n, true, status);
	if ((size_t)(rest.p - (const char *)p) > HTTP_HEAD_LARGEST)
		return refuse(status, 431, ERR_TOO_LARGE);
	got = judge_headers(&r, status);
	if (got < 0)
		return got;
	*out = r;
	return rest.p - (const char *)p;
}

ssize_t http_parse_response(const uint8_t *p, size_t n, struct http_response *out)
{
	struct view rest = {(const char *)p, n}, line;
	struct http_response r = {0};
	int ignored;
	int got = cut_line(&rest, &line, &ignored);

	if (got > 0) {
		got = parse_status_line(line, &r);
		got = got ? got : parse_headers(&rest, &r.fields, &ignored);
	}
	if (got == 0)
		return need_more(n, true, &ignored);
	if (got > 0 && (size_t)(rest.p - (const char *)p) > HTTP_HEAD_LARGEST)
		got = ERR_TOO_LARGE;
	if (got < 0)
		return got;
	*out = r;
	return rest.p - (const char *)p;
}

struct view http_header(const struct http_fields *f, struct view name)
{
	for (int i = 0; i < f->count; i++)
		if (same_name(f->list[i].name, name))
			return f->list[i].value;
	return (struct view){NULL, 0};
}

/* --- parameters -------------------------------------------------------- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* The byte at the front of *v; -1: a bad escape or NUL. */
static int decoded_byte(struct view *v)
{
	char c = v->p[0];
	int high, low;

	if (c != '%') {
		*v = view_skip(*v, 1);
		return c == '+' ? ' ' : c ? (unsigned char)c : -1;
	}
	high = v->n > 2 ? hex_digit(v->p[1]) : -1;
	low = v->n > 2 ? hex_digit(v->p[2]) : -1;
	*v = view_skip(*v, 3);
	return high < 0 || low < 0 || high + low == 0 ? -1 : high * 16 + low;
}

static bool decode(struct view v, char *out, size_t size)
{
	size_t n = 0;

	while (v.n) {
		int c = decoded_byte(&v);

		if (c < 0 || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return true;
}

bool http_parameter(const struct http_request *r, struct view name, char *out, size_t size)
{
	struct view rest = r->query;

	if (size == 0)
		return false;
	while (rest.p) {
		struct view value = view_cut(&rest, '&');

		if (view_equal(view_cut(&value, '='), name))
			return decode(value, out, size);
	}
	return false;
}

int http_next_parameter(struct view *query, struct view *name, struct buf *value)
{
	struct view rest = {NULL, 0};

	while (query->p && rest.n == 0)
		rest = view_cut(query, '&');
	if (rest.n == 0)
		return 0;
	*name = view_cut(&rest, '=');
	buf_clear(value);
	while (rest.n) {
		bool is_plus = rest.p[0] == '+';
		int c = decoded_byte(&rest);
		uint8_t byte = is_plus ? '+' : (uint8_t)c;

		if (c < 0)
			return ERR_MALFORMED;
		buf_append(value, &byte, 1);
	}
	return 1;
}

/* --- answers ----------------------------------------------------------- */

struct status {
	int number;
	const char *text;
};

/* RFC 9110, section 15, and RFC 6585 */
static const struct status statuses[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{202, "Accepted"},
	{204, "No Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{304, "Not Modified"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{422, "Unprocessable Content"},
	{426, "Upgrade Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{505, "HTTP Version Not Supported"},
};

const char *http_status_text(int status)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].number == status)
			return statuses[i].text;
	return "Unknown";
}

void http_write(struct buf *out, const struct http_answer *a, bool keep_alive, bool head_only)
{
	/* RFC 9110, section 8.6: neither has a length, nor a body. */
	bool bodiless = a->status < 200 || a->status == 204;

	buf_printf(out, "HTTP/1.1 %d %s\r\n", a->status, http_status_text(a->status));
	if (a->type)
		buf_printf(out, "Content-Type: %s\r\n", a->type);
	if (!bodiless)
		buf_printf(out, "Content-Length: %zu\r\n", buf_length(&a->body));
	if (a->status >= 200)
		buf_printf(out, "X-Content-Type-Options: nosniff\r\nConnection: %s\r\n",
			keep_alive ? "keep-alive" : "close");
	if (a->extra)
		buf_text(out, a->extra);
	buf_append(out, buf_bytes(&a->fields), buf_length(&a->fields));
	buf_text(out, "\r\n");
	if (!bodiless && a->status != 304 && !head_only)
		buf_append(out, buf_bytes(&a->body), buf_length(&a->body));
}
