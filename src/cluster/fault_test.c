/* Errors as Redis 7.0 words them, and what is told of them. */
#include "cluster/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define RIGHTS "its user may not do what Isobar needs"
#define SCRIPT " script: 350450d21eef0712b089980e9033c7f2a6cec09c, on @user_script:42."

static void an_error_is_told_by_what_has_to_be_mended(void **state)
{
	static const struct {
		const char *error;
		const char *text;
	} rows[] = {
		{"MOVED 3999 127.0.0.1:6381", NULL},
		{"ASK 3999 127.0.0.1:6381", NULL},
		{"TRYAGAIN Multiple keys request during rehashing of slot", NULL},
		{"NOSCRIPT No matching script. Please use EVAL.", NULL},
		{"READONLY You can't write against a read only replica.", NULL},
		{"ERR no such key", NULL},
		{"NOAUTH Authentication required.", "it asks for a password"},
		{"WRONGPASS invalid username-password pair or user is disabled.",
			"user or password is wrong"},
		{"ERR AUTH <password> called without any password configured for the default "
		 "user. Are you sure your configuration is correct?",
			"it has no password, and cluster.redis names one"},
		{"NOPERM this user has no permissions to run the 'script|load' command", RIGHTS},
		{"ERR The user executing the script can't run this command or subcommand" SCRIPT,
			RIGHTS},
		{"ERR The user executing the script can't access at least one of the keys "
		 "mentioned in the command arguments" SCRIPT,
			RIGHTS},
		{"ERR This instance has cluster support disabled",
			"it is no Redis Cluster (cluster-enabled no)"},
		{"CLUSTERDOWN Hash slot not served", "the Redis Cluster is down"},
		{"OOM command not allowed when used memory > 'maxmemory'." SCRIPT,
			"it is out of memory (maxmemory)"},
		{"WRONGTYPE Operation against a key holding the wrong kind of value" SCRIPT,
			"something else uses Isobar's keys"},
		{"ERR syntax error", "it is older than 7.0"},
		{"ERR whatever may come", "it refuses a command"},
		{"", "it refuses a command"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *text = fault_text(view_of(rows[i].error));

		if (rows[i].text == NULL)
			assert_null(text);
		else
			assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_told_by_what_has_to_be_mended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
