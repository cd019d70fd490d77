/* `isobar account`: entries of the accounts file from the command line.
 *
 * The file is written as a whole, and only when the broker would take it; then the broker that runs on this
 * configuration, if there is one, is told to read it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/account_text.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_keys.h"
#include "cli/control.h"
#include "cli/secret.h"

struct account_command {
	const char *file;
	const char *password_file;
	struct argument_list read;
	struct argument_list write;
	struct argument_list pages;
	bool admin;
	bool no_reload;
	struct config *config;
	bool is_faulty;  /* the configuration has faults */
	struct buf text; /* of the accounts file; empty: there is none */
};

#define FIELD(name) offsetof(struct account_command, name)

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",
		"configuration whose accounts are meant (default: /etc/isobar/isobar.yaml)"},
	{'P', "password-file", ARGUMENT_TEXT, FIELD(password_file), 0, 0, "FILE",
		"add, passwd: a file whose text is the password; -: one line of standard input"},
	{0, "read", ARGUMENT_LIST, FIELD(read), 0, 0, "FILTER",
		"add: what it may subscribe to (no right at all given: the three WIS2 trees)"},
	{0, "write", ARGUMENT_LIST, FIELD(write), 0, 0, "FILTER", "add: what it may publish to"},
	{0, "page", ARGUMENT_LIST, FIELD(pages), 0, 0, "WORD",
		"add: an HTTP page it may see, such as metrics"},
	{0, "admin", ARGUMENT_FLAG, FIELD(admin), 0, 0, NULL,
		"add: it reads everything and sees all pages"},
	{0, "no-reload", ARGUMENT_FLAG, FIELD(no_reload), 0, 0, NULL,
		"do not tell the running broker"},
};

static const struct argument_table table = {"isobar account list [-c FILE]\n"
					    "       isobar account add [options] USER\n"
					    "       isobar account passwd [options] USER\n"
					    "       isobar account remove [options] USER",
	"Manages the accounts file of a broker that runs or does not; one that runs reads it at "
	"once.\n"
	"The password is asked for, or read from a file or standard input; its yescrypt hash is\n"
	"what is kept.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* --- list ------------------------------------------------------------- */

static const char *kind_of(const struct account *a)
{
	if (a->user == NULL)
		return "anonymous";
	if (a->password)
		return "public password";
	return a->password_hash ? "password" : "certificate";
}

static int list(const struct account_command *c)
{
	const struct accounts *accounts = c->config->accounts;

	for (uint32_t i = 0; i < accounts->count; i++) {
		const struct account *a = &accounts->list[i];

		printf("%-24s %-16s %-6s", a->user ? a->user : "-", kind_of(a),
			a->admin ? "admin" : "");
		for (uint32_t j = 0; j < a->read_count; j++)
			printf("%s%s", j ? ", " : " reads ", a->read[j]);
		for (uint32_t j = 0; j < a->write_count; j++)
			printf("%s%s", j ? ", " : "; writes ", a->write[j]);
		for (uint32_t j = 0; j < a->page_count; j++)
			printf("%s%s", j ? ", " : "; sees ", a->pages[j]);
		printf("\n");
	}
	return c->is_faulty ? CLI_USAGE : CLI_DONE;
}

/* --- changes ---------------------------------------------------------- */

static void print_faults(const struct buf *lines)
{
	if (buf_length(lines))
		fwrite(buf_bytes(lines), 1, buf_length(lines), stderr);
}

/* Faults of the text it is to become, to stderr. */
static bool is_sound(const struct account_command *c, struct view text)
{
	struct buf lines = {0};
	struct faults faults = {&lines, 0};
	const char *path = c->config->accounts_file;
	const char *slash = strrchr(path, '/');
	char *folder = mem_text_of((struct view){path, slash ? (size_t)(slash + 1 - path) : 0});
	struct config_reader r = {&faults, path, folder, ""};
	struct accounts *set = config_read_accounts(&r, text, &c->config->checks);

	if (set)
		accounts_unref(set);
	print_faults(&lines);
	buf_fini(&lines);
	free(folder);
	return set != NULL;
}

static int tell_change(
	const struct account_command *c, enum account_change change, const char *user)
{
	static const char *const texts[] = {
		[ACCOUNT_ABSENT] = "there is no account of that name in",
		[ACCOUNT_PRESENT] = "there is one of that name already in",
		[ACCOUNT_UNWRITTEN] = "change it by hand: it is not a list written line by line:",
	};

	const char *path = c->config->accounts_file;

	if (c->text.data == NULL)
		fprintf(stderr,
			"isobar account: %s: there is no %s, so everyone is the one account; "
			"`isobar account add` makes the file\n",
			user, path);
	else
		fprintf(stderr, "isobar account: %s: %s %s\n", user, texts[change], path);
	return CLI_NO;
}

static int finish(struct account_command *c, const char *action, const char *user,
	enum account_change change, struct view fresh)
{
	const char *path = c->config->accounts_file;
	char *what;

	if (change != ACCOUNT_CHANGED)
		return tell_change(c, change, user);
	if (!is_sound(c, fresh))
		return CLI_USAGE;
	if (file_replace(path, fresh, 0640) < 0) {
		fprintf(stderr, "isobar account: %s: %s; accounts_file in %s says where\n", path,
			strerror(errno), c->config->file);
		return CLI_ENVIRONMENT;
	}
	printf("%s: %s done\n", user, action);
	what = mem_printf("account %s %s", action, user);
	if (!c->no_reload && control_reload(c->config, what, json_pack("[s]", "accounts")))
		printf("the running broker reads it\n");
	free(what);
	return CLI_DONE;
}

/* NULL after a line on stderr. */
static char *ask_hash(const struct account_command *c)
{
	struct buf secret = {0};
	char *hash = NULL;

	if (secret_read("account", c->password_file, &secret)) {
		hash = secret_hash(buf_view(&secret));
		if (hash == NULL)
			fprintf(stderr, "isobar account: libcrypt has no yescrypt\n");
	}
	secret_fini(&secret);
	return hash;
}

static enum account_change add(
	struct account_command *c, const char *user, const char *hash, struct buf *out)
{
	static const char *const trees[] = {
		"origin/a/wis2/#", "cache/a/wis2/#", "monitor/a/wis2/#"};
	bool has_rights = c->read.count || c->write.count || c->pages.count || c->admin;
	const struct account_draft draft = {
		.user = user,
		.password_hash = hash,
		.read = has_rights ? c->read.items : trees,
		.read_count = has_rights ? c->read.count : 3,
		.write = c->write.items,
		.write_count = c->write.count,
		.pages = c->pages.items,
		.page_count = c->pages.count,
		.admin = c->admin,
	};

	return account_text_add(buf_view(&c->text), &draft, out);
}

static enum account_change passwd(
	struct account_command *c, const char *user, const char *hash, struct buf *out)
{
	return account_text_set_hash(buf_view(&c->text), user, hash, out);
}

static enum account_change remove_one(
	struct account_command *c, const char *user, const char *hash, struct buf *out)
{
	(void)hash;
	return account_text_remove(buf_view(&c->text), user, out);
}

static const struct {
	const char *name;
	enum account_change (*change)(
		struct account_command *c, const char *user, const char *hash, struct buf *out);
	bool needs_password;
} actions[] = {
	{"add", add, true},
	{"passwd", passwd, true},
	{"remove", remove_one, false},
};

static int change_one(struct account_command *c, const char *action, const char *user)
{
	struct buf fresh = {0};
	char *hash = NULL;
	int status = CLI_USAGE;
	size_t i = 0;

	while (i < sizeof(actions) / sizeof(actions[0]) && strcmp(actions[i].name, action) != 0)
		i++;
	if (i == sizeof(actions) / sizeof(actions[0])) {
		fprintf(stderr, "isobar account: list, or add, passwd or remove and whom; see "
				"isobar account --help\n");
		return CLI_USAGE;
	}
	if (!actions[i].needs_password || (hash = ask_hash(c)) != NULL) {
		enum account_change change = actions[i].change(c, user, hash, &fresh);

		status = finish(c, action, user, change, buf_view(&fresh));
	}
	buf_fini(&fresh);
	free(hash);
	return status;
}

/* --- the command ------------------------------------------------------ */

/* Faults elsewhere do not keep one from mending accounts; but without a configuration nobody knows which
 * file is meant. */
static int load(struct account_command *c, bool is_list)
{
	struct buf faults = {0};
	bool is_readable;

	c->is_faulty = config_load(c->file, &c->config, &faults) < 0;
	is_readable = c->config->file && config_is_readable(c->config);
	if (is_list || !is_readable)
		print_faults(&faults);
	buf_fini(&faults);
	if (c->config->file == NULL)
		fprintf(stderr,
			"isobar account: there is no configuration; name it with -c FILE\n");
	if (!is_readable)
		return CLI_USAGE;
	if (config_read_file(c->config->accounts_file, &c->text) == 0 || errno == ENOENT)
		return CLI_DONE;
	fprintf(stderr, "isobar account: %s: %s\n", c->config->accounts_file, strerror(errno));
	return CLI_ENVIRONMENT;
}

int cli_account(int argc, char **argv)
{
	struct account_command c = {0};
	int at = arguments_read(&table, argc, argv, &c);
	int n = argc - at;
	int status;

	if (at < 0)
		return arguments_status(at);
	if (!(n == 1 && strcmp(argv[at], "list") == 0) && n != 2) {
		fprintf(stderr, "isobar account: list, or add, passwd or remove and one USER; the "
				"password is never an argument\n");
		return CLI_USAGE;
	}
	status = load(&c, n == 1);
	if (status == CLI_DONE)
		status = n == 1 ? list(&c) : change_one(&c, argv[at], argv[at + 1]);
	buf_fini(&c.text);
	config_free(c.config);
	return status;
}
