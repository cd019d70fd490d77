/* A session's row goes from one journal to another in which the same records stand in another order. */
#include "broker/passport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"
#include "commit/fixture.h"
#include "mqtt/inflight.h"

#define SHARDS 3u
#define RECORDS 60u /* of each shard: places 1, 2, 3 ... */

struct machine {
	char dir[FIXTURE_DIR_BYTES];
	struct commit *commit;
	struct journal_reader reader;
	struct passport_desk desk;
};

static void follow(struct machine *m, uint32_t shard, uint32_t from, uint32_t n)
{
	struct commit_record *records = mem_new(n * sizeof(*records));
	struct commit_line line = {.records = records, .n = n};

	for (uint32_t i = 0; i < n; i++) {
		struct journal_message *message = &records[i].message;

		*message = (struct journal_message){.topic = VIEW("origin/a/wis2/de-dwd/data"),
			.payload = VIEW("payload"),
			.log_id = from + i,
			.shard = (uint8_t)shard,
			.qos = 1};
		memcpy(message->id.b, &message->log_id, sizeof(message->log_id));
		message->id.b[15] = (uint8_t)shard;
	}
	assert_int_equal(commit_follow(m->commit, &line, 1), 0);
	assert_int_equal(line.taken, n);
	free(records);
}

static void machine_init(struct machine *m)
{

	m->commit = fixture_open_commit(m->dir, 20000);
	journal_reader_open(commit_journal(m->commit), &m->reader);
	m->desk = (struct passport_desk){m->commit, commit_journal(m->commit), &m->reader};
}

static void machine_fini(struct machine *m)
{

	journal_reader_close(&m->reader);
	fixture_close_commit(m->dir, m->commit);
}

/* One by one by turns. */
static void fill_evenly(struct machine *m)
{
	for (uint32_t i = 1; i <= RECORDS; i++) {
		for (uint32_t shard = 0; shard < SHARDS; shard++)
			follow(m, shard, i, 1);
	}
}

/* Shard after shard, the last first. */
static void fill_apart(struct machine *m)
{
	for (uint32_t shard = SHARDS; shard-- > 0;)
		follow(m, shard, 1, RECORDS);
}

static const struct journal_entry *entry_at(const struct machine *m, uint64_t seq)
{
	const struct journal_segment *segment = journal_find(m->desk.journal, seq);

	return segment ? &segment->entries[seq - segment->base] : NULL;
}

#define POSITION 75u /* of the even machine: 25 of each shard */

static struct row row_with(const uint64_t *slots, size_t n)
{
	return (struct row){.key = VIEW("partner\0roamer"),
		.subscriptions = VIEW(""),
		.slots = {(const char *)slots, n * sizeof(*slots)},
		.received = VIEW("\1\0\2\0"),
		.position = POSITION,
		.expiry_ms = 3600000,
		.owner = 7,
		.first_id = 12,
		.next_id = 16};
}

/* Each record beyond the position is met, and none that was had, when what was had is passed over. */
static void assert_goes_on(const struct machine *to, const struct passport *p)
{
	uint32_t met[SHARDS] = {0};

	for (uint64_t seq = p->row.position; seq < journal_tail(to->desk.journal); seq++) {
		const struct journal_entry *e = entry_at(to, seq);

		if (e->log_id > p->got.place[e->shard])
			met[e->shard]++;
	}
	for (uint32_t shard = 0; shard < SHARDS; shard++) {
		assert_int_equal(p->got.place[shard], POSITION / SHARDS);
		assert_int_equal(met[shard], RECORDS - POSITION / SHARDS);
	}
}

static void a_session_goes_on_where_it_stood_in_another_order(void **state)
{
	/* seq 70 is place 24 of shard 1, 71 of shard 2, 74 place 25 of shard 2 */
	const uint64_t slots[] = {70 | INFLIGHT_QOS_2 | INFLIGHT_RELEASED, INFLIGHT_ACKED,
		71 | INFLIGHT_RETAIN | 5ull << INFLIGHT_SHARE, 74};
	struct machine from = {0}, to = {0};
	struct row row = row_with(slots, 4);
	struct buf bytes = {0};
	struct passport p;
	const uint64_t *got;

	(void)state;
	machine_init(&from);
	machine_init(&to);
	fill_evenly(&from);
	fill_apart(&to);
	passport_write(&from.desk, &row, PASSPORT_EXACT, &bytes);
	assert_int_equal(passport_read(&to.desk, buf_view(&bytes), VIEW(""), &p), 0);
	assert_int_equal(p.kind, PASSPORT_EXACT);
	assert_true(view_equal(p.row.key, row.key));
	assert_true(view_equal(p.row.received, row.received));
	assert_int_equal(p.row.first_id, 12);
	assert_int_equal(p.row.next_id, 16);
	journal_reader_enter(&to.reader);
	assert_goes_on(&to, &p);
	assert_int_equal(p.row.slots.n, sizeof(slots));
	got = (const uint64_t *)(const void *)p.row.slots.p;
	assert_true(got[1] == INFLIGHT_ACKED);
	assert_int_equal(
		got[0] >> INFLIGHT_SHARE, (INFLIGHT_QOS_2 | INFLIGHT_RELEASED) >> INFLIGHT_SHARE);
	assert_int_equal(got[2] >> INFLIGHT_SHARE, INFLIGHT_RETAIN >> INFLIGHT_SHARE);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t mask = (1ull << INFLIGHT_SHARE) - 1;
		const struct journal_entry *a, *b;

		if (i == 1)
			continue;
		journal_reader_enter(&from.reader);
		a = entry_at(&from, slots[i] & mask);
		b = entry_at(&to, got[i] & mask);
		assert_int_equal(a->shard, b->shard);
		assert_int_equal(a->log_id, b->log_id);
		journal_reader_leave(&from.reader);
	}
	journal_reader_leave(&to.reader);
	passport_fini(&p);
	buf_fini(&bytes);
	machine_fini(&from);
	machine_fini(&to);
}

static void a_live_session_stands_at_its_machines_mark(void **state)
{
	struct machine from = {0}, to = {0};
	struct row row = row_with(NULL, 0);
	struct buf bytes = {0}, mark = {0};
	struct vector at;
	struct passport p;

	(void)state;
	machine_init(&from);
	machine_init(&to);
	fill_evenly(&from);
	fill_apart(&to);
	row.position = ROW_LIVE;
	passport_write(&from.desk, &row, PASSPORT_LIVE, &bytes);
	journal_reader_enter(&from.reader);
	commit_vector_at(from.commit, &from.reader, POSITION, &at);
	journal_reader_leave(&from.reader);
	vector_write(&mark, &at);
	assert_int_equal(passport_read(&to.desk, buf_view(&bytes), buf_view(&mark), &p), 0);
	journal_reader_enter(&to.reader);
	assert_goes_on(&to, &p);
	journal_reader_leave(&to.reader);
	passport_fini(&p);
	/* Without the mark: everything there is. */
	assert_int_equal(passport_read(&to.desk, buf_view(&bytes), VIEW(""), &p), 0);
	assert_int_equal(p.row.position, 0);
	passport_fini(&p);
	buf_fini(&bytes);
	buf_fini(&mark);
	machine_fini(&from);
	machine_fini(&to);
}

static void what_is_not_in_the_other_journal_is_not_sent_again(void **state)
{
	const uint64_t slots[] = {10, 75};
	struct machine from = {0}, to = {0};
	struct row row = row_with(slots, 2);
	struct buf bytes = {0};
	struct passport p;
	const uint64_t *got;

	(void)state;
	machine_init(&from);
	machine_init(&to);
	fill_evenly(&from);
	follow(&to, 0, 20, 10); /* seq 75 is place 26 of shard 0; 10 is place 4 of shard 1 */
	passport_write(&from.desk, &row, PASSPORT_AWAY, &bytes);
	assert_int_equal(passport_read(&to.desk, buf_view(&bytes), VIEW(""), &p), 0);
	got = (const uint64_t *)(const void *)p.row.slots.p;
	assert_true(got[0] == INFLIGHT_ACKED);
	assert_int_equal(got[1], 6);
	passport_fini(&p);
	buf_fini(&bytes);
	machine_fini(&from);
	machine_fini(&to);
}

static void a_damaged_passport_is_refused(void **state)
{
	const uint64_t slots[] = {70, 71};
	struct machine m = {0};
	struct row row = row_with(slots, 2);
	struct buf bytes = {0};
	struct passport p;
	struct view whole;

	(void)state;
	machine_init(&m);
	fill_evenly(&m);
	passport_write(&m.desk, &row, PASSPORT_EXACT, &bytes);
	whole = buf_view(&bytes);
	for (size_t n = 0; n < whole.n; n++)
		assert_true(passport_read(&m.desk, (struct view){whole.p, n}, VIEW(""), &p) < 0);
	bytes.data[bytes.start + 1]++;
	assert_int_equal(passport_read(&m.desk, whole, VIEW(""), &p), ERR_VERSION);
	bytes.data[bytes.start + 1]--;
	bytes.data[bytes.start] = '?';
	assert_int_equal(passport_read(&m.desk, whole, VIEW(""), &p), ERR_CORRUPT);
	buf_fini(&bytes);
	machine_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_goes_on_where_it_stood_in_another_order),
		cmocka_unit_test(a_live_session_stands_at_its_machines_mark),
		cmocka_unit_test(what_is_not_in_the_other_journal_is_not_sent_again),
		cmocka_unit_test(a_damaged_passport_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
