#include "broker/retained_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "broker/retained_row.h"

static void topics_come_in_their_order_whatever_order_they_came_in(void **state)
{
	static const char *const added[] = {"b", "a/b", "a", "a/b/c", "ab", "$x", "a!"};
	static const char *const wanted[] = {"$x", "a", "a!", "a/b", "a/b/c", "ab", "b"};
	struct retained_set s = {0};
	const struct retained_topic *t;

	(void)state;
	for (size_t i = 0; i < 7; i++)
		retained_set_add(&s, view_of(added[i]));
	t = retained_set_from(&s, VIEW(""), false);
	for (size_t i = 0; i < 7; i++, t = t->next[0])
		assert_true(view_equal(retained_topic_name(t), view_of(wanted[i])));
	assert_null(t);
	retained_set_fini(&s);
}

static void a_walk_goes_on_behind_a_topic_that_is_gone(void **state)
{
	struct retained_set s = {0};
	struct retained_topic *b;

	(void)state;
	retained_set_add(&s, VIEW("a"));
	b = retained_set_add(&s, VIEW("b"));
	retained_set_add(&s, VIEW("c"));
	assert_ptr_equal(retained_set_from(&s, VIEW("b"), false), b);
	assert_true(
		view_equal(retained_topic_name(retained_set_from(&s, VIEW("b"), true)), VIEW("c")));
	retained_set_cut(&s, b);
	assert_true(b->is_cut);
	free(b);
	assert_null(retained_set_find(&s, VIEW("b")));
	assert_true(
		view_equal(retained_topic_name(retained_set_from(&s, VIEW("b"), true)), VIEW("c")));
	assert_null(retained_set_from(&s, VIEW("c"), true));
	retained_set_fini(&s);
}

static void thousands_of_topics_are_found_and_cut(void **state)
{
	struct retained_set s = {0};
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "t/%u", i * 7919 % 5000);
		retained_set_add(&s, view_of(name))->bytes = i;
	}
	for (unsigned i = 0; i < 5000; i++) {
		struct retained_topic *t;

		snprintf(name, sizeof(name), "t/%u", i);
		t = retained_set_find(&s, view_of(name));
		assert_non_null(t);
		if (i % 2) {
			retained_set_cut(&s, t);
			free(t);
		}
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "t/%u", i);
		assert_int_equal(retained_set_find(&s, view_of(name)) == NULL, i % 2);
	}
	retained_set_fini(&s);
}

static void check_row(uint64_t place, uint8_t shard)
{
	struct retained_row row = {.set_at = 7, .time_ms = 8};
	struct retained_row back;
	struct buf bytes = {0};

	row.message = (struct journal_message){.topic = VIEW("a/b"),
		.payload = VIEW("payload"),
		.properties = VIEW("\x01\x01"),
		.log_id = place,
		.shard = shard,
		.expiry_s = 9,
		.publisher = 10,
		.flags = JOURNAL_RETAIN,
		.qos = 2};
	retained_row_encode(&row, &bytes);
	assert_int_equal(retained_row_decode(buf_view(&bytes), &back), 0);
	assert_true(view_equal(back.message.topic, row.message.topic));
	assert_true(view_equal(back.message.payload, row.message.payload));
	assert_true(view_equal(back.message.properties, row.message.properties));
	assert_int_equal(back.set_at + back.time_ms, 15);
	assert_int_equal(back.message.expiry_s + back.message.publisher, 19);
	assert_int_equal(back.message.qos + back.message.flags, 2 + JOURNAL_RETAIN);
	assert_int_equal(back.message.log_id, row.message.log_id);
	assert_int_equal(back.message.shard, row.message.shard);
	for (size_t i = 0; i < buf_length(&bytes); i++) {
		bytes.data[i] ^= 1;
		assert_int_equal(retained_row_decode(buf_view(&bytes), &back), ERR_CORRUPT);
		bytes.data[i] ^= 1;
		assert_int_equal(
			retained_row_decode((struct view){(const char *)bytes.data, i}, &back),
			ERR_CORRUPT);
	}
	buf_fini(&bytes);
}

static void a_row_comes_back_as_it_was_and_no_other_way(void **state)
{
	(void)state;
	check_row(0, 0);
	check_row(UINT64_MAX - 5, 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topics_come_in_their_order_whatever_order_they_came_in),
		cmocka_unit_test(a_walk_goes_on_behind_a_topic_that_is_gone),
		cmocka_unit_test(thousands_of_topics_are_found_and_cut),
		cmocka_unit_test(a_row_comes_back_as_it_was_and_no_other_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
