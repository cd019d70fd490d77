#include "cli/source_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
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
		   file_replace(path, text, 0640) < 0) { /* it may hold a password */
		fprintf(stderr, "isobar source: %s: %s\n", path, strerror(errno));
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
