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

/* dir: where it is, to be given to fixture_close_commit(). */
static inline struct commit *fixture_open_commit(char dir[FIXTURE_DIR_BYTES], uint64_t ids)
{
	struct commit_config config = {
		.journal = {.dir = dir,
			.keep_ms = 3600000,
			.size_bytes = 64u << 20,
			.index_keep_ms = 3600000,
			.least_ms = 3600000,
			.sync = JOURNAL_SYNC_NEVER},
		.window_ms = 3600000,
		.ids = ids,
	};
	struct commit *c = NULL;
	char *why = NULL;

	snprintf(dir, FIXTURE_DIR_BYTES, "/tmp/isobar-commit-%s",
		"XX"
		"XX"
		"XX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(commit_open(&c, &config, &why), 0);
	return c;
}

/* Without ports. */
static inline void fixture_close_commit(const char *dir, struct commit *c)
{
	char command[FIXTURE_DIR_BYTES + 16];

	commit_close(c);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

#endif
