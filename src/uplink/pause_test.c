/* Pauses between connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "uplink/pause.h"

static void pauses_double_from_a_second_to_a_minute(void **state)
{
	(void)state;
	for (uint32_t chance = 0; chance < 100000; chance += 997) {
		uint64_t base = 1000;

		for (unsigned failures = 1; failures < 7; failures++) {
			uint64_t ms = pause_ms(failures, chance);

			assert_in_range(ms, base, base + base / 2);
			assert_in_range(ms, PAUSE_FIRST_MS, PAUSE_MOST_MS);
			base *= 2;
		}
		assert_in_range(pause_ms(7, chance), 45000, 60000);
		assert_in_range(pause_ms(4000000000u, chance), 45000, 60000);
	}
	assert_int_not_equal(pause_ms(3, 1), pause_ms(3, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_from_a_second_to_a_minute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
