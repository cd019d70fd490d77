#include "broker/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <xxhash.h>

#include "base/error.h"

static const uint64_t slots[] = {5, UINT64_MAX, 7 | 1ull << 62};
static const uint16_t received[] = {3, 4};

static const struct row full = {
	.key = {"user\0id", 7},
	.subscriptions = {"subscriptions", 13},
	.slots = {(const char *)slots, sizeof(slots)},
	.received = {(const char *)received, sizeof(received)},
	.will = {"will", 4},
	.position = 1ull << 40,
	.expiry_ms = UINT64_MAX,
	.offline_ms = 123,
	.address = 99,
	.owner = 7,
	.first_id = 65535,
	.next_id = 3,
};

static void a_row_comes_back_as_it_was(void **state)
{
	struct buf b = {0};
	struct row r;

	(void)state;
	buf_append(&b, "before", 6); /* rows are appended */
	row_encode(&full, &b);
	assert_int_equal(row_decode(view_skip(buf_view(&b), 6), &r), 0);
	assert_true(view_equal(r.key, full.key));
	assert_true(view_equal(r.subscriptions, full.subscriptions));
	assert_true(view_equal(r.slots, full.slots));
	assert_true(view_equal(r.received, full.received));
	assert_true(view_equal(r.will, full.will));
	assert_int_equal(r.position, full.position);
	assert_int_equal(r.expiry_ms, full.expiry_ms);
	assert_int_equal(r.offline_ms, full.offline_ms);
	assert_int_equal(r.address, full.address);
	assert_int_equal(r.owner, full.owner);
	assert_int_equal(r.first_id, full.first_id);
	assert_int_equal(r.next_id, full.next_id);
	buf_fini(&b);
}

/* The row's version becomes this, its checksum fits. */
static int decode_as(struct buf *b, uint32_t version, struct row *r)
{
	uint64_t checksum;

	memcpy(b->data + 8, &version, sizeof(version));
	checksum = XXH3_64bits(b->data + 8, buf_length(b) - 8);
	memcpy(b->data, &checksum, sizeof(checksum));
	return row_decode(buf_view(b), r);
}

/* The head ends there, 8 bytes for each part that a version did not have yet. */
static void cut_head(struct buf *b, size_t at)
{
	const size_t whole = 72;
	size_t n = buf_length(b);

	memmove(b->data + b->start + at, b->data + b->start + whole, n - whole);
	b->end -= (uint32_t)(whole - at);
}

#define HEAD_3 64u
#define HEAD_2 56u

static void rows_of_versions_before_are_read_without_what_came_later(void **state)
{
	struct row without = full;
	struct buf b = {0};
	struct row r;

	(void)state;
	row_encode(&full, &b);
	assert_int_equal(decode_as(&b, 0, &r), ERR_VERSION);
	assert_int_equal(decode_as(&b, ROW_VERSION + 1, &r), ERR_VERSION);
	cut_head(&b, HEAD_3);
	assert_int_equal(decode_as(&b, 3, &r), 0);
	assert_int_equal(r.address, full.address);
	assert_int_equal(r.owner, 0);
	buf_clear(&b);
	row_encode(&full, &b);
	cut_head(&b, HEAD_2);
	assert_int_equal(decode_as(&b, 2, &r), 0);
	assert_true(view_equal(r.will, full.will));
	assert_int_equal(r.address, 0);
	buf_clear(&b);
	without.will = VIEW("");
	row_encode(&without, &b);
	cut_head(&b, HEAD_2);
	assert_int_equal(decode_as(&b, 1, &r), 0);
	assert_true(view_equal(r.key, full.key));
	assert_int_equal(r.will.n, 0);
	buf_append(&b, "x", 1);
	assert_int_equal(decode_as(&b, 1, &r), ERR_CORRUPT);
	buf_fini(&b);
}

static void every_flipped_bit_is_seen(void **state)
{
	struct buf b = {0};
	struct row r;

	(void)state;
	row_encode(&full, &b);
	for (size_t bit = 0; bit < buf_length(&b) * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(row_decode(buf_view(&b), &r), ERR_CORRUPT);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_fini(&b);
}

static void every_cut_is_seen(void **state)
{
	struct buf b = {0};
	struct row r;

	(void)state;
	row_encode(&full, &b);
	for (size_t n = 0; n < buf_length(&b); n++)
		assert_int_equal(
			row_decode((struct view){(const char *)b.data, n}, &r), ERR_CORRUPT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_comes_back_as_it_was),
		cmocka_unit_test(rows_of_versions_before_are_read_without_what_came_later),
		cmocka_unit_test(every_flipped_bit_is_seen),
		cmocka_unit_test(every_cut_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
