#include "base/file.h"

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

static void assert_holds(const char *path, const char *want, mode_t mode)
{
	char text[64] = "";
	FILE *f = fopen(path, "r");
	struct stat s;

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(want));
	fclose(f);
	assert_string_equal(text, want);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(s.st_mode & 0777, mode);
}

static void a_file_is_replaced_and_keeps_its_mode(void **state)
{
	char folder[] = "/tmp/isobar-file-XXXXXX";
	char *path, *fresh;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/a", folder);
	fresh = mem_printf("%s.new", path);
	assert_int_equal(file_replace(path, VIEW("one\n"), 0640), 0);
	assert_holds(path, "one\n", 0640);
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(file_replace(path, VIEW("and two\n"), 0640), 0);
	assert_holds(path, "and two\n", 0604);
	assert_int_equal(access(fresh, F_OK), -1);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
	free(fresh);
	free(path);
}

static void what_cannot_be_replaced_stays(void **state)
{
	char folder[] = "/tmp/isobar-file-XXXXXX";
	char *path, *fresh;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/a", folder);
	fresh = mem_printf("%s.new", path);
	assert_int_equal(file_replace(path, VIEW("one\n"), 0640), 0);
	assert_int_equal(symlink("/nonexistent/elsewhere", fresh), 0); /* never followed */
	assert_int_equal(file_replace(path, VIEW("two\n"), 0640), ERR_SYSTEM);
	assert_holds(path, "one\n", 0640);
	unlink(fresh);
	unlink(path);
	assert_int_equal(file_replace("/nonexistent/a", VIEW(""), 0640), ERR_SYSTEM);
	assert_int_equal(rmdir(folder), 0);
	free(fresh);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_replaced_and_keeps_its_mode),
		cmocka_unit_test(what_cannot_be_replaced_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
