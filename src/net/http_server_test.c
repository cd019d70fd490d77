#include "net/http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/conn.h"
#include "net/harness.h"

struct rig {
	struct loop *loop;
	struct http_server *server;
	int fd; /* the peer's end */
	int requests;
	struct buf got; /* what the peer received */
	bool ended;     /* and the end */
	const char *expect;
	struct conn taken; /* what "/upgrade" has made of the connection */
	struct buf behind; /* what it was shown */
	int takes;
	bool taken_ended;
};

static ssize_t taken_on_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	struct rig *rig = container_of(c, struct rig, taken);

	buf_append(&rig->behind, p, n);
	conn_push(c, "thanks", 6);
	return (ssize_t)n;
}

static void taken_on_close(struct conn *c, int err, const char *why)
{
	(void)err;
	(void)why;
	container_of(c, struct rig, taken)->taken_ended = true;
}

static void take(void *context, struct conn *c)
{
	static const struct conn_handler handler = {
		.on_bytes = taken_on_bytes, .on_close = taken_on_close};
	struct rig *rig = context;

	rig->takes++;
	assert_int_equal(conn_move(&rig->taken, c, NULL, &handler), 0);
}

static void leave(void *context, struct conn *c)
{
	(void)c;
	((struct rig *)context)->takes++;
}

/* Answers with "METHOD PATH BODY"; "/large" with 300 KiB. */
static void on_request(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer)
{
	struct rig *rig = context;

	rig->requests++;
	if (view_equal(r->path, VIEW("/nothing")))
		return;
	answer->status = view_equal(r->path, VIEW("/upgrade")) ? 101 : 200;
	answer->type = "text/plain";
	answer->take = view_equal(r->query, VIEW("left")) ? leave : take;
	answer->take_context = rig;
	if (answer->status == 101)
		buf_text(&answer->fields, "Upgrade: test\r\n");
	else if (view_equal(r->path, VIEW("/large")))
		buf_grown((buf_reserve(&answer->body, 300 << 10), &answer->body), 300 << 10);
	else
		buf_printf(&answer->body, "<%.*s %.*s %.*s>", VIEW_ARG(r->method),
			VIEW_ARG(r->path), VIEW_ARG(body));
}

static void begin(struct rig *r, const struct http_server_settings *settings)
{
	struct address peer = loopback(1);
	int fds[2];

	r->loop = loop_new();
	r->server = http_server_new(r->loop, settings, on_request, r);
	tcp_pair(fds);
	r->fd = fds[1];
	http_server_accept(r->server, &(struct arrival){.fd = fds[0], .peer = &peer});
}

static void end(struct rig *r)
{
	close(r->fd);
	http_server_free(r->server);
	loop_free(r->loop);
	buf_fini(&r->got);
	buf_fini(&r->behind);
}

static void say(struct rig *r, const char *text)
{
	assert_int_equal(write(r->fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void receive(struct rig *r)
{
	uint8_t *to = buf_reserve(&r->got, 65536);
	ssize_t n = recv(r->fd, to, 65536, MSG_DONTWAIT);

	if (n > 0)
		buf_grown(&r->got, (size_t)n);
	r->ended |= n == 0;
}

static bool has(const struct rig *r, const char *text)
{
	return memmem(r->got.data ? buf_bytes(&r->got) : (const uint8_t *)"", buf_length(&r->got),
		       text, strlen(text)) != NULL;
}

static void wait_for(struct rig *r, const char *text)
{
	while (!has(r, text)) {
		drive_turns(r->loop, 1);
		receive(r);
		assert_false(r->ended && !has(r, text));
	}
}

static void wait_for_end(struct rig *r)
{
	while (!r->ended) {
		drive_turns(r->loop, 1);
		receive(r);
	}
	while (http_server_connections(r->server))
		drive_turns(r->loop, 1);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void requests_are_answered_one_after_the_other_on_one_connection(void **state)
{
	struct rig r = {0};

	(void)state;
	begin(&r, NULL);
	say(&r, GET("/one"));
	wait_for(&r, "<GET /one >");
	say(&r, GET("/two") GET("/three") "HEAD /four HTTP/1.1\r\nHost: a\r\n\r\n" GET("/five"));
	wait_for(&r, "<GET /five >");
	assert_true(has(&r, "<GET /two >") && has(&r, "<GET /three >"));
	assert_false(has(&r, "<HEAD"));
	assert_int_equal(r.requests, 5);
	say(&r, "GET /six HTTP/1.0\r\n\r\n" GET("/never"));
	wait_for_end(&r);
	assert_true(has(&r, "<GET /six >"));
	assert_int_equal(r.requests, 6);
	end(&r);
}

static void a_body_is_handed_over_whole(void **state)
{
	struct rig r = {0};

	(void)state;
	begin(&r, NULL);
	say(&r, "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n");
	wait_for(&r, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_int_equal(r.requests, 0);
	say(&r, "abc");
	drive_turns(r.loop, 3);
	assert_int_equal(r.requests, 0);
	say(&r, "def" GET("/next"));
	wait_for(&r, "<GET /next >");
	assert_true(has(&r, "<POST /p abcdef>"));
	end(&r);
}

static void a_fault_is_answered_and_ends_the_connection(void **state)
{
	struct rig r = {0};

	(void)state;
	begin(&r, NULL);
	say(&r, GET("/nothing") "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
				"5\r\nGET /\r\n" GET("/smuggled"));
	wait_for_end(&r);
	assert_true(has(&r, "HTTP/1.1 500 Internal"));
	assert_true(has(&r, "HTTP/1.1 501 Not Implemented\r\n"));
	assert_true(has(&r, "Connection: close\r\n"));
	assert_int_equal(r.requests, 1);
	end(&r);
}

static void a_peer_that_does_not_read_gets_no_second_large_answer(void **state)
{
	struct rig r = {0};
	int before;

	(void)state;
	begin(&r, NULL);
	for (int i = 0; i < 100; i++)
		say(&r, GET("/large"));
	drive_turns(r.loop, 200);
	before = r.requests;
	assert_in_range(before, 1, 40); /* what the sockets hold */
	say(&r, GET("/last"));
	wait_for(&r, "<GET /last >");
	assert_int_equal(r.requests, 101);
	end(&r);
}

static void whoever_is_slow_is_closed(void **state)
{
	static const struct {
		const char *text;
		struct http_server_settings settings;
	} rows[] = {
		{"GET / HT", {.head_ms = 20}},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", {.body_ms = 20}},
		{GET("/"), {.idle_ms = 20}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r = {0};

		begin(&r, &rows[i].settings);
		say(&r, rows[i].text);
		wait_for_end(&r);
		end(&r);
	}
}

static void too_many_connections_are_closed_at_once(void **state)
{
	struct http_server_settings one = {.connections_most = 1};
	struct address peer = loopback(1);
	struct rig r = {0};
	int fds[2];
	char c;

	(void)state;
	begin(&r, &one);
	tcp_pair(fds);
	http_server_accept(r.server, &(struct arrival){.fd = fds[0], .peer = &peer});
	assert_int_equal(read(fds[1], &c, 1), 0);
	assert_int_equal(http_server_connections(r.server), 1);
	close(fds[1]);
	end(&r);
}

static void an_upgraded_connection_is_handed_on_with_what_follows(void **state)
{
	struct rig r = {0};

	(void)state;
	begin(&r, NULL);
	say(&r, GET("/one") GET("/upgrade") GET("/never"));
	wait_for(&r, "thanks");
	assert_true(has(&r, "HTTP/1.1 101 Switching Protocols\r\n"));
	assert_true(has(&r, "Upgrade: test\r\n\r\n"));
	assert_int_equal(r.requests, 2);
	assert_int_equal(http_server_connections(r.server), 0);
	assert_true(view_equal(buf_view(&r.behind), VIEW(GET("/never"))));
	buf_clear(&r.got);
	say(&r, "more");
	wait_for(&r, "thanks");
	conn_close(&r.taken, 0, NULL);
	while (!r.taken_ended)
		drive_turns(r.loop, 1);
	assert_int_equal(r.takes, 1);
	end(&r);
}

static void an_upgraded_connection_that_nobody_takes_is_closed(void **state)
{
	struct rig r = {0};

	(void)state;
	begin(&r, NULL);
	say(&r, GET("/upgrade?left") GET("/never"));
	wait_for_end(&r);
	assert_int_equal(r.takes, 1);
	assert_int_equal(r.requests, 1);
	end(&r);
}

/* --- held requests ------------------------------------------------------ */

struct holding {
	struct http_hold *hold;
	unsigned shown;
	bool is_known;
};

/* Holds each request until is_known. */
static void hold_first(
	void *context, const struct http_request *r, struct view body, struct http_answer *answer)
{
	struct holding *h = context;

	(void)body;
	h->shown++;
	buf_text(&answer->body, "answered");
	answer->status = 200;
	answer->type = "text/plain";
	if (!h->is_known)
		h->hold = http_server_hold(r);
}

static void begin_holding(struct rig *r, struct holding *h, uint32_t idle_ms)
{
	struct http_server_settings settings = {.idle_ms = idle_ms};
	struct address peer = loopback(1);
	int fds[2];

	r->loop = loop_new();
	r->server = http_server_new(r->loop, &settings, hold_first, h);
	tcp_pair(fds);
	r->fd = fds[1];
	http_server_accept(r->server, &(struct arrival){.fd = fds[0], .peer = &peer});
}

static void a_held_request_is_shown_again_and_those_behind_it_wait(void **state)
{
	struct holding h = {0};
	struct rig r = {0};

	(void)state;
	begin_holding(&r, &h, 0);
	say(&r, GET("/one") GET("/two"));
	while (h.hold == NULL)
		drive_turns(r.loop, 1);
	drive_turns(r.loop, 3);
	receive(&r);
	assert_int_equal(h.shown, 1);
	assert_int_equal(buf_length(&r.got), 0);
	h.is_known = true;
	http_server_release(h.hold);
	wait_for(&r, "answered");
	while (h.shown < 3)
		drive_turns(r.loop, 1);
	end(&r);
}

static void a_client_may_leave_while_its_request_is_held(void **state)
{
	struct holding h = {0};
	struct rig r = {0};

	(void)state;
	begin_holding(&r, &h, 20); /* and it is not held for ever */
	say(&r, GET("/one"));
	wait_for_end(&r);
	assert_int_equal(http_server_connections(r.server), 0);
	assert_int_equal(h.shown, 1);
	http_server_release(h.hold);
	end(&r);
}

static void a_held_request_may_be_given_its_answer(void **state)
{
	struct http_answer answer = {.status = 404, .type = "text/plain"};
	struct holding h = {0};
	struct rig r = {0};
	struct address peer = loopback(1);
	struct http_server_load load;

	(void)state;
	begin_holding(&r, &h, 0);
	say(&r, GET("/one") "HEAD /two HTTP/1.1\r\nHost: a\r\n\r\n");
	while (h.hold == NULL)
		drive_turns(r.loop, 1);
	load = http_server_load(r.server, &peer);
	assert_int_equal(load.of_peer, 1);
	assert_int_equal(load.unsent_bytes, 0);
	buf_text(&answer.body, "given later");
	h.is_known = true;
	http_server_answer(h.hold, &answer);
	assert_int_equal(buf_length(&answer.body), 0);
	wait_for(&r, "given later");
	assert_true(has(&r, "HTTP/1.1 404 "));
	wait_for(&r, "Content-Length: 8");
	assert_int_equal(h.shown, 2); /* the first once, and the one behind it */
	load = http_server_load(r.server, &peer);
	assert_int_equal(load.of_peer, 0);
	end(&r);
}

static void an_answer_given_to_one_who_has_left_is_freed(void **state)
{
	struct http_answer answer = {.status = 200};
	struct holding h = {0};
	struct rig r = {0};

	(void)state;
	begin_holding(&r, &h, 20);
	say(&r, GET("/one"));
	wait_for_end(&r);
	buf_text(&answer.body, "late");
	http_server_answer(h.hold, &answer);
	end(&r);
	h = (struct holding){0};
	r = (struct rig){0};
	begin_holding(&r, &h, 0); /* and so is one that a server which ends has not sent */
	say(&r, GET("/one"));
	while (h.hold == NULL)
		drive_turns(r.loop, 1);
	buf_text(&answer.body, "not sent");
	http_server_answer(h.hold, &answer);
	end(&r);
}

static void answers_not_sent_are_counted(void **state)
{
	struct rig r = {0};
	struct address peer = loopback(1);

	(void)state;
	begin(&r, NULL);
	for (int i = 0; i < 100; i++)
		say(&r, GET("/large"));
	while (http_server_load(r.server, &peer).unsent_bytes < 65536)
		drive_turns(r.loop, 1);
	assert_int_equal(http_server_load(r.server, &peer).of_peer, 1);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_answered_one_after_the_other_on_one_connection),
		cmocka_unit_test(a_body_is_handed_over_whole),
		cmocka_unit_test(a_fault_is_answered_and_ends_the_connection),
		cmocka_unit_test(a_peer_that_does_not_read_gets_no_second_large_answer),
		cmocka_unit_test(whoever_is_slow_is_closed),
		cmocka_unit_test(too_many_connections_are_closed_at_once),
		cmocka_unit_test(an_upgraded_connection_is_handed_on_with_what_follows),
		cmocka_unit_test(an_upgraded_connection_that_nobody_takes_is_closed),
		cmocka_unit_test(a_held_request_is_shown_again_and_those_behind_it_wait),
		cmocka_unit_test(a_client_may_leave_while_its_request_is_held),
		cmocka_unit_test(a_held_request_may_be_given_its_answer),
		cmocka_unit_test(an_answer_given_to_one_who_has_left_is_freed),
		cmocka_unit_test(answers_not_sent_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
