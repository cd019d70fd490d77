#include "cli/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static struct tar_member made(const char *name, uint64_t size)
{
	struct tar_member m = {.size = size, .time_s = 1700000000, .mode = 0640};

	strcpy(m.name, name);
	strcpy(m.owner, "isobar");
	return m;
}

/* A name of n bytes with a slash at `cut`. */
static void fill(char *out, size_t n, size_t cut)
{
	memset(out, 'a', n);
	out[n] = '\0';
	out[cut] = '/';
}

static void a_head_comes_back_as_it_was(void **state)
{
	static const uint64_t sizes[] = {
		0, 1, 511, 8589934591u, 8589934592u, UINT64_C(64) << 30, UINT64_C(1) << 61};
	uint8_t block[TAR_BLOCK];
	struct tar_member got;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tar_member m = made("isobar-export/data/bans", sizes[i]);

		assert_true(tar_encode(&m, block));
		assert_int_equal(tar_decode(block, &got), 1);
		assert_string_equal(got.name, m.name);
		assert_string_equal(got.owner, "isobar");
		assert_string_equal(got.group, "");
		assert_int_equal(got.size, sizes[i]);
		assert_int_equal(got.time_s, 1700000000);
		assert_int_equal(got.mode, 0640);
	}
}

static void long_names_are_parted_at_a_slash(void **state)
{
	static const struct {
		size_t n;
		size_t cut;
		bool fits;
	} rows[] = {{100, 3, true}, {101, 0, false}, {101, 1, true}, {201, 100, true},
		{201, 99, false}, {255, 153, false}, {255, 154, true}, {255, 155, true},
		{250, 200, false}};
	uint8_t block[TAR_BLOCK];
	struct tar_member got;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tar_member m = made("x", 1);

		fill(m.name, rows[i].n, rows[i].cut);
		assert_int_equal(tar_encode(&m, block), rows[i].fits);
		if (!rows[i].fits)
			continue;
		assert_int_equal(tar_decode(block, &got), 1);
		assert_string_equal(got.name, m.name);
	}
}

static void a_block_of_zeros_is_the_end(void **state)
{
	uint8_t block[TAR_BLOCK] = {0};
	struct tar_member got;

	(void)state;
	assert_int_equal(tar_decode(block, &got), 0);
}

static void a_changed_byte_is_found(void **state)
{
	struct tar_member m = made("data/journal/0000000001.index", 4096), got;
	uint8_t block[TAR_BLOCK];

	(void)state;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		assert_true(tar_encode(&m, block));
		if (i == 155) /* the blank behind the sum counts for nothing */
			continue;
		block[i] ^= 0x5a;
		assert_int_equal(tar_decode(block, &got), ERR_CORRUPT);
	}
}

static void other_kinds_of_members_are_refused(void **state)
{
	struct tar_member m = made("data/bans", 1), got;
	uint8_t block[TAR_BLOCK];

	(void)state;
	for (char type = '1'; type <= '7'; type++) {
		assert_true(tar_encode(&m, block));
		block[156] = (uint8_t)type;
		block[148 + 5] =
			(uint8_t)(block[148 + 5] + (type - '0')); /* the sum's last digit */
		assert_int_equal(tar_decode(block, &got), ERR_CORRUPT);
	}
}

static void names_that_lead_elsewhere_are_not_safe(void **state)
{
	static const struct {
		const char *name;
		bool is_safe;
	} rows[] = {{"data/bans", true}, {"config/sources.d/ca-eccc-msc.yaml", true},
		{"config/.secret", true}, {"a", true}, {"", false}, {"/etc/passwd", false},
		{"data//x", false}, {"data/", false}, {"../x", false}, {"data/../x", false},
		{"data/..", false}, {"data/./x", false}, {"data/..x", false}, {"data/a b", false},
		{"data/a\nb", false}, {"data/\xc3\xa9", false}, {"1/2/3/4/5/6/7/8", true},
		{"1/2/3/4/5/6/7/8/9", false}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (tar_name_is_safe(view_of(rows[i].name)) != rows[i].is_safe)
			fail_msg("\"%s\"", rows[i].name);
	}
}

static void content_is_filled_up_to_blocks(void **state)
{
	(void)state;
	assert_int_equal(tar_padding(0), 0);
	assert_int_equal(tar_padding(1), 511);
	assert_int_equal(tar_padding(512), 0);
	assert_int_equal(tar_padding(513), 511);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_comes_back_as_it_was),
		cmocka_unit_test(long_names_are_parted_at_a_slash),
		cmocka_unit_test(a_block_of_zeros_is_the_end),
		cmocka_unit_test(a_changed_byte_is_found),
		cmocka_unit_test(other_kinds_of_members_are_refused),
		cmocka_unit_test(names_that_lead_elsewhere_are_not_safe),
		cmocka_unit_test(content_is_filled_up_to_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
