#include "net/porch.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/harness.h"

#define LINE "PROXY TCP4 198.51.100.7 192.0.2.1 40000 8883\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc6\x33\x64\x07\xc0\x00\x02\x01\x9c\x40\x22\xb3"
#define CERTIFIED SIGNATURE "\x21\x11\0\x1c" V4 "\x20\0\x0d\x03\0\0\0\0\x22\0\x05node7"
#define TEXT(literal) literal, sizeof(literal) - 1

struct rig {
	struct loop *loop;
	struct porch *porch;
	struct porch_counts counts;
	int fd; /* of the one let in; -1: nobody yet */
	int let_in;
	bool tls_before;
	char client[ADDRESS_TEXT_BYTES];
	char name[256];
	int ours[8]; /* the balancer's ends */
	int ours_count;
};

static void on_accept(void *context, const struct arrival *a)
{
	struct rig *r = context;

	assert_null(a->tls);
	r->fd = a->fd;
	r->let_in++;
	r->tls_before = a->tls_before;
	address_format(a->peer, r->client);
	snprintf(r->name, sizeof(r->name), "%s", a->name ? a->name : "");
}

static void begin(struct rig *r, struct porch_settings settings)
{
	struct address at = loopback(8883);
	struct address_block trusted[2];

	assert_true(address_block_parse(VIEW("10.0.0.0/8"), &trusted[0]));
	assert_true(address_block_parse(VIEW("127.0.0.0/31"), &trusted[1]));
	log_configure(LOG_ERROR, false);
	*r = (struct rig){.loop = loop_new(), .fd = -1};
	settings.trusted = trusted;
	settings.trusted_count = 2;
	settings.counts = &r->counts;
	r->porch = porch_new(r->loop, &at, &settings, on_accept, r);
}

static void end(struct rig *r)
{
	porch_free(r->porch);
	if (r->fd >= 0)
		close(r->fd);
	for (int i = 0; i < r->ours_count; i++)
		close(r->ours[i]);
	loop_free(r->loop);
}

/* A connection, with what the balancer has written on it already; its other end. */
static int arrive_from(struct rig *r, const char *host, const char *bytes, size_t n)
{
	struct address peer;
	int fds[2];

	tcp_pair(fds);
	assert_true(address_parse(view_of(host), 5000, &peer));
	assert_int_equal(write(fds[1], bytes, n), (ssize_t)n);
	porch_arrive(r->porch, &(struct arrival){.fd = fds[0], .peer = &peer});
	r->ours[r->ours_count++] = fds[1];
	return fds[1];
}

static int arrive(struct rig *r, const char *bytes, size_t n)
{
	return arrive_from(r, "127.0.0.1", bytes, n);
}

static bool is_let_in(void *context)
{
	return ((struct rig *)context)->let_in > 0;
}

static uint64_t refused(const struct rig *r)
{
	uint64_t sum = 0;

	for (int i = 0; i < PORCH_REFUSAL_COUNT; i++)
		sum += count_read(&r->counts.refused[i]);
	return sum;
}

static void check_refused(struct rig *r, enum porch_refusal reason)
{
	assert_int_equal(r->let_in, 0);
	assert_int_equal(count_read(&r->counts.refused[reason]), 1);
	assert_int_equal(refused(r), 1);
}

static bool is_refused(void *context)
{
	return refused(context) > 0;
}

/* Reads to the end, which is there now: closed, perhaps by a reset as something was unread. */
static void check_closed(int fd)
{
	char byte;

	assert_true(read(fd, &byte, 1) <= 0);
}

static bool is_closed(void *context)
{
	char byte;

	return recv(*(int *)context, &byte, 1, MSG_DONTWAIT) == 0 || errno != EAGAIN;
}

/* --- let in ------------------------------------------------------------ */

static void a_client_comes_with_its_own_address_and_all_its_bytes(void **state)
{
	struct rig r;
	char rest[32];

	(void)state;
	begin(&r, (struct porch_settings){0});
	arrive(&r, TEXT(LINE "\x10\x0cMQTT"));
	drive_until(r.loop, is_let_in, &r);
	assert_string_equal(r.client, "198.51.100.7:40000");
	assert_false(r.tls_before);
	assert_int_equal(read(r.fd, rest, sizeof(rest)), 6);
	assert_memory_equal(rest, "\x10\x0cMQTT", 6);
	assert_int_equal(refused(&r), 0);
	end(&r);
}

static void a_header_may_come_byte_by_byte(void **state)
{
	static const char bytes[] = CERTIFIED;
	struct rig r;
	char rest[32];
	int fd;

	(void)state;
	begin(&r, (struct porch_settings){.names = PORCH_NAMES_TAKEN});
	fd = arrive(&r, "", 0);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		drive_turns(r.loop, 2);
		assert_int_equal(r.let_in, 0);
		assert_int_equal(write(fd, bytes + i, 1), 1);
	}
	drive_until(r.loop, is_let_in, &r);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_string_equal(r.client, "198.51.100.7:40000");
	assert_int_equal(read(r.fd, rest, sizeof(rest)), 1);
	end(&r);
}

static void the_balancer_itself_keeps_its_address(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, (struct porch_settings){0});
	arrive(&r, TEXT(SIGNATURE "\x20\0\0\0"));
	drive_until(r.loop, is_let_in, &r);
	assert_string_equal(r.client, "127.0.0.1:5000");
	end(&r);
}

static void a_verified_name_goes_along_where_it_is_asked_for(void **state)
{
	static const struct {
		enum porch_names names;
		const char *want;
	} rows[] = {
		{PORCH_NAMES_IGNORED, ""},
		{PORCH_NAMES_TAKEN, "node7"},
		{PORCH_NAMES_REQUIRED, "node7"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		begin(&r, (struct porch_settings){.names = rows[i].names});
		arrive(&r, TEXT(CERTIFIED));
		drive_until(r.loop, is_let_in, &r);
		assert_string_equal(r.name, rows[i].want);
		assert_true(r.tls_before);
		end(&r);
	}
}

/* --- refused ----------------------------------------------------------- */

static void who_is_not_trusted_may_say_what_it_likes(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, (struct porch_settings){0});
	check_closed(arrive_from(&r, "127.0.0.2", TEXT(LINE)));
	check_refused(&r, PORCH_UNTRUSTED);
	end(&r);
}

static void a_client_without_a_header_is_refused(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, (struct porch_settings){0});
	check_closed(arrive(&r, TEXT("\x10")));
	check_refused(&r, PORCH_HEADER);
	end(&r);
}

static void a_header_that_goes_wrong_later_is_refused(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	begin(&r, (struct porch_settings){0});
	fd = arrive(&r, TEXT("PROXY TCP"));
	assert_int_equal(write(fd, "5 \r\n", 4), 4);
	drive_until(r.loop, is_refused, &r);
	check_refused(&r, PORCH_HEADER);
	check_closed(fd);
	end(&r);
}

static void a_header_that_takes_too_long_is_refused(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	begin(&r, (struct porch_settings){.limit_ms = 20});
	fd = arrive(&r, TEXT("PROXY TCP4 198.51"));
	drive_until(r.loop, is_refused, &r);
	check_refused(&r, PORCH_LATE);
	check_closed(fd);
	end(&r);
}

static void a_crowd_without_headers_has_an_end(void **state)
{
	struct rig r;
	int first, second;

	(void)state;
	begin(&r, (struct porch_settings){.most = 1});
	first = arrive(&r, "", 0);
	second = arrive(&r, "", 0);
	check_closed(second);
	check_refused(&r, PORCH_CROWDED);
	arrive(&r, TEXT(LINE)); /* who does not wait finds room */
	drive_until(r.loop, is_let_in, &r);
	close(r.fd);
	r.let_in = 0;
	assert_int_equal(write(first, TEXT(LINE)), sizeof(LINE) - 1);
	drive_until(r.loop, is_let_in, &r);
	end(&r);
}

static void where_a_certificate_is_required_a_client_without_is_refused(void **state)
{
	struct rig r;

	(void)state;
	begin(&r, (struct porch_settings){.names = PORCH_NAMES_REQUIRED});
	check_closed(arrive(&r, TEXT(LINE)));
	check_refused(&r, PORCH_CERTIFICATE);
	end(&r);
}

static void who_leaves_is_forgotten_without_a_word(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	begin(&r, (struct porch_settings){.most = 1});
	fd = arrive(&r, TEXT("PROXY "));
	shutdown(fd, SHUT_WR);
	drive_until(r.loop, is_closed, &fd);
	assert_int_equal(refused(&r), 0);
	arrive(&r, TEXT("PROXY ")); /* its place is free */
	assert_int_equal(refused(&r), 0);
	end(&r);
}

static void those_who_wait_are_closed_with_the_porch(void **state)
{
	struct rig r;
	int fd;

	(void)state;
	begin(&r, (struct porch_settings){0});
	fd = arrive(&r, TEXT("PROXY "));
	porch_free(r.porch);
	r.porch = NULL;
	check_closed(fd);
	assert_int_equal(refused(&r), 0);
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_comes_with_its_own_address_and_all_its_bytes),
		cmocka_unit_test(a_header_may_come_byte_by_byte),
		cmocka_unit_test(the_balancer_itself_keeps_its_address),
		cmocka_unit_test(a_verified_name_goes_along_where_it_is_asked_for),
		cmocka_unit_test(who_is_not_trusted_may_say_what_it_likes),
		cmocka_unit_test(a_client_without_a_header_is_refused),
		cmocka_unit_test(a_header_that_goes_wrong_later_is_refused),
		cmocka_unit_test(a_header_that_takes_too_long_is_refused),
		cmocka_unit_test(a_crowd_without_headers_has_an_end),
		cmocka_unit_test(where_a_certificate_is_required_a_client_without_is_refused),
		cmocka_unit_test(who_leaves_is_forgotten_without_a_word),
		cmocka_unit_test(those_who_wait_are_closed_with_the_porch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
