#include "broker/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "broker/shared_group.h"

#define MEMBERS 3

/* A group of one account on two workers, with members by hand, over a real journal. */
struct fixture {
	char dir[32];
	struct broker broker;
	struct broker_worker workers[2];
	struct accounts *accounts;
	struct shared *group;
	struct session sessions[MEMBERS];
	struct shared_member members[MEMBERS];
};

static void member_init(struct fixture *f, int i)
{
	struct shared_member *m = &f->members[i];

	f->sessions[i].worker = &f->workers[i % 2];
	m->session = &f->sessions[i];
	m->group = f->group;
	m->number = 1;
	list_init(&m->in_turn);
	list_init(&m->called);
	list_init(&m->seat);
}

static void begin(struct fixture *f)
{
	struct journal_config config = {.dir = f->dir,
		.keep_ms = 3600000,
		.size_bytes = 1u << 30,
		.index_keep_ms = 3600000,
		.sync = JOURNAL_SYNC_NEVER};
	struct gate_settings checks;
	char *why = NULL;

	*f = (struct fixture){0};
	snprintf(f->dir, sizeof(f->dir), "/tmp/isobar-shared-%s",
		"XXXXX"
		"X");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(journal_open(&f->broker.journal, &config, &why), 0);
	f->broker.workers = f->workers;
	f->broker.worker_count = 2;
	shareds_init(&f->broker.shareds);
	for (unsigned i = 0; i < 2; i++) {
		f->workers[i].broker = &f->broker;
		f->workers[i].journal = f->broker.journal;
		f->workers[i].number = i;
		f->workers[i].loop = loop_new();
		shared_worker_init(&f->workers[i]);
		journal_reader_open(f->broker.journal, &f->workers[i].reader);
	}
	gate_settings_default(&checks);
	f->accounts = accounts_public(&checks);
	f->group = shared_find(&f->broker, (struct view){"everyone\0\0crew/a/#", 18}, 0);
	f->group->accounts = accounts_ref(f->accounts);
	f->group->account = &f->accounts->list[0];
	for (int i = 0; i < MEMBERS; i++)
		member_init(f, i);
}

static void end(struct fixture *f)
{
	char command[64];

	for (int i = 0; i < MEMBERS; i++) {
		buf_fini(&f->members[i].hand);
		inflight_fini(&f->sessions[i].window);
	}
	shareds_fini(&f->broker.shareds);
	accounts_unref(f->accounts);
	for (int i = 0; i < 2; i++) {
		journal_reader_close(&f->workers[i].reader);
		loop_free(f->workers[i].loop);
	}
	journal_close(f->broker.journal);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	assert_int_equal(system(command), 0);
}

/* One record each, on these topics. */
static void append(struct fixture *f, const char *topics)
{
	for (; *topics; topics++) {
		char text[] = {*topics, '/', 'x', '\0'};
		struct journal_message m = {.topic = view_of(text), .payload = VIEW("p")};
		const struct journal_message *one = &m;

		journal_lock(f->broker.journal);
		assert_int_equal(journal_reserve(f->broker.journal, 64, 1), 0);
		assert_int_equal(journal_append(f->broker.journal, &one, 1), 0);
		journal_unlock(f->broker.journal);
	}
}

static enum deal_answer deal(struct fixture *f)
{
	enum deal_answer answer;

	journal_reader_enter(&f->workers[0].reader);
	answer = shared_deal(f->group, &f->workers[0]);
	journal_reader_leave(&f->workers[0].reader);
	return answer;
}

static void assert_hand(struct fixture *f, int member, const char *want)
{
	const struct buf *hand = &f->members[member].hand;
	char got[64] = "";

	for (uint32_t i = 0; i < positions_count(hand); i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%u", i ? " " : "",
			(unsigned)positions_at(hand, i));
	assert_string_equal(got, want);
}

static void assert_returned(struct fixture *f, const char *want)
{
	struct buf hand = f->members[0].hand;

	f->members[0].hand = f->group->returned;
	assert_hand(f, 0, want);
	f->members[0].hand = hand;
}

static void members_with_room_take_turns(void **state)
{
	static const struct {
		const char *name;
		uint32_t credit[MEMBERS];
		const char *topics;
		const char *hands[MEMBERS];
		enum deal_answer answer;
		uint64_t cursor;
	} rows[] = {
		{"all have room", {9, 9, 9}, "aaaaaaa", {"0 3 6", "1 4", "2 5"}, DEAL_DONE, 7},
		{"one has none", {9, 0, 9}, "aaaa", {"0 2", "", "1 3"}, DEAL_DONE, 4},
		{"one is soon full", {1, 9, 0}, "aaaa", {"0", "1 2 3", ""}, DEAL_DONE, 4},
		{"all are full", {1, 1, 0}, "aaaa", {"0", "1", ""}, DEAL_BLOCKED, 2},
		{"nobody has room", {0, 0, 0}, "bba", {"", "", ""}, DEAL_BLOCKED, 2},
		{"other topics are passed", {9, 9, 9}, "abab", {"0", "2", ""}, DEAL_DONE, 4},
		{"nothing is wanted", {9, 9, 9}, "bb", {"", "", ""}, DEAL_DONE, 2},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		print_message("%s\n", rows[i].name);
		begin(&f);
		append(&f, rows[i].topics);
		for (int m = 0; m < MEMBERS; m++)
			shared_set_credit(&f.members[m], rows[i].credit[m]);
		assert_int_equal(deal(&f), rows[i].answer);
		for (int m = 0; m < MEMBERS; m++)
			assert_hand(&f, m, rows[i].hands[m]);
		assert_int_equal(f.group->cursor, rows[i].cursor);
		end(&f);
	}
}

static void one_message_at_a_time_goes_round_as_well(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	shared_set_credit(&f.members[0], 9);
	shared_set_credit(&f.members[1], 9);
	for (int i = 0; i < 6; i++) {
		append(&f, "a");
		assert_int_equal(deal(&f), DEAL_DONE);
		shared_set_credit(&f.members[i % 2], 9); /* as its worker does, having sent it */
	}
	assert_hand(&f, 0, "0 2 4");
	assert_hand(&f, 1, "1 3 5");
	end(&f);
}

static void what_is_given_back_goes_first_and_in_order(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	append(&f, "aaaaaa");
	shared_set_credit(&f.members[0], 2);
	shared_set_credit(&f.members[1], 2);
	deal(&f);
	shared_give_back(f.group, &f.members[1].hand);
	shared_give_back(f.group, &f.members[0].hand);
	assert_returned(&f, "0 1 2 3");
	shared_set_credit(&f.members[2], 5);
	assert_int_equal(deal(&f), DEAL_BLOCKED);
	assert_hand(&f, 2, "0 1 2 3 4");
	assert_returned(&f, "");
	end(&f);
}

static void who_is_dealt_to_is_called_to_his_desk_once(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	append(&f, "aaaa");
	shared_set_credit(&f.members[1], 9);
	deal(&f);
	assert_true(list_is_empty(&f.group->desks[0].called));
	assert_ptr_equal(f.group->desks[1].called.next, &f.members[1].called);
	assert_ptr_equal(f.members[1].called.next, &f.group->desks[1].called);
	assert_true(f.group->desks[1].is_called);
	assert_false(f.workers[1].shared.is_called);
	shared_wake(f.group);
	assert_true(f.workers[1].shared.is_called);
	assert_false(f.workers[0].shared.is_called);
	end(&f);
}

static void positions_are_sorted_and_each_once(void **state)
{
	static const uint64_t given[] = {7, 3, 1ull << 47, 3, 0, 7};
	static const uint64_t want[] = {0, 3, 7, 1ull << 47};
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		positions_add(&b, given[i]);
	positions_sort(&b);
	assert_int_equal(positions_count(&b), 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(positions_at(&b, i), want[i]);
	buf_fini(&b);
}

static void a_number_is_free_while_neither_subscription_nor_message_has_it(void **state)
{
	struct session s = {0};

	(void)state;
	assert_int_equal(shared_next_number(&s), 1);
	subscriptions_put(
		&s.subscriptions, &(struct subscription){.filter = VIEW("$share/g/a"), .share = 4});
	assert_int_equal(shared_next_number(&s), 5);
	inflight_add(&s.window, 9 | 6ull << INFLIGHT_SHARE | INFLIGHT_QOS_2);
	assert_int_equal(shared_next_number(&s), 7);
	assert_int_equal(inflight_seq(&s.window, 0), 9);
	assert_int_equal(inflight_qos(&s.window, 0), 2);
	assert_int_equal(inflight_ack(&s.window, 1), INFLIGHT_OUT_OF_ORDER);
	inflight_release(&s.window, 1);
	inflight_complete(&s.window, 1);
	assert_int_equal(shared_next_number(&s), 5);
	subscriptions_put(&s.subscriptions,
		&(struct subscription){.filter = VIEW("$share/g/b"), .share = INFLIGHT_SHARE_MOST});
	assert_int_equal(shared_next_number(&s), 0);
	subscriptions_fini(&s.subscriptions);
	inflight_fini(&s.window);
}

static void a_group_is_told_from_a_session_by_its_key(void **state)
{
	static const struct {
		struct view key;
		bool is_group;
	} rows[] = {
		{VIEW("user\0client"), false},
		{VIEW("user\0"), false},
		{VIEW("\0client/with/levels"), false},
		{VIEW("user\0\0crew/a/#"), true},
		{VIEW("\0\0crew/a"), true},
		{VIEW("user\0\0crew"), false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
			shared_is_row(&(struct row){.key = rows[i].key}), rows[i].is_group);
}

static void a_row_brings_back_position_and_what_waited(void **state)
{
	static const uint64_t slots[] = {2, 5, 90};
	struct fixture f;
	struct row row = {.key = VIEW("everyone\0\0pair/a/#"),
		.slots = {(const char *)slots, sizeof(slots)},
		.position = 70};
	struct shared *g;

	(void)state;
	begin(&f);
	shared_load(&f.broker, &row, 50); /* the journal's end */
	g = shared_find(&f.broker, row.key, 0);
	assert_int_equal(g->cursor, 50);
	assert_int_equal(positions_count(&g->returned), 2);
	assert_int_equal(positions_at(&g->returned, 1), 5);
	assert_int_equal(f.broker.shareds.count, 2);
	g->holders = 1;
	shared_loaded(&f.broker); /* the other one has no subscriber */
	assert_int_equal(f.broker.shareds.count, 1);
	f.group = g;
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_with_room_take_turns),
		cmocka_unit_test(one_message_at_a_time_goes_round_as_well),
		cmocka_unit_test(what_is_given_back_goes_first_and_in_order),
		cmocka_unit_test(who_is_dealt_to_is_called_to_his_desk_once),
		cmocka_unit_test(positions_are_sorted_and_each_once),
		cmocka_unit_test(a_number_is_free_while_neither_subscription_nor_message_has_it),
		cmocka_unit_test(a_group_is_told_from_a_session_by_its_key),
		cmocka_unit_test(a_row_brings_back_position_and_what_waited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
