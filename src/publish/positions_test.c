/* The file of positions as a text. */
#include "publish/positions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void what_was_written_is_read_again(void **state)
{
	struct positions p = {0}, again;
	struct buf text = {0};
	uint64_t seq = 1;

	(void)state;
	positions_add(&p, "mqtts://emqx.example.org:8883", 0);
	positions_add(&p, "ws://[::1]:8083/mqtt", UINT64_MAX);
	positions_format(&p, &text);
	assert_true(positions_parse(&again, buf_view(&text)));
	assert_int_equal(again.count, 2);
	assert_true(positions_take(&again, "mqtts://emqx.example.org:8883", &seq));
	assert_int_equal(seq, 0);
	assert_true(positions_take(&again, "ws://[::1]:8083/mqtt", &seq));
	assert_true(seq == UINT64_MAX);
	assert_false(positions_take(&again, "mqtts://emqx.example.org:8883", &seq));
	positions_fini(&p);
	positions_fini(&again);
	buf_fini(&text);
}

static void no_part_and_no_change_of_it_is_read(void **state)
{
	struct positions p = {0}, again;
	struct buf text = {0};

	(void)state;
	positions_add(&p, "mqtt://a:1883", 1234);
	positions_format(&p, &text);
	for (size_t n = 0; n < buf_length(&text); n++) {
		assert_false(positions_parse(&again, (struct view){buf_view(&text).p, n}));
		text.data[n] ^= 1;
		assert_false(positions_parse(&again, buf_view(&text)));
		text.data[n] ^= 1;
	}
	buf_text(&text, "1\tmqtt://b:1883\n");
	assert_false(positions_parse(&again, buf_view(&text)));
	positions_fini(&p);
	buf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_again),
		cmocka_unit_test(no_part_and_no_change_of_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
