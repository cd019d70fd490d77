/* A configuration of several files: what is read from where, and the faults of all of them. */
#include "cli/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/mem.h"

static void put_file(const char *folder, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static void remove_folder(const char *folder)
{
	char *command = mem_printf("rm -rf '%s'", folder);

	assert_int_equal(system(command), 0);
	free(command);
}

static void faults_of_all_files_come_together(void **state)
{
	char folder[] = "/tmp/isobar-config-XXXXXX";
	char *path;
	char *want;
	struct buf faults = {0};
	struct config *c;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/sources.d", folder);
	mkdir(path, 0700);
	put_file(path, "one.yaml", "centre_id: aa-one\nurl: mqtt://127.0.0.1:1\n");
	put_file(path, "two.yaml", "centre_id: aa-two\nurl: 5\n");
	put_file(path, "three.yml", "");
	put_file(path, "README", "not a source");
	free(path);
	put_file(folder, "isobar.yaml",
		"shadow: perhaps\naccounts_file: a.yaml\n"
		"listeners: [\"mqtts://127.0.0.1:0\"]\ntls: {certificate: none.pem}\n");
	put_file(folder, "a.yaml", "- user: x\n");
	path = mem_printf("%s/isobar.yaml", folder);
	assert_int_equal(config_load(path, &c, &faults), ERR_CONFIG);
	want = mem_printf(
		"%s/isobar.yaml:1:9: shadow: \"perhaps\" is not yes or no; yes or no (on, "
		"off, true, false) is right\n"
		"%s/a.yaml:1:3: password_hash: is missing; a hash as of mkpasswd, a public "
		"password, or a certificate is right\n"
		"%s/sources.d/three.yml: source files end in .yaml; rename it\n"
		"%s/sources.d/two.yaml:2:6: url: the value",
		folder, folder, folder, folder);
	if (!view_starts_with(buf_view(&faults), view_of(want)))
		fail_msg("got %.*s\nwant %s", VIEW_ARG(buf_view(&faults)), want);
	free(want);
	want = mem_printf("%s/isobar.yaml:3:13: listeners: TLS without a certificate: cannot read "
			  "%s/none.pem: No such file or directory; set tls.certificate\n",
		folder, folder);
	if (!view_ends_with(buf_view(&faults), view_of(want)))
		fail_msg("got %.*s\nwant %s", VIEW_ARG(buf_view(&faults)), want);
	config_free(c);
	free(want);
	free(path);
	buf_fini(&faults);
	remove_folder(folder);
}

static void sources_are_read_in_order_of_name(void **state)
{
	char folder[] = "/tmp/isobar-config-XXXXXX";
	char *path;
	struct buf faults = {0};
	struct config *c;

	(void)state;
	assert_non_null(mkdtemp(folder));
	put_file(folder, "b.yaml", "centre_id: aa-b\nurl: mqtt://127.0.0.1:1\n");
	put_file(folder, "a.yaml",
		"centre_id: aa-a\nurl: mqtt://127.0.0.1:2\n"
		"password: !file secret\n");
	put_file(folder, "secret", "hush hush\n");
	path = mem_printf("%s/isobar.conf", folder);
	put_file(folder, "isobar.conf", "sources: .\nchecks: {metadata: verify}\n");
	if (config_load(path, &c, &faults) < 0)
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	assert_int_equal(c->source_count, 2);
	assert_string_equal(c->sources[0].name, "a");
	assert_string_equal(c->sources[0].password, "hush hush");
	assert_string_equal(c->sources[1].centre_id, "aa-b");
	assert_int_equal(c->sources[1].checks.checks[CHECK_METADATA], GATE_VERIFY);
	config_free(c);
	free(path);
	buf_fini(&faults);
	remove_folder(folder);
}

static void files_that_were_named_must_be_there(void **state)
{
	char folder[] = "/tmp/isobar-config-XXXXXX";
	char *path;
	struct buf faults = {0};
	struct config *c;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = mem_printf("%s/isobar.yaml", folder);
	assert_int_equal(config_load(path, &c, &faults), ERR_CONFIG);
	config_free(c);
	put_file(folder, "isobar.yaml", "sources: nowhere\naccounts_file: nobody.yaml\n");
	buf_clear(&faults);
	assert_int_equal(config_load(path, &c, &faults), ERR_CONFIG);
	config_free(c);
	buf_append(&faults, "", 1);
	assert_non_null(strstr((const char *)buf_bytes(&faults),
		"/nobody.yaml:1:1: accounts_file: cannot be read: No such file or directory"));
	assert_non_null(strstr((const char *)buf_bytes(&faults),
		"/nowhere: sources: cannot be read: No such file or directory"));
	free(path);
	buf_fini(&faults);
	remove_folder(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_of_all_files_come_together),
		cmocka_unit_test(sources_are_read_in_order_of_name),
		cmocka_unit_test(files_that_were_named_must_be_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
