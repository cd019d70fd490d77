/* Keys to slots, redirects, CLUSTER SLOTS and CLUSTER NODES. */
#include "cluster/slots.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/error.h"

static void keys_lie_where_redis_says(void **state)
{
	/* Answers of CLUSTER KEYSLOT of Redis 7.0.15. */
	static const struct {
		struct view key;
		uint16_t want;
	} rows[] = {
		{VIEW(""), 0},
		{VIEW("123456789"), 12739},
		{VIEW("foo"), 12182},
		{VIEW("{foo}bar"), 12182},
		{VIEW("x{foo}bar{y}"), 12182},
		{VIEW("{}foo"), 9500},
		{VIEW("{foo"), 13308},
		{VIEW("foo{{bar}}"), 4015},
		{VIEW("{0}:log"), 13907},
		{VIEW("{15}:log"), 4178},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (slot_of(rows[i].key) != rows[i].want)
			fail_msg("%.*s: %u", VIEW_ARG(rows[i].key), slot_of(rows[i].key));
}

static void redirects_name_slot_and_node(void **state)
{
	static const struct {
		const char *error;
		const char *host; /* NULL: no redirect */
		uint16_t slot;
		uint16_t port;
		bool ask;
	} rows[] = {
		{"MOVED 3999 127.0.0.1:6381", "127.0.0.1", 3999, 6381, false},
		{"ASK 0 redis-1.example:6381", "redis-1.example", 0, 6381, true},
		{"MOVED 16383 ::1:6381", "::1", 16383, 6381, false},
		{"MOVED 1 :6381", "", 1, 6381, false},
		{"MOVED 16384 127.0.0.1:6381", NULL, 0, 0, false},
		{"MOVED 1 127.0.0.1:65536", NULL, 0, 0, false},
		{"MOVED 1 127.0.0.1:0", NULL, 0, 0, false},
		{"MOVED 1 127.0.0.1", NULL, 0, 0, false},
		{"MOVED 1", NULL, 0, 0, false},
		{"MOVED", NULL, 0, 0, false},
		{"MOVED -1 127.0.0.1:1", NULL, 0, 0, false},
		{"ERR MOVED 1 127.0.0.1:1", NULL, 0, 0, false},
		{"", NULL, 0, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slot_redirect got;
		bool is = slot_redirect_of(view_of(rows[i].error), &got);

		if (is != (rows[i].host != NULL))
			fail_msg("%s", rows[i].error);
		if (!is)
			continue;
		assert_true(view_equal(got.to.host, view_of(rows[i].host)));
		assert_int_equal(got.to.port, rows[i].port);
		assert_int_equal(got.slot, rows[i].slot);
		assert_int_equal(got.ask, rows[i].ask);
	}
}

static const struct resp *parse(struct resp_reader *r, const char *bytes)
{
	const struct resp *reply = NULL;

	resp_feed(r, (const uint8_t *)bytes, strlen(bytes));
	assert_int_equal(resp_next(r, &reply), 1);
	return reply;
}

static void ranges_name_master_and_replicas(void **state)
{
	struct resp_reader *r = resp_reader_new(65536);
	const struct resp *reply = parse(r, "*1\r\n*4\r\n:5\r\n:9\r\n"
					    "*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n"
					    "*3\r\n$-1\r\n:7001\r\n$2\r\nid\r\n");
	struct slot_range range;
	struct slot_node node;

	(void)state;
	assert_true(slot_range_of(reply, 0, &range));
	assert_int_equal(range.first, 5);
	assert_int_equal(range.last, 9);
	assert_int_equal(range.nodes, 2);
	assert_true(slot_range_node(&range, 0, &node));
	assert_true(view_equal(node.host, VIEW("127.0.0.1")));
	assert_int_equal(node.port, 7000);
	assert_true(slot_range_node(&range, 1, &node));
	assert_int_equal(node.host.n, 0);
	assert_int_equal(node.port, 7001);
	assert_false(slot_range_node(&range, 2, &node));
	assert_false(slot_range_of(reply, 1, &range));
	resp_reader_free(r);
}

/* cluster-preferred-endpoint-type hostname */
static void a_node_without_the_host_name_that_is_preferred_is_known_by_its_address(void **state)
{
	struct resp_reader *r = resp_reader_new(65536);
	const struct resp *reply =
		parse(r, "*1\r\n*4\r\n:5\r\n:9\r\n"
			 "*4\r\n$1\r\n?\r\n:7000\r\n$2\r\nid\r\n*2\r\n$2\r\nip\r\n$3\r\n::1\r\n"
			 "*4\r\n$1\r\n?\r\n:7001\r\n$2\r\nid\r\n*2\r\n$4\r\nname\r\n$1\r\nx\r\n");
	struct slot_range range;
	struct slot_node node;

	(void)state;
	assert_true(slot_range_of(reply, 0, &range));
	assert_true(slot_range_node(&range, 0, &node));
	assert_true(view_equal(node.host, VIEW("::1")));
	assert_false(slot_range_node(&range, 1, &node));
	resp_reader_free(r);
}

static void rows_that_are_not_ranges_are_refused(void **state)
{
	static const char *const rows[] = {
		":1\r\n",
		"*1\r\n:1\r\n",
		"*1\r\n*0\r\n",
		"*1\r\n*2\r\n:1\r\n:2\r\n",
		"*1\r\n*3\r\n:2\r\n:1\r\n*0\r\n",
		"*1\r\n*3\r\n:-1\r\n:1\r\n*0\r\n",
		"*1\r\n*3\r\n:0\r\n:16384\r\n*0\r\n",
		"*1\r\n*3\r\n$1\r\n0\r\n:1\r\n*0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct resp_reader *r = resp_reader_new(65536);
		struct slot_range range;

		if (slot_range_of(parse(r, rows[i]), 0, &range))
			fail_msg("row %zu", i);
		resp_reader_free(r);
	}
}

#define M1 "aaa 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 9000 [5-<-bbb]\n"
#define R1(flags) "ddd 127.0.0.1:7003@17003,host-3 " flags " aaa 0 1 1 connected\n"
#define R2(flags) "eee 127.0.0.1:7004@17004 " flags " aaa 0 1 1 disconnected\n"
#define M2 "bbb ::1:7001@17001 master,fail - 0 0 2 connected 5461-8999 9001-16383\n"

static void a_census_counts_the_replicas_of_a_slot_by_what_is_agreed(void **state)
{
	static const struct {
		const char *nodes;
		uint16_t slot;
		struct replica_census want;
	} rows[] = {
		{M1 R1("slave") M2, 5, {true, false, true, 1, 0, 0}},
		{M1 R1("slave") R2("slave,fail") M2, 9000, {true, false, true, 1, 1, 0}},
		{M1 R1("slave,fail?") R2("slave,fail") M2, 5460, {true, false, true, 0, 1, 1}},
		{M1 R1("slave,fail") R2("slave,fail") M2, 0, {true, false, true, 0, 2, 0}},
		{M1 R1("slave,handshake") R2("slave,noaddr") M2, 0, {true, false, true, 0, 0, 2}},
		/* "fail" wins over "fail?", which Redis does not say together */
		{M1 R1("slave,fail?,fail") M2, 0, {true, false, true, 0, 1, 0}},
		{M1 R1("slave") M2, 6000, {true, true, false, 0, 0, 0}},
		{M1 R1("slave"), 6000, {false, false, false, 0, 0, 0}},
		/* a replica that stands before its master */
		{R1("slave") M1 M2, 5, {true, false, true, 1, 0, 0}},
		/* a slot on its way in is not held yet */
		{"bbb 127.0.0.1:7001@17001 master - 0 0 2 connected [5-<-aaa]\n", 5, {0}},
		{"", 5, {0}},
		{"vars currentEpoch\n", 5, {0}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct replica_census got = {0};
		int err = replica_census_of(view_of(rows[i].nodes), rows[i].slot, &got);

		if (i == 11)
			assert_int_equal(err, ERR_MALFORMED);
		if (memcmp(&got, &rows[i].want, sizeof(got)) != 0)
			fail_msg("row %zu: %d %d %d %u %u %u", i, got.has_master, got.master_failed,
				got.of_itself, got.healthy, got.failed, got.suspected);
	}
}

static void fewer_replicas_count_only_when_all_missing_ones_have_failed(void **state)
{
	static const struct {
		const char *nodes;
		uint8_t acknowledge;
		uint8_t want;
	} rows[] = {
		{M1 R1("slave"), 1, 1},
		{M1 R1("slave") R2("slave"), 1, 1},
		{M1 R1("slave,fail"), 1, 0},
		{M1 R1("slave,fail?"), 1, 1},
		{M1 R1("slave,fail") R2("slave,fail?"), 1, 1},
		{M1 R1("slave,fail") R2("slave"), 2, 1},
		{M1 R1("slave,fail?") R2("slave"), 2, 2},
		{M1 R1("slave,handshake"), 1, 1},
		{M1, 1, 0}, /* its replica has taken over from the one before, which is gone */
		{M1 R1("slave"), 0, 0},
		/* another node's word about a master counts for nothing, nor a master's that failed */
		{"aaa h:1@2 master - 0 0 1 connected 0-5460\n" R1("slave,fail"), 1, 1},
		{"aaa h:1@2 myself,master,fail - 0 0 1 connected 0-5460\n" R1("slave,fail"), 1, 1},
		{"", 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct replica_census c = {0};
		uint8_t got;

		assert_int_equal(replica_census_of(view_of(rows[i].nodes), 5, &c), 0);
		got = replicas_needed(&c, rows[i].acknowledge);
		if (got != rows[i].want)
			fail_msg("row %zu: got %u, want %u", i, got, rows[i].want);
	}
}

static void a_line_is_taken_apart(void **state)
{
	struct view rest = VIEW(R1("slave,fail?") "\n" M2);
	struct node_line n;

	(void)state;
	assert_int_equal(node_line_next(&rest, &n), 1);
	assert_true(view_equal(n.id, VIEW("ddd")));
	assert_true(view_equal(n.host, VIEW("127.0.0.1")));
	assert_int_equal(n.port, 7003);
	assert_int_equal(n.flags, NODE_REPLICA | NODE_SUSPECTED);
	assert_true(view_equal(n.master, VIEW("aaa")));
	assert_true(n.linked);
	assert_int_equal(n.slots.n, 0);
	assert_int_equal(node_line_next(&rest, &n), 1);
	assert_true(view_equal(n.host, VIEW("::1")));
	assert_int_equal(n.flags, NODE_MASTER | NODE_FAILED);
	assert_true(view_equal(n.slots, VIEW("5461-8999 9001-16383")));
	assert_int_equal(node_line_next(&rest, &n), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_lie_where_redis_says),
		cmocka_unit_test(redirects_name_slot_and_node),
		cmocka_unit_test(ranges_name_master_and_replicas),
		cmocka_unit_test(
			a_node_without_the_host_name_that_is_preferred_is_known_by_its_address),
		cmocka_unit_test(rows_that_are_not_ranges_are_refused),
		cmocka_unit_test(a_census_counts_the_replicas_of_a_slot_by_what_is_agreed),
		cmocka_unit_test(fewer_replicas_count_only_when_all_missing_ones_have_failed),
		cmocka_unit_test(a_line_is_taken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
