#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cli/config_keys.h"

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

static struct accounts *read_text(const char *text, struct buf *faults)
{
	struct faults list = {faults, 0};
	struct config_reader r = {&list, "a.yaml", "", ""};
	struct gate_settings checks;

	gate_settings_default(&checks);
	checks.leaf_only = true;
	return config_read_accounts(&r, view_of(text), &checks);
}

static struct accounts *read_good(const char *text)
{
	struct buf faults = {0};
	struct accounts *set = read_text(text, &faults);

	if (set == NULL)
		fail_msg("%.*s", VIEW_ARG(buf_view(&faults)));
	buf_fini(&faults);
	return set;
}

static void every_key_is_read(void **state)
{
	struct accounts *set = read_good(
		"- user: everyone\n  password: everyone\n"
		"  read: [origin/a/wis2/#, cache/a/wis2/#, monitor/a/wis2/#]\n  max_qos: 1\n"
		"  session_expiry: 1h\n  replay: 24h\n  backlog: 2000\n"
		"- user: partner-gc\n  password_hash: \"$y$j9T$...\"\n  read: [\"#\"]\n"
		"  write: [\"cache/a/wis2/#\"]\n"
		"  limits: {in_flight: 4096, connections: 20, messages_per_second: 10, "
		"bytes_per_second: 64KiB}\n  client_id_scope: address\n"
		"- user: ops\n  password_hash: \"$y$j9T$...\"\n  admin: true\n"
		"- user: robot\n  pages: [metrics, status]\n  certificate: CN=robot,O=Example\n"
		"- anonymous: true\n  read: [\"sandbox/#\"]\n  write: [\"sandbox/%u/#\"]\n"
		"  deny: [\"sandbox/closed/#\"]\n");
	const struct account *a = set->list;

	(void)state;
	assert_int_equal(set->count, 5);
	assert_string_equal(a[0].user, "everyone");
	assert_string_equal(a[0].password, "everyone");
	assert_int_equal(a[0].read_count, 3);
	assert_int_equal(a[0].max_qos, 1);
	assert_int_equal(a[0].session_expiry_ms, 3600000);
	assert_int_equal(a[0].replay_ms, 86400000);
	assert_int_equal(a[0].backlog, 2000);
	assert_false(a[0].address_scope);
	assert_true(a[0].policy.settings.leaf_only);
	assert_null(a[1].password);
	assert_string_equal(a[1].password_hash, "$y$j9T$...");
	assert_int_equal(a[1].write_count, 1);
	assert_int_equal(a[1].in_flight, 4096);
	assert_int_equal(a[1].connections, 20);
	assert_int_equal(a[1].messages_per_second, 10);
	assert_int_equal(a[1].bytes_per_second, 65536);
	assert_true(a[1].address_scope);
	assert_true(a[1].number != a[0].number);
	assert_true(a[2].admin);
	assert_true(a[2].session_expiry_ms == UINT64_MAX);
	assert_string_equal(a[3].certificate, "CN=robot,O=Example");
	assert_null(a[3].password_hash);
	assert_int_equal(a[2].page_count, 0);
	assert_int_equal(a[3].page_count, 2);
	assert_string_equal(a[3].pages[1], "status");
	assert_null(a[4].user);
	assert_string_equal(a[4].deny[0], "sandbox/closed/#");
	accounts_unref(set);
}

#define NO_SUBJECT                                                                            \
	"is no subject as of RFC 2253; what `openssl x509 -noout -subject -nameopt RFC2253` " \
	"prints behind subject= is right, such as CN=gc.example.org,O=Example\n"

static const struct {
	const char *name;
	const char *text;
	const char *want;
} faulty[] = {
	{"empty", "", "a.yaml:1:1: holds no list of accounts; such as - user: name is right\n"},
	{"mapping", "user: x\n",
		"a.yaml:1:1: holds no list of accounts; such as - user: name is right\n"},
	{"no mapping", "- x\n",
		"a.yaml:1:3: an account is not a mapping; such as - user: name is right\n"},
	{"no user", "- password: x\n",
		"a.yaml:1:3: user: is missing; a name, or anonymous: true, is right\n"},
	{"no password", "- user: x\n",
		"a.yaml:1:3: password_hash: is missing; a hash as of mkpasswd, a public password, "
		"or a certificate is right\n"},
	{"empty certificate", "- {user: x, certificate: \"\"}\n",
		"a.yaml:1:26: certificate: \"\" is empty; a text of 1 to 1024 characters is "
		"right\n"},
	{"old style subject", "- {user: x, certificate: /O=Example/CN=gc}\n",
		"a.yaml:1:3: certificate: \"/O=Example/CN=gc\" " NO_SUBJECT},
	{"spaced subject", "- user: x\n  certificate: CN=gc, O=Example\n",
		"a.yaml:1:3: certificate: \"CN=gc, O=Example\" " NO_SUBJECT},
	{"certificate twice", "- {user: x, certificate: gc}\n- {user: y, certificate: gc}\n",
		"a.yaml:2:3: certificate: that of the entry of line 1; a certificate stands for "
		"one account\n"},
	{"anonymous with certificate", "- {anonymous: true, certificate: gc}\n",
		"a.yaml:1:3: anonymous: has a user, password or certificate; an anonymous entry "
		"has none\n"},
	{"two passwords", "- {user: x, password: y, password_hash: \"$y$j9T$...\"}\n",
		"a.yaml:1:3: password: password and password_hash are both given; keep one\n"},
	{"bad hash", "- {user: x, password_hash: secret}\n",
		"a.yaml:1:28: password_hash: the value is not a password hash; one as of crypt(5), "
		"beginning with $y$ for yescrypt, is right\n"},
	{"old hash", "- {user: x, password_hash: \"$1$abcdefgh$abcdefghijklmnopqrstuv\"}\n",
		"a.yaml:1:28: password_hash: the value is of a method no longer safe; one as of "
		"crypt(5), beginning with $y$ for yescrypt, is right\n"},
	{"twice", "- {user: x, password: y}\n- {user: x, password: z}\n",
		"a.yaml:2:3: user: the entry of line 1 again; each account stands once\n"},
	{"anonymous twice", "- anonymous: true\n- anonymous: true\n",
		"a.yaml:2:3: anonymous: the entry of line 1 again; each account stands once\n"},
	{"anonymous with user", "- {anonymous: true, user: x, password: y}\n",
		"a.yaml:1:3: anonymous: has a user, password or certificate; an anonymous entry "
		"has none\n"},
	{"deny", "- {anonymous: true, deny: [a/%u]}\n",
		"a.yaml:1:3: deny: %u and %c are not used here; write the filter out\n"},
	{"filter", "- {anonymous: true, read: [a#]}\n",
		"a.yaml:1:28: read: \"a#\" is not a topic filter; filters such as origin/a/wis2/# "
		"are "
		"right\n"},
	{"pages", "- {user: x, password: y, pages: [messages]}\n",
		"a.yaml:1:34: pages: \"messages\" is not among the words known; ui, metrics, "
		"status, sources, rejects, clients are right\n"},
	{"anonymous with pages", "- {anonymous: true, pages: [metrics]}\n",
		"a.yaml:1:3: pages: an anonymous entry does not log in; http_public of the "
		"configuration names what is anybody's\n"},
	{"qos", "- {anonymous: true, max_qos: 3}\n",
		"a.yaml:1:30: max_qos: \"3\" is more than 2; a whole number is right\n"},
	{"scope", "- {anonymous: true, client_id_scope: all}\n",
		"a.yaml:1:38: client_id_scope: \"all\" is not among the words known; account, "
		"address are "
		"right\n"},
	{"backlog", "- anonymous: true\n  backlog: all\n",
		"a.yaml:2:12: backlog: \"all\" is not a whole number; a whole number is right\n"},
	{"limits", "- anonymous: true\n  limits: {inflight: 1}\n",
		"a.yaml:2:12: limits.inflight: unknown key; limits.in_flight is the nearest one "
		"known\n"},
};

static void every_fault_is_told_with_its_place(void **state)
{
	uint32_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(faulty); i++) {
		struct buf faults = {0};
		struct accounts *set = read_text(faulty[i].text, &faults);

		assert_null(set);
		if (!view_equal(buf_view(&faults), view_of(faulty[i].want))) {
			print_message("%s:\n got %.*s\nwant %s\n", faulty[i].name,
				VIEW_ARG(buf_view(&faults)), faulty[i].want);
			wrong++;
		}
		buf_fini(&faults);
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(every_fault_is_told_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
