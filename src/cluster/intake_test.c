/* Offers of ports: encoded once, bounded, in order; each naming the one before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "cluster/intake.h"
#include "cluster/previous.h"
#include "cluster/record.h"
#include "commit/fixture.h"

struct fixture {
	char dir[FIXTURE_DIR_BYTES];
	struct cluster_core core;
	struct commit_port *port;
	struct intake *intake;
	struct task task;
	int taken;
};

static void on_task(struct task *t)
{
	container_of(t, struct fixture, task)->taken++;
}

static void fixture_init(struct fixture *f)
{

	*f = (struct fixture){.core = {.name = "node/1", .shards = 16}, .task.run = on_task};
	f->core.commit = fixture_open_commit(f->dir, 1000);
	f->core.loop = loop_new();
	f->port = commit_port_new(f->core.commit, f->core.loop, 0);
	f->intake = intake_new(&f->core, &f->task);
}

static void fixture_fini(struct fixture *f)
{

	intake_free(f->intake);
	commit_port_free(f->port);
	loop_free(f->core.loop);
	fixture_close_commit(f->dir, f->core.commit);
}

static struct commit_request request(uint32_t id, const char *topic, bool claim)
{
	struct commit_request r = {
		.message = {.topic = view_of(topic), .payload = VIEW("text"), .qos = 1},
		.publisher = VIEW("de-dwd"),
		.claim = claim};

	memcpy(r.message.id.b, &id, sizeof(id));
	return r;
}

static int offer(struct fixture *f, const void *connection, const struct commit_request *requests,
	uint32_t n)
{
	struct commit_offer offers[8];

	for (uint32_t i = 0; i < n; i++)
		offers[i] = (struct commit_offer){&requests[i], 100 + i};
	return intake_offer(f->intake, f->port, connection, offers, n);
}

static void drop(struct fixture *f, struct parcel *p)
{
	for (uint32_t i = 0, n = p->count; i < n; i++)
		intake_drop(f->intake, &p->entries[i]);
}

static void an_offer_becomes_records_with_shards_and_tokens(void **state)
{
	struct commit_request requests[] = {request(1, "origin/a", true), request(2, "t/x", false),
		request(3, "origin/a", true)};
	struct fixture f;
	struct parcel *p;
	struct record r;

	(void)state;
	fixture_init(&f);
	requests[1].message.origin = 7;
	requests[1].message.flags = JOURNAL_RETAIN;
	assert_int_equal(offer(&f, &f, requests, 3), 0);
	p = intake_take(f.intake);
	assert_int_equal(p->count, 3);
	assert_ptr_equal(p->port, f.port);
	assert_int_equal(p->entries[2].ticket, 102);
	assert_int_equal(p->entries[0].shard, claim_shard(&requests[0].message.id, f.core.shards));
	assert_int_equal(p->entries[1].shard, claim_shard_of_topic(VIEW("t/x"), f.core.shards));
	assert_int_not_equal(p->entries[0].token, p->entries[1].token);
	assert_int_equal(record_decode(entry_record(&p->entries[0]), &r), 0);
	assert_true(view_equal(r.topic, VIEW("origin/a")) && view_equal(r.payload, VIEW("text")));
	assert_true(view_equal(r.publisher, VIEW("de-dwd")));
	assert_true(view_equal(r.source, VIEW("node/1/0")));
	assert_int_equal(r.flags, JOURNAL_CLAIMED);
	assert_false(r.has_previous);
	assert_int_equal(record_decode(entry_record(&p->entries[1]), &r), 0);
	assert_true(view_equal(r.source, VIEW("node/1/7")));
	assert_int_equal(r.flags, JOURNAL_RETAIN);
	assert_int_equal(record_decode(entry_record(&p->entries[2]), &r), 0);
	assert_true(r.has_previous);
	assert_memory_equal(r.previous.b, requests[0].message.id.b, sizeof(r.previous.b));
	drop(&f, p);
	assert_int_equal(intake_bytes(f.intake), 0);
	fixture_fini(&f);
}

static void parcels_come_in_their_order_with_one_wake_up(void **state)
{
	struct commit_request one = request(1, "a", true);
	struct fixture f;
	struct parcel *p;

	(void)state;
	fixture_init(&f);
	for (int i = 0; i < 3; i++)
		assert_int_equal(offer(&f, &f, &one, 1), 0);
	p = intake_take(f.intake);
	for (uint32_t i = 0; i < 3; i++) {
		struct parcel *next = p->next;

		assert_int_equal(p->entries[0].number, i);
		drop(&f, p);
		p = next;
	}
	assert_null(p);
	assert_null(intake_take(f.intake));
	fixture_fini(&f);
}

static void what_is_under_way_is_bounded(void **state)
{
	static char payload[3u << 20];
	struct commit_request large = request(1, "a", false);
	struct fixture f;
	struct parcel *p, *next;
	int taken = 0;

	(void)state;
	fixture_init(&f);
	large.message.payload = (struct view){payload, sizeof(payload)};
	while (offer(&f, &f, &large, 1) == 0)
		taken++;
	assert_int_equal(taken, 10); /* of 3 MiB each in 32 MiB */
	p = intake_take(f.intake);
	next = p->next;
	drop(&f, p);
	assert_int_equal(offer(&f, &f, &large, 1), 0);
	assert_int_equal(offer(&f, &f, &large, 1), ERR_HELD);
	for (p = next; p; p = next) {
		next = p->next;
		drop(&f, p);
	}
	drop(&f, intake_take(f.intake));
	assert_int_equal(intake_bytes(f.intake), 0);
	fixture_fini(&f);
}

static void one_offer_passes_however_large_and_no_message_over_the_journals_limit(void **state)
{
	static char payload[JOURNAL_PACKET_LARGEST];
	struct commit_request eight[8];
	struct fixture f;
	struct parcel *p;

	(void)state;
	fixture_init(&f);
	for (uint32_t i = 0; i < 8; i++) {
		eight[i] = request(i, "a", false);
		eight[i].message.payload = (struct view){payload, sizeof(payload) - 1000};
	}
	assert_int_equal(offer(&f, &f, eight, 8), 0);
	assert_int_equal(offer(&f, &f, eight, 8), ERR_HELD);
	p = intake_take(f.intake);
	drop(&f, p);
	assert_int_equal(offer(&f, &f, eight, 8), 0);
	drop(&f, intake_take(f.intake));
	eight[7].message.payload.n = sizeof(payload);
	assert_int_equal(offer(&f, &f, eight, 8), ERR_TOO_LARGE);
	assert_int_equal(intake_bytes(f.intake), 0);
	fixture_fini(&f);
}

static void the_one_before_is_of_the_same_connection_and_topic(void **state)
{
	struct previous *p = previous_new();
	struct uuid a = {{1}}, b = {{2}}, c = {{3}}, before;

	(void)state;
	assert_false(previous_swap(p, &a, VIEW("t"), &a, &before));
	assert_false(previous_swap(p, &b, VIEW("t"), &b, &before));
	assert_false(previous_swap(p, &a, VIEW("u"), &c, &before));
	assert_true(previous_swap(p, &a, VIEW("t"), &c, &before));
	assert_int_equal(before.b[0], 1);
	assert_true(previous_swap(p, &a, VIEW("t"), &a, &before));
	assert_int_equal(before.b[0], 3);
	previous_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_offer_becomes_records_with_shards_and_tokens),
		cmocka_unit_test(parcels_come_in_their_order_with_one_wake_up),
		cmocka_unit_test(what_is_under_way_is_bounded),
		cmocka_unit_test(
			one_offer_passes_however_large_and_no_message_over_the_journals_limit),
		cmocka_unit_test(the_one_before_is_of_the_same_connection_and_topic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
