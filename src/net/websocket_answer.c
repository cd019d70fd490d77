/* net/websocket_answer.c - may this HTTP request become a WebSocket?
 *
 * RFC 6455, section 4.2. Steps judge one thing each, in the order in which the answer helps most: a
 * browser that merely opens the address is told to upgrade (426), not that a key is missing.
 */
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "net/websocket.h"

#define KEY_TEXT_BYTES (WEBSOCKET_KEY_BYTES - 1)
#define SHA1_BYTES 20

/* RFC 6455, section 1.3 */
#define MAGIC "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct attempt {
	const struct websocket_rules *rules;
	const struct http_request *request;
	struct view protocol; /* the one agreed on */
	const char *wrong;
};

/* 0: nothing wrong; else the status to answer, and a->wrong. */
typedef int step(struct attempt *a);

static int refuse(struct attempt *a, int status, const char *wrong)
{
	a->wrong = wrong;
	return status;
}

static bool asks(const struct http_request *r)
{
	return http_listed(&r->fields, VIEW("upgrade"), VIEW("websocket")).p != NULL;
}

static int judge_request(struct attempt *a)
{
	if (!view_equal(a->request->method, VIEW("GET")))
		return refuse(a, 405, "only GET begins a WebSocket");
	if (!asks(a->request))
		return refuse(a, 426, "MQTT over WebSocket is spoken here");
	if (!a->request->is_1_1 || a->request->body_bytes)
		return refuse(a, 400, "an upgrade needs HTTP/1.1 and no body");
	if (http_listed(&a->request->fields, VIEW("connection"), VIEW("upgrade")).p == NULL)
		return refuse(a, 400, "Connection does not name Upgrade");
	return 0;
}

static int judge_version(struct attempt *a)
{
	if (!view_equal(
		    http_header(&a->request->fields, VIEW("sec-websocket-version")), VIEW("13")))
		return refuse(a, 426, "only version 13 of WebSocket is spoken here");
	return 0;
}

/* 16 bytes in base64: the last two of 24 characters are padding. */
static bool is_key(struct view key)
{
	unsigned char decoded[KEY_TEXT_BYTES];

	return key.n == KEY_TEXT_BYTES && key.p[21] != '=' && view_ends_with(key, VIEW("==")) &&
	       memchr(key.p, '=', 22) == NULL && memchr(key.p, ' ', key.n) == NULL &&
	       EVP_DecodeBlock(decoded, (const unsigned char *)key.p, KEY_TEXT_BYTES) == 18;
}

static int judge_key(struct attempt *a)
{
	struct view name = VIEW("sec-websocket-key");

	if (http_count(&a->request->fields, name) != 1 ||
		!is_key(http_header(&a->request->fields, name)))
		return refuse(a, 400, "Sec-WebSocket-Key is not 16 bytes in base64");
	return 0;
}

/* Programs that are no browser send none, and could send any. */
static int judge_origin(struct attempt *a)
{
	struct view origin = http_header(&a->request->fields, VIEW("origin"));

	if (a->rules->origin_count == 0 || origin.p == NULL)
		return 0;
	for (unsigned i = 0; i < a->rules->origin_count; i++) {
		const char *good = a->rules->origins[i];

		if (strlen(good) == origin.n && strncasecmp(good, origin.p, origin.n) == 0)
			return 0;
	}
	return refuse(a, 403, "web pages of this origin are not admitted");
}

/* The client has to offer one of ours; that one is named back. */
static int judge_protocol(struct attempt *a)
{
	static const struct view ours[] = {{"mqtt", 4}, {"mqttv3.1", 8}};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		struct view offered =
			http_listed(&a->request->fields, VIEW("sec-websocket-protocol"), ours[i]);

		if (offered.p && view_equal(offered, ours[i])) {
			a->protocol = ours[i]; /* [MQTT-6.0.0-4] */
			return 0;
		}
	}
	/* [MQTT-6.0.0-3] */
	return refuse(a, 400, "Sec-WebSocket-Protocol does not offer mqtt");
}

static step *const steps[] = {
	judge_request, judge_version, judge_key, judge_origin, judge_protocol};

static bool is_ours(const struct websocket_rules *rules, const struct http_request *r)
{
	for (unsigned i = 0; i < rules->path_count; i++)
		if (view_equal(r->path, view_of(rules->paths[i])))
			return true;
	/* Where old clients look. */
	return rules->path_count && view_equal(r->path, VIEW("/")) && asks(r);
}

/* The key has been judged, or is ours. */
void websocket_accept(struct view key, char out[WEBSOCKET_ACCEPT_BYTES])
{
	char text[KEY_TEXT_BYTES + sizeof(MAGIC)];
	unsigned char digest[SHA1_BYTES] = {0};
	unsigned size = sizeof(digest);

	memcpy(text, key.p, KEY_TEXT_BYTES);
	memcpy(text + KEY_TEXT_BYTES, MAGIC, sizeof(MAGIC));
	EVP_Digest(text, sizeof(text) - 1, digest, &size, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *)out, digest, SHA1_BYTES);
}

static void answer_refusal(const struct attempt *a, int status, struct http_answer *answer)
{
	answer->type = "text/plain; charset=utf-8";
	/* RFC 9110, sections 15.5.6 and 15.5.22; RFC 6455, section 4.4 */
	if (status == 405)
		answer->extra = "Allow: GET\r\n";
	else if (status == 426)
		answer->extra = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
				"Sec-WebSocket-Version: 13\r\n";
	buf_printf(&answer->body, "%d %s: %s\n", status, http_status_text(status), a->wrong);
}

static void answer_upgrade(const struct attempt *a, struct http_answer *answer)
{
	char key[WEBSOCKET_ACCEPT_BYTES];

	websocket_accept(http_header(&a->request->fields, VIEW("sec-websocket-key")), key);
	buf_printf(&answer->fields,
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
		"Sec-WebSocket-Protocol: %.*s\r\n",
		key, VIEW_ARG(a->protocol));
}

bool websocket_answer(const struct websocket_rules *rules, const struct http_request *r,
	struct http_answer *answer)
{
	struct attempt a = {.rules = rules, .request = r};
	int status = 0;

	if (!is_ours(rules, r))
		return false;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == 0; i++)
		status = steps[i](&a);
	if (status)
		answer_refusal(&a, status, answer);
	else
		answer_upgrade(&a, answer);
	answer->status = status ? status : 101;
	return true;
}
