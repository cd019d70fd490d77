#include "broker/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void an_id_is_there_from_its_publish_to_its_release(void **state)
{
	struct received r = {0};

	(void)state;
	assert_false(received_has(&r, 7));
	assert_true(received_add(&r, 7));
	assert_true(received_has(&r, 7));
	assert_false(received_add(&r, 7));
	assert_int_equal(r.count, 1);
	assert_true(received_remove(&r, 7));
	assert_false(received_has(&r, 7));
	assert_false(received_remove(&r, 7));
	received_fini(&r);
}

static void the_set_is_sorted_however_it_was_filled(void **state)
{
	static const uint16_t order[] = {500, 1, 65535, 300, 2, 499};
	static const uint16_t want[] = {1, 2, 300, 499, 65535};
	struct received r = {0};

	(void)state;
	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		assert_true(received_add(&r, order[i]));
	assert_true(received_remove(&r, 500));
	assert_int_equal(r.count, sizeof(want) / sizeof(want[0]));
	assert_memory_equal(r.ids, want, sizeof(want));
	received_fini(&r);
}

static void all_ids_fit_and_an_empty_set_owns_nothing(void **state)
{
	struct received r = {0};

	(void)state;
	for (uint32_t id = 65535; id > 0; id--)
		assert_true(received_add(&r, (uint16_t)id));
	assert_int_equal(r.count, 65535);
	assert_false(received_add(&r, 1));
	for (uint32_t id = 65535; id > 0; id--)
		assert_true(received_remove(&r, (uint16_t)id));
	assert_null(r.ids);
	assert_int_equal(r.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_there_from_its_publish_to_its_release),
		cmocka_unit_test(the_set_is_sorted_however_it_was_filled),
		cmocka_unit_test(all_ids_fit_and_an_empty_set_owns_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
