/* cluster/mark_test.c */
#include "cluster/mark.h"

#include "net/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void every_slot_has_a_key_that_lies_in_it(void **state)
{
	struct marks *m = mem_new(sizeof(*m));

	(void)state;
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		char key[32];

		snprintf(key, sizeof(key), "{%u}:mark", mark_of(m, (uint16_t)slot));
		assert_int_equal(slot_of(view_of(key)), slot);
	}
	assert_true(m->tried < 300000);
	free(m);
}

static void a_shard_s_slot_has_the_shard_s_own_number_at_once(void **state)
{
	struct marks *m = mem_new(sizeof(*m));

	(void)state;
	assert_int_equal(mark_of(m, slot_of(VIEW("{15}:log"))), 15);
	assert_true(m->tried <= 16);
	free(m);
}

static void what_is_written_is_a_key_with_an_end(void **state)
{
	struct marks *m = mem_new(sizeof(*m));
	struct buf b = {0};

	(void)state;
	assert_int_equal(mark_push(m, &b, slot_of(VIEW("{7}:log")), false), 1);
	assert_true(view_equal(buf_view(&b), VIEW("*5\r\n$3\r\nSET\r\n$8\r\n{7}:mark\r\n$1\r\n1\r\n"
						  "$2\r\nEX\r\n$4\r\n3600\r\n")));
	buf_clear(&b);
	assert_int_equal(mark_push(m, &b, slot_of(VIEW("{7}:log")), true), 2);
	assert_memory_equal(buf_view(&b).p, "*1\r\n$6\r\nASKING\r\n*5", 18);
	buf_fini(&b);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_slot_has_a_key_that_lies_in_it),
		cmocka_unit_test(a_shard_s_slot_has_the_shard_s_own_number_at_once),
		cmocka_unit_test(what_is_written_is_a_key_with_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
