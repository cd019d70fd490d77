/* cli/cli.c - picks the command; the table is commands.def */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/view.h"
#include "cli/commands.h"
#include "cli/fault.h"
#include "cli/help.h"

const struct command commands[] = {
#define X(name, function, summary) {name, summary, function},
#include "cli/commands.def"
#undef X
};
const size_t command_count = sizeof(commands) / sizeof(commands[0]);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_count; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

void command_print_unknown(const char *name)
{
	const char *names[sizeof(commands) / sizeof(commands[0])];
	const char *nearest;
	char shown[FAULT_VALUE_BYTES * 4 + 8];

	for (size_t i = 0; i < command_count; i++)
		names[i] = commands[i].name;
	nearest = nearest_name(view_of(name), names, command_count);
	fprintf(stderr, "isobar: no command is called %s", fault_value(view_of(name), shown));
	if (nearest)
		fprintf(stderr, "; did you mean %s?", nearest);
	fprintf(stderr, "\n`isobar help` lists all commands\n");
}

int cli_main(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		help_print_commands(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_help(1, argv + 1);
	if (strcmp(argv[1], "--version") == 0)
		return cli_version(1, argv + 1);
	command = command_find(argv[1]);
	if (command)
		return command->run(argc - 1, argv + 1);
	command_print_unknown(argv[1]);
	return CLI_USAGE;
}
