/* commit/fixture.h - for tests that need a commit of their own: an hour of memory in a new folder
 *
 * Needs cmocka.h before it.
 */
#ifndef COMMIT_FIXTURE_H
#define COMMIT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commit/commit.h"

#define FIXTURE_DIR_BYTES 64

static inline void fixture_make_dir(char dir[FIXTURE_DIR_BYTES])
{
	snprintf(dir, FIXTURE_DIR_BYTES, "/tmp/isobar-commit-%s",
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(dir));
}

static inline void fixture_remove_dir(const char *dir)
{
	char command[FIXTURE_DIR_BYTES + 16];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

/* In a folder that is there, what stood in it before is known again; sys NULL: the machine's calls. */
static inline struct commit *fixture_open_commit_in(
	const char *dir, uint64_t ids, enum journal_sync sync, const struct journal_system *sys)
{
	struct commit_config config = {
		.journal = {.dir = dir,
			.keep_ms = 3600000,
			.size_bytes = 64u << 20,
			.index_keep_ms = 3600000,
			.least_ms = 3600000,
			.sync = sync,
			.sync_ms = 10,
			.system = sys},
		.window_ms = 3600000,
		.ids = ids,
	};
	struct commit *c = NULL;
	char *why = NULL;

	assert_int_equal(commit_open(&c, &config, &why), 0);
	return c;
}

/* dir: where it is, to be given to fixture_close_commit(). */
static inline struct commit *fixture_open_commit(char dir[FIXTURE_DIR_BYTES], uint64_t ids)
{
	fixture_make_dir(dir);
	return fixture_open_commit_in(dir, ids, JOURNAL_SYNC_NEVER, NULL);
}

/* Without ports. */
static inline void fixture_close_commit(const char *dir, struct commit *c)
{
	commit_close(c);
	fixture_remove_dir(dir);
}

#endif
