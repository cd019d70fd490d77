/* Connections over real sockets of loopback, each test plain and over TLS where both make sense. */
#include "net/conn.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/mem.h"
#include "net/harness.h"
#include "net/harness_tls.h"
#include "net/listener.h"

/* --- the rig ----------------------------------------------------------- */

enum place { NOWHERE, IN_OPEN, IN_BYTES, IN_BYTES_ERROR, IN_WRITABLE };

/* One end: counts what its callbacks are told and does what the test asks. */
struct end {
	struct conn conn;
	struct rig *rig;
	int opened;
	int closed;
	int writable;
	int shown; /* calls of on_bytes */
	int err;
	char why[256];
	struct buf got;
	bool echo;
	uint32_t step;       /* consume so many at a time; 0: all */
	uint32_t packets;    /* 0: no framing, else wait for whole packets of this size */
	enum place close_at; /* conn_close() inside */
	bool pause_once;
	const uint8_t *to_send;
	size_t to_send_bytes;
	size_t sent;
	bool push; /* by conn_push() instead of conn_writev() */
	unsigned seed;
};

struct rig {
	struct loop *loop;
	struct listener *listener;
	struct tls_context *server_tls;
	struct tls_context *client_tls;
	struct conn_options options;
	struct end server;
	struct end client;
	bool tls;
	struct identity identity;
	char folder[32];
};

static void send_more(struct end *e)
{
	size_t rest = e->to_send_bytes - e->sent;
	struct iovec iov[7];
	ssize_t n;
	int count = 0;

	while (rest && conn_is_open(&e->conn)) {
		count = 0;
		for (size_t at = e->sent; count < 7 && at < e->to_send_bytes; count++) {
			size_t piece = (size_t)rand_r(&e->seed) % 30000;

			if (piece > e->to_send_bytes - at)
				piece = e->to_send_bytes - at;
			iov[count] = (struct iovec){(void *)(uintptr_t)(e->to_send + at), piece};
			at += piece;
		}
		n = conn_writev(&e->conn, iov, count);
		if (n <= 0)
			return;
		e->sent += (size_t)n;
		rest -= (size_t)n;
	}
}

static void on_open(struct conn *c)
{
	struct end *e = container_of(c, struct end, conn);

	e->opened++;
	assert_true(conn_is_open(c));
	if (e->close_at == IN_OPEN)
		conn_close(c, ERR_SHUTDOWN, "in open");
	if (e->push) {
		conn_push(c, e->to_send, e->to_send_bytes);
		e->sent = e->to_send_bytes;
	} else {
		send_more(e);
	}
}

static ssize_t consume(struct end *e, const uint8_t *p, size_t n)
{
	if (e->packets && n < e->packets) {
		conn_want(&e->conn, e->packets);
		return 0;
	}
	if (e->packets)
		n = e->packets;
	if (e->step && n > e->step)
		n = e->step;
	buf_append(&e->got, p, n);
	if (e->echo)
		conn_push(&e->conn, p, n);
	return (ssize_t)n;
}

static ssize_t on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct end *e = container_of(c, struct end, conn);

	e->shown++;
	if (e->close_at == IN_BYTES)
		conn_close(c, ERR_SHUTDOWN, "in bytes");
	if (e->close_at == IN_BYTES_ERROR)
		return ERR_MALFORMED;
	if (e->pause_once) {
		e->pause_once = false;
		conn_pause(c);
	}
	return consume(e, p, n);
}

static void on_writable(struct conn *c)
{
	struct end *e = container_of(c, struct end, conn);

	e->writable++;
	assert_int_equal(conn_pending(c), 0);
	if (e->close_at == IN_WRITABLE)
		conn_close(c, ERR_SHUTDOWN, "in writable");
	send_more(e);
}

static void on_close(struct conn *c, int err, const char *why)
{
	struct end *e = container_of(c, struct end, conn);

	assert_non_null(why);
	assert_int_equal(c->io.fd, -1);
	e->closed++;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static const struct conn_handler handler = {on_open, on_bytes, on_writable, on_close};

static void on_accept(void *context, const struct arrival *a)
{
	struct rig *r = context;

	assert_int_equal(r->server.conn.loop != NULL, false);
	assert_int_equal(
		conn_accept(&r->server.conn, r->loop,
			&(struct arrival){.fd = a->fd, .peer = a->peer, .tls = r->server_tls},
			&r->options, &handler),
		0);
}

static void connect_rig(struct rig *r)
{
	struct address at = loopback(0);

	assert_int_equal(listener_open(&r->listener, r->loop, &at, true, on_accept, r), 0);
	at = listener_address(r->listener);
	assert_int_equal(conn_open(&r->client.conn, r->loop, &at, NULL, r->client_tls,
				 r->tls ? "localhost" : NULL, &r->options, &handler),
		0);
}

static bool both_open(void *context)
{
	struct rig *r = context;

	return r->server.opened && r->client.opened;
}

static void open_rig(struct rig *r)
{
	connect_rig(r);
	drive_until(r->loop, both_open, r);
}

static bool both_closed(void *context)
{
	struct rig *r = context;

	return r->server.closed && r->client.closed;
}

static void close_rig(struct rig *r)
{
	if (!r->server.closed && r->server.conn.loop)
		conn_close(&r->server.conn, 0, NULL);
	if (!r->client.closed)
		conn_close(&r->client.conn, 0, NULL);
	r->server.closed += r->server.conn.loop == NULL;
	drive_until(r->loop, both_closed, r);
	drive_turns(r->loop, 3);
	assert_int_equal(r->server.closed, 1);
	assert_int_equal(r->client.closed, 1);
}

/* --- data -------------------------------------------------------------- */

static uint8_t *some_bytes(size_t n)
{
	uint8_t *p = mem_new(n);
	uint32_t x = 12345;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

static bool echoed(void *context)
{
	struct end *e = &((struct rig *)context)->client;

	return buf_length(&e->got) >= e->to_send_bytes || e->closed;
}

static void echo(struct rig *r, size_t n)
{
	uint8_t *p = some_bytes(n);

	r->server.echo = true;
	r->client.to_send = p;
	r->client.to_send_bytes = n;
	r->client.seed = 3;
	open_rig(r);
	drive_until(r->loop, echoed, r);
	assert_int_equal(buf_length(&r->client.got), n);
	assert_memory_equal(buf_bytes(&r->client.got), p, n);
	assert_int_equal(r->client.conn.bytes_in, n);
	drive_turns(r->loop, 2);
	assert_int_equal(r->server.conn.bytes_out, n);
	assert_int_equal(r->client.conn.bytes_out, n);
	/* An idle connection owns no buffers. */
	assert_null(r->server.conn.in.data);
	assert_null(r->server.conn.out.data);
	assert_null(r->client.conn.in.data);
	assert_null(r->client.conn.out.data);
	close_rig(r);
	free(p);
}

static void large_data_written_in_random_pieces_comes_back_whole(void **state)
{
	echo(*state, 5000000);
}

static void small_buffers_in_the_kernel_lose_nothing(void **state)
{
	struct rig *r = *state;

	r->options = (struct conn_options){.send_buffer_bytes = 4096, .receive_buffer_bytes = 0};
	echo(r, 1500000);
	assert_true(r->client.writable > 0);
}

static void pushed_data_comes_back_whole_and_says_when_it_has_left(void **state)
{
	struct rig *r = *state;

	r->client.push = true;
	r->options = (struct conn_options){.send_buffer_bytes = 4096, .receive_buffer_bytes = 0};
	echo(r, 600000);
	assert_int_equal(r->client.writable, 1);
}

static void bytes_left_over_are_shown_again_while_some_are_consumed(void **state)
{
	struct rig *r = *state;

	r->server.step = 777;
	echo(r, 300000);
	assert_in_range(r->server.shown, 300000 / 777, 300000);
}

static void whole_packets_are_shown_when_they_were_asked_for(void **state)
{
	struct rig *r = *state;

	r->server.packets = 50000;
	r->options = (struct conn_options){.send_buffer_bytes = 16384};
	echo(r, 1000000);
	/* Each packet once when it is whole and at most once before. */
	assert_in_range(r->server.shown, 20, 40);
}

static bool server_has_some(void *context)
{
	return buf_length(&((struct rig *)context)->server.got) > 0;
}

static void a_paused_connection_reads_nothing_until_resumed(void **state)
{
	struct rig *r = *state;
	uint8_t *p = some_bytes(4000000);
	size_t before;

	r->options =
		(struct conn_options){.send_buffer_bytes = 8192, .receive_buffer_bytes = 65536};
	r->server.pause_once = true;
	r->server.step = 100;
	r->client.to_send = p;
	r->client.to_send_bytes = 4000000;
	open_rig(r);
	drive_until(r->loop, server_has_some, r);
	drive_turns(r->loop, 50);
	before = buf_length(&r->server.got);
	assert_int_equal(before, 100); /* the rest of the first read is kept, not shown */
	assert_true(r->client.sent < 2000000);
	r->server.step = 0;
	r->client.echo = true;
	conn_resume(&r->server.conn);
	r->server.to_send_bytes = 0;
	while (buf_length(&r->server.got) < 4000000)
		drive_turns(r->loop, 10);
	assert_memory_equal(buf_bytes(&r->server.got), p, 4000000);
	close_rig(r);
	free(p);
}

static void bytes_kept_over_a_pause_are_shown_without_new_ones(void **state)
{
	struct rig *r = *state;

	r->server.pause_once = true;
	r->server.step = 2;
	r->client.to_send = (const uint8_t *)"abcdef";
	r->client.to_send_bytes = 6;
	open_rig(r);
	drive_until(r->loop, server_has_some, r);
	drive_turns(r->loop, 5);
	assert_int_equal(buf_length(&r->server.got), 2);
	conn_resume(&r->server.conn);
	drive_turns(r->loop, 2);
	assert_int_equal(buf_length(&r->server.got), 6);
	close_rig(r);
}

/* --- closing ----------------------------------------------------------- */

static void closing_inside_any_callback_ends_once_with_that_reason(void **state)
{
	static const struct {
		enum place place;
		int err;
		const char *why;
	} rows[] = {
		{IN_OPEN, ERR_SHUTDOWN, "in open"},
		{IN_BYTES, ERR_SHUTDOWN, "in bytes"},
		{IN_BYTES_ERROR, ERR_MALFORMED, "malformed packet"},
		{IN_WRITABLE, ERR_SHUTDOWN, "in writable"},
	};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&r->server, 0, sizeof(r->server));
		memset(&r->client, 0, sizeof(r->client));
		r->server.close_at = rows[i].place;
		r->server.push = rows[i].place == IN_WRITABLE;
		r->server.to_send = (const uint8_t *)"hello";
		r->server.to_send_bytes = r->server.push ? 5 : 0;
		r->client.to_send = (const uint8_t *)"hello";
		r->client.to_send_bytes = 5;
		connect_rig(r);
		drive_until(r->loop, both_closed, r);
		assert_int_equal(r->server.err, rows[i].err);
		assert_string_equal(r->server.why, rows[i].why);
		assert_int_equal(r->client.err, ERR_CLOSED);
		assert_int_equal(r->server.closed, 1);
		assert_int_equal(r->client.closed, 1);
		listener_close(r->listener);
		r->listener = NULL;
		buf_fini(&r->server.got);
		buf_fini(&r->client.got);
	}
}

static void what_was_pushed_before_closing_arrives(void **state)
{
	struct rig *r = *state;

	open_rig(r);
	conn_push(&r->server.conn, "last words", 10);
	conn_push(&r->client.conn, "never read", 10);
	conn_flush(&r->client.conn);
	conn_close(&r->server.conn, ERR_KEEP_ALIVE, NULL);
	conn_close(&r->server.conn, ERR_MALFORMED, "a second one counts for nothing");
	conn_push(&r->server.conn, "too late", 8);
	assert_false(conn_is_open(&r->server.conn));
	assert_int_equal(r->server.closed, 0); /* not inside conn_close() */
	drive_until(r->loop, both_closed, r);
	assert_int_equal(buf_length(&r->client.got), 10);
	assert_int_equal(r->server.err, ERR_KEEP_ALIVE);
	assert_string_equal(r->server.why, "keep alive time-out");
	assert_int_equal(r->client.err, ERR_CLOSED);
	close_rig(r);
}

static void closing_with_unsent_data_pending_ends_at_once(void **state)
{
	struct rig *r = *state;
	uint8_t *p = some_bytes(3000000);

	r->options =
		(struct conn_options){.send_buffer_bytes = 8192, .receive_buffer_bytes = 65536};
	open_rig(r);
	conn_pause(&r->client.conn);
	conn_push(&r->server.conn, p, 3000000);
	drive_turns(r->loop, 10);
	assert_true(conn_pending(&r->server.conn) > 0);
	assert_int_equal(conn_writev(&r->server.conn, &(struct iovec){p, 10}, 1), 0);
	conn_close(&r->server.conn, 0, NULL);
	drive_turns(r->loop, 2);
	assert_int_equal(r->server.closed, 1);
	conn_resume(&r->client.conn);
	close_rig(r);
	free(p);
}

static void a_client_closed_before_it_is_connected_says_so(void **state)
{
	struct rig *r = *state;

	connect_rig(r);
	assert_int_equal(conn_writev(&r->client.conn, &(struct iovec){"x", 1}, 1), 0);
	conn_close(&r->client.conn, 0, NULL);
	while (!r->client.closed)
		drive_turns(r->loop, 1);
	assert_int_equal(r->client.opened, 0);
	assert_int_equal(r->client.err, 0);
	drive_turns(r->loop, 20);
	if (r->server.conn.loop)
		assert_int_equal(r->server.closed, 1);
	close_rig(r);
}

/* --- plain only: a raw peer -------------------------------------------- */

static int accept_raw(struct rig *r)
{
	struct address peer = loopback(1);
	int fds[2];

	tcp_pair(fds);
	assert_int_equal(conn_accept(&r->server.conn, r->loop,
				 &(struct arrival){.fd = fds[0], .peer = &peer}, NULL, &handler),
		0);
	r->client.closed = 1;
	return fds[1];
}

static bool server_closed(void *context)
{
	return ((struct rig *)context)->server.closed;
}

static void a_peer_that_ends_its_half_gets_the_answer(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);
	char answer[16];

	r->server.echo = true;
	assert_int_equal(write(fd, "question", 8), 8);
	shutdown(fd, SHUT_WR);
	drive_until(r->loop, server_closed, r);
	assert_int_equal(r->server.err, ERR_CLOSED);
	assert_int_equal(read(fd, answer, sizeof(answer)), 8);
	assert_int_equal(read(fd, answer, sizeof(answer)), 0);
	close(fd);
	close_rig(r);
}

static void reset_by(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* A reset would take them from a peer that has not read them. */
static void last_words_reach_a_peer_that_goes_on_sending(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);
	char words[8];

	drive_turns(r->loop, 2);
	conn_push(&r->server.conn, "bye", 3);
	conn_close(&r->server.conn, ERR_PROTOCOL, NULL);
	drive_until(r->loop, server_closed, r);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(write(fd, "more", 4), 4);
		drive_turns(r->loop, 2);
	}
	assert_int_equal(read(fd, words, sizeof(words)), 3);
	assert_int_equal(read(fd, words, sizeof(words)), 0);
	close(fd);
	close_rig(r);
}

/* What comes to a socket that is closed is answered with a reset, which the next send finds. */
static bool is_thrown_out(void *context)
{
	int fd = *(int *)context;

	return send(fd, "more", 4, MSG_NOSIGNAL) < 0 || send(fd, "more", 4, MSG_NOSIGNAL) < 0;
}

static void a_peer_that_never_ends_is_closed_all_the_same(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);

	drive_turns(r->loop, 2);
	conn_close(&r->server.conn, ERR_PROTOCOL, NULL);
	drive_until(r->loop, server_closed, r);
	drive_until(r->loop, is_thrown_out, &fd);
	close(fd);
	close_rig(r);
}

static void a_reset_is_a_close_by_the_peer(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);

	drive_turns(r->loop, 2);
	reset_by(fd);
	drive_until(r->loop, server_closed, r);
	assert_int_equal(r->server.err, ERR_CLOSED);
	assert_string_equal(r->server.why, "Connection reset by peer");
	close_rig(r);
}

static void a_reset_is_noticed_while_paused(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);

	drive_turns(r->loop, 2);
	conn_pause(&r->server.conn);
	reset_by(fd);
	drive_until(r->loop, server_closed, r);
	assert_int_equal(r->server.err, ERR_CLOSED);
	close_rig(r);
}

static void writing_to_a_peer_that_has_gone_is_an_error_not_a_signal(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);
	ssize_t n = 1;

	drive_turns(r->loop, 2);
	reset_by(fd);
	while (n >= 0)
		n = conn_writev(&r->server.conn, &(struct iovec){"x", 1}, 1);
	assert_int_equal(n, ERR_CLOSED);
	assert_int_equal(r->server.closed, 0); /* not inside the call */
	drive_until(r->loop, server_closed, r);
	close_rig(r);
}

static void a_packet_that_arrives_byte_by_byte_is_shown_twice(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r);
	uint8_t *p = some_bytes(10000);

	r->server.packets = 10000;
	for (int i = 0; i < 10000; i++) {
		assert_int_equal(write(fd, p + i, 1), 1);
		drive_turns(r->loop, 1);
	}
	while (buf_length(&r->server.got) < 10000)
		drive_turns(r->loop, 1);
	assert_memory_equal(buf_bytes(&r->server.got), p, 10000);
	assert_int_equal(r->server.shown, 2); /* the first byte, and the whole */
	close(fd);
	close_rig(r);
	free(p);
}

/* A peer that has sent much does not keep the others waiting: 256 KiB, then their turn. */
static void one_turn_reads_a_bounded_amount(void **state)
{
	struct rig *r = *state;
	int fd = accept_raw(r), on = 8 << 20;
	uint8_t *p = some_bytes(3000000);
	int queued = 0;
	ssize_t sent;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &on, sizeof(on));
	setsockopt(r->server.conn.io.fd, SOL_SOCKET, SO_RCVBUF, &on, sizeof(on));
	sent = send(fd, p, 3000000, MSG_DONTWAIT);
	assert_true(sent > 0);
	while (queued < sent / 2)
		ioctl(r->server.conn.io.fd, FIONREAD, &queued);
	while (buf_length(&r->server.got) == 0)
		drive_until(r->loop, drive_counted_down, &(int){0});
	if (queued > (int)(3 * LOOP_SCRATCH_BYTES))
		assert_in_range(buf_length(&r->server.got), 1, 2 * LOOP_SCRATCH_BYTES);
	while (buf_length(&r->server.got) < (size_t)sent)
		drive_turns(r->loop, 1);
	assert_memory_equal(buf_bytes(&r->server.got), p, (size_t)sent);
	close(fd);
	close_rig(r);
	free(p);
}

static bool client_closed(void *context)
{
	return ((struct rig *)context)->client.closed;
}

static void a_refused_connection_says_so(void **state)
{
	struct rig *r = *state;
	struct address at;
	int fd = listen_on_loopback(&at);

	close(fd);
	assert_int_equal(
		conn_open(&r->client.conn, r->loop, &at, NULL, NULL, NULL, NULL, &handler), 0);
	drive_until(r->loop, client_closed, r);
	assert_int_equal(r->client.err, ERR_SYSTEM);
	assert_string_equal(r->client.why, "Connection refused");
	assert_int_equal(r->client.opened, 0);
	close_rig(r);
}

static void a_local_address_is_used_or_refused_at_once(void **state)
{
	struct rig *r = *state;
	struct address at, local;
	socklen_t size = sizeof(local);
	int fd = listen_on_loopback(&at);

	assert_true(address_parse(VIEW("192.0.2.1"), 0, &local));
	assert_int_equal(
		conn_open(&r->client.conn, r->loop, &at, &local, NULL, NULL, NULL, &handler),
		ERR_SYSTEM);
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_true(address_parse(VIEW("127.0.0.2"), 0, &local));
	assert_int_equal(
		conn_open(&r->client.conn, r->loop, &at, &local, NULL, NULL, NULL, &handler), 0);
	while (!r->client.opened)
		drive_turns(r->loop, 1);
	assert_int_equal(getsockname(r->client.conn.io.fd, &at.any, &size), 0);
	assert_true(address_same_host(&at, &local));
	close(fd);
	close_rig(r);
}

/* --- memory ------------------------------------------------------------ */

#define MANY 100

/* Heap bytes of an idle accepted connection apart from its struct: what its end gives back. */
static void the_memory_of_an_idle_connection_is_shown(void **state)
{
	struct rig *r = *state;
	size_t before;

	r->server.echo = true;
	r->client.to_send = (const uint8_t *)"x";
	r->client.to_send_bytes = 1;
	open_rig(r);
	drive_until(r->loop, echoed, r);
	drive_turns(r->loop, 2);
	before = mallinfo2().uordblks;
	conn_close(&r->server.conn, 0, NULL);
	drive_until(r->loop, drive_counted_down, &(int){0});
	assert_int_equal(r->server.closed, 1);
	assert_int_equal(r->client.closed, 0);
	printf("idle %s: %zd bytes of heap and struct conn of %zu\n", r->tls ? "TLS" : "plain",
		(ssize_t)(before - mallinfo2().uordblks), sizeof(struct conn));
	close_rig(r);
}

/* --- running ----------------------------------------------------------- */

static int set_up(struct rig *r)
{
	r->loop = loop_new();
	return r->loop ? 0 : -1;
}

static int set_up_plain(void **state)
{
	*state = mem_new(sizeof(struct rig));
	return set_up(*state);
}

static int set_up_tls(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct tls_client_settings client = {.verify = true};

	*state = r;
	strcpy(r->folder, "/tmp/net-conn-"
			  "XX"
			  "XX"
			  "XX");
	assert_non_null(mkdtemp(r->folder));
	identity_make(&r->identity, r->folder, "server", "DNS:localhost", DAY, NULL, false);
	client.ca = r->identity.certificate_file;
	r->tls = true;
	r->server_tls = server_context(&r->identity, NULL, false);
	r->client_tls = client_context(&client);
	return set_up(r);
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	listener_close(r->listener);
	loop_free(r->loop);
	tls_unref(r->server_tls);
	tls_unref(r->client_tls);
	buf_fini(&r->server.got);
	buf_fini(&r->client.got);
	if (r->tls) {
		identity_free(&r->identity);
		rmdir(r->folder);
	}
	free(r);
	return 0;
}

#define PLAIN(f) cmocka_unit_test_setup_teardown(f, set_up_plain, tear_down)
#define BOTH(f)                                             \
	PLAIN(f),                                           \
	{                                                   \
#f " (TLS)", f, set_up_tls, tear_down, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(large_data_written_in_random_pieces_comes_back_whole),
		BOTH(small_buffers_in_the_kernel_lose_nothing),
		BOTH(pushed_data_comes_back_whole_and_says_when_it_has_left),
		BOTH(bytes_left_over_are_shown_again_while_some_are_consumed),
		BOTH(whole_packets_are_shown_when_they_were_asked_for),
		BOTH(a_paused_connection_reads_nothing_until_resumed),
		BOTH(bytes_kept_over_a_pause_are_shown_without_new_ones),
		BOTH(closing_inside_any_callback_ends_once_with_that_reason),
		BOTH(what_was_pushed_before_closing_arrives),
		BOTH(closing_with_unsent_data_pending_ends_at_once),
		BOTH(a_client_closed_before_it_is_connected_says_so),
		PLAIN(a_peer_that_ends_its_half_gets_the_answer),
		PLAIN(last_words_reach_a_peer_that_goes_on_sending),
		PLAIN(a_peer_that_never_ends_is_closed_all_the_same),
		PLAIN(a_reset_is_a_close_by_the_peer),
		PLAIN(a_reset_is_noticed_while_paused),
		PLAIN(writing_to_a_peer_that_has_gone_is_an_error_not_a_signal),
		PLAIN(a_packet_that_arrives_byte_by_byte_is_shown_twice),
		PLAIN(one_turn_reads_a_bounded_amount),
		PLAIN(a_refused_connection_says_so),
		PLAIN(a_local_address_is_used_or_refused_at_once),
		BOTH(the_memory_of_an_idle_connection_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
