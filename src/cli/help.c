/* cli/help.c - `isobar help [COMMAND]`, and the configuration's keys from their table
 *
 * Help on a command is the command's own --help, so that there is one text of it.
 */
#include "cli/help.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/config_keys.h"

void help_print_commands(FILE *to)
{
	fprintf(to, "isobar - a WIS2 Global Broker\n\nusage: isobar COMMAND [options]\n\n");
	for (size_t i = 0; i < command_count; i++)
		fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n`isobar help COMMAND` tells more about one, `isobar help configuration` "
		    "lists all\n"
		    "keys of the configuration file.\n\n"
		    "exit status: 0 done; 1 it ran and the answer is no; 2 wrong usage or "
		    "configuration;\n"
		    "3 a fault of the environment (cannot bind, cannot write, cannot connect)\n");
}

static const char *value_words(const struct config_key *k)
{
	const struct config_type *type = config_type(k->type);

	if (k->words)
		return k->words;
	return type->tree ? "" : type->name;
}

static void print_key(const struct config_key *k)
{
	bool has_default = k->fallback && k->fallback[0];

	if (k->type == TYPE_MAP) {
		printf("  %s:  # %s\n", k->name, k->help);
		return;
	}
	printf("  %-38s %s", k->name, k->help);
	if (has_default)
		printf("\n%41sdefault %s", "", k->fallback);
	if (value_words(k)[0])
		printf("%s%*s%s", has_default ? "; " : "\n", has_default ? 0 : 41, "",
			value_words(k));
	printf("\n");
}

static int print_keys(void)
{
	static const char *const titles[] = {"The configuration file", "An item of listeners",
		"A source, sources.d/NAME.yaml", "An item of urls of a source",
		"An item of publish", "An entry of the accounts file"};

	for (size_t i = 0; i < config_key_count; i++) {
		if (i == 0 || config_keys[i].section != config_keys[i - 1].section)
			printf("%s%s\n", i ? "\n" : "", titles[config_keys[i].section]);
		print_key(&config_keys[i]);
	}
	return CLI_DONE;
}

int cli_help(int argc, char **argv)
{
	static char option[] = "--help";
	char *again[] = {NULL, option, NULL};
	const struct command *command;

	if (argc < 2 || argv[1][0] == '-' || strcmp(argv[1], "help") == 0) {
		help_print_commands(stdout);
		return CLI_DONE;
	}
	if (strcmp(argv[1], "configuration") == 0)
		return print_keys();
	command = command_find(argv[1]);
	if (command == NULL) {
		command_print_unknown(argv[1]);
		return CLI_USAGE;
	}
	again[0] = argv[1];
	return command->run(2, again);
}
