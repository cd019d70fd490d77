#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"

static bool write_all(int fd, struct view text)
{
	while (text.n) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno != EINTR)
			return false;
		text = view_skip(text, n < 0 ? 0 : (size_t)n);
	}
	return fsync(fd) == 0;
}

/* What root writes must stay readable to the service. Whoever may not give a file away goes on with his
 * own: then the folder is his, and so is the service. */
static bool take_over(int fd, const char *path, const char *folder, mode_t mode)
{
	struct stat before;
	bool is_new = stat(path, &before) < 0;

	if (is_new && stat(folder, &before) < 0)
		return false;
	if (fchown(fd, is_new ? (uid_t)-1 : before.st_uid, before.st_gid) < 0 && errno != EPERM)
		return false;
	return fchmod(fd, is_new ? mode : before.st_mode & 0777) == 0;
}

static void sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int file_replace(const char *path, struct view text, mode_t mode)
{
	char *fresh = mem_printf("%s.new", path);
	char *copy = mem_text(path);
	const char *folder = dirname(copy);
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good = fd >= 0 && take_over(fd, path, folder, mode) && write_all(fd, text);
	int why = errno;

	if (fd >= 0 && close(fd) < 0 && good) {
		good = false;
		why = errno;
	}
	if (good && rename(fresh, path) < 0) {
		good = false;
		why = errno;
	}
	if (good)
		sync_folder(folder);
	else if (fd >= 0)
		unlink(fresh);
	free(copy);
	free(fresh);
	errno = why;
	return good ? 0 : ERR_SYSTEM;
}

int file_make_folder(const char *path)
{
	char *part = mem_text(path);
	int made, why;

	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(part, 0755);
		*p = '/';
	}
	made = mkdir(part, 0750) == 0 || errno == EEXIST ? 0 : ERR_SYSTEM;
	why = errno;
	free(part);
	errno = why;
	return made;
}
