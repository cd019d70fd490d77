/* `isobar client`, `isobar notice`, `isobar health`: what operators ask of a running broker.
 *
 * Which one is meant the configuration says: the one that has its data_dir. Faults elsewhere in the
 * configuration do not matter, as a broker that runs may have read it before they were made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/control.h"
#include "net/address.h"

struct operator
{
	const char *file;
	const char *user;
	const char *client_id;
	const char *address;
	const char *why;
	const char *from;
	const char *until;
	bool banned;
	bool json;
};

#define FIELD(name) offsetof(struct operator, name)
#define ROW_CONFIG                                                                       \
	{                                                                                \
		'c', "config", ARGUMENT_TEXT, FIELD(file), 0, 0, "FILE",                 \
			"configuration of the broker (default: /etc/isobar/isobar.yaml)" \
	}

static int ask(const struct operator* o, const char *command, json_t *order,
	void (*on_line)(void *context, struct view text, json_t *line), void *context)
{
	struct config *config = NULL;
	struct buf faults = {0};
	int status = CLI_USAGE;

	(void)config_load(o->file, &config, &faults);
	if (config_is_readable(config))
		status = control_ask(config, command, order, on_line, context);
	else
		json_decref(order);
	if (status == CLI_ENVIRONMENT || status == CLI_USAGE)
		fwrite(buf_bytes(&faults), 1, buf_length(&faults), stderr);
	config_free(config);
	buf_fini(&faults);
	return status;
}

static void print_line(void *context, struct view text, json_t *line)
{
	(void)context;
	(void)line;
	printf("%.*s\n", VIEW_ARG(text));
}

/* --- client ----------------------------------------------------------- */

static const struct argument client_rows[] = {
	ROW_CONFIG,
	{'u', "user", ARGUMENT_TEXT, FIELD(user), 0, 0, "USER",
		"list, kick: clients of this account"},
	{'i', "client-id", ARGUMENT_TEXT, FIELD(client_id), 0, 0, "ID",
		"the client with this identifier"},
	{'a', "address", ARGUMENT_TEXT, FIELD(address), 0, 0, "BLOCK",
		"clients from there: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32"},
	{0, "why", ARGUMENT_TEXT, FIELD(why), 0, 0, "TEXT", "ban: kept with it, for people"},
	{0, "banned", ARGUMENT_FLAG, FIELD(banned), 0, 0, NULL, "list: who is banned"},
	{0, "json", ARGUMENT_FLAG, FIELD(json), 0, 0, NULL, "list: one JSON object a line"},
};

static const struct argument_table client_table = {
	"isobar client list [options]\n"
	"       isobar client kick|ban|unban [options] [ID|ADDRESS]...",
	"Clients of the running broker. kick closes connections (DISCONNECT 0x98); ban does and "
	"refuses\n"
	"the client identifier or the addresses from then on (CONNACK 0x8A), over restarts, until\n"
	"unban. A word that is an address or a block of addresses is taken as one; --client-id "
	"and\n"
	"--address say which is meant.",
	client_rows, sizeof(client_rows) / sizeof(client_rows[0])};

static const char *text_in(const json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));

	return text ? text : "-";
}

static void print_client_head(void)
{
	printf("%-24s %-16s %-22s %-5s %-5s %-6s %10s  %s\n", "client id", "user", "address", "by",
		"mqtt", "state", "lag", "connected since");
}

static void print_client(void *context, struct view text, json_t *line)
{
	const char *id = text_in(line, "client_id");
	char quoted[LOG_QUOTE_BYTES];
	bool *has_head = context;

	(void)text;
	if (!*has_head)
		print_client_head();
	*has_head = true;
	printf("%-24s %-16s %-22s %-5s %-5s %-6s %10lld  %s\n", log_quote(id, strlen(id), quoted),
		text_in(line, "user"), text_in(line, "address"), text_in(line, "transport"),
		text_in(line, "protocol"), text_in(line, "state"),
		(long long)json_integer_value(json_object_get(line, "lag_messages")),
		text_in(line, "connected_since"));
}

static void print_ban(void *context, struct view text, json_t *line)
{
	const char *id = json_string_value(json_object_get(line, "client_id"));
	const char *why = text_in(line, "why");
	char quoted[LOG_QUOTE_BYTES], reason[LOG_QUOTE_BYTES];

	(void)context;
	(void)text;
	printf("%-9s %-32s by %s: %s\n", id ? "client-id" : "address",
		id ? log_quote(id, strlen(id), quoted) : text_in(line, "address"),
		text_in(line, "by"), log_quote(why, strlen(why), reason));
}

/* False, with a line on stderr: the text cannot be told. */
static bool set(json_t *order, const char *name, const char *text)
{
	if (text == NULL || json_object_set_new(order, name, json_string(text)) == 0)
		return true;
	fprintf(stderr, "isobar: the %s is not UTF-8\n", name);
	return false;
}

/* An order with who is meant, or NULL. */
static json_t *order_about(const struct operator* o, const char *what)
{
	json_t *order = json_pack("{s:s}", "order", what);

	if (set(order, "user", o->user) && set(order, "client_id", o->client_id) &&
		set(order, "address", o->address) && set(order, "why", o->why))
		return order;
	json_decref(order);
	return NULL;
}

static int list_clients(const struct operator* o)
{
	json_t *order = order_about(o, o->banned ? "bans" : "clients");
	bool has_head = false;
	int status;

	if (order == NULL)
		return CLI_USAGE;
	if (o->json)
		return ask(o, "client", order, print_line, NULL);
	status = ask(o, "client", order, o->banned ? print_ban : print_client, &has_head);
	if (status == CLI_DONE && !o->banned && !has_head)
		print_client_head();
	return status;
}

static void add_count(void *context, struct view text, json_t *line)
{
	(void)text;
	*(long long *)context += json_integer_value(json_object_get(line, "count"));
}

static int tell_one(const struct operator* o, const char *what)
{
	json_t *order = order_about(o, what);
	long long closed = strcmp(what, "unban") == 0 ? -1 : 0;
	int status;

	if (order == NULL)
		return CLI_USAGE;
	if (json_object_size(order) == 1) {
		fprintf(stderr, "isobar client: %s whom? see isobar client --help\n", what);
		json_decref(order);
		return CLI_USAGE;
	}
	status = ask(o, "client", order, add_count, &closed);
	if (status == CLI_DONE && closed >= 0)
		printf("%lld closed\n", closed);
	return status == CLI_DONE && closed == 0 && strcmp(what, "kick") == 0 ? CLI_NO : status;
}

/* Who has mistyped an address means no client: a ban of one that never comes would look like one that holds. */
static bool resembles_address(const char *word)
{
	size_t n = strlen(word);

	if (strspn(word, "0123456789./") == n)
		return strchr(word, '.') != NULL;
	return strspn(word, "0123456789abcdefABCDEF:./") == n &&
	       (strstr(word, "::") || (strchr(word, ':') && strchr(word, '/')));
}

static int tell_operand(struct operator* o, const char *what, const char *word)
{
	struct address_block block;
	bool is_address = address_block_parse(view_of(word), &block);

	if (!is_address && resembles_address(word)) {
		fprintf(stderr,
			"isobar client: %s: not an address or a block of addresses; such as "
			"192.0.2.0/24, without bits behind its prefix, is right (--client-id %s: a "
			"client of that identifier)\n",
			word, word);
		return CLI_USAGE;
	}
	o->client_id = is_address ? NULL : word;
	o->address = is_address ? word : NULL;
	return tell_one(o, what);
}

/* Each operand is an order of its own. */
static int tell(struct operator* o, const char *what, int n, char **operands)
{
	int worst = CLI_DONE;

	if (n == 0)
		return tell_one(o, what);
	for (int i = 0; i < n; i++) {
		int status = tell_operand(o, what, operands[i]);

		worst = status > worst ? status : worst;
	}
	return worst;
}

int cli_client(int argc, char **argv)
{
	static const char *const actions[] = {"kick", "ban", "unban"};
	struct operator o = {0};
	int at = arguments_read(&client_table, argc, argv, &o);

	if (at < 0)
		return arguments_status(at);
	if (argc - at == 1 && strcmp(argv[at], "list") == 0)
		return list_clients(&o);
	for (size_t i = 0; at < argc && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(argv[at], actions[i]) == 0)
			return tell(&o, actions[i], argc - at - 1, argv + at + 1);
	fprintf(stderr, "isobar client: list, or kick, ban or unban and whom; see isobar client "
			"--help\n");
	return CLI_USAGE;
}

/* --- notice ----------------------------------------------------------- */

static const struct argument notice_rows[] = {
	ROW_CONFIG,
	{0, "from", ARGUMENT_TEXT, FIELD(from), 0, 0, "TIME",
		"when it begins, such as 2026-05-04T10:00:00Z"},
	{0, "until", ARGUMENT_TEXT, FIELD(until), 0, 0, "TIME", "when it ends"},
};

static const struct argument_table notice_table = {"isobar notice [options] TEXT",
	"Publishes a monitoring event of this Global Broker on monitor/a/wis2/{centre_id}. With a\n"
	"time it announces scheduled maintenance.",
	notice_rows, sizeof(notice_rows) / sizeof(notice_rows[0])};

/* RFC 3339 in UTC, to the second (MON-27). */
static bool is_time(const char *name, const char *text)
{
	struct tm parts = {0};
	char again[32] = "";
	const char *end;

	if (text == NULL)
		return true;
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
	/* 30 February is read, and is another day. */
	if (end && *end == '\0' && timegm(&parts) != -1 &&
		strftime(again, sizeof(again), "%Y-%m-%dT%H:%M:%SZ", &parts) &&
		strcmp(again, text) == 0)
		return true;
	fprintf(stderr,
		"isobar notice: --%s %s: not a time; one in UTC such as 2026-05-04T10:00:00Z is "
		"right\n",
		name, text);
	return false;
}

int cli_notice(int argc, char **argv)
{
	struct operator o = {0};
	int at = arguments_read(&notice_table, argc, argv, &o);
	json_t *order;

	if (at < 0)
		return arguments_status(at);
	if (argc - at != 1 || argv[at][0] == '\0') {
		fprintf(stderr, "isobar notice: one TEXT is right; put it into quotes\n");
		return CLI_USAGE;
	}
	if (!is_time("from", o.from) || !is_time("until", o.until))
		return CLI_USAGE;
	if (o.from && o.until && strcmp(o.from, o.until) > 0) {
		fprintf(stderr, "isobar notice: it ends before it begins\n");
		return CLI_USAGE;
	}
	order = json_pack("{s:s}", "order", "notice");
	if (!set(order, "text", argv[at]) || !set(order, "from", o.from) ||
		!set(order, "until", o.until)) {
		json_decref(order);
		return CLI_USAGE;
	}
	return ask(&o, "notice", order, NULL, NULL);
}

/* --- health ----------------------------------------------------------- */

static const struct argument health_rows[] = {ROW_CONFIG};

static const struct argument_table health_table = {"isobar health [-c FILE]",
	"Asks the running broker whether it is ready, as /readyz does. Exit status 0: ready; 1: "
	"not;\n"
	"3: none answers. For health checks of containers.",
	health_rows, 1};

int cli_health(int argc, char **argv)
{
	struct operator o = {0};
	int at = arguments_read(&health_table, argc, argv, &o);

	if (at < 0)
		return arguments_status(at);
	if (at < argc) {
		fprintf(stderr, "isobar health: takes no argument\n");
		return CLI_USAGE;
	}
	return ask(&o, "health", json_pack("{s:s}", "order", "health"), print_line, NULL);
}
