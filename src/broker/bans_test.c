#include "broker/bans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

static struct address at(const char *host)
{
	struct address a;

	assert_true(address_parse(view_of(host), 1, &a));
	return a;
}

static int add(struct bans *b, enum ban_kind kind, const char *what)
{
	struct ban ban = {.kind = kind,
		.what = (char *)(uintptr_t)what,
		.by = (char *)(uintptr_t) "root",
		.why = (char *)(uintptr_t) "\"noise\"\n",
		.since_ms = 1700000000000};

	return bans_add(b, &ban);
}

static bool has(struct bans *b, const char *host, const char *client_id)
{
	struct address a = at(host);

	return bans_has(b, &a, view_of(client_id));
}

static struct bans *open_sound(const char *path)
{
	char *why = NULL;
	struct bans *b = bans_open(path, &why);

	assert_null(why);
	assert_non_null(b);
	return b;
}

static void bans_outlive_the_process_and_are_taken_back(void **state)
{
	char folder[] = "/tmp/isobar-bans-XXXXXX";
	char *path;
	struct bans *b;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/bans", folder);
	b = open_sound(path);
	assert_false(has(b, "192.0.2.7", "a b"));
	assert_int_equal(add(b, BAN_CLIENT_ID, "a b"), 0);
	assert_int_equal(add(b, BAN_ADDRESS, "192.0.2.0/24"), 0);
	assert_int_equal(add(b, BAN_ADDRESS, "192.0.2.0/24"), 0);
	bans_free(b);
	b = open_sound(path);
	assert_true(has(b, "192.0.2.7", "x"));
	assert_true(has(b, "192.0.3.7", "a b"));
	assert_false(has(b, "192.0.3.7", "a"));
	assert_false(has(b, "192.0.3.7", NULL));
	assert_int_equal(bans_remove(b, BAN_ADDRESS, "192.0.2.0/24"), 0);
	assert_int_equal(bans_remove(b, BAN_ADDRESS, "192.0.2.0/24"), ERR_NOT_FOUND);
	assert_int_equal(bans_remove(b, BAN_ADDRESS, "a b"), ERR_NOT_FOUND);
	assert_false(has(b, "192.0.2.7", "x"));
	bans_free(b);
	b = open_sound(path);
	assert_false(has(b, "192.0.2.7", "x"));
	assert_true(has(b, "192.0.2.7", "a b"));
	bans_free(b);
	unlink(path);
	rmdir(folder);
	free(path);
}

static void what_cannot_be_written_does_not_count(void **state)
{
	struct bans *b = open_sound("/nonexistent/folder/bans");

	(void)state;
	assert_int_equal(add(b, BAN_CLIENT_ID, "a"), ERR_SYSTEM);
	assert_false(has(b, "192.0.2.7", "a"));
	bans_free(b);
}

static void what_is_no_ban_is_refused(void **state)
{
	struct bans *b = open_sound(NULL);
	char longest[BAN_TEXT_BYTES + 2];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(add(b, BAN_ADDRESS, "192.0.2.0/33"), ERR_CONFIG);
	assert_int_equal(add(b, BAN_ADDRESS, "somewhere"), ERR_CONFIG);
	assert_int_equal(add(b, BAN_CLIENT_ID, ""), ERR_CONFIG);
	assert_int_equal(add(b, BAN_CLIENT_ID, NULL), ERR_CONFIG);
	assert_int_equal(add(b, BAN_CLIENT_ID, "\xff"), ERR_CONFIG);
	assert_int_equal(add(b, BAN_CLIENT_ID, longest), ERR_CONFIG);
	assert_int_equal(add(b, BAN_CLIENT_ID, longest + 1), 0);
	bans_free(b);
}

static void there_is_an_end_to_bans(void **state)
{
	struct bans *b = open_sound(NULL);
	char id[16];

	(void)state;
	for (unsigned i = 0; i < BANS_MOST; i++) {
		snprintf(id, sizeof(id), "%u", i);
		assert_int_equal(add(b, BAN_CLIENT_ID, id), 0);
	}
	assert_int_equal(add(b, BAN_CLIENT_ID, "more"), ERR_FULL);
	assert_int_equal(add(b, BAN_CLIENT_ID, "7"), 0);
	bans_free(b);
}

static void a_damaged_file_is_told_by_its_line(void **state)
{
	char path[] = "/tmp/isobar-bans-XXXXXX";
	int fd = mkstemp(path);
	static const char text[] =
		"{\"client_id\":\"a\",\"since_ms\":1,\"by\":\"b\",\"why\":\"\"}\n"
		"{\"client_id\":\"a\",\"since_ms\":-1,\"by\":\"b\",\"why\":\"\"}\n";
	char *why = NULL;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_null(bans_open(path, &why));
	assert_non_null(strstr(why, ":2: not a ban"));
	free(why);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bans_outlive_the_process_and_are_taken_back),
		cmocka_unit_test(what_cannot_be_written_does_not_count),
		cmocka_unit_test(what_is_no_ban_is_refused),
		cmocka_unit_test(there_is_an_end_to_bans),
		cmocka_unit_test(a_damaged_file_is_told_by_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
