/* The antiloop's set against a plain model of it. */
#include "seen/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static struct uuid id_of(uint64_t n)
{
	struct uuid id = {{0}};

	n *= UINT64_C(0x9E3779B97F4A7C15);
	memcpy(id.b + 4, &n, sizeof(n));
	return id;
}

static enum seen_answer claim(struct seen *s, uint64_t n, uint64_t now_ms)
{
	struct uuid id = id_of(n);

	return seen_claim(s, &id, SEEN_NO_PRINT, now_ms);
}

static void the_first_claim_is_first_and_the_others_repeats(void **state)
{
	struct seen *s = seen_open(1000, 60000);

	(void)state;
	for (uint64_t n = 0; n < 1000; n++)
		assert_int_equal(claim(s, n, 5000 + n), SEEN_FIRST);
	for (uint64_t n = 0; n < 1000; n++)
		assert_int_equal(claim(s, n, 7000), SEEN_REPEAT);
	assert_int_equal(seen_count(s), 1000);
	seen_close(s);
}

static void an_id_is_first_again_only_after_the_window(void **state)
{
	/* {when claimed, when asked, answer}; ages are exact to one second upwards */
	static const struct {
		uint64_t claimed, asked;
		enum seen_answer want;
	} rows[] = {
		{0, 10000, SEEN_REPEAT},
		{999, 10999, SEEN_REPEAT},
		{1500, 11500, SEEN_REPEAT},
		{1500, 12500, SEEN_FIRST},
		{0, 11000, SEEN_FIRST},
		{1500, 86400000, SEEN_FIRST},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seen *s = seen_open(100, 10000);

		claim(s, 1, rows[i].claimed);
		if (claim(s, 1, rows[i].asked) != rows[i].want)
			fail_msg("row %zu: claimed %llu asked %llu", i,
				(unsigned long long)rows[i].claimed,
				(unsigned long long)rows[i].asked);
		assert_int_equal(claim(s, 1, rows[i].asked), SEEN_REPEAT);
		seen_close(s);
	}
}

static void a_repeat_does_not_make_an_id_younger(void **state)
{
	struct seen *s = seen_open(100, 10000);

	(void)state;
	claim(s, 1, 0);
	assert_int_equal(claim(s, 1, 9000), SEEN_REPEAT);
	assert_int_equal(claim(s, 1, 12000), SEEN_FIRST);
	seen_close(s);
}

static void a_full_set_forgets_the_oldest(void **state)
{
	struct seen *s = seen_open(100, 1000000);

	(void)state;
	for (uint64_t n = 0; n < 150; n++)
		assert_int_equal(claim(s, n, n * 1000), SEEN_FIRST);
	assert_int_equal(seen_count(s), 100);
	assert_int_equal(seen_span_ms(s, 149000), 99000);
	for (uint64_t n = 50; n < 150; n++)
		assert_int_equal(claim(s, n, 149000), SEEN_REPEAT);
	assert_int_equal(claim(s, 49, 149000), SEEN_FIRST);
	assert_int_equal(claim(s, 50, 149000), SEEN_FIRST); /* pushed out by 49 */
	seen_close(s);
}

static void a_set_of_one_works(void **state)
{
	struct seen *s = seen_open(1, 1000);

	(void)state;
	assert_int_equal(claim(s, 1, 0), SEEN_FIRST);
	assert_int_equal(claim(s, 1, 0), SEEN_REPEAT);
	assert_int_equal(claim(s, 2, 0), SEEN_FIRST);
	assert_int_equal(claim(s, 1, 0), SEEN_FIRST);
	assert_int_equal(seen_count(s), 1);
	seen_close(s);
}

static void what_is_taken_back_can_be_claimed_again(void **state)
{
	struct seen *s = seen_open(100, 10000);

	(void)state;
	for (uint64_t n = 0; n < 20; n++)
		claim(s, n, n * 500);
	seen_forget_newest(s, 5);
	assert_int_equal(seen_count(s), 15);
	for (uint64_t n = 0; n < 15; n++)
		assert_int_equal(claim(s, n, 9500), SEEN_REPEAT);
	for (uint64_t n = 15; n < 20; n++)
		assert_int_equal(claim(s, n, 9500), SEEN_FIRST);
	seen_forget_newest(s, 1000);
	assert_int_equal(seen_count(s), 0);
	assert_int_equal(claim(s, 1, 9500), SEEN_FIRST);
	seen_close(s);
}

static void expiry_empties_the_set_and_gives_its_memory_back(void **state)
{
	enum { IDS = 1000000 };
	struct seen *s = seen_open(IDS, 10000);
	size_t full;

	(void)state;
	assert_true(seen_bytes(s) <= 65536);
	for (uint64_t n = 0; n < IDS; n++)
		claim(s, n, 1000);
	full = seen_bytes(s);
	assert_true(full >= IDS * 16 && full <= IDS * 40);
	for (int i = 0; i < IDS / 8192 + 1; i++)
		seen_expire(s, 60000);
	assert_int_equal(seen_count(s), 0);
	assert_int_equal(seen_span_ms(s, 60000), 0);
	assert_true(seen_bytes(s) < full - IDS * 12);
	seen_close(s);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* The rate rises all the time, so ids leave while the table grows, many of a second at once. */
static void it_agrees_with_a_plain_model_while_the_table_grows(void **state)
{
	enum { MOST = 100000, IDS = 90000, CLAIMS = 600000, WINDOW = 2000 };
	struct seen *s = seen_open(MOST, WINDOW);
	uint64_t *firsts = mem_new(IDS * sizeof(*firsts)); /* when, plus one; 0: never */
	uint64_t x = 88172645463325252u;
	uint64_t now = 0;

	(void)state;
	for (size_t i = 0; i < CLAIMS; i++) {
		uint64_t id = (next_random(&x) >> 20) % IDS;
		bool known;

		now += next_random(&x) % (1 + i / 20000) == 0;
		known = firsts[id] && (firsts[id] - 1) / 1000 * 1000 + 999 + WINDOW >= now;
		if ((claim(s, id, now) == SEEN_REPEAT) != known)
			fail_msg(
				"claim %zu of id %llu: known %d", i, (unsigned long long)id, known);
		if (!known)
			firsts[id] = now + 1;
		if (i % 1000 == 999) { /* what is taken back was never there */
			seen_forget_newest(s, !known);
			firsts[id] = known ? firsts[id] : 0;
		}
	}
	free(firsts);
	seen_close(s);
}

static void asking_marks_nothing_and_sees_what_is_inside_the_window(void **state)
{
	struct seen *s = seen_open(100000, 10000);
	struct uuid id;

	(void)state;
	for (uint64_t n = 0; n < 20000; n++) { /* while the table grows as well */
		id = id_of(n);
		assert_false(seen_has(s, &id));
		assert_int_equal(claim(s, n, 5000), SEEN_FIRST);
		assert_true(seen_has(s, &id));
		id = id_of(n / 2);
		assert_true(seen_has(s, &id));
	}
	claim(s, 20000, 17000);
	id = id_of(7);
	assert_false(seen_has(s, &id));
	seen_close(s);
}

static void another_print_under_a_known_id_is_a_conflict(void **state)
{
	/* {print claimed, print asked, answer} */
	static const struct {
		uint32_t claimed, asked;
		enum seen_answer want;
	} rows[] = {
		{5, 5, SEEN_REPEAT},
		{5, 7, SEEN_CONFLICT},
		{UINT32_MAX, 1, SEEN_CONFLICT},
		{SEEN_NO_PRINT, 7, SEEN_REPEAT},
		{5, SEEN_NO_PRINT, SEEN_REPEAT},
	};
	struct uuid id = id_of(1);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct seen *s = seen_open(100, 10000);

		assert_int_equal(seen_ask(s, &id, rows[i].asked), SEEN_FIRST);
		assert_int_equal(seen_claim(s, &id, rows[i].claimed, 0), SEEN_FIRST);
		for (int again = 0; again < 2; again++) { /* a conflict changes nothing */
			assert_int_equal(seen_ask(s, &id, rows[i].asked), rows[i].want);
			assert_int_equal(seen_claim(s, &id, rows[i].asked, 5000), rows[i].want);
		}
		assert_int_equal(seen_claim(s, &id, rows[i].claimed, 5000), SEEN_REPEAT);
		/* After the window it is the new one's. */
		assert_int_equal(seen_claim(s, &id, 9, 20000), SEEN_FIRST);
		assert_int_equal(seen_claim(s, &id, 5, 20000), SEEN_CONFLICT);
		seen_close(s);
	}
}

static void fetching_changes_nothing(void **state)
{
	struct seen *s = seen_open(1000, 1000);
	struct uuid ids[200];
	const struct uuid *list[200];

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		ids[i] = id_of(i);
		list[i] = &ids[i];
	}
	seen_prefetch(s, list, 200);
	assert_int_equal(seen_count(s), 0);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(claim(s, i, 0), SEEN_FIRST);
	seen_prefetch(s, list, 200);
	assert_int_equal(seen_count(s), 200);
	seen_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_claim_is_first_and_the_others_repeats),
		cmocka_unit_test(an_id_is_first_again_only_after_the_window),
		cmocka_unit_test(a_repeat_does_not_make_an_id_younger),
		cmocka_unit_test(a_full_set_forgets_the_oldest),
		cmocka_unit_test(a_set_of_one_works),
		cmocka_unit_test(what_is_taken_back_can_be_claimed_again),
		cmocka_unit_test(expiry_empties_the_set_and_gives_its_memory_back),
		cmocka_unit_test(it_agrees_with_a_plain_model_while_the_table_grows),
		cmocka_unit_test(asking_marks_nothing_and_sees_what_is_inside_the_window),
		cmocka_unit_test(another_print_under_a_known_id_is_a_conflict),
		cmocka_unit_test(fetching_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
