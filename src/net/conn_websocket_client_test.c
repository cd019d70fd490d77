/* A connection that asks for a WebSocket: our own server, and one played byte by byte. */
#include "net/conn.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/harness.h"
#include "net/harness_tls.h"
#include "net/http_server.h"
#include "net/listener.h"
#include "net/websocket.h"

#define AGREED                                                       \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" \
	"Connection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n"    \
	"Sec-WebSocket-Accept: "

struct rig {
	struct loop *loop;
	struct listener *listener;
	struct address at;
	struct http_server *web; /* NULL: the test plays the server */
	struct tls_context *server_tls;
	struct tls_context *client_tls;
	struct conn_options options;
	struct url url;
	struct conn server;
	struct conn client;
	const char *push_early; /* by the client, before it is open */
	bool client_open;
	bool client_writable; /* on_writable came */
	bool client_closed;
	bool server_there;
	bool server_closed;
	int err; /* of the client */
	char why[WEBSOCKET_WHY_BYTES];
	struct buf to_server; /* shown to the server */
	struct buf to_client;
	const uint8_t *to_send;
	size_t to_send_bytes;
	size_t sent;
	size_t pending_most;
	unsigned seed;
	bool tls;
	struct identity identity;
	char folder[32];
};

static struct rig *the_rig; /* callbacks of two conns in one struct */

/* --- the client -------------------------------------------------------- */

/* Random pieces, and pushes between them. */
static void send_more(struct rig *r)
{
	struct iovec iov[9];
	ssize_t n = 1;

	while (n > 0 && r->sent < r->to_send_bytes) {
		size_t at = r->sent;
		int count = 0;

		for (; count < 9 && at < r->to_send_bytes; count++) {
			size_t piece = (size_t)rand_r(&r->seed) % 20000;

			piece = piece < r->to_send_bytes - at ? piece : r->to_send_bytes - at;
			iov[count] = (struct iovec){(void *)(uintptr_t)(r->to_send + at), piece};
			at += piece;
		}
		n = conn_writev(&r->client, iov, count);
		assert_true(n >= 0);
		r->sent += (size_t)n;
		if (conn_pending(&r->client) > r->pending_most)
			r->pending_most = conn_pending(&r->client);
		if (n > 0 && r->sent < r->to_send_bytes) {
			conn_push(&r->client, r->to_send + r->sent, 1);
			r->sent++;
		}
	}
}

static void client_on_open(struct conn *c)
{
	(void)c;
	assert_false(the_rig->client_open);
	assert_int_equal(buf_length(&the_rig->to_client), 0);
	the_rig->client_open = true;
}

static ssize_t client_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	(void)c;
	assert_true(the_rig->client_open);
	buf_append(&the_rig->to_client, p, n);
	return (ssize_t)n;
}

static void client_on_writable(struct conn *c)
{
	(void)c;
	assert_true(the_rig->client_open);
	the_rig->client_writable = true;
	send_more(the_rig);
}

static void client_on_close(struct conn *c, int err, const char *why)
{
	(void)c;
	the_rig->client_closed = true;
	the_rig->err = err;
	snprintf(the_rig->why, sizeof(the_rig->why), "%s", why);
}

static const struct conn_handler client_handler = {
	client_on_open, client_on_bytes, client_on_writable, client_on_close};

/* --- the server -------------------------------------------------------- */

static ssize_t server_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	(void)c;
	buf_append(&the_rig->to_server, p, n);
	return (ssize_t)n;
}

static void server_on_close(struct conn *c, int err, const char *why)
{
	(void)c;
	(void)err;
	(void)why;
	the_rig->server_closed = true;
}

static const struct conn_handler server_handler = {NULL, server_on_bytes, NULL, server_on_close};

static void take(void *context, struct conn *c)
{
	struct rig *r = context;

	conn_begin_websocket(c, NULL);
	assert_int_equal(conn_move(&r->server, c, &r->options, &server_handler), 0);
	r->server_there = true;
}

static void on_request(
	void *context, const struct http_request *request, struct view body, struct http_answer *a)
{
	char *paths[] = {(char[]){"/mqtt"}};
	struct websocket_rules rules = {paths, 1, NULL, 0};

	(void)body;
	a->take = take;
	a->take_context = context;
	if (!websocket_answer(&rules, request, a))
		a->status = 404;
}

static void on_accept(void *context, const struct arrival *a)
{
	struct rig *r = context;

	if (r->web) {
		http_server_accept(r->web,
			&(struct arrival){.fd = a->fd, .peer = a->peer, .tls = r->server_tls});
		return;
	}
	assert_int_equal(
		conn_accept(&r->server, r->loop,
			&(struct arrival){.fd = a->fd, .peer = a->peer, .tls = r->server_tls},
			&r->options, &server_handler),
		0);
	r->server_there = true;
}

/* --- the rig ----------------------------------------------------------- */

static void open_client(struct rig *r, const char *path)
{
	char text[64];
	const char *why;

	snprintf(text, sizeof(text), "%s://localhost:%u%s", r->tls ? "wss" : "ws",
		address_port(&r->at), path);
	assert_int_equal(url_parse(view_of(text), &r->url, &why), 0);
	r->options.url = &r->url;
	assert_int_equal(conn_open(&r->client, r->loop, &r->at, NULL, r->client_tls,
				 r->tls ? "localhost" : NULL, &r->options, &client_handler),
		0);
	memset(&r->url, 0xee, sizeof(r->url)); /* borrowed for the call only */
	if (r->push_early)
		conn_push(&r->client, r->push_early, strlen(r->push_early));
}

static void listen_for(struct rig *r, bool with_web)
{
	struct address any = loopback(0);

	if (with_web)
		r->web = http_server_new(r->loop, NULL, on_request, r);
	assert_int_equal(listener_open(&r->listener, r->loop, &any, true, on_accept, r), 0);
	r->at = listener_address(r->listener);
}

static bool client_is_closed(void *context)
{
	return ((struct rig *)context)->client_closed;
}

static bool both_closed(void *context)
{
	struct rig *r = context;

	return r->client_closed && r->server_closed;
}

static bool both_open(void *context)
{
	struct rig *r = context;

	return r->client_open && r->server_there && conn_is_open(&r->server);
}

static bool request_is_there(void *context)
{
	struct buf *b = &((struct rig *)context)->to_server;

	return buf_length(b) > 4 && view_ends_with(buf_view(b), VIEW("\r\n\r\n"));
}

/* Answers the request that has come, as a server would, with `behind` right behind it. */
static void agree(struct rig *r, const char *behind, size_t n)
{
	struct view text = buf_view(&r->to_server);
	const char *key = memmem(text.p, text.n, "Sec-WebSocket-Key: ", 19);
	char accept[WEBSOCKET_ACCEPT_BYTES];

	assert_non_null(key);
	websocket_accept((struct view){key + 19, WEBSOCKET_KEY_BYTES - 1}, accept);
	buf_clear(&r->to_server);
	conn_push(&r->server, AGREED, sizeof(AGREED) - 1);
	conn_push(&r->server, accept, sizeof(accept) - 1);
	conn_push(&r->server, "\r\n\r\n", 4);
	conn_push(&r->server, behind, n);
}

static void open_by_hand(struct rig *r, const char *behind, size_t n)
{
	listen_for(r, false);
	open_client(r, "");
	drive_until(r->loop, request_is_there, r);
	agree(r, behind, n);
	drive_until(r->loop, both_open, r);
}
#define SAY(r, text) conn_push(&(r)->server, text, sizeof(text) - 1)

/* --- both sides of our own --------------------------------------------- */

static bool all_there(void *context)
{
	struct rig *r = context;

	return r->sent == r->to_send_bytes && buf_length(&r->to_server) == r->sent;
}

static void what_a_client_sends_arrives_whole_and_its_pending_is_bounded(void **state)
{
	enum { BYTES = 1000000 };
	struct rig *r = *state;
	uint8_t *p = mem_new(BYTES);
	unsigned seed = 3;

	for (size_t i = 0; i < BYTES; i++)
		p[i] = (uint8_t)rand_r(&seed);
	r->options.send_buffer_bytes = 8192;
	r->options.receive_buffer_bytes = 65536;
	listen_for(r, true);
	open_client(r, "");
	drive_until(r->loop, both_open, r);
	r->to_send = p;
	r->to_send_bytes = BYTES;
	send_more(r);
	assert_in_range(r->pending_most, 1, 64 * 1024 + 64);
	drive_until(r->loop, all_there, r);
	assert_memory_equal(buf_bytes(&r->to_server), p, BYTES);
	assert_in_range(r->pending_most, 1, 64 * 1024 + 64);
	assert_true(r->client_writable);
	conn_close(&r->client, 0, NULL);
	drive_until(r->loop, both_closed, r);
	free(p);
}

static bool seven_there(void *context)
{
	struct rig *r = context;

	return buf_length(&r->to_server) == 7 && buf_length(&r->to_client) == 3;
}

static void what_was_pushed_early_follows_the_handshake(void **state)
{
	struct rig *r = *state;

	r->push_early = "early";
	listen_for(r, true);
	open_client(r, "");
	assert_false(conn_is_open(&r->client));
	drive_until(r->loop, both_open, r);
	buf_append(conn_out(&r->client), "ab", 2);
	assert_int_equal(conn_flush(&r->client), 0);
	conn_push(&r->server, "xyz", 3);
	drive_until(r->loop, seven_there, r);
	assert_memory_equal(buf_bytes(&r->to_server), "earlyab", 7);
	assert_memory_equal(buf_bytes(&r->to_client), "xyz", 3);
	conn_close(&r->server, ERR_SHUTDOWN, NULL);
	drive_until(r->loop, both_closed, r);
	assert_int_equal(r->err, ERR_CLOSED);
}

static void a_path_not_served_is_told(void **state)
{
	struct rig *r = *state;

	listen_for(r, true);
	open_client(r, "/other");
	drive_until(r->loop, client_is_closed, r);
	assert_false(r->client_open);
	assert_int_equal(r->err, ERR_PROTOCOL);
	assert_non_null(strstr(r->why, "answers 404 Not Found"));
}

/* --- a server played by hand ------------------------------------------- */

static void frames_right_behind_the_answer_are_shown_after_open(void **state)
{
	struct rig *r = *state;

	open_by_hand(r,
		"\x02\x02"
		"ab"
		"\x80\x01"
		"c",
		7);
	assert_memory_equal(buf_bytes(&r->to_client), "abc", 3);
	conn_close(&r->client, 0, NULL);
	drive_until(r->loop, both_closed, r);
}

static bool one_byte_there(void *context)
{
	return buf_length(&((struct rig *)context)->to_client) == 1;
}

static void an_answer_may_come_byte_by_byte(void **state)
{
	struct rig *r = *state;
	struct buf all = {0};

	listen_for(r, false);
	open_client(r, "");
	drive_until(r->loop, request_is_there, r);
	agree(r, "\x82\x01x", 3);
	buf_append(&all, buf_bytes(&r->server.out), buf_length(&r->server.out));
	buf_fini(&r->server.out);
	for (size_t i = 0; i < buf_length(&all); i++) {
		conn_push(&r->server, buf_bytes(&all) + i, 1);
		drive_turns(r->loop, 2);
	}
	drive_until(r->loop, one_byte_there, r);
	assert_true(r->client_open);
	buf_fini(&all);
	conn_close(&r->client, 0, NULL);
	drive_until(r->loop, both_closed, r);
}

/* The payload of the frame at *at, unmasked by the rule of the norm. */
static size_t unmasked(const uint8_t **at, uint8_t first, uint8_t out[125])
{
	const uint8_t *p = *at;
	size_t n = p[1] & 0x7f;

	assert_int_equal(p[0], first);
	assert_int_equal(p[1] & 0x80, 0x80);
	for (size_t i = 0; i < n; i++)
		out[i] = p[6 + i] ^ p[2 + i % 4];
	*at = p + 6 + n;
	return n;
}

static bool server_closed(void *context)
{
	return ((struct rig *)context)->server_closed;
}

static void every_frame_has_a_mask_of_its_own_and_pings_and_close_are_answered(void **state)
{
	struct rig *r = *state;
	uint8_t masks[3][4], out[125];
	const uint8_t *at;

	open_by_hand(r, NULL, 0);
	conn_push(&r->client, "hello", 5);
	SAY(r, "\x89\x04ping");
	while (buf_length(&r->to_server) < 11 + 10)
		drive_turns(r->loop, 1);
	SAY(r, "\x88\x02\x03\xe9");
	drive_until(r->loop, client_is_closed, r);
	assert_int_equal(r->err, ERR_CLOSED);
	drive_until(r->loop, server_closed, r);
	assert_int_equal(buf_length(&r->to_server), 11 + 10 + 8);
	at = buf_bytes(&r->to_server);
	for (int i = 0; i < 3; i++) {
		static const uint8_t firsts[] = {0x82, 0x8a, 0x88};
		static const char *const texts[] = {"hello", "ping", "\x03\xe9"};

		memcpy(masks[i], at + 2, 4);
		assert_int_equal(unmasked(&at, firsts[i], out), strlen(texts[i]));
		assert_memory_equal(out, texts[i], strlen(texts[i]));
	}
	assert_memory_not_equal(masks[0], masks[1], 4);
	assert_memory_not_equal(masks[1], masks[2], 4);
}

static void a_masked_frame_of_a_server_is_a_fault(void **state)
{
	struct rig *r = *state;

	open_by_hand(r, NULL, 0);
	SAY(r, "\x82\x81\x01\x02\x03\x04x");
	drive_until(r->loop, both_closed, r);
	assert_int_equal(r->err, ERR_PROTOCOL);
	assert_string_equal(r->why, "masked frame of a server");
	assert_int_equal(buf_length(&r->to_client), 0);
	assert_int_equal(buf_bytes(&r->to_server)[0], 0x88);
}

static void answers_that_do_not_agree_close_with_their_words(void **state)
{
	static const struct {
		const char *answer; /* NULL: it closes */
		int err;
		const char *why;
	} rows[] = {
		{"HTTP/1.1 301 Moved\r\nLocation: wss://other/\r\n\r\n", ERR_PROTOCOL,
			"redirects (301) to wss://other/, which is not followed"},
		{AGREED "AAAA\r\n\r\n", ERR_PROTOCOL, "does not belong to our key"},
		{"\x20\x03\x84\r\n", ERR_PROTOCOL, "not HTTP/1.1"},
		{NULL, ERR_CLOSED, "closed by the peer during the WebSocket handshake"},
	};
	struct rig *r = *state;

	listen_for(r, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r->client_closed = r->server_closed = r->server_there = false;
		open_client(r, "");
		drive_until(r->loop, request_is_there, r);
		buf_clear(&r->to_server);
		if (rows[i].answer)
			conn_push(&r->server, rows[i].answer, strlen(rows[i].answer));
		else
			conn_close(&r->server, 0, NULL);
		drive_until(r->loop, both_closed, r);
		assert_false(r->client_open);
		assert_int_equal(buf_length(&r->to_server), 0); /* no frame was sent */
		if (r->err != rows[i].err || strstr(r->why, rows[i].why) == NULL)
			fail_msg("row %zu: %d %s", i, r->err, r->why);
	}
}

static void an_answer_without_end_is_cut_off(void **state)
{
	struct rig *r = *state;
	char line[1024];

	memset(line, 'x', sizeof(line));
	listen_for(r, false);
	open_client(r, "");
	drive_until(r->loop, request_is_there, r);
	for (int i = 0; i < 64; i++)
		conn_push(&r->server, line, sizeof(line));
	drive_until(r->loop, client_is_closed, r);
	assert_int_equal(r->err, ERR_TOO_LARGE);
	drive_until(r->loop, server_closed, r);
}

/* ALPN: a server that speaks mqtt only refuses who offers http/1.1. */
static void over_tls_http_is_offered(void **state)
{
	struct rig *r = *state;
	struct tls_context *mqtt_only = server_context(&r->identity, NULL, false);

	tls_unref(r->server_tls);
	r->server_tls = mqtt_only;
	listen_for(r, false);
	open_client(r, "");
	drive_until(r->loop, both_closed, r);
	assert_int_equal(r->err, ERR_TLS);
	assert_non_null(strstr(r->why, "no application protocol"));
}

/* --- running ----------------------------------------------------------- */

static void make_tls(struct rig *r)
{
	struct tls_server_settings server = {.alpn = "http/1.1"};
	struct tls_client_settings client = {.verify = true};
	char *why = NULL;

	strcpy(r->folder, "/tmp/net-websocket-"
			  "XX"
			  "XX"
			  "XX");
	assert_non_null(mkdtemp(r->folder));
	identity_make(&r->identity, r->folder, "server", "DNS:localhost", 86400, NULL, false);
	server.certificate = r->identity.certificate_file;
	server.key = r->identity.key_file;
	client.ca = r->identity.certificate_file;
	assert_int_equal(tls_server_new(&r->server_tls, &server, &why), 0);
	r->client_tls = client_context(&client);
}

static int set_up(void **state, bool tls)
{
	struct rig *r = mem_new(sizeof(*r));

	*state = the_rig = r;
	r->loop = loop_new();
	r->seed = 11;
	r->tls = tls;
	if (tls)
		make_tls(r);
	return 0;
}

static int set_up_plain(void **state)
{
	return set_up(state, false);
}

static int set_up_tls(void **state)
{
	return set_up(state, true);
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	if (r->web)
		http_server_free(r->web);
	listener_close(r->listener);
	loop_free(r->loop);
	tls_unref(r->server_tls);
	tls_unref(r->client_tls);
	buf_fini(&r->to_server);
	buf_fini(&r->to_client);
	if (r->tls) {
		identity_free(&r->identity);
		rmdir(r->folder);
	}
	free(r);
	return 0;
}

#define BOTH(f)                                                      \
	cmocka_unit_test_setup_teardown(f, set_up_plain, tear_down), \
	{                                                            \
#f " (TLS)", f, set_up_tls, tear_down, NULL          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(what_a_client_sends_arrives_whole_and_its_pending_is_bounded),
		BOTH(what_was_pushed_early_follows_the_handshake),
		BOTH(a_path_not_served_is_told),
		BOTH(frames_right_behind_the_answer_are_shown_after_open),
		BOTH(an_answer_may_come_byte_by_byte),
		BOTH(every_frame_has_a_mask_of_its_own_and_pings_and_close_are_answered),
		BOTH(a_masked_frame_of_a_server_is_a_fault),
		BOTH(answers_that_do_not_agree_close_with_their_words),
		BOTH(an_answer_without_end_is_cut_off),
		cmocka_unit_test_setup_teardown(over_tls_http_is_offered, set_up_tls, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
