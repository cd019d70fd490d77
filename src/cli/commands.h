/* cli/commands.h - every command of `isobar`, one function each
 *
 * argv[0] is the command's name. Exit status: 0 done, 1 it ran and the answer is no, 2 wrong usage
 * or configuration, 3 a fault of the environment. Each answers --help.
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#define X(name, function, summary) int function(int argc, char **argv);
#include "cli/commands.def"
#undef X

#endif
