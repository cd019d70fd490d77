/* cli/config_text.c - where a value's text comes from: the file, the environment, a secret file
 *
 * ${NAME} takes an environment variable, anywhere in a value; $${ stands for ${ itself. !file PATH
 * takes a file's content without the line end. What came from either is never shown in a fault.
 */
#include "cli/config_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/utf8.h"

#define SECRET_LARGEST (64u * 1024u)
#define VARIABLE_BYTES 128u

char *config_path(const char *folder, const char *path)
{
	return path[0] == '/' ? mem_text(path) : mem_printf("%s%s", folder, path);
}

static int read_all(int fd, size_t most, struct buf *out)
{
	ssize_t n;

	do {
		n = read(fd, buf_reserve(out, 16384), 16384);
		if (n > 0)
			buf_grown(out, (size_t)n);
		if (buf_length(out) > most) {
			errno = EFBIG;
			return ERR_SYSTEM;
		}
	} while (n > 0 || (n < 0 && errno == EINTR));
	return n < 0 ? ERR_SYSTEM : 0;
}

static int read_bounded(const char *path, size_t most, struct buf *out)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int err;
	int why;

	if (fd < 0)
		return ERR_SYSTEM;
	if (fstat(fd, &status) < 0) {
		err = ERR_SYSTEM;
	} else if (!S_ISREG(status.st_mode)) {
		errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
		err = ERR_SYSTEM;
	} else {
		err = read_all(fd, most, out);
	}
	why = errno;
	close(fd);
	errno = why;
	return err;
}

int config_read_file(const char *path, struct buf *out)
{
	return read_bounded(path, YAML_LARGEST, out);
}

static bool is_name_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* The variable named at the start of rest, behind "${"; *used covers the closing brace. */
static const char *variable(struct config_reader *r, const char *key, const struct yaml *y,
	struct view rest, size_t *used)
{
	char name[VARIABLE_BYTES];
	const char *value;
	size_t n = 0;

	while (n < rest.n && is_name_byte(rest.p[n]))
		n++;
	if (n == 0 || n == rest.n || rest.p[n] != '}' || n >= sizeof(name)) {
		config_fault(r, y, key,
			"${ is not followed by a name and }; ${NAME} takes a variable, $${ is ${ "
			"itself");
		return NULL;
	}
	memcpy(name, rest.p, n);
	name[n] = '\0';
	value = getenv(name);
	*used = n + 1;
	if (value == NULL || utf8_valid_prefix(value, strlen(value)) != strlen(value)) {
		config_fault(r, y, key, "environment variable %s is %s; set it for the process",
			name, value ? "not UTF-8" : "not set");
		return NULL;
	}
	return value;
}

/* Borrows y's text; appends it to out with variables replaced. */
static bool replace_variables(struct config_reader *r, const char *key, const struct yaml *y,
	struct buf *out, bool *secret)
{
	struct view rest = view_of(y->text);
	const char *value;
	size_t used = 0;

	while (rest.n) {
		if (view_starts_with(rest, VIEW("$${"))) {
			buf_text(out, "${");
			rest = view_skip(rest, 3);
		} else if (view_starts_with(rest, VIEW("${"))) {
			value = variable(r, key, y, view_skip(rest, 2), &used);
			if (value == NULL)
				return false;
			buf_text(out, value);
			rest = view_skip(rest, 2 + used);
			*secret = true;
		} else {
			buf_append(out, rest.p, 1);
			rest = view_skip(rest, 1);
		}
	}
	return true;
}

/* out holds the path and gets the content instead. */
static bool take_file(
	struct config_reader *r, const char *key, const struct yaml *y, struct buf *out)
{
	struct buf content = {0};
	char *path;
	size_t n;
	bool good = false;

	buf_append(out, "", 1);
	path = config_path(r->folder, (const char *)buf_bytes(out));
	buf_clear(out);
	if (read_bounded(path, SECRET_LARGEST, &content) < 0) {
		config_fault(r, y, key, "cannot read %s: %s; name a readable file", path,
			strerror(errno));
		goto out;
	}
	n = buf_length(&content);
	while (n && (content.data[n - 1] == '\n' || content.data[n - 1] == '\r'))
		n--;
	good = n && utf8_valid_prefix((char *)content.data, n) == n &&
	       memchr(content.data, '\0', n) == NULL;
	if (good)
		buf_append(out, content.data, n);
	else
		config_fault(r, y, key,
			"%s is empty or not UTF-8 text; put the value alone into it", path);
out:
	if (content.data)
		explicit_bzero(content.data, content.size);
	buf_fini(&content);
	free(path);
	return good;
}

bool config_expand(struct config_reader *r, const char *name, const struct yaml *y, struct buf *out,
	bool *secret)
{
	bool from_file = strcmp(y->tag, "!file") == 0;

	if (y->tag[0] && !from_file) {
		config_fault(r, y, name, "unknown tag %.40s; only !file PATH is known", y->tag);
		return false;
	}
	if (!replace_variables(r, name, y, out, secret))
		return false;
	if (from_file && !take_file(r, name, y, out))
		return false;
	*secret |= from_file;
	buf_append(out, "", 1);
	return true;
}
