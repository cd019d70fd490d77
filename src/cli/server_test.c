#include "cli/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"

struct fixture {
	char folder[64];
	char *file;
	struct server server;
};

static void write_config(const struct fixture *f, const char *name, const char *listeners)
{
	char *path = mem_printf("%s/isobar.yaml", f->folder);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fprintf(out, "data_dir: %s\nworkers: 2\nlisteners: [%s]\njournal: {size: 64MiB}\n", name,
		listeners);
	fclose(out);
	free(path);
}

static struct config *load(const struct fixture *f)
{
	struct buf faults = {0};
	struct config *c;

	if (config_load(f->file, &c, &faults) < 0)
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	buf_fini(&faults);
	return c;
}

static int set_up(void **state)
{
	struct fixture *f = mem_new(sizeof(*f));
	struct config *c;

	log_configure(LOG_ERROR + 1, false);
	strcpy(f->folder, "/tmp/isobar-server-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	f->file = mem_printf("%s/isobar.yaml", f->folder);
	write_config(f, "data", "\"mqtt://127.0.0.1:0\", \"http://127.0.0.1:0\"");
	c = load(f);
	assert_int_equal(server_start(&f->server, &c), 0);
	assert_null(c);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char *command = mem_printf("rm -rf '%s'", f->folder);

	server_stop(&f->server);
	assert_int_equal(system(command), 0);
	free(command);
	free(f->file);
	free(f);
	return 0;
}

static int connect_to(const struct address *at)
{
	int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, &at->any, address_length(at)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* CONNECT of MQTT 3.1.1 as everyone with a clean session, answered by CONNACK 0. */
static bool log_in(int fd)
{
	static const char connect_packet[] = "\x10\x20\0\4MQTT\4\xc2\0\0\0\0\0\x08"
					     "everyone"
					     "\0\x08"
					     "everyone";
	char answer[4];

	assert_int_equal(write(fd, connect_packet, sizeof(connect_packet) - 1), 34);
	return recv(fd, answer, sizeof(answer), MSG_WAITALL) == 4 &&
	       memcmp(answer, "\x20\2\0\0", 4) == 0;
}

/* PINGREQ is answered by PINGRESP. */
static bool is_served(int fd)
{
	char answer[2];

	return write(fd, "\xc0\0", 2) == 2 && recv(fd, answer, sizeof(answer), MSG_WAITALL) == 2 &&
	       memcmp(answer, "\xd0\0", 2) == 0;
}

static void a_client_is_served_on_the_port_that_is_told(void **state)
{
	struct fixture *f = *state;
	int fd = connect_to(&f->server.served[0].at);

	assert_int_equal(f->server.served_count, 2);
	assert_int_not_equal(address_port(&f->server.served[0].at), 0);
	assert_true(fd >= 0);
	assert_true(log_in(fd));
	close(fd);
}

static void a_second_server_on_the_same_address_does_not_start(void **state)
{
	struct fixture *f = *state;
	struct server second;
	struct config *c;
	char *listeners = mem_printf("\"%s\"", f->server.served[0].shown);

	write_config(f, "other", listeners);
	c = load(f);
	assert_true(server_start(&second, &c) < 0);
	free(listeners);
}

static void a_second_server_on_the_same_data_does_not_start(void **state)
{
	struct fixture *f = *state;
	struct server second;
	struct config *c;

	write_config(f, "data", "\"mqtt://127.0.0.1:0\"");
	c = load(f);
	assert_true(server_start(&second, &c) < 0);
}

static void a_reload_opens_and_closes_listeners_and_drops_nobody(void **state)
{
	struct fixture *f = *state;
	struct address old = f->server.served[0].at;
	int fd = connect_to(&old);
	struct config *c;

	assert_true(log_in(fd));
	write_config(f, "data", "\"mqtt://127.0.0.2:0\", \"http://127.0.0.1:0\"");
	c = load(f);
	assert_int_equal(server_reload(&f->server, &c), 0);
	assert_int_equal(f->server.served_count, 2);
	assert_int_equal(connect_to(&old), -1);
	assert_true(is_served(fd));
	close(fd);
	fd = connect_to(&f->server.served[0].at);
	assert_true(log_in(fd));
	close(fd);
}

static void a_reload_that_cannot_listen_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct address old = f->server.served[0].at;
	char *shown = mem_text(f->server.served[0].shown);
	struct config *before = f->server.config;
	struct config *c;
	int fd;

	/* Not an address of this machine. */
	write_config(f, "data", "\"mqtt://127.0.0.2:0\", \"mqtt://192.0.2.1:1\"");
	c = load(f);
	assert_true(server_reload(&f->server, &c) < 0);
	assert_null(c);
	assert_ptr_equal(f->server.config, before);
	assert_string_equal(f->server.served[0].shown, shown);
	fd = connect_to(&old);
	assert_true(log_in(fd));
	close(fd);
	free(shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_client_is_served_on_the_port_that_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_second_server_on_the_same_address_does_not_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_second_server_on_the_same_data_does_not_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_reload_opens_and_closes_listeners_and_drops_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_reload_that_cannot_listen_changes_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
