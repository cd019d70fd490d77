/* Frames by the rules of RFC 6455, section 5, each whole and byte by byte; then requests. */
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

/* --- reading ---------------------------------------------------------- */

#define MASKED "\x00\x00\x00\x00" /* leaves the payload as it is */
#define BYTES(text) text, sizeof(text) - 1

struct row {
	const char *name;
	const char *in;
	size_t in_bytes;
	const char *want; /* payload */
	size_t want_bytes;
	int code; /* -1: goes on */
	bool by_peer;
};

/* clang-format off */
static const struct row rows[] = {
	{"one frame", BYTES("\x82\x83" MASKED "abc"), BYTES("abc"), -1, false},
	{"masked as in section 5.7", BYTES("\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
		BYTES("Hello"), -1, false},
	{"empty", BYTES("\x82\x80" MASKED), BYTES(""), -1, false},
	{"two frames", BYTES("\x82\x81" MASKED "a" "\x82\x81" MASKED "b"), BYTES("ab"), -1, false},
	{"fragments", BYTES("\x02\x81" MASKED "a" "\x00\x81" MASKED "b" "\x80\x81" MASKED "c"
		"\x82\x81" MASKED "d"), BYTES("abcd"), -1, false},
	{"ping between fragments", BYTES("\x02\x81" MASKED "a" "\x89\x81" MASKED "p"
		"\x80\x81" MASKED "b"), BYTES("ab"), -1, false},
	{"pong", BYTES("\x8a\x81" MASKED "p" "\x82\x81" MASKED "a"), BYTES("a"), -1, false},
	{"text", BYTES("\x81\x81" MASKED "a"), BYTES(""), 1003, false},
	{"text begun", BYTES("\x01\x81" MASKED "a"), BYTES(""), 1003, false},
	{"no mask", BYTES("\x82\x01" "a"), BYTES(""), 1002, false},
	{"Close without a mask", BYTES("\x88\x00"), BYTES(""), 1002, false},
	{"RSV1", BYTES("\xc2\x81" MASKED "a"), BYTES(""), 1002, false},
	{"RSV2", BYTES("\xa2\x81" MASKED "a"), BYTES(""), 1002, false},
	{"RSV3", BYTES("\x92\x81" MASKED "a"), BYTES(""), 1002, false},
	{"RSV1 on a ping", BYTES("\xc9\x80" MASKED), BYTES(""), 1002, false},
	{"opcode 3", BYTES("\x83\x80" MASKED), BYTES(""), 1002, false},
	{"opcode 7", BYTES("\x87\x80" MASKED), BYTES(""), 1002, false},
	{"opcode 11", BYTES("\x8b\x80" MASKED), BYTES(""), 1002, false},
	{"opcode 15", BYTES("\x8f\x80" MASKED), BYTES(""), 1002, false},
	{"ping in fragments", BYTES("\x09\x80" MASKED), BYTES(""), 1002, false},
	{"Close in fragments", BYTES("\x08\x80" MASKED), BYTES(""), 1002, false},
	{"long ping", BYTES("\x89\xfe\x00\x7e" MASKED), BYTES(""), 1002, false},
	{"continuation of nothing", BYTES("\x80\x81" MASKED "a"), BYTES(""), 1002, false},
	{"continuation behind the end", BYTES("\x82\x81" MASKED "a" "\x80\x81" MASKED "b"),
		BYTES("a"), 1002, false},
	{"message in a message", BYTES("\x02\x81" MASKED "a" "\x82\x81" MASKED "b"), BYTES("a"),
		1002, false},
	{"16 bits for 125", BYTES("\x82\xfe\x00\x7d" MASKED), BYTES(""), 1002, false},
	{"16 bits for 126", BYTES("\x82\xfe\x00\x7e" MASKED "a"), BYTES("a"), -1, false},
	{"64 bits for 65535", BYTES("\x82\xff\0\0\0\0\0\0\xff\xff" MASKED), BYTES(""), 1002, false},
	{"64 bits for 65536", BYTES("\x82\xff\0\0\0\0\0\1\0\0" MASKED "a"), BYTES("a"), -1, false},
	{"highest bit", BYTES("\x82\xff\x80\0\0\0\0\1\0\0" MASKED), BYTES(""), 1002, false},
	{"16 MiB", BYTES("\x82\xff\0\0\0\0\1\0\0\0" MASKED), BYTES(""), -1, false},
	{"more than 16 MiB", BYTES("\x82\xff\0\0\0\0\1\0\0\1" MASKED), BYTES(""), 1009, false},
	{"Close", BYTES("\x82\x81" MASKED "a" "\x88\x85" MASKED "\x03\xe8" "bye" "\x82\x81" MASKED
		"b"), BYTES("a"), 1000, true},
	{"empty Close", BYTES("\x88\x80" MASKED), BYTES(""), 0, true},
	{"Close of one byte", BYTES("\x88\x81" MASKED "\x03"), BYTES(""), 1002, false},
	{"Close 999", BYTES("\x88\x82" MASKED "\x03\xe7"), BYTES(""), 1002, false},
	{"Close 1003", BYTES("\x88\x82" MASKED "\x03\xeb"), BYTES(""), 1003, true},
	{"Close 1004", BYTES("\x88\x82" MASKED "\x03\xec"), BYTES(""), 1002, false},
	{"Close 1005", BYTES("\x88\x82" MASKED "\x03\xed"), BYTES(""), 1002, false},
	{"Close 1006", BYTES("\x88\x82" MASKED "\x03\xee"), BYTES(""), 1002, false},
	{"Close 1014", BYTES("\x88\x82" MASKED "\x03\xf6"), BYTES(""), 1014, true},
	{"Close 1015", BYTES("\x88\x82" MASKED "\x03\xf7"), BYTES(""), 1002, false},
	{"Close 2999", BYTES("\x88\x82" MASKED "\x0b\xb7"), BYTES(""), 1002, false},
	{"Close 3000", BYTES("\x88\x82" MASKED "\x0b\xb8"), BYTES(""), 3000, true},
	{"Close 4999", BYTES("\x88\x82" MASKED "\x13\x87"), BYTES(""), 4999, true},
	{"Close 5000", BYTES("\x88\x82" MASKED "\x13\x88"), BYTES(""), 1002, false},
	{"reason in UTF-8", BYTES("\x88\x84" MASKED "\x03\xe8\xc3\xa9"), BYTES(""), 1000, true},
	{"reason cut in a character", BYTES("\x88\x83" MASKED "\x03\xe8\xc3"), BYTES(""), 1007,
		false},
	{"reason with a surrogate", BYTES("\x88\x85" MASKED "\x03\xe8\xed\xa0\x80"), BYTES(""),
		1007, false},
};

/* What a client reads. */
static const struct row of_servers[] = {
	{"one frame", BYTES("\x82\x03" "abc"), BYTES("abc"), -1, false},
	{"as in section 5.7", BYTES("\x02\x03Hel" "\x80\x02lo"), BYTES("Hello"), -1, false},
	{"empty", BYTES("\x82\x00" "\x82\x01" "a"), BYTES("a"), -1, false},
	{"ping between fragments", BYTES("\x02\x01" "a" "\x89\x01" "p" "\x80\x01" "b"),
		BYTES("ab"), -1, false},
	{"16 bits", BYTES("\x82\x7e\x00\x7e" "a"), BYTES("a"), -1, false},
	{"64 bits", BYTES("\x82\x7f\0\0\0\0\0\1\0\0" "a"), BYTES("a"), -1, false},
	{"16 bits for 125", BYTES("\x82\x7e\x00\x7d"), BYTES(""), 1002, false},
	{"more than 16 MiB", BYTES("\x82\x7f\0\0\0\0\1\0\0\1"), BYTES(""), 1009, false},
	{"masked", BYTES("\x82\x81" MASKED "a"), BYTES(""), 1002, false},
	{"masked behind a good one", BYTES("\x82\x01" "a" "\x82\x81" MASKED "b"), BYTES("a"),
		1002, false},
	{"masked ping", BYTES("\x89\x80" MASKED), BYTES(""), 1002, false},
	{"text", BYTES("\x81\x01" "a"), BYTES(""), 1003, false},
	{"Close", BYTES("\x82\x01" "a" "\x88\x05\x03\xe9" "bye" "\x82\x01" "b"), BYTES("a"),
		1001, true},
	{"empty Close", BYTES("\x88\x00"), BYTES(""), 0, true},
};
/* clang-format on */

/* Reads the row in pieces of `step` bytes and says what is wrong, or NULL. */
static const char *read_row(const struct row *row, bool from_server, size_t step)
{
	struct websocket_reader r = {.from_server = from_server};
	uint8_t got[256], piece[256];
	size_t n = 0;

	for (size_t at = 0; at < row->in_bytes; at += step) {
		size_t bytes = row->in_bytes - at < step ? row->in_bytes - at : step;

		memcpy(piece, row->in + at, bytes);
		bytes = websocket_read(&r, piece, bytes);
		memcpy(got + n, piece, bytes);
		n += bytes;
	}
	if (n != row->want_bytes || memcmp(got, row->want, n) != 0)
		return "payload";
	if (r.has_ended != (row->code >= 0) || (r.has_ended && r.code != row->code))
		return "code";
	if (r.has_ended && r.why == NULL)
		return "why";
	return r.by_peer != row->by_peer ? "by whom" : NULL;
}

static void judge_rows(const struct row *all, size_t count, bool from_server)
{
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		for (size_t step = 1; step <= 64; step = step < 4 ? step + 1 : step * 16) {
			const char *wrong = read_row(&all[i], from_server, step);

			if (wrong)
				print_error("%s, step %zu: %s\n", all[i].name, step, wrong);
			good &= wrong == NULL;
		}
	}
	assert_true(good);
}

static void frames_are_judged_by_the_table_in_any_pieces(void **state)
{
	(void)state;
	judge_rows(rows, sizeof(rows) / sizeof(rows[0]), false);
	judge_rows(of_servers, sizeof(of_servers) / sizeof(of_servers[0]), true);
}

static void the_newest_ping_is_kept_unmasked(void **state)
{
	struct websocket_reader r = {0};
	uint8_t bytes[] = "\x89\x83\x01\x02\x03\x04"
			  "abc"
			  "\x89\x82\x01\x02\x03\x04\x39\x39";

	(void)state;
	assert_int_equal(websocket_read(&r, bytes, sizeof(bytes) - 1), 0);
	assert_true(r.ping_due);
	assert_int_equal(r.ping_bytes, 2);
	assert_memory_equal(r.ping, "8;", 2);
}

/* A frame of n bytes masked with a mask of four different bytes. */
static size_t put_frame(uint8_t *out, const uint8_t *payload, size_t n)
{
	static const uint8_t mask[4] = {0xde, 0xad, 0x00, 0x7f};
	size_t head = websocket_header(out, WEBSOCKET_BINARY, n, NULL);

	out[1] |= 0x80;
	memcpy(out + head, mask, 4);
	for (size_t i = 0; i < n; i++)
		out[head + 4 + i] = payload[i] ^ mask[i & 3];
	return head + 4 + n;
}

static void frames_of_every_size_cut_anywhere_give_their_bytes(void **state)
{
	enum { MOST = 70000 };
	uint8_t *payload = mem_new(MOST), *frame = mem_new(MOST + 14), *got = mem_new(MOST);
	unsigned seed = 7;

	(void)state;
	for (size_t i = 0; i < MOST; i++)
		payload[i] = (uint8_t)rand_r(&seed);
	for (size_t n = 1; n <= MOST; n += n < 300 ? 1 : n + 17) {
		size_t bytes = put_frame(frame, payload, n), at = 0, have = 0;
		struct websocket_reader r = {0};

		while (at < bytes) {
			size_t piece = 1 + (size_t)rand_r(&seed) % (n / 3 + 5);
			size_t fresh;

			piece = piece < bytes - at ? piece : bytes - at;
			fresh = websocket_read(&r, frame + at, piece);
			memcpy(got + have, frame + at, fresh);
			have += fresh;
			at += piece;
		}
		assert_false(r.has_ended);
		assert_int_equal(have, n);
		assert_memory_equal(got, payload, n);
	}
	free(payload);
	free(frame);
	free(got);
}

static void our_clients_mask_as_frames_made_by_hand(void **state)
{
	static const uint8_t mask[4] = {0xde, 0xad, 0x00, 0x7f};
	static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 125, 126, 65535, 65536};
	uint8_t *payload = mem_new(65536), *want = mem_new(65536 + 14);
	uint8_t header[WEBSOCKET_HEADER_LARGEST];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t bytes, head, n = sizes[i];

		for (size_t k = 0; k < n; k++)
			payload[k] = (uint8_t)(k * 7);
		bytes = put_frame(want, payload, n);
		head = websocket_header(header, WEBSOCKET_BINARY, n, mask);
		websocket_mask(mask, payload, n);
		assert_int_equal(head + n, bytes);
		assert_memory_equal(header, want, head);
		assert_memory_equal(payload, want + head, n);
	}
	free(payload);
	free(want);
}

static void headers_take_the_shortest_form(void **state)
{
	static const struct {
		uint64_t n;
		const char *want;
		size_t bytes;
	} sizes[] = {
		{0, BYTES("\x82\x00")},
		{125, BYTES("\x82\x7d")},
		{126, BYTES("\x82\x7e\x00\x7e")},
		{65535, BYTES("\x82\x7e\xff\xff")},
		{65536, BYTES("\x82\x7f\0\0\0\0\0\1\0\0")},
		{1ull << 40, BYTES("\x82\x7f\0\0\1\0\0\0\0\0")},
	};
	uint8_t out[WEBSOCKET_HEADER_LARGEST];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(
			websocket_header(out, WEBSOCKET_BINARY, sizes[i].n, NULL), sizes[i].bytes);
		assert_memory_equal(out, sizes[i].want, sizes[i].bytes);
	}
	assert_int_equal(websocket_header(out, WEBSOCKET_CLOSE, 2, NULL), 2);
	assert_memory_equal(out, "\x88\x02", 2);
}

static void errors_have_their_codes(void **state)
{
	(void)state;
	assert_int_equal(websocket_code_of(0), WEBSOCKET_NORMAL);
	assert_int_equal(websocket_code_of(ERR_CLOSED), WEBSOCKET_NORMAL);
	assert_int_equal(websocket_code_of(ERR_SHUTDOWN), WEBSOCKET_GOING_AWAY);
	assert_int_equal(websocket_code_of(ERR_MALFORMED), WEBSOCKET_PROTOCOL);
	assert_int_equal(websocket_code_of(ERR_TOO_LARGE), WEBSOCKET_TOO_LARGE);
	assert_int_equal(websocket_code_of(ERR_CREDENTIALS), WEBSOCKET_POLICY);
}

/* --- requests --------------------------------------------------------- */

#define LINE(path) "GET " path " HTTP/1.1\r\nHost: a\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define MQTT "Sec-WebSocket-Protocol: mqtt\r\n"
#define REST UPGRADE VERSION KEY MQTT

static const struct {
	const char *name;
	const char *head;
	int want; /* 0: not ours */
} requests[] = {
	{"good", LINE("/mqtt") REST, 101},
	{"the second path", LINE("/ws?a=b") REST, 101},
	{"the root", LINE("/") REST, 101},
	{"the root as a page", LINE("/"), 0},
	{"the root for another protocol", LINE("/") "Upgrade: h2c\r\nConnection: upgrade\r\n", 0},
	{"another path", LINE("/mqtt/") REST, 0},
	{"a page at ours", LINE("/mqtt"), 426},
	{"post", "POST /mqtt HTTP/1.1\r\nHost: a\r\n" REST, 405},
	{"1.0", "GET /mqtt HTTP/1.0\r\n" REST, 400},
	{"body", LINE("/mqtt") "Content-Length: 1\r\n" REST, 400},
	{"lists, any case",
		LINE("/mqtt") "upgrade: h2c, WebSocket\r\nconnection: a ,upgrade\r\n" //
		VERSION KEY MQTT,
		101},
	{"no Connection", LINE("/mqtt") "Upgrade: websocket\r\n" VERSION KEY MQTT, 400},
	{"version 8", LINE("/mqtt") UPGRADE "Sec-WebSocket-Version: 8\r\n" KEY MQTT, 426},
	{"no version", LINE("/mqtt") UPGRADE KEY MQTT, 426},
	{"no key", LINE("/mqtt") UPGRADE VERSION MQTT, 400},
	{"two keys", LINE("/mqtt") KEY REST, 400},
	{"short key", LINE("/mqtt") UPGRADE VERSION MQTT "Sec-WebSocket-Key: AAAA\r\n", 400},
	{"key of 17 bytes",
		LINE("/mqtt") UPGRADE VERSION MQTT
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n",
		400},
	{"key that is no base64",
		LINE("/mqtt") UPGRADE VERSION MQTT
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSB!b25jZQ==\r\n",
		400},
	{"no protocol", LINE("/mqtt") UPGRADE VERSION KEY, 400},
	{"another protocol", LINE("/mqtt") UPGRADE VERSION KEY "Sec-WebSocket-Protocol: amqp\r\n",
		400},
	{"protocol in another case",
		LINE("/mqtt") UPGRADE VERSION KEY "Sec-WebSocket-Protocol: MQTT\r\n", 400},
	{"protocol in a second header",
		LINE("/mqtt") UPGRADE VERSION KEY
		"Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c, mqttv3.1\r\n",
		101},
	{"good origin", LINE("/mqtt") REST "Origin: HTTPS://good.example\r\n", 101},
	{"bad origin", LINE("/mqtt") REST "Origin: https://bad.example\r\n", 403},
	{"longer origin", LINE("/mqtt") REST "Origin: https://good.example.bad\r\n", 403},
	{"empty origin", LINE("/mqtt") REST "Origin:\r\n", 403},
};

static bool ask(const struct websocket_rules *rules, const char *head, struct http_answer *answer)
{
	struct http_request r;
	char text[1024];
	int status = 0;

	snprintf(text, sizeof(text), "%s\r\n", head);
	assert_true(http_parse((const uint8_t *)text, strlen(text), &r, &status) > 0);
	return websocket_answer(rules, &r, answer);
}

static void requests_are_answered_by_the_table(void **state)
{
	char *paths[] = {(char[]){"/mqtt"}, (char[]){"/ws"}};
	char *origins[] = {(char[]){"https://good.example"}};
	struct websocket_rules rules = {paths, 2, origins, 1};

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct http_answer answer = {0};
		bool ours = ask(&rules, requests[i].head, &answer);

		if (ours != (requests[i].want != 0) || answer.status != requests[i].want)
			fail_msg("%s: %d %d", requests[i].name, ours, answer.status);
		buf_fini(&answer.body);
		buf_fini(&answer.fields);
	}
}

static void the_answer_holds_the_key_of_the_rfc(void **state)
{
	char *paths[] = {(char[]){"/mqtt"}};
	struct websocket_rules rules = {paths, 1, NULL, 0};
	struct http_answer answer = {0};

	(void)state;
	assert_true(ask(&rules, LINE("/mqtt") REST "Origin: https://any.example\r\n", &answer));
	assert_true(view_equal(buf_view(&answer.fields),
		VIEW("Upgrade: websocket\r\nConnection: Upgrade\r\n"
		     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
		     "Sec-WebSocket-Protocol: mqtt\r\n")));
	buf_fini(&answer.fields);
}

static void without_paths_nothing_is_ours(void **state)
{
	struct websocket_rules rules = {0};
	struct http_answer answer = {0};

	(void)state;
	assert_false(ask(&rules, LINE("/mqtt") REST, &answer));
	assert_false(ask(&rules, LINE("/") REST, &answer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_judged_by_the_table_in_any_pieces),
		cmocka_unit_test(the_newest_ping_is_kept_unmasked),
		cmocka_unit_test(frames_of_every_size_cut_anywhere_give_their_bytes),
		cmocka_unit_test(our_clients_mask_as_frames_made_by_hand),
		cmocka_unit_test(headers_take_the_shortest_form),
		cmocka_unit_test(errors_have_their_codes),
		cmocka_unit_test(requests_are_answered_by_the_table),
		cmocka_unit_test(the_answer_holds_the_key_of_the_rfc),
		cmocka_unit_test(without_paths_nothing_is_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
