/* net/websocket.h - WebSocket frames, the request that begins them, and its answer
 *
 * Source: RFC 6455; for MQTT inside, MQTT 5 and 3.1.1, section 6. Pure: the connection that carries
 * frames is in net/conn_websocket.c. What a client sends is masked, what a server sends is not.
 *
 * Data frames are a stream of bytes here: where a frame or a message ends means nothing to MQTT
 * [MQTT-6.0.0-2], so nothing is collected and the length of a message needs no bound.
 */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"
#include "net/http.h"

/* --- frames that come ------------------------------------------------- */

/* A frame that announces more is refused (1009): no MQTT packet taken here is near it. */
#define WEBSOCKET_FRAME_LARGEST (16u << 20)
#define WEBSOCKET_CONTROL_LARGEST 125u /* RFC 6455, section 5.5 */
#define WEBSOCKET_HEADER_LARGEST 14u

enum websocket_opcode {
	WEBSOCKET_CONTINUATION = 0,
	WEBSOCKET_TEXT = 1,
	WEBSOCKET_BINARY = 2,
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING = 9,
	WEBSOCKET_PONG = 10,
};

/* RFC 6455, section 7.4.1 */
enum websocket_code {
	WEBSOCKET_NO_CODE = 0, /* a Close without one; never sent as a number */
	WEBSOCKET_NORMAL = 1000,
	WEBSOCKET_GOING_AWAY = 1001,
	WEBSOCKET_PROTOCOL = 1002,    /* against the rules of frames, or of MQTT */
	WEBSOCKET_UNSUPPORTED = 1003, /* text: MQTT is binary */
	WEBSOCKET_NOT_UTF8 = 1007,
	WEBSOCKET_POLICY = 1008,
	WEBSOCKET_TOO_LARGE = 1009,
	WEBSOCKET_INTERNAL = 1011,
};

/* Zeroed, but for from_server: before the first frame. */
struct websocket_reader {
	uint64_t left; /* payload bytes of this frame still to come */
	uint8_t header[WEBSOCKET_HEADER_LARGEST];
	uint8_t header_bytes; /* of these are there; 0 with left 0: between frames */
	uint8_t mask_at;      /* which byte of the mask comes next */
	bool from_server;     /* fixed: the peer is the server, which does not mask */
	bool in_frame;        /* the header is whole */
	bool in_message;      /* a fragmented message has begun */
	bool ping_due;        /* ping[] is the newest one not answered */
	bool has_ended;       /* Close came, or a fault: what follows is ignored */
	bool by_peer;         /* ended by Close */
	uint8_t control_bytes;
	uint8_t ping_bytes;
	uint16_t code;   /* after the end: what to close with */
	const char *why; /* after the end: static, for the log */
	uint8_t control[WEBSOCKET_CONTROL_LARGEST];
	uint8_t ping[WEBSOCKET_CONTROL_LARGEST];
};

/* Takes frames from n bytes at p, which may begin and end anywhere, and moves their payload,
 * unmasked, to the front. Gives how many bytes of payload are there then. What came before Close or
 * a fault counts; r->has_ended afterwards. */
size_t websocket_read(struct websocket_reader *r, uint8_t *p, size_t n);

/* --- frames that go --------------------------------------------------- */

#define WEBSOCKET_MASK_BYTES 4u

/* Header of one whole frame of n bytes; gives its length. mask: a client's, with which the payload goes
 * through websocket_mask(); NULL: a server's. */
size_t websocket_header(uint8_t out[WEBSOCKET_HEADER_LARGEST], enum websocket_opcode opcode,
	uint64_t n, const uint8_t *mask);

/* The whole payload of a frame, in place. */
void websocket_mask(const uint8_t mask[WEBSOCKET_MASK_BYTES], uint8_t *p, size_t n);

/* What is said when a connection is closed for err (base/error.h). */
enum websocket_code websocket_code_of(int err);

/* --- the request, as a server sees it (websocket_answer.c) ------------- */

/* Who may begin. Texts are borrowed. */
struct websocket_rules {
	char *const *paths; /* none: nobody may, anywhere */
	unsigned path_count;
	char *const *origins; /* of web pages; none: any */
	unsigned origin_count;
};

/* Is this request about WebSocket: to one of the paths, or to / asking for an upgrade? Then fills
 * *answer (zeroed): status 101, 400, 403, 405 or 426. False: something else has to answer it. */
bool websocket_answer(const struct websocket_rules *rules, const struct http_request *r,
	struct http_answer *answer);

/* What a server makes of a client's key (RFC 6455, section 4.2.2), NUL-terminated. */
#define WEBSOCKET_ACCEPT_BYTES 29
void websocket_accept(struct view key, char out[WEBSOCKET_ACCEPT_BYTES]);

/* --- the request, as a client makes it (websocket_request.c) ----------- */

#define WEBSOCKET_KEY_BYTES 25 /* base64 of 16 bytes, NUL-terminated */

/* A fresh key, for one connection. */
void websocket_new_key(char out[WEBSOCKET_KEY_BYTES]);

/* Appends the request to the server of a ws or wss address: subprotocol mqtt; user and password of the
 * address are MQTT's and not sent. */
void websocket_request(struct buf *out, const struct url *to, const char *key);

#define WEBSOCKET_WHY_BYTES 256

/* Does the server agree? >0 bytes of its answer, behind which frames come; 0 need more; negative
 * (ERR_PROTOCOL, ERR_TOO_LARGE): no, and why says in words what was wrong, in printable ASCII. */
ssize_t websocket_judge_answer(
	const uint8_t *p, size_t n, const char *key, char why[WEBSOCKET_WHY_BYTES]);

#endif
