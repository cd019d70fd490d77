/* Records of the shared log: what is written is read; what is not one is refused. */
#include "cluster/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

static const struct record full = {
	.topic = {"origin/a/wis2/x", 15},
	.payload = {"{\0}", 3},
	.properties = {"\x01\x01", 2},
	.publisher = {"ca-eccc-msc", 11},
	.source = {"wbroker01/5/7", 13},
	.id = {{1, 2, 3}},
	.previous = {{9, 8, 7}},
	.has_previous = true,
	.expiry_s = 0x01020304,
	.flags = 5,
	.qos = 1,
};

static void same(const struct record *a, const struct record *b)
{
	assert_true(view_equal(a->topic, b->topic));
	assert_true(view_equal(a->payload, b->payload));
	assert_true(view_equal(a->properties, b->properties));
	assert_true(view_equal(a->publisher, b->publisher));
	assert_true(view_equal(a->source, b->source));
	assert_memory_equal(&a->id, &b->id, sizeof(a->id));
	assert_memory_equal(&a->previous, &b->previous, sizeof(a->previous));
	assert_int_equal(a->has_previous, b->has_previous);
	assert_int_equal(a->expiry_s, b->expiry_s);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->qos, b->qos);
}

static void what_is_written_is_read(void **state)
{
	struct record least = {.topic = VIEW("t")}, got;
	struct buf b = {0};

	(void)state;
	assert_int_equal(record_encode(&b, &full), 0);
	assert_int_equal(record_decode(buf_view(&b), &got), 0);
	same(&got, &full);
	buf_clear(&b);
	assert_int_equal(record_encode(&b, &least), 0);
	assert_int_equal(record_decode(buf_view(&b), &got), 0);
	same(&got, &least);
	buf_fini(&b);
}

static void a_record_may_name_another_one_before_it_or_none(void **state)
{
	struct record other = full, got;
	struct buf b = {0};
	uint32_t shorter;

	(void)state;
	other.previous = (struct uuid){{4, 5, 6}};
	assert_int_equal(record_encode(&b, &full), 0);
	assert_int_equal(record_set_previous(b.data, &other.previous), 0);
	assert_int_equal(record_decode(buf_view(&b), &got), 0);
	same(&got, &other);
	other.has_previous = false;
	other.previous = (struct uuid){{0}};
	shorter = record_set_previous(b.data, NULL);
	assert_int_equal(shorter, 16);
	assert_int_equal(record_decode(view_skip(buf_view(&b), shorter), &got), 0);
	same(&got, &other);
	buf_fini(&b);
}

static void version_1_stands_as_it_was_first_written(void **state)
{
	static const char bytes[] = "\x01\x85\x01\x01\x02\x03\x04"
				    "\x01\x02\x03\0\0\0\0\0\0\0\0\0\0\0\0\0"
				    "\x09\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"
				    "\0\x0forigin/a/wis2/x\0\x0b"
				    "ca-eccc-msc\0\x0dwbroker01/5/7\0\0\0\x02\x01\x01{\0}";
	struct buf b = {0};

	(void)state;
	assert_int_equal(record_encode(&b, &full), 0);
	assert_int_equal(buf_length(&b), sizeof(bytes) - 1);
	assert_memory_equal(buf_bytes(&b), bytes, sizeof(bytes) - 1);
	buf_fini(&b);
}

static void what_is_cut_or_foreign_is_refused(void **state)
{
	struct buf b = {0};
	struct record got;
	size_t head;

	(void)state;
	assert_int_equal(record_encode(&b, &full), 0);
	head = buf_length(&b) - full.payload.n;
	for (size_t n = 0; n < head; n++) {
		char *cut = mem_new(n + 1);

		memcpy(cut, buf_bytes(&b), n);
		assert_int_equal(record_decode((struct view){cut, n}, &got), ERR_MALFORMED);
		free(cut);
	}
	b.data[2] = 3; /* QoS */
	assert_int_equal(record_decode(buf_view(&b), &got), ERR_MALFORMED);
	b.data[2] = 0;
	b.data[1] = 0x40; /* a flag of nobody */
	assert_int_equal(record_decode(buf_view(&b), &got), ERR_MALFORMED);
	b.data[0] = 2;
	assert_int_equal(record_decode(buf_view(&b), &got), ERR_VERSION);
	buf_fini(&b);
}

static void texts_that_do_not_fit_are_not_written(void **state)
{
	struct record r = {.topic = {"", 65536}};
	struct buf b = {0};

	(void)state;
	assert_int_equal(record_encode(&b, &r), ERR_TOO_LARGE);
	assert_int_equal(buf_length(&b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_record_may_name_another_one_before_it_or_none),
		cmocka_unit_test(version_1_stands_as_it_was_first_written),
		cmocka_unit_test(what_is_cut_or_foreign_is_refused),
		cmocka_unit_test(texts_that_do_not_fit_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
