/* net/websocket.c - frames of RFC 6455
 *
 *	 header (2, 4 or 10 bytes), mask (4) | payload ........ | header | ...
 *	 kept in r->header until it is whole   moved to the front, unmasked
 *
 * A frame may come in any pieces: the header is collected in the reader, payload of data frames goes
 * on at once, that of control frames (at most 125 bytes) is collected too. What is wrong with a
 * header is said as soon as the byte that is wrong has come.
 *
 * **Invariant:** the payload written is never ahead of what was read, so one buffer does for both.
 */
#include "net/websocket.h"

#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

#define FIN 0x80u
#define RSV 0x70u
#define OPCODE 0x0fu
#define MASK 0x80u
#define LENGTH 0x7fu
#define LENGTH_16 126u
#define LENGTH_64 127u

static void end(struct websocket_reader *r, enum websocket_code code, const char *why)
{
	r->has_ended = true;
	r->code = (uint16_t)code;
	r->why = why;
}

/* --- headers ---------------------------------------------------------- */

static unsigned opcode_of(const struct websocket_reader *r)
{
	return r->header[0] & OPCODE;
}

static bool is_control(const struct websocket_reader *r)
{
	return opcode_of(r) & 0x08u;
}

static bool is_known(unsigned opcode)
{
	return opcode <= WEBSOCKET_BINARY ||
	       (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

/* Bytes of the header before the mask; 2 are there. */
static uint8_t length_end(const struct websocket_reader *r)
{
	uint8_t length = r->header[1] & LENGTH;

	return length == LENGTH_64 ? 10 : length == LENGTH_16 ? 4 : 2;
}

static uint8_t header_end(const struct websocket_reader *r)
{
	return (uint8_t)(length_end(r) + (r->from_server ? 0 : WEBSOCKET_MASK_BYTES));
}

static void judge_data(struct websocket_reader *r)
{
	unsigned opcode = opcode_of(r);

	if (opcode == WEBSOCKET_TEXT) /* [MQTT-6.0.0-1] */
		end(r, WEBSOCKET_UNSUPPORTED, "text frame: MQTT is binary [MQTT-6.0.0-1]");
	else if (r->in_message != (opcode == WEBSOCKET_CONTINUATION)) /* section 5.4 */
		end(r, WEBSOCKET_PROTOCOL,
			r->in_message ? "new message inside a fragmented one"
				      : "continuation of nothing");
}

/* RFC 6455, sections 5.2 and 5.5, as far as the first byte tells. */
static void judge_first(struct websocket_reader *r)
{
	if (r->header[0] & RSV) /* no extension was agreed */
		end(r, WEBSOCKET_PROTOCOL, "reserved bit set");
	else if (!is_known(opcode_of(r)))
		end(r, WEBSOCKET_PROTOCOL, "reserved opcode");
	else if (is_control(r) && (r->header[0] & FIN) == 0)
		end(r, WEBSOCKET_PROTOCOL, "fragmented control frame");
	else if (!is_control(r))
		judge_data(r);
}

static void judge_second(struct websocket_reader *r)
{
	bool masked = r->header[1] & MASK;

	if (masked == r->from_server) /* section 5.1 */
		end(r, WEBSOCKET_PROTOCOL,
			masked ? "masked frame of a server" : "frame without a mask");
	else if (is_control(r) && (r->header[1] & LENGTH) > WEBSOCKET_CONTROL_LARGEST)
		end(r, WEBSOCKET_PROTOCOL, "control frame of more than 125 bytes");
}

static uint64_t read_number(const uint8_t *p, const uint8_t *behind)
{
	uint64_t n = 0;

	while (p < behind)
		n = n << 8 | *p++;
	return n;
}

/* The length is there: the shortest form, no more than 63 bits, no more than we want. */
static void judge_length(struct websocket_reader *r)
{
	uint8_t behind = length_end(r);
	uint64_t n = behind == 2 ? r->header[1] & LENGTH
				 : read_number(r->header + 2, r->header + behind);

	if (n >> 63)
		end(r, WEBSOCKET_PROTOCOL, "length of more than 63 bits");
	else if ((behind == 4 && n < LENGTH_16) || (behind == 10 && n <= UINT16_MAX))
		end(r, WEBSOCKET_PROTOCOL, "length not in its shortest form");
	else if (n > WEBSOCKET_FRAME_LARGEST)
		end(r, WEBSOCKET_TOO_LARGE, "frame too large");
	r->left = n;
}

static void begin_payload(struct websocket_reader *r)
{
	r->in_frame = true;
	r->mask_at = 0;
	r->control_bytes = 0;
	if (!is_control(r))
		r->in_message = (r->header[0] & FIN) == 0;
}

static void take_header_byte(struct websocket_reader *r, uint8_t byte)
{
	r->header[r->header_bytes++] = byte;
	if (r->header_bytes == 1) {
		judge_first(r);
		return;
	}
	if (r->header_bytes == 2)
		judge_second(r);
	if (!r->has_ended && r->header_bytes == length_end(r))
		judge_length(r);
	if (!r->has_ended && r->header_bytes == header_end(r))
		begin_payload(r);
}

/* --- payload ---------------------------------------------------------- */

/* Eight bytes at a time, beginning with mask[at]; `to` may lie before `from` in the same run. */
static void apply_mask(const uint8_t *mask, unsigned at, uint8_t *to, const uint8_t *from, size_t n)
{
	uint8_t turned[8];
	uint64_t wide, word;
	size_t i = 0;

	for (unsigned k = 0; k < 8; k++)
		turned[k] = mask[(at + k) & 3];
	memcpy(&wide, turned, 8);
	for (; i + 8 <= n; i += 8) {
		memcpy(&word, from + i, 8);
		word ^= wide;
		memcpy(to + i, &word, 8);
	}
	for (; i < n; i++)
		to[i] = from[i] ^ turned[i & 7];
}

static void unmask(struct websocket_reader *r, uint8_t *to, const uint8_t *from, size_t n)
{
	if (r->from_server) {
		memmove(to, from, n);
		return;
	}
	apply_mask(r->header + length_end(r), r->mask_at, to, from, n);
	r->mask_at = (uint8_t)((r->mask_at + n) & 3);
}

/* RFC 6455, section 7.4: codes that may stand in a frame. */
static bool may_be_sent(unsigned code)
{
	if (code >= 3000)
		return code < 5000;
	return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

/* RFC 6455, section 5.5.1: empty, or a code and a reason in UTF-8. The code is given back. */
static void take_close(struct websocket_reader *r)
{
	unsigned code = (unsigned)(r->control[0] << 8 | r->control[1]);
	size_t reason = r->control_bytes < 2 ? 0 : r->control_bytes - 2u;

	if (r->control_bytes == 0) {
		end(r, WEBSOCKET_NO_CODE, "Close without a code");
	} else if (r->control_bytes == 1 || !may_be_sent(code)) {
		end(r, WEBSOCKET_PROTOCOL, "Close with a code that may not be sent");
		return;
	} else if (utf8_valid_prefix((const char *)r->control + 2, reason) != reason) {
		end(r, WEBSOCKET_NOT_UTF8, "reason of Close is not UTF-8");
		return;
	} else {
		end(r, (enum websocket_code)code, "Close");
	}
	r->by_peer = true;
}

static void take_control(struct websocket_reader *r)
{
	if (opcode_of(r) == WEBSOCKET_CLOSE) {
		take_close(r);
	} else if (opcode_of(r) == WEBSOCKET_PING) {
		/* The newest one counts (RFC 6455, section 5.5.3). */
		memcpy(r->ping, r->control, r->control_bytes);
		r->ping_bytes = r->control_bytes;
		r->ping_due = true;
	}
	/* A Pong nobody asked for needs no answer (section 5.5.3). */
}

static void end_frame(struct websocket_reader *r)
{
	if (is_control(r))
		take_control(r);
	r->in_frame = false;
	r->header_bytes = 0;
}

/* Gives how many bytes of [from, from + n) belong to this frame. */
static size_t take_payload(struct websocket_reader *r, uint8_t *to, const uint8_t *from, size_t n)
{
	if (n > r->left)
		n = (size_t)r->left;
	if (is_control(r)) {
		unmask(r, r->control + r->control_bytes, from, n);
		r->control_bytes = (uint8_t)(r->control_bytes + n);
	} else {
		unmask(r, to, from, n);
	}
	r->left -= n;
	return n;
}

size_t websocket_read(struct websocket_reader *r, uint8_t *p, size_t n)
{
	size_t at = 0, payload = 0;

	while (!r->has_ended && at < n) {
		if (r->in_frame) {
			size_t used = take_payload(r, p + payload, p + at, n - at);

			at += used;
			payload += is_control(r) ? 0 : used;
		} else {
			take_header_byte(r, p[at++]);
		}
		if (!r->has_ended && r->in_frame && r->left == 0)
			end_frame(r);
	}
	return payload;
}

/* --- what goes -------------------------------------------------------- */

static void put_number(uint8_t *p, uint64_t n, unsigned bytes)
{
	while (bytes-- > 0) {
		p[bytes] = (uint8_t)n;
		n >>= 8;
	}
}

size_t websocket_header(uint8_t out[WEBSOCKET_HEADER_LARGEST], enum websocket_opcode opcode,
	uint64_t n, const uint8_t *mask)
{
	unsigned long_bytes = n < LENGTH_16 ? 0 : n <= UINT16_MAX ? 2 : 8;
	unsigned length = long_bytes == 0 ? (unsigned)n : long_bytes == 2 ? LENGTH_16 : LENGTH_64;

	out[0] = (uint8_t)(FIN | (unsigned)opcode);
	out[1] = (uint8_t)((mask ? MASK : 0) | length);
	put_number(out + 2, n, long_bytes);
	if (mask == NULL)
		return 2 + long_bytes;
	memcpy(out + 2 + long_bytes, mask, WEBSOCKET_MASK_BYTES);
	return 2 + long_bytes + WEBSOCKET_MASK_BYTES;
}

void websocket_mask(const uint8_t mask[WEBSOCKET_MASK_BYTES], uint8_t *p, size_t n)
{
	apply_mask(mask, 0, p, p, n);
}

enum websocket_code websocket_code_of(int err)
{
	static const struct {
		int err;
		enum websocket_code code;
	} rows[] = {
		{ERR_MALFORMED, WEBSOCKET_PROTOCOL},
		{ERR_PROTOCOL, WEBSOCKET_PROTOCOL},
		{ERR_TOO_LARGE, WEBSOCKET_TOO_LARGE},
		{ERR_SHUTDOWN, WEBSOCKET_GOING_AWAY},
		{ERR_CREDENTIALS, WEBSOCKET_POLICY},
		{ERR_DENIED, WEBSOCKET_POLICY},
		{ERR_TIMEOUT, WEBSOCKET_POLICY},
		{ERR_KEEP_ALIVE, WEBSOCKET_POLICY},
		{ERR_SYSTEM, WEBSOCKET_INTERNAL},
		{ERR_MEMORY, WEBSOCKET_INTERNAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].err == err)
			return rows[i].code;
	return WEBSOCKET_NORMAL;
}
