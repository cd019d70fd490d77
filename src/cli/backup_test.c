/* Archives written into a file in memory and read back, whole, cut short and damaged. */
#include "cli/backup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

#define LARGE (700u * 1024u)

static int memory_file(void)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static struct tar_member named(const char *name)
{
	struct tar_member m = {.mode = 0600};

	strcpy(m.name, name);
	return m;
}

/* manifest.yaml "format: 1\n", data/large of LARGE bytes, data/empty. */
static int make_backup(void)
{
	int fd = memory_file(), large = memory_file();
	char *content = mem_new(LARGE);
	struct tar_member m;
	struct backup_out a;
	bool is_read;

	memset(content, 'x', LARGE);
	assert_int_equal(write(large, content, LARGE), LARGE);
	free(content);
	backup_out_init(&a, fd);
	m = named("manifest.yaml");
	assert_int_equal(backup_put(&a, &m, VIEW("format: 1\n")), 0);
	m = named("data/large");
	m.size = LARGE - 1;
	assert_int_equal(backup_put_file(&a, &m, large, &is_read), 0);
	m = named("data/empty");
	assert_int_equal(backup_put(&a, &m, (struct view){NULL, 0}), 0);
	assert_int_equal(backup_finish(&a), 0);
	assert_int_equal(a.bytes, lseek(fd, 0, SEEK_END));
	backup_out_fini(&a);
	close(large);
	return fd;
}

/* Reads all of it; gives what backup_next() or backup_read() ended with. */
static int read_all(int fd, char **why)
{
	struct backup_in a;
	uint8_t piece[1000];
	int64_t n = 0;
	int err;

	lseek(fd, 0, SEEK_SET);
	backup_in_init(&a, fd);
	while ((err = backup_next(&a)) == 1) {
		if (strcmp(a.member.name, "data/large") == 0)
			continue; /* read past */
		while ((n = backup_read(&a, piece, sizeof(piece))) > 0)
			;
	}
	*why = mem_text(a.why);
	backup_in_fini(&a);
	return err;
}

static void an_archive_comes_back_as_it_was_written(void **state)
{
	int fd = make_backup();
	struct backup_in a;
	char content[64];

	(void)state;
	lseek(fd, 0, SEEK_SET);
	backup_in_init(&a, fd);
	assert_int_equal(backup_next(&a), 1);
	assert_string_equal(a.member.name, "manifest.yaml");
	assert_int_equal(backup_read(&a, content, sizeof(content)), 10);
	assert_memory_equal(content, "format: 1\n", 10);
	assert_int_equal(backup_read(&a, content, sizeof(content)), 0);
	assert_int_equal(backup_next(&a), 1);
	assert_string_equal(a.member.name, "data/large");
	assert_int_equal(a.member.size, LARGE - 1);
	assert_int_equal(backup_read(&a, content, sizeof(content)), sizeof(content));
	assert_int_equal(content[0], 'x');
	assert_int_equal(backup_next(&a), 1);
	assert_string_equal(a.member.name, "data/empty");
	assert_int_equal(backup_next(&a), 0);
	backup_in_fini(&a);
	close(fd);
}

static void an_archive_cut_short_anywhere_is_refused(void **state)
{
	int fd = make_backup();
	off_t size = lseek(fd, 0, SEEK_END);
	char *why;

	(void)state;
	for (off_t cut = size - 1; cut > 0; cut = cut > 2000 ? cut - 997 : cut - 100) {
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_int_equal(read_all(fd, &why), ERR_CORRUPT);
		assert_string_equal(why, cut < (off_t)TAR_BLOCK
						 ? "it is no archive of isobar export"
						 : "it ends early: it is not complete");
		free(why);
	}
	close(fd);
}

static void a_damaged_member_is_named(void **state)
{
	int fd = make_backup();
	char *why;

	(void)state;
	assert_int_equal(pwrite(fd, "y", 1, 3 * TAR_BLOCK + 4711), 1);
	assert_int_equal(read_all(fd, &why), ERR_CORRUPT);
	assert_string_equal(why, "isobar-export/data/large is damaged: its checksum is another");
	free(why);
	close(fd);
}

static void what_is_no_archive_is_refused(void **state)
{
	char text[TAR_BLOCK] = "journal: {keep: 24h}\n";
	int fd = memory_file();
	char *why;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(read_all(fd, &why), ERR_CORRUPT);
	assert_string_equal(why, "it is no archive of isobar export");
	free(why);
	close(fd);
}

static void a_name_that_leads_elsewhere_is_refused(void **state)
{
	static const char *const names[] = {
		"../isobar-export/x", "isobar-export/../x", "/etc/passwd", "other/x"};
	struct tar_member m;
	uint8_t block[TAR_BLOCK];
	char *why;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = memory_file();

		m = named(names[i]);
		assert_true(tar_encode(&m, block));
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
		assert_int_equal(read_all(fd, &why), ERR_CORRUPT);
		assert_string_equal(why, "a member has a name that isobar export does not write");
		free(why);
		close(fd);
	}
}

static void a_member_left_out_is_missed(void **state)
{
	int fd = memory_file();
	struct backup_out a;
	struct tar_member m = named("data/bans");
	char *why;

	(void)state;
	backup_out_init(&a, fd);
	assert_int_equal(backup_put(&a, &m, VIEW("x")), 0);
	lseek(fd, 0, SEEK_SET); /* and is written over by the end */
	assert_int_equal(backup_finish(&a), 0);
	backup_out_fini(&a);
	assert_int_equal(read_all(fd, &why), ERR_CORRUPT);
	assert_string_equal(why, "a member that SHA256SUMS names is missing");
	free(why);
	close(fd);
}

static void a_file_that_becomes_shorter_ends_the_writing(void **state)
{
	struct tar_member m = named("data/x");
	int fd = memory_file(), file = memory_file();
	struct backup_out a;
	bool is_read = false;

	(void)state;
	m.size = 100;
	assert_int_equal(write(file, "short", 5), 5);
	backup_out_init(&a, fd);
	assert_int_equal(backup_put_file(&a, &m, file, &is_read), ERR_CORRUPT);
	assert_true(is_read);
	backup_out_fini(&a);
	close(file);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_archive_comes_back_as_it_was_written),
		cmocka_unit_test(an_archive_cut_short_anywhere_is_refused),
		cmocka_unit_test(a_damaged_member_is_named),
		cmocka_unit_test(what_is_no_archive_is_refused),
		cmocka_unit_test(a_name_that_leads_elsewhere_is_refused),
		cmocka_unit_test(a_member_left_out_is_missed),
		cmocka_unit_test(a_file_that_becomes_shorter_ends_the_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
