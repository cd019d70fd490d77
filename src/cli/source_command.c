/* `isobar source`: the files of the sources folder from the command line.
 *
 * Each change is a file written or removed; then the broker that runs on this configuration, if there is
 * one, is told to read it.
 */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_keys.h"
#include "cli/control.h"
#include "cli/import_env.h"
#include "cli/source_files.h"

struct source_command {
	const char *file;
	const char *centre;
	const char *kind;
	const char *username;
	const char *password_file;
	struct argument_list urls;
	struct argument_list topics;
	bool force;
	bool no_reload;
	struct config *config;
	json_t *changed; /* list of "source/NAME" */
};

#define FIELD(name) offsetof(struct source_command, name)

static const struct argument rows[] = {
	{'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",
		"configuration whose sources are meant (default: /etc/isobar/isobar.yaml)"},
	{0, "centre", ARGUMENT_TEXT, FIELD(centre), 0, 0, "ID",
		"add: its centre-id (default: NAME)"},
	{0, "kind", ARGUMENT_TEXT, FIELD(kind), 0, 0, "KIND",
		"add: node (default), gateway, cache, broker, catalogue, monitor"},
	{0, "url", ARGUMENT_LIST, FIELD(urls), 0, 0, "URL", "add: its address; several: in order"},
	{0, "topic", ARGUMENT_LIST, FIELD(topics), 0, 0, "FILTER", "add: a subscription (by kind)"},
	{'u', "username", ARGUMENT_TEXT, FIELD(username), 0, 0, "USER", "add: to log in with"},
	{'P', "password-file", ARGUMENT_TEXT, FIELD(password_file), 0, 0, "FILE",
		"add: a file whose text is the password; named in the source, not copied"},
	{0, "force", ARGUMENT_FLAG, FIELD(force), 0, 0, NULL,
		"add, import: replace a source that is there"},
	{0, "no-reload", ARGUMENT_FLAG, FIELD(no_reload), 0, 0, NULL,
		"do not tell the running broker"},
};

static const struct argument_table table = {
	"isobar source list [-c FILE]\n"
	"       isobar source show|remove|enable|disable|share [-c FILE] NAME...\n"
	"       isobar source add [options] NAME --url URL\n"
	"       isobar source import [options] FILE.env...",
	"Manages the files of the sources folder, of a broker that runs or does not; one that "
	"runs\n"
	"reads them at once. import takes the per-centre .env files of existing antiloops and says "
	"of\n"
	"each key it cannot take why. share makes a file that was changed by other means, or that\n"
	"is gone, the one of every node of a cluster, as the other changes are.",
	rows, sizeof(rows) / sizeof(rows[0])};

/* Remembers a file that was changed; gives the status. */
static int note(struct source_command *s, const char *name, int status)
{
	if (status == CLI_DONE)
		json_array_append_new(s->changed, json_sprintf("source/%s", name));
	return status;
}

static const struct source_config *find(const struct source_command *s, const char *name)
{
	for (uint32_t i = 0; i < s->config->source_count; i++) {
		if (strcmp(s->config->sources[i].name, name) == 0)
			return &s->config->sources[i];
	}
	fprintf(stderr, "isobar source: %s: there is no source of that name in %s\n", name,
		s->config->sources_dir);
	return NULL;
}

/* An address without the credentials it may carry. */
static void print_url(const struct uplink_endpoint *e)
{
	char shown[URL_TEXT_BYTES];
	struct url url;
	const char *why;

	if (url_parse(view_of(e->url), &url, &why) < 0)
		return;
	url_format(&url, shown);
	printf("%s", shown);
}

static int list(struct source_command *s)
{
	for (uint32_t i = 0; i < s->config->source_count; i++) {
		const struct source_config *c = &s->config->sources[i];

		printf("%-32s %-32s %-10s %-9s ", c->name, c->centre_id ? c->centre_id : "-",
			source_kind_text(c->kind), c->enabled ? "enabled" : "disabled");
		if (c->endpoint_count)
			print_url(&c->endpoints[0]);
		printf("\n");
	}
	return CLI_DONE;
}

static void print_texts(const char *key, char *const *texts, uint32_t n)
{
	printf("%s: [", key);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%s", i ? ", " : "", texts[i]);
	printf("]\n");
}

static const char *yes(bool is)
{
	return is ? "yes" : "no";
}

static void print_tls(bool verify, const char *ca, const char *max, bool legacy)
{
	printf("tls: {verify: %s, ca: %s, max: %s, legacy: %s}\n", yes(verify), ca ? ca : "system",
		max ? max : "1.3", yes(legacy));
}

static void print_addresses(const struct source_config *c)
{
	printf("urls:\n");
	for (uint32_t i = 0; i < c->endpoint_count; i++) {
		const struct uplink_endpoint *e = &c->endpoints[i];

		printf("  - ");
		print_url(e);
		if (e->has_tls) {
			printf("   # ");
			print_tls(e->tls_verify, e->tls_ca, e->tls_max, e->tls_legacy);
		} else {
			printf("\n");
		}
	}
}

static void print_checks(const struct source_config *c)
{
	static const char *const modes[] = {"discard", "verify", "off"};

	printf("checks: {topic: %s, centre: %s, message: %s, metadata: %s}\n",
		modes[c->checks.checks[CHECK_TOPIC]], modes[c->checks.checks[CHECK_CENTRE]],
		modes[c->checks.checks[CHECK_MESSAGE]], modes[c->checks.checks[CHECK_METADATA]]);
}

/* What is in force, defaults too, passwords left out. */
static int show(struct source_command *s, const char *name)
{
	const struct source_config *c = find(s, name);
	struct source_filters filters;
	char until[CLOCK_TEXT_BYTES] = "none";

	if (c == NULL)
		return CLI_NO;
	source_filters_for(&filters, c);
	if (c->until_ms)
		clock_format(c->until_ms, until);
	printf("# %s/%s.yaml\ncentre_id: %s\nkind: %s\n", s->config->sources_dir, c->name,
		c->centre_id ? c->centre_id : "", source_kind_text(c->kind));
	print_addresses(c);
	printf("username: %s\n", c->username ? c->username : "");
	print_texts("topics", filters.texts, filters.count);
	print_texts("centres", c->centres, c->centre_count);
	print_tls(c->tls_verify, c->tls_ca, c->tls_max, c->tls_legacy);
	printf("protocol: %s\nqos: %u\nreceive_maximum: %u\nrate: %u\nstrip_content: %s\n",
		c->protocol == MQTT_5 ? "5" : "3.1.1", c->qos, c->receive_maximum, c->rate,
		yes(c->strip_content));
	print_texts("bind", c->bind, c->bind_count);
	printf("until: %s\n", until);
	print_checks(c);
	printf("enabled: %s\n", c->enabled ? "true" : "false");
	source_filters_fini(&filters);
	return CLI_DONE;
}

static int remove_one(struct source_command *s, const char *name)
{
	char *path = find(s, name) ? source_file(s->config, name) : NULL;
	int status = path ? CLI_DONE : CLI_NO;

	if (path && unlink(path) < 0) {
		fprintf(stderr, "isobar source: %s: %s\n", path, strerror(errno));
		status = CLI_ENVIRONMENT;
	}
	if (status == CLI_DONE)
		printf("removed %s\n", path);
	free(path);
	return note(s, name, status);
}

static int turn(struct source_command *s, const char *name, bool enabled)
{
	char *path = find(s, name) ? source_file(s->config, name) : NULL;
	struct buf text = {0}, changed = {0};
	int status = CLI_NO;

	if (path && config_read_file(path, &text) < 0) {
		fprintf(stderr, "isobar source: %s: %s\n", path, strerror(errno));
		status = CLI_ENVIRONMENT;
	} else if (path && !source_text_enable(buf_view(&text), enabled, &changed)) {
		fprintf(stderr,
			"isobar source: %s is not written line by line; set `enabled` in it\n",
			path);
	} else if (path) {
		status = source_file_write(s->config, name, buf_view(&changed), true);
	}
	if (status == CLI_DONE)
		printf("%s %s\n", enabled ? "enabled" : "disabled", name);
	buf_fini(&text);
	buf_fini(&changed);
	free(path);
	return note(s, name, status);
}

static int enable(struct source_command *s, const char *name)
{
	return turn(s, name, true);
}

static int disable(struct source_command *s, const char *name)
{
	return turn(s, name, false);
}

/* Nothing is changed here: the running broker tells the others, by what follows a change. */
static int share(struct source_command *s, const char *name)
{
	char *path = source_file(s->config, name);
	int status = path ? CLI_DONE : CLI_USAGE;

	free(path);
	return note(s, name, status);
}

static void put(struct buf *out, const char *key, const char *value)
{
	buf_text(out, key);
	buf_json_string(out, view_of(value));
	buf_text(out, "\n");
}

static void put_list(struct buf *out, const char *key, const struct argument_list *values)
{
	if (values->count)
		buf_text(out, key);
	for (uint32_t i = 0; i < values->count; i++)
		put(out, "  - ", values->items[i]);
}

static int add(struct source_command *s, const char *name)
{
	struct buf text = {0};
	char *secret = s->password_file ? realpath(s->password_file, NULL) : NULL;
	int status;

	if (s->urls.count == 0) {
		fprintf(stderr, "isobar source: add %s --url URL: where it is has to be said\n",
			name);
		free(secret);
		return CLI_USAGE;
	}
	if (s->password_file && secret == NULL) {
		fprintf(stderr, "isobar source: %s: %s\n", s->password_file, strerror(errno));
		return CLI_ENVIRONMENT;
	}
	put(&text, "centre_id: ", s->centre ? s->centre : name);
	put(&text, "kind: ", s->kind ? s->kind : "node");
	put_list(&text, "urls:\n", &s->urls);
	if (s->username)
		put(&text, "username: ", s->username);
	if (secret)
		put(&text, "password: !file ", secret);
	put_list(&text, "topics:\n", &s->topics);
	status = source_file_write(s->config, name, buf_view(&text), s->force);
	if (status == CLI_DONE)
		printf("added %s\n", name);
	buf_fini(&text);
	free(secret);
	return note(s, name, status);
}

/* Of a file that is not imported they belong to what stderr says of it. */
static void print_notes(FILE *to, struct view notes)
{
	while (notes.n) {
		struct view line = view_cut(&notes, '\n');

		fprintf(to, "  %.*s\n", VIEW_ARG(line));
	}
}

/* The text of one .env file, named after its centre. */
static int import_text(struct source_command *s, const char *path, struct view text)
{
	char *copy = mem_text(path);
	struct view name = view_of(basename(copy)), centre;
	struct buf yaml = {0}, notes = {0};
	char *source;
	int status = CLI_USAGE;

	if (view_ends_with(name, VIEW(".env")))
		name.n -= 4;
	if (import_env(text, name, &yaml, &notes, &centre)) {
		source = mem_text_of(centre);
		status = source_file_write(s->config, source, buf_view(&yaml), s->force);
		if (status == CLI_DONE)
			printf("%s: imported as %s/%s.yaml\n", path, s->config->sources_dir,
				source);
		note(s, source, status);
		free(source);
	} else {
		fprintf(stderr,
			"isobar source: %s: neither MQTT_SUB_BROKER nor SUB_BROKER_URL is "
			"there: not of a source\n",
			path);
	}
	print_notes(status == CLI_DONE ? stdout : stderr, buf_view(&notes));
	buf_fini(&yaml);
	buf_fini(&notes);
	free(copy);
	return status;
}

static int import(struct source_command *s, const char *path)
{
	struct buf text = {0};
	int status = CLI_ENVIRONMENT;

	if (config_read_file(path, &text) < 0)
		fprintf(stderr, "isobar source: %s: %s\n", path, strerror(errno));
	else
		status = import_text(s, path, buf_view(&text));
	buf_fini(&text);
	return status;
}

static const struct action {
	const char *name;
	int (*each)(struct source_command *s, const char *operand);
	bool one; /* one operand exactly */
} actions[] = {
	{"list", NULL, false},
	{"show", show, false},
	{"add", add, true},
	{"remove", remove_one, false},
	{"enable", enable, false},
	{"disable", disable, false},
	{"share", share, false},
	{"import", import, false},
};

/* The action, when its operands are as many as it takes. */
static const struct action *find_action(int n, char **operands)
{
	for (size_t i = 0; n > 0 && i < sizeof(actions) / sizeof(actions[0]); i++) {
		const struct action *a = &actions[i];

		if (strcmp(a->name, operands[0]) == 0 &&
			(a->each ? (a->one ? n == 2 : n >= 2) : n == 1))
			return a;
	}
	fprintf(stderr,
		"isobar source: list, or show, add, remove, enable, disable, share or import and "
		"what; see isobar source --help\n");
	return NULL;
}

static int run(struct source_command *s, const struct action *a, int n, char **operands)
{
	int worst = CLI_DONE;
	char *what;

	if (a->each == NULL)
		return list(s);
	for (int i = 0; i < n; i++) {
		int status = a->each(s, operands[i]);

		worst = status > worst ? status : worst;
	}
	what = mem_printf("source %s %s", a->name, operands[0]);
	if (json_array_size(s->changed) && !s->no_reload &&
		control_reload(s->config, what, json_incref(s->changed))) {
		printf("the running broker reads it\n");
	} else if (a->each == share && worst == CLI_DONE) {
		fprintf(stderr, "isobar source: no broker runs here that could tell the others\n");
		worst = CLI_ENVIRONMENT;
	}
	free(what);
	return worst;
}

/* A source that has a fault must not keep one from removing it: faults are told and gone over. But
 * without a configuration nobody knows which folder is meant. */
static bool load(struct source_command *s)
{
	struct buf faults = {0};

	if (config_load(s->file, &s->config, &faults) < 0)
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	buf_fini(&faults);
	if (s->config->file && config_is_readable(s->config))
		return true;
	if (s->config->file == NULL)
		fprintf(stderr, "isobar source: there is no configuration; name it with -c FILE\n");
	return false;
}

int cli_source(int argc, char **argv)
{
	struct source_command s = {.changed = json_array()};
	int at = arguments_read(&table, argc, argv, &s);
	const struct action *action;
	int status = CLI_USAGE;

	if (at < 0)
		return arguments_status(at);
	action = find_action(argc - at, argv + at);
	if (action == NULL)
		return CLI_USAGE;
	if (load(&s))
		status = run(&s, action, argc - at - 1, argv + at + 1);
	config_free(s.config);
	json_decref(s.changed);
	return status;
}
