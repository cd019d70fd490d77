/* Bounds of a fetch against a server that does not keep to any; the rest is in the end-to-end tests.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "catalogue/fetch.h"

/* Answers every request with `head`, then `again` until the client has gone or `times` is over; then
 * it says nothing more. */
struct server {
	int fd;
	unsigned port;
	const char *head;
	const char *again;
	unsigned times;
	atomic_uint requests;
	pthread_t thread;
};

static void answer(struct server *s, int fd)
{
	char request[4096];
	unsigned sent = 0;

	while (recv(fd, request, sizeof(request), 0) > 0) {
		atomic_fetch_add(&s->requests, 1);
		if (send(fd, s->head, strlen(s->head), MSG_NOSIGNAL) < 0)
			return;
		while (sent++ < s->times && send(fd, s->again, strlen(s->again), MSG_NOSIGNAL) >= 0)
			;
	}
}

static void *serve(void *argument)
{
	struct server *s = argument;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		answer(s, fd);
		close(fd);
	}
	return NULL;
}

static void start(struct server *s)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);

	s->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(s->fd, 16), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &length), 0);
	s->port = ntohs(at.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static void count_pair(void *context, struct view id, struct view tail)
{
	(void)id;
	(void)tail;
	(*(unsigned *)context)++;
}

static enum fetch_outcome fetch(struct fetcher *f, struct server *s, struct fetch_result *result)
{
	char *url = mem_printf("http://127.0.0.1:%u/items", s->port);
	struct book_list known = {0};
	unsigned pairs = 0;
	struct fetch_request request = {
		.url = url, .known = &known, .on_pair = count_pair, .context = &pairs};
	enum fetch_outcome outcome = fetch_records(f, &request, result);

	free(url);
	return outcome;
}

#define OK "HTTP/1.1 200 OK\r\n"
#define MANY "Transfer-Encoding: chunked\r\n\r\n"
#define PAGE \
	"{\"features\":[],\"links\":[{\"rel\":\"next\",\"href\":\"items?f=json&limit=1&n=1\"}]}"

static const struct row {
	const char *name;
	struct fetch_limits limits;
	struct server server;
	const char *why; /* how it begins */
	unsigned requests;
} rows[] = {
	{"nothing is sent", {1 << 20, 9, 5, 2000, 1, 60000}, {.head = ""},
		"Timeout was reached: Operation too slow", 1},
	{"the list stops in the middle", {1 << 20, 9, 5, 2000, 1, 60000},
		{.head = OK "Content-Length: 100\r\n\r\n{\"features\":"},
		"Timeout was reached: Operation too slow", 1},
	{"it drips for ever", {1 << 20, 9, 5, 2000, 60, 300},
		{.head = OK "Content-Length: 100\r\n\r\n{\"features\":"}, "not done after 0 s", 1},
	{"it never ends", {1 << 20, 9, 5, 2000, 60, 60000},
		{.head = OK MANY "d\r\n{\"features\":[\r\n",
			.again = "40\r\n                                                      "
				 "          \r\n",
			.times = 1u << 30},
		"more than 1 MiB", 1},
	{"pages without end", {1 << 20, 9, 5, 2000, 60, 60000},
		{.head = OK "Content-Length: 74\r\n\r\n" PAGE}, "more than 9 pages", 9},
};

static void what_has_no_end_is_ended(void **state)
{
	(void)state;
	assert_int_equal(strlen(PAGE), 74);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fetcher *f = fetcher_new(&rows[i].limits);
		struct server s = rows[i].server;
		struct fetch_result result;

		start(&s);
		if (fetch(f, &s, &result) != FETCH_FAILED ||
			!view_starts_with(view_of(result.why), view_of(rows[i].why)) ||
			s.requests != rows[i].requests)
			fail_msg("%s: \"%s\" after %u requests", rows[i].name, result.why,
				s.requests);
		fetcher_free(f);
		stop(&s);
	}
}

static void *stop_fetcher(void *argument)
{
	fetcher_stop(argument);
	return NULL;
}

static void a_fetch_is_stopped_from_outside(void **state)
{
	struct fetcher *f = fetcher_new(&fetch_limits_default);
	struct server s = {.head = ""};
	struct fetch_result result;
	pthread_t thread;

	(void)state;
	start(&s);
	assert_int_equal(pthread_create(&thread, NULL, stop_fetcher, f), 0);
	assert_int_equal(fetch(f, &s, &result), FETCH_STOPPED);
	pthread_join(thread, NULL);
	fetcher_free(f);
	stop(&s);
}

static void credentials_are_not_shown(void **state)
{
	static const struct {
		const char *url;
		const char *want; /* NULL: no address */
	} urls[] = {
		{"https://user:secret@a.example/items?q=1#x", "https://a.example/items?q=1"},
		{"https://a.example:8443", "https://a.example:8443/"},
		{"nonsense://", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		char *shown = fetch_shown(urls[i].url);

		if (!view_equal(view_of(shown), view_of(urls[i].want)))
			fail_msg("%s: got %s", urls[i].url, shown ? shown : "nothing");
		free(shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_no_end_is_ended),
		cmocka_unit_test(a_fetch_is_stopped_from_outside),
		cmocka_unit_test(credentials_are_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
