#include "cli/secret.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/config_keys.h"

void secret_fini(struct buf *secret)
{
	if (secret->data)
		explicit_bzero(secret->data, secret->size);
	buf_fini(secret);
}

/* One line of standard input, without its end. */
static void read_line(struct buf *out)
{
	char c;

	buf_reserve(out, SECRET_BYTES + 2); /* so that it never moves and leaves a copy */
	while (buf_length(out) <= SECRET_BYTES && read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		buf_append(out, &c, 1);
}

static void ask(const char *prompt, struct buf *out)
{
	struct termios before, silent;

	tcgetattr(STDIN_FILENO, &before);
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent); /* before anybody is asked to type */
	fprintf(stderr, "%s: ", prompt);
	read_line(out);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	fputc('\n', stderr);
}

static bool ask_twice(const char *command, struct buf *out)
{
	struct buf again = {0};
	bool same;

	ask("Password", out);
	ask("The same again", &again);
	same = view_equal(buf_view(out), buf_view(&again));
	secret_fini(&again);
	if (!same)
		fprintf(stderr, "isobar %s: these were two different ones\n", command);
	return same;
}

static bool read_file(const char *command, const char *file, struct buf *out)
{
	if (config_read_file(file, out) < 0) {
		fprintf(stderr, "isobar %s: %s: %s\n", command, file, strerror(errno));
		return false;
	}
	for (int i = 0; i < 2; i++) {
		struct view text = buf_view(out);

		if (text.n && text.p[text.n - 1] == "\n\r"[i])
			buf_cut(out, text.n - 1);
	}
	return true;
}

static bool is_sound(const char *command, struct view secret)
{
	if (secret.n && secret.n <= SECRET_BYTES && !memchr(secret.p, '\0', secret.n) &&
		!memchr(secret.p, '\n', secret.n))
		return true;
	fprintf(stderr, "isobar %s: a password is one line of 1 to %u bytes without a NUL\n",
		command, SECRET_BYTES);
	return false;
}

bool secret_read(const char *command, const char *file, struct buf *out)
{
	bool good = true;

	if (file && strcmp(file, "-") != 0)
		good = read_file(command, file, out);
	else if (file || !isatty(STDIN_FILENO))
		read_line(out);
	else
		good = ask_twice(command, out);
	good = good && is_sound(command, buf_view(out));
	if (!good)
		secret_fini(out);
	return good;
}

char *secret_hash(struct view secret)
{
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	char *phrase = mem_text_of(secret);
	struct crypt_data *room = mem_new(sizeof(*room));
	char *hash = NULL;

	if (crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt)))
		hash = mem_text(crypt_rn(phrase, salt, room, sizeof(*room)));
	explicit_bzero(phrase, secret.n);
	explicit_bzero(room, sizeof(*room));
	free(phrase);
	free(room);
	return hash;
}
