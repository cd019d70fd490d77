/* journal/system.h - the system calls that may fail and the clock, as a table
 *
 * Tests put their own table into journal_config.system to make the n-th call fail or to turn a
 * clock by hand. The functions are called from any of the journal's threads.
 */
#ifndef JOURNAL_SYSTEM_H
#define JOURNAL_SYSTEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct journal_system {
	ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
	int (*fdatasync)(int fd);
	int (*reserve)(int fd, off_t bytes); /* disk space for the whole file; -1 and errno */
	int (*truncate)(int fd, off_t bytes);
	uint64_t (*mono_ms)(void);
	uint64_t (*wall_ms)(void);
};

/* The machine's own. */
const struct journal_system *system_real(void);

/* Writes all n bytes at `at`, through short writes and EINTR. 0, ERR_HELD (no space) or
 * ERR_SYSTEM. */
int system_write(const struct journal_system *sys, int fd, const void *p, size_t n, uint64_t at);

/* The error of a failed call by errno: ERR_HELD when space is what is missing, else ERR_SYSTEM. */
int system_error(void);

#endif
