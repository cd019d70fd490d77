/* The broker in question is the one that holds the lock of data_dir/journal: its process id stands in the
 * lock file, and is its own as long as the lock is held. */
#include "cli/source_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/config_keys.h"

char *source_file(const struct config *c, const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	if (name[0] && name[0] != '.' && strlen(name) <= 128 &&
		strspn(name, letters) == strlen(name))
		return mem_printf("%s/%s.yaml", c->sources_dir, name);
	fprintf(stderr,
		"isobar source: %.130s: not a name for a source; letters, digits, - _ and . are\n",
		name);
	return NULL;
}

/* Faults to stderr, as of the file it is to become. */
static bool is_sound(const struct config *c, const char *path, const char *name, struct view text)
{
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	struct config_reader r = {&faults, path, "", ""};
	struct source_config source;

	config_read_source(&r, text, name, c, &source);
	source_config_fini(&source);
	if (buf_length(&lines))
		fwrite(buf_bytes(&lines), 1, buf_length(&lines), stderr);
	buf_fini(&lines);
	return faults.count == 0;
}

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

/* A file may hold a password: it is readable to its owner and group only, or as it was before. */
static bool replace_file(const char *path, struct view text)
{
	char *fresh = mem_printf("%s.new", path);
	struct stat before;
	mode_t mode = stat(path, &before) == 0 ? before.st_mode & 0777 : 0640;
	int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	bool good = fd >= 0 && write_all(fd, text);

	if (fd >= 0)
		good &= close(fd) == 0;
	good = good && rename(fresh, path) == 0;
	if (!good) {
		fprintf(stderr, "isobar source: %s: %s\n", path, strerror(errno));
		unlink(fresh);
	}
	free(fresh);
	return good;
}

int source_file_write(const struct config *c, const char *name, struct view text, bool replace)
{
	char *path = source_file(c, name);
	int status = CLI_DONE;

	if (path == NULL)
		return CLI_USAGE;
	if (!replace && access(path, F_OK) == 0) {
		fprintf(stderr, "isobar source: %s is there already; --force replaces it\n", path);
		status = CLI_NO;
	} else if (!is_sound(c, path, name, text)) {
		status = CLI_USAGE;
	} else if ((mkdir(c->sources_dir, 0750) < 0 && errno != EEXIST) ||
		   !replace_file(path, text)) {
		status = CLI_ENVIRONMENT;
	}
	free(path);
	return status;
}

bool source_text_enable(struct view text, bool enabled, struct buf *out)
{
	const char *line = enabled ? "enabled: true\n" : "enabled: false\n";
	bool written = false;

	/* A mapping in braces has no lines of its own. */
	if (memchr(text.p, '{', text.n) == text.p || text.n == 0)
		return false;
	while (text.p) {
		struct view one = view_cut(&text, '\n');

		if (view_starts_with(one, VIEW("enabled:"))) {
			if (!written)
				buf_text(out, line);
			written = true;
		} else if (text.p || one.n) {
			buf_append(out, one.p, one.n);
			buf_text(out, "\n");
		}
	}
	if (!written)
		buf_text(out, line);
	return true;
}

/* The process that holds the lock; 0: none. */
static pid_t find_broker(const struct config *c)
{
	char *path = mem_printf("%s/journal/lock", c->data_dir);
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	pid_t pid = 0;

	free(path);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
		read(fd, text, sizeof(text) - 1) > 0)
		pid = (pid_t)strtol(text, NULL, 10);
	close(fd);
	return pid > 1 ? pid : 0;
}

bool source_reload(const struct config *c)
{
	pid_t pid = find_broker(c);

	return pid && kill(pid, SIGHUP) == 0;
}
