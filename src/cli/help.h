/* cli/help.h - the commands as a table, and what is printed about them */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stddef.h>
#include <stdio.h>

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};
extern const struct command commands[];
extern const size_t command_count;

/* NULL when no command is called so. */
const struct command *command_find(const char *name);
/* Says so on stderr, with the nearest name. */
void command_print_unknown(const char *name);

void help_print_commands(FILE *to);

#endif
