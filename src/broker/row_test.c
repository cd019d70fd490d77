#include "broker/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/error.h"

static const uint64_t slots[] = {5, UINT64_MAX, 7 | 1ull << 62};
static const uint16_t received[] = {3, 4};

static const struct row full = {
	.key = {"user\0id", 7},
	.subscriptions = {"subscriptions", 13},
	.slots = {(const char *)slots, sizeof(slots)},
	.received = {(const char *)received, sizeof(received)},
	.position = 1ull << 40,
	.expiry_ms = UINT64_MAX,
	.offline_ms = 123,
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
	assert_int_equal(r.position, full.position);
	assert_int_equal(r.expiry_ms, full.expiry_ms);
	assert_int_equal(r.offline_ms, full.offline_ms);
	assert_int_equal(r.first_id, full.first_id);
	assert_int_equal(r.next_id, full.next_id);
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
		assert_int_equal(row_decode((struct view){(const char *)b.data, n}, &r), ERR_CORRUPT);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_comes_back_as_it_was),
		cmocka_unit_test(every_flipped_bit_is_seen),
		cmocka_unit_test(every_cut_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
