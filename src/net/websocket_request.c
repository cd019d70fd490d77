/* net/websocket_request.c - a client asks, and judges what the server answers
 *
 * RFC 6455, section 4.1. Steps judge one thing each, in the order that tells an operator most: that
 * it is a page that was found at the path (200), not that its answer lacks a key. Redirects are named,
 * not followed: an address that has moved is for the operator to write down.
 *
 * What the server says stands in the log and on pages, so only its printable part is told.
 */
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/error.h"
#include "net/websocket.h"

#define NONCE_BYTES 16
#define TOLD_BYTES 101 /* of a server's words, NUL-terminated */

/* --- the request ------------------------------------------------------ */

void websocket_new_key(char out[WEBSOCKET_KEY_BYTES])
{
	unsigned char nonce[NONCE_BYTES];

	check(getrandom(nonce, sizeof(nonce), 0) == (ssize_t)sizeof(nonce));
	EVP_EncodeBlock((unsigned char *)out, nonce, sizeof(nonce));
}

/* The port is left out where it is the scheme's (RFC 6455, section 4.1, item 4). */
static void put_host(struct buf *out, const struct url *to)
{
	bool v6 = strchr(to->host, ':') != NULL;

	buf_printf(out, v6 ? "Host: [%s]" : "Host: %s", to->host);
	if (to->port != (to->tls ? 443 : 80))
		buf_printf(out, ":%u", to->port);
	buf_text(out, "\r\n");
}

void websocket_request(struct buf *out, const struct url *to, const char *key)
{
	buf_printf(out, "GET %s HTTP/1.1\r\n", to->path);
	put_host(out, to);
	buf_printf(out,
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", /* [MQTT-6.0.0-3] */
		key);
}

/* --- the answer ------------------------------------------------------- */

struct judgement {
	const struct http_response *answer;
	const char *key;
	char *why;
};

/* False: the server does not agree, and j->why says so. */
typedef bool step(struct judgement *j);

__attribute__((format(printf, 2, 3))) static bool refuse(
	struct judgement *j, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(j->why, WEBSOCKET_WHY_BYTES, format, list);
	va_end(list);
	return false;
}

static const char *told(struct view v, char out[TOLD_BYTES])
{
	size_t n = 0;

	for (; n < v.n && n + 1 < TOLD_BYTES; n++)
		out[n] = v.p[n] >= ' ' && v.p[n] <= '~' ? v.p[n] : '?';
	out[n] = '\0';
	return out;
}

static bool judge_status(struct judgement *j)
{
	int status = j->answer->status;
	struct view location = http_header(&j->answer->fields, VIEW("location"));
	struct view reason = j->answer->reason;
	char text[TOLD_BYTES];

	if (status == 101)
		return true;
	if (status >= 300 && status < 400 && location.p)
		return refuse(j,
			"WebSocket handshake: the server redirects (%d) to %s, which is not "
			"followed",
			status, told(location, text));
	return refuse(j, "WebSocket handshake: the server answers %d %s, not 101", status,
		reason.n ? told(reason, text) : http_status_text(status));
}

static bool judge_upgrade(struct judgement *j)
{
	const struct http_fields *f = &j->answer->fields;

	if (http_listed(f, VIEW("upgrade"), VIEW("websocket")).p == NULL)
		return refuse(j, "WebSocket handshake: the answer has no Upgrade: websocket");
	if (http_listed(f, VIEW("connection"), VIEW("upgrade")).p == NULL)
		return refuse(j, "WebSocket handshake: the answer has no Connection: Upgrade");
	return true;
}

static bool judge_accept(struct judgement *j)
{
	struct view name = VIEW("sec-websocket-accept");
	char want[WEBSOCKET_ACCEPT_BYTES];

	websocket_accept(view_of(j->key), want);
	if (http_count(&j->answer->fields, name) != 1)
		return refuse(
			j, "WebSocket handshake: the answer has not one Sec-WebSocket-Accept");
	if (!view_equal(http_header(&j->answer->fields, name), view_of(want)))
		return refuse(j, "WebSocket handshake: Sec-WebSocket-Accept does not belong to our "
				 "key: something between has answered from memory");
	return true;
}

/* Nothing but what was offered may be agreed on. */
static bool judge_agreed(struct judgement *j)
{
	struct view extensions = http_header(&j->answer->fields, VIEW("sec-websocket-extensions"));
	struct view protocol = http_header(&j->answer->fields, VIEW("sec-websocket-protocol"));
	char text[TOLD_BYTES];

	if (extensions.n)
		return refuse(j,
			"WebSocket handshake: the server uses an extension not offered: %s",
			told(extensions, text));
	/* [MQTT-6.0.0-4] */
	if (protocol.p == NULL)
		return refuse(j, "WebSocket handshake: the server does not agree to speak mqtt");
	if (!view_equal(protocol, VIEW("mqtt")))
		return refuse(j, "WebSocket handshake: the server wants to speak \"%s\", not mqtt",
			told(protocol, text));
	return true;
}

static step *const steps[] = {judge_status, judge_upgrade, judge_accept, judge_agreed};

static bool agrees(struct judgement *j)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (!steps[i](j))
			return false;
	return true;
}

/* 100 to 199 but for 101 only announce the answer (RFC 9110, section 15.2). */
static bool is_interim(int status)
{
	return status < 200 && status != 101;
}

/* The head of the final answer: as http_parse_response(). */
static ssize_t parse_final(const uint8_t *p, size_t n, struct http_response *out)
{
	size_t at = 0;
	ssize_t used;

	do {
		used = http_parse_response(p + at, n - at, out);
		at += used > 0 ? (size_t)used : 0;
	} while (used > 0 && is_interim(out->status));
	if (used >= 0 && (at > HTTP_HEAD_LARGEST || (used == 0 && n > HTTP_HEAD_LARGEST)))
		return ERR_TOO_LARGE;
	return used > 0 ? (ssize_t)at : used;
}

ssize_t websocket_judge_answer(
	const uint8_t *p, size_t n, const char *key, char why[WEBSOCKET_WHY_BYTES])
{
	struct http_response answer;
	struct judgement j = {&answer, key, why};
	ssize_t used = parse_final(p, n, &answer);

	if (used == ERR_TOO_LARGE) {
		refuse(&j, "WebSocket handshake: the head of the answer is too large");
		return ERR_TOO_LARGE;
	}
	if (used < 0)
		refuse(&j, "WebSocket handshake: the answer is not HTTP/1.1");
	else if (used == 0 || agrees(&j))
		return used;
	return ERR_PROTOCOL;
}
