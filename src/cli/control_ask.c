/* An operator's side of the control socket. The answer is read whole before anything is shown: whoever pages
 * through it keeps nobody waiting.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/control.h"

#define PATIENCE_S 10
#define FILES_AN_ORDER 64u
#define ANSWER_LARGEST (512u << 20) /* of a broker with half a million clients */

static bool send_order(int fd, json_t *order)
{
	char *text = json_dumps(order, JSON_COMPACT);
	struct buf line = {0};
	bool good;

	json_decref(order);
	buf_text(&line, text);
	buf_text(&line, "\n");
	free(text);
	good = send(fd, buf_bytes(&line), buf_length(&line), MSG_NOSIGNAL) ==
	       (ssize_t)buf_length(&line);
	buf_fini(&line);
	return good;
}

static bool read_answer(int fd, struct buf *out)
{
	ssize_t n;

	while ((n = recv(fd, buf_reserve(out, 65536), 65536, 0)) != 0) {
		if (n < 0 && errno != EINTR)
			return false;
		buf_grown(out, n < 0 ? 0 : (size_t)n);
		if (buf_length(out) > ANSWER_LARGEST)
			return false;
	}
	return true;
}

static const char *error_of(const json_t *line)
{
	const char *error = json_string_value(json_object_get(line, "error"));

	return error ? error : "refused";
}

/* The last line's status, -1: that line did not come. */
static int take_lines(struct view rest, const char *command,
	void (*on_line)(void *context, struct view text, json_t *line), void *context)
{
	int status = -1;

	while (rest.n && status < 0) {
		struct view text = view_cut(&rest, '\n');
		json_t *line = json_loadb(text.p, text.n, 0, NULL);
		json_t *end = json_object_get(line, "status");

		if (end)
			status = (int)json_integer_value(end);
		else if (line && on_line)
			on_line(context, text, line);
		if (status > 0)
			fprintf(stderr, "isobar %s: %s\n", command, error_of(line));
		json_decref(line);
	}
	return status;
}

static int converse(int fd, const char *command, json_t *order,
	void (*on_line)(void *context, struct view text, json_t *line), void *context)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct buf answer = {0};
	int status = -1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send_order(fd, order) && read_answer(fd, &answer))
		status = take_lines(buf_view(&answer), command, on_line, context);
	buf_fini(&answer);
	if (status >= 0)
		return status;
	fprintf(stderr, "isobar %s: the broker does not answer\n", command);
	return CLI_ENVIRONMENT;
}

int control_ask(const struct config *c, const char *command, json_t *order,
	void (*on_line)(void *context, struct view text, json_t *line), void *context)
{
	int fd = control_connect(c->data_dir);
	int status;

	if (fd < 0) {
		fprintf(stderr, "isobar %s: no broker answers at %s/control: %s\n", command,
			c->data_dir,
			errno == ENOENT || errno == ECONNREFUSED ? "none runs there"
								 : strerror(errno));
		json_decref(order);
		return CLI_ENVIRONMENT;
	}
	status = converse(fd, command, order, on_line, context);
	close(fd);
	return status;
}

static bool send_one(const struct config *c, const char *command, json_t *order)
{
	int fd = control_connect(c->data_dir);
	int status;

	if (fd < 0) {
		json_decref(order);
		return false;
	}
	status = converse(fd, command, order, NULL, NULL);
	close(fd);
	return status == CLI_DONE;
}

/* An order has its bound, so many files are told in several. */
static bool send_files(const struct config *c, const json_t *files)
{
	bool sent = true;

	for (size_t at = 0; sent && at < json_array_size(files); at += FILES_AN_ORDER) {
		json_t *some = json_array();

		for (size_t i = at; i < at + FILES_AN_ORDER && i < json_array_size(files); i++)
			json_array_append(some, json_array_get(files, i));
		sent = send_one(
			c, "reload", json_pack("{s:s, s:o}", "order", "changed", "files", some));
	}
	return sent;
}

bool control_reload(const struct config *c, const char *what, json_t *files)
{
	bool sent = send_files(c, files) &&
		    send_one(c, "reload", json_pack("{s:s, s:s}", "order", "reload", "what", what));

	json_decref(files);
	return sent;
}
