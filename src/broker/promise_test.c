/* When a SUBACK leaves: with a cluster that says so as each test wants. */
#include "broker/promise.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "broker/client.h"
#include "net/harness.h"
#include "net/listener.h"

#define KEY "user\0client"

struct rig {
	struct loop *loop;
	struct broker broker;
	struct broker_worker worker;
	struct session *session;
	struct client client;
	int peer; /* the client's end */
	struct buf read;
	struct receipt *asked[2];
	uint32_t asked_count;
};

static void confirm(void *context, struct receipt *receipt)
{
	struct rig *r = context;

	assert_true(r->asked_count < 2);
	r->asked[r->asked_count++] = receipt;
}

static ssize_t on_bytes(struct conn *c, const uint8_t *bytes, size_t n)
{
	(void)c, (void)bytes;
	return (ssize_t)n;
}

static void on_close(struct conn *c, int err, const char *why)
{
	(void)c, (void)err, (void)why;
}

static const struct conn_handler handler = {.on_bytes = on_bytes, .on_close = on_close};

static int set_up(void **state)
{
	struct rig *r = mem_new(sizeof(*r));
	struct address peer = loopback(0);
	struct arrival arrival = {.peer = &peer};
	struct conn_options options = {0};
	int ends[2];

	r->loop = loop_new();
	errands_init(&r->broker.errands);
	r->broker.roaming.confirm = confirm;
	r->broker.roaming.context = r;
	r->worker.broker = &r->broker;
	r->worker.loop = r->loop;
	r->session = mem_new(sizeof(*r->session) + sizeof(KEY));
	r->session->key_bytes = sizeof(KEY) - 1;
	memcpy(r->session->key, KEY, sizeof(KEY) - 1);
	r->session->owner = 3;
	r->session->expiry_ms = 1000;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	r->peer = ends[1];
	arrival.fd = ends[0];
	assert_int_equal(conn_accept(&r->client.conn, r->loop, &arrival, &options, &handler), 0);
	r->client.worker = &r->worker;
	r->client.session = r->session;
	r->client.version = MQTT_5;
	r->client.largest = UINT32_MAX;
	list_init(&r->client.promises);
	drive_turns(r->loop, 2);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	promise_forget_all(&r->client);
	errands_fini(&r->broker.errands);
	conn_abort(&r->client.conn);
	close(r->peer);
	loop_free(r->loop);
	buf_fini(&r->read);
	free(r->session);
	free(r);
	return 0;
}

static void send_suback(struct rig *r, uint16_t packet_id)
{
	char code[1] = {1};
	struct mqtt_packet p = {.type = MQTT_SUBACK, .list = {packet_id, {code, 1}, 1}};

	promise_send(&r->client, &p);
	code[0] = 0; /* what is kept is its own */
}

/* What has left by now. */
static struct view sent(struct rig *r)
{
	uint8_t bytes[64];
	ssize_t n;

	drive_turns(r->loop, 3);
	n = read(r->peer, bytes, sizeof(bytes));
	buf_clear(&r->read);
	if (n > 0)
		buf_append(&r->read, bytes, (size_t)n);
	return buf_view(&r->read);
}

#define SUBACK_1 VIEW("\x90\x04\0\x01\0\x01")
#define SUBACK_2 VIEW("\x90\x04\0\x02\0\x01")

static void it_leaves_when_the_session_is_safe(void **state)
{
	struct rig *r = *state;

	send_suback(r, 1);
	send_suback(r, 2);
	assert_int_equal(sent(r).n, 0);
	assert_int_equal(r->asked_count, 2);
	assert_int_equal(r->client.promise_count, 2);
	assert_true(view_equal(buf_view(&r->asked[0]->key), VIEW(KEY)));
	r->asked[0]->on_done(r->asked[0]);
	assert_true(view_equal(sent(r), SUBACK_1));
	assert_int_equal(r->client.promise_count, 1);
	r->asked[1]->on_done(r->asked[1]);
	assert_true(view_equal(sent(r), SUBACK_2));
	assert_int_equal(r->client.promise_count, 0);
}

static void it_leaves_at_once_when_nobody_else_is_to_know(void **state)
{
	struct rig *r = *state;

	r->session->expiry_ms = 0; /* does not last */
	send_suback(r, 1);
	assert_true(view_equal(sent(r), SUBACK_1));
	r->session->expiry_ms = 1000;
	r->session->owner = 0; /* not known in the cluster yet */
	send_suback(r, 2);
	assert_true(view_equal(sent(r), SUBACK_2));
	r->session->owner = 3;
	r->broker.roaming.confirm = NULL; /* one machine */
	send_suback(r, 1);
	assert_true(view_equal(sent(r), SUBACK_1));
	assert_int_equal(r->asked_count, 0);
}

static void a_client_with_too_many_is_read_on_when_one_has_left(void **state)
{
	struct rig *r = *state;

	send_suback(r, 1);
	r->client.promise_count = PROMISES_MOST;
	r->client.is_choked = true;
	conn_pause(&r->client.conn);
	client_read_on(&r->client);
	assert_true(r->client.conn.paused);
	r->asked[0]->on_done(r->asked[0]);
	drive_turns(r->loop, 3);
	assert_false(r->client.conn.paused);
	assert_false(r->client.is_choked);
}

static void nothing_leaves_for_a_client_that_has_gone(void **state)
{
	struct rig *r = *state;

	send_suback(r, 1);
	send_suback(r, 2);
	promise_forget_all(&r->client);
	assert_true(list_is_empty(&r->client.promises));
	r->asked[0]->on_done(r->asked[0]);
	r->asked[1]->on_done(r->asked[1]);
	assert_int_equal(sent(r).n, 0);
	assert_true(list_is_empty(&r->broker.errands.list));
}

static void what_never_comes_back_is_freed_with_the_broker(void **state)
{
	struct rig *r = *state;

	send_suback(r, 1); /* waits for the cluster */
	send_suback(r, 2);
	r->asked[1]->on_done(r->asked[1]); /* waits for the loop */
	promise_forget_all(&r->client);
	assert_false(list_is_empty(&r->broker.errands.list));
	errands_fini(&r->broker.errands);
	assert_true(list_is_empty(&r->broker.errands.list));
	errands_init(&r->broker.errands);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_leaves_when_the_session_is_safe),
		TEST(it_leaves_at_once_when_nobody_else_is_to_know),
		TEST(a_client_with_too_many_is_read_on_when_one_has_left),
		TEST(nothing_leaves_for_a_client_that_has_gone),
		TEST(what_never_comes_back_is_freed_with_the_broker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
