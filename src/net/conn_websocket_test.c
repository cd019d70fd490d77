/* A connection in frames over real sockets of loopback, plain and over TLS; the peer sees raw bytes. */
#include "net/conn.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/harness.h"
#include "net/harness_tls.h"
#include "net/listener.h"
#include "net/websocket.h"

struct rig {
	struct loop *loop;
	struct listener *listener;
	struct tls_context *server_tls;
	struct tls_context *client_tls;
	struct conn_options options;
	struct conn first; /* accepted; moved away by some tests */
	struct conn second;
	struct conn *server; /* which of them it is now */
	struct conn client;
	bool client_open;
	bool client_closed;
	bool server_closed;
	bool pause; /* the server pauses when it is shown something */
	bool hold;  /* it takes nothing */
	int err;
	struct buf shown;   /* to the server */
	struct buf raw;     /* what the client received */
	struct buf payload; /* of it, in binary frames */
	struct buf control; /* of it, control frames whole */
	size_t frame_most;
	size_t frames[16]; /* the payload of the first ones */
	unsigned frame_count;
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

/* --- the server's side ------------------------------------------------- */

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
		n = conn_writev(r->server, iov, count);
		assert_true(n >= 0);
		r->sent += (size_t)n;
		if (conn_pending(r->server) > r->pending_most)
			r->pending_most = conn_pending(r->server);
		if (n > 0 && r->sent < r->to_send_bytes) {
			conn_push(r->server, r->to_send + r->sent, 1);
			r->sent++;
		}
	}
}

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	if (the_rig->pause)
		conn_pause(c);
	if (the_rig->hold)
		return 0;
	buf_append(&the_rig->shown, p, n);
	return (ssize_t)n;
}

static void on_writable(struct conn *c)
{
	(void)c;
	send_more(the_rig);
}

static void on_close(struct conn *c, int err, const char *why)
{
	assert_ptr_equal(c, the_rig->server);
	assert_non_null(why);
	the_rig->server_closed = true;
	the_rig->err = err;
}

static const struct conn_handler server_handler = {NULL, on_bytes, on_writable, on_close};

/* --- the client's side ------------------------------------------------- */

static void client_on_open(struct conn *c)
{
	(void)c;
	the_rig->client_open = true;
}

static ssize_t client_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	(void)c;
	buf_append(&the_rig->raw, p, n);
	return (ssize_t)n;
}

static void client_on_close(struct conn *c, int err, const char *why)
{
	(void)c;
	(void)err;
	(void)why;
	the_rig->client_closed = true;
}

static const struct conn_handler client_handler = {
	client_on_open, client_on_bytes, NULL, client_on_close};

/* Takes whole frames off what was received. */
static void take_frames(struct rig *r)
{
	for (;;) {
		const uint8_t *p = buf_bytes(&r->raw);
		size_t have = buf_length(&r->raw), head = 2, n;

		if (have < 10 && (have < 2 || have < 2u + p[1]))
			return;
		assert_int_equal(p[1] & 0x80, 0); /* a server does not mask */
		n = p[1];
		if (n == 126) {
			n = (size_t)p[2] << 8 | p[3];
			head = 4;
		} else if (n == 127) {
			n = (size_t)p[6] << 24 | (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
			head = 10;
		}
		if (have < head + n)
			return;
		if (p[0] == (0x80 | WEBSOCKET_BINARY)) {
			buf_append(&r->payload, p + head, n);
			r->frame_most = n > r->frame_most ? n : r->frame_most;
			if (r->frame_count < 16)
				r->frames[r->frame_count] = n;
			r->frame_count++;
		} else {
			buf_append(&r->control, p, head + n);
		}
		buf_consume(&r->raw, head + n);
	}
}

static void say(struct rig *r, const char *bytes, size_t n)
{
	conn_push(&r->client, bytes, n);
}
#define SAY(r, text) say(r, text, sizeof(text) - 1)
#define MASKED "\x00\x00\x00\x00"

/* --- the rig ----------------------------------------------------------- */

static void on_accept(void *context, const struct arrival *a)
{
	struct rig *r = context;

	assert_int_equal(
		conn_accept(&r->first, r->loop,
			&(struct arrival){.fd = a->fd, .peer = a->peer, .tls = r->server_tls},
			&r->options, &server_handler),
		0);
	r->server = &r->first;
}

static bool both_open(void *context)
{
	struct rig *r = context;

	return r->client_open && r->server && conn_is_open(r->server);
}

static void open_rig(struct rig *r)
{
	struct address at = loopback(0);

	assert_int_equal(listener_open(&r->listener, r->loop, &at, true, on_accept, r), 0);
	at = listener_address(r->listener);
	assert_int_equal(conn_open(&r->client, r->loop, &at, NULL, r->client_tls,
				 r->tls ? "localhost" : NULL, &r->options, &client_handler),
		0);
	drive_until(r->loop, both_open, r);
}

static void open_framed(struct rig *r)
{
	open_rig(r);
	conn_begin_websocket(r->server, NULL);
}

static bool both_closed(void *context)
{
	struct rig *r = context;

	return r->client_closed && r->server_closed;
}

static void end_rig(struct rig *r)
{
	drive_until(r->loop, both_closed, r);
	take_frames(r);
	assert_int_equal(buf_length(&r->raw), 0); /* no frame was left in part */
}

static uint8_t *some_bytes(size_t n)
{
	uint8_t *p = mem_new(n);
	unsigned seed = 3;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)rand_r(&seed);
	return p;
}

/* --- tests ------------------------------------------------------------- */

static bool all_there(void *context)
{
	struct rig *r = context;

	take_frames(r);
	return r->sent == r->to_send_bytes && buf_length(&r->payload) >= r->sent;
}

static void frames_taken_in_part_are_finished_and_bounded(void **state)
{
	enum { BYTES = 5000000 };
	struct rig *r = *state;
	uint8_t *p = some_bytes(BYTES);

	r->options = (struct conn_options){.send_buffer_bytes = 8192, .receive_buffer_bytes = 8192};
	open_framed(r);
	r->to_send = p;
	r->to_send_bytes = BYTES;
	send_more(r);
	/* One frame, the byte pushed, and over TLS nothing more. */
	assert_in_range(r->pending_most, 1, 64 * 1024 + 32);
	SAY(r, "\x89\x81" MASKED "p");
	drive_until(r->loop, all_there, r);
	assert_in_range(r->pending_most, 1, 64 * 1024 + 32);
	assert_int_equal(buf_length(&r->payload), BYTES);
	assert_memory_equal(buf_bytes(&r->payload), p, BYTES);
	assert_in_range(r->frame_most, 1, 64 * 1024);
	conn_close(r->server, 0, NULL);
	end_rig(r);
	assert_int_equal(buf_length(&r->control), 3 + 4);
	assert_memory_equal(buf_bytes(&r->control), "\x8a\x01p\x88\x02\x03\xe8", 7);
	free(p);
}

/* The first byte says how many bytes a unit has; 0 stands for 100 000. */
static size_t counted(const uint8_t *p, size_t n)
{
	return n == 0 ? 0 : *p ? *p : 100000;
}

static bool ten_frames(void *context)
{
	struct rig *r = context;

	take_frames(r);
	return r->frame_count == 10;
}

static void a_frame_holds_one_unit_or_a_part_of_a_larger_one(void **state)
{
	static const size_t wanted[] = {3, 2, 4, 1, 2, 64 * 1024, 100000 - 64 * 1024, 1, 1, 1};
	struct rig *r = *state;
	uint8_t *large = mem_new(100000);
	struct iovec pieces[] = {{"\x04x", 2}, {"yz", 2}, {"\x01\x02", 2}, {"q", 1}, {large, 90000},
		{large + 90000, 10000}, {"\x01", 1}};
	ssize_t taken;

	open_rig(r);
	conn_begin_websocket(r->server, counted);
	conn_push(r->server,
		"\x03"
		"ab"
		"\x02"
		"c",
		5);
	taken = conn_writev(r->server, pieces, 7);
	assert_int_equal(taken, 7 + 100000 + 1);
	conn_push(r->server,
		"\x01"
		"\x01",
		2);
	drive_until(r->loop, ten_frames, r);
	assert_memory_equal(r->frames, wanted, sizeof(wanted));
	conn_close(r->server, 0, NULL);
	end_rig(r);
	free(large);
}

static bool three_shown(void *context)
{
	return buf_length(&((struct rig *)context)->shown) == 3;
}

static void what_came_before_close_is_shown_first(void **state)
{
	struct rig *r = *state;

	open_framed(r);
	SAY(r, "\x02\x82" MASKED "ab"
	       "\x80\x81" MASKED "c"
	       "\x88\x82" MASKED "\x0b\xb8"
	       "junk");
	end_rig(r);
	assert_true(three_shown(r));
	assert_memory_equal(buf_bytes(&r->shown), "abc", 3);
	assert_int_equal(r->err, ERR_CLOSED);
	assert_int_equal(buf_length(&r->control), 4);
	assert_memory_equal(buf_bytes(&r->control), "\x88\x02\x0b\xb8", 4); /* its own code */
}

static void faults_close_with_their_code(void **state)
{
	struct rig *r = *state;

	open_framed(r);
	SAY(r, "\x82\x81" MASKED "a"
	       "\x81\x81" MASKED "b");
	end_rig(r);
	assert_int_equal(r->err, ERR_PROTOCOL);
	assert_memory_equal(buf_bytes(&r->shown), "a", 1);
	assert_memory_equal(buf_bytes(&r->control), "\x88\x02\x03\xeb", 4);
}

static void while_paused_neither_payload_nor_close_is_lost(void **state)
{
	struct rig *r = *state;

	open_framed(r);
	r->pause = true;
	r->hold = true;
	SAY(r, "\x82\x83" MASKED "abc"
	       "\x88\x80" MASKED);
	while (!r->server->paused)
		drive_turns(r->loop, 1);
	drive_turns(r->loop, 20);
	assert_false(r->server_closed);
	r->pause = r->hold = false;
	conn_resume(r->server);
	end_rig(r);
	assert_true(three_shown(r));
	assert_memory_equal(buf_bytes(&r->control), "\x88\x00", 2);
}

static bool kept(void *context)
{
	return buf_length(&((struct rig *)context)->first.in) == 4 + 7 + 6;
}

/* As the HTTP server does it: paused, with bytes kept, then another owner. */
static void a_connection_moves_with_what_it_has_kept(void **state)
{
	struct rig *r = *state;

	open_rig(r);
	r->hold = true;
	SAY(r, "HEAD"
	       "\x82\x81" MASKED "a"
	       "\x82\x82" MASKED);
	drive_until(r->loop, kept, r);
	conn_pause(&r->first);
	buf_consume(&r->first.in, 4);
	conn_push(&r->first, "101!", 4);
	conn_begin_websocket(&r->first, NULL);
	r->hold = false;
	assert_int_equal(conn_move(&r->second, &r->first, NULL, &server_handler), 0);
	assert_int_equal(r->first.io.fd, -1);
	assert_false(conn_is_open(&r->first));
	memset(&r->first, 0xee, sizeof(r->first));
	r->server = &r->second;
	conn_push(&r->second, "x", 1);
	SAY(r, "bc");
	drive_until(r->loop, three_shown, r);
	assert_memory_equal(buf_bytes(&r->shown), "abc", 3);
	conn_close(&r->second, ERR_SHUTDOWN, NULL);
	drive_until(r->loop, both_closed, r);
	assert_int_equal(buf_length(&r->raw), 4 + 3 + 4);
	assert_memory_equal(buf_bytes(&r->raw), "101!\x82\x01x\x88\x02\x03\xe9", 11);
	assert_int_equal(r->err, ERR_SHUTDOWN);
}

static void pings_of_who_does_not_read_are_not_piled_up(void **state)
{
	enum { PINGS = 40000 };
	struct rig *r = *state;
	uint8_t *p = mem_new(PINGS * 16);

	for (size_t i = 0; i < PINGS; i++)
		memcpy(p + i * 16, "\x89\x8a" MASKED "0123456789", 16);
	/* Less than a segment of the loopback would make TCP wait for its timers. */
	r->options =
		(struct conn_options){.send_buffer_bytes = 65536, .receive_buffer_bytes = 131072};
	open_framed(r);
	conn_pause(&r->client);
	conn_push(r->server, p, PINGS * 16); /* fills the socket and waits */
	conn_push(&r->client, p, PINGS * 16);
	while (r->server->bytes_in < PINGS * 16)
		drive_turns(r->loop, 1);
	assert_in_range(conn_pending(r->server), 1, PINGS * 16 + 64 * 1024);
	assert_int_equal(buf_length(&r->shown), 0);
	conn_resume(&r->client);
	while (buf_length(&r->control) == 0) {
		drive_turns(r->loop, 1);
		take_frames(r);
	}
	assert_in_range(buf_length(&r->control), 12, 12 * 100); /* the newest, late */
	conn_close(&r->client, 0, NULL);
	drive_until(r->loop, both_closed, r);
	free(p);
}

/* --- running ----------------------------------------------------------- */

static int set_up(void **state, bool tls)
{
	struct rig *r = mem_new(sizeof(*r));
	struct tls_client_settings client = {.verify = true};

	*state = the_rig = r;
	r->loop = loop_new();
	r->seed = 11;
	r->tls = tls;
	if (!tls)
		return 0;
	strcpy(r->folder, "/tmp/net-websocket-"
			  "XX"
			  "XX"
			  "XX");
	assert_non_null(mkdtemp(r->folder));
	identity_make(&r->identity, r->folder, "server", "DNS:localhost", 86400, NULL, false);
	client.ca = r->identity.certificate_file;
	r->server_tls = server_context(&r->identity, NULL, false);
	r->client_tls = client_context(&client);
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

	listener_close(r->listener);
	loop_free(r->loop);
	tls_unref(r->server_tls);
	tls_unref(r->client_tls);
	buf_fini(&r->shown);
	buf_fini(&r->raw);
	buf_fini(&r->payload);
	buf_fini(&r->control);
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
		BOTH(frames_taken_in_part_are_finished_and_bounded),
		BOTH(a_frame_holds_one_unit_or_a_part_of_a_larger_one),
		BOTH(what_came_before_close_is_shown_first),
		BOTH(faults_close_with_their_code),
		BOTH(while_paused_neither_payload_nor_close_is_lost),
		BOTH(a_connection_moves_with_what_it_has_kept),
		BOTH(pings_of_who_does_not_read_are_not_piled_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
