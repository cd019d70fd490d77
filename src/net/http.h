/* net/http.h - HTTP/1.1: requests from bytes, answers to bytes; for clients the head of an answer
 *
 * Sources: RFC 9110, RFC 9112. Pure: the connections are in net/http_server.h.
 * A head is bounded at 16 KiB and 64 headers, a body at 64 KiB. Nothing is left to
 * interpretation: bare LF, folded headers, a second Content-Length are refused.
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/view.h"

struct address;
struct http_conn;

#define HTTP_HEAD_LARGEST (16u * 1024u)
#define HTTP_BODY_LARGEST (64u * 1024u)
#define HTTP_HEADERS_MOST 64

struct http_header {
	struct view name;
	struct view value;
};

/* The header lines of a request or an answer. */
struct http_fields {
	struct http_header list[HTTP_HEADERS_MOST];
	int count;
};

struct http_request {
	struct view method;
	struct view target; /* as sent */
	struct view path;   /* before '?' */
	struct view query;  /* behind '?', undecoded */
	bool keep_alive;
	bool is_1_1;         /* HTTP/1.1 or a later 1.x */
	uint64_t body_bytes; /* Content-Length; chunked bodies are refused with 501 */
	struct http_fields fields;
	/* Of requests that net/http_server.h hands over. */
	const struct address *peer;
	struct http_conn *conn;
};

/* >0 bytes of the head (request line, headers, empty line), 0 need more, <0: ERR_MALFORMED,
 * ERR_TOO_LARGE, ERR_VERSION; *status is then the answer to give (400, 413, 414, 431, 501, 505), and
 * the connection has to be closed. The views borrow from p. */
ssize_t http_parse(const uint8_t *p, size_t n, struct http_request *out, int *status);

/* Value of a header by name (case-insensitive), {NULL,0} when absent. */
struct view http_header(const struct http_fields *f, struct view name);

/* How many headers of this name there are. */
int http_count(const struct http_fields *f, struct view name);

/* The element of a header's list (of all headers of that name) that is this token in any case, as it
 * was sent; {NULL,0}: none. */
struct view http_listed(const struct http_fields *f, struct view name, struct view token);

/* Takes the first parameter off *query: 1, *name is as sent and `value` (cleared before) percent-decoded,
 * a + staying one. 0: no more. ERR_MALFORMED: a bad escape, or NUL. */
int http_next_parameter(struct view *query, struct view *name, struct buf *value);

/* Decoded value of a query parameter into out (NUL-terminated); false when absent or too long. */
bool http_parameter(const struct http_request *r, struct view name, char *out, size_t size);

struct conn;

/* Takes an upgraded connection with conn_move(), see net/http_server.h. */
typedef void http_take(void *context, struct conn *c);

struct http_answer {
	int status;
	const char *type; /* Content-Type */
	struct buf body;
	const char *extra; /* further header lines, each with CRLF, or NULL */
	struct buf fields; /* the same, made for this answer */
	http_take *take;   /* with status 101: who has the connection from then on */
	void *take_context;
};

/* What a client is answered, as far as the empty line. */
struct http_response {
	int status;         /* 100 to 599 */
	struct view reason; /* the server's own words, perhaps none */
	struct http_fields fields;
};

/* >0 bytes of the head, 0 need more, <0: ERR_MALFORMED, ERR_TOO_LARGE, ERR_VERSION. The views borrow
 * from p. Whether a body follows is not looked at. */
ssize_t http_parse_response(const uint8_t *p, size_t n, struct http_response *out);

/* "Not Found" of 404. */
const char *http_status_text(int status);

/* Appends status line, headers and body. head_only: HEAD. */
void http_write(struct buf *out, const struct http_answer *a, bool keep_alive, bool head_only);

#endif
