#include "journal/system.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/* posix_fallocate() writes blocks itself on a file system that cannot reserve. */
static int real_reserve(int fd, off_t bytes)
{
	int err;

	do
		err = posix_fallocate(fd, 0, bytes);
	while (err == EINTR);
	errno = err;
	return err ? -1 : 0;
}

const struct journal_system *system_real(void)
{
	static const struct journal_system real = {
		.pwrite = pwrite,
		.fdatasync = fdatasync,
		.reserve = real_reserve,
		.truncate = ftruncate,
		.mono_ms = clock_mono_ms,
		.wall_ms = clock_wall_ms,
	};

	return &real;
}

int system_error(void)
{
	return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_HELD : ERR_SYSTEM;
}

int system_write(const struct journal_system *sys, int fd, const void *p, size_t n, uint64_t at)
{
	const uint8_t *bytes = p;

	while (n > 0) {
		ssize_t done = sys->pwrite(fd, bytes, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			errno = done == 0 ? EIO : errno;
			return system_error();
		}
		bytes += done;
		at += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}
